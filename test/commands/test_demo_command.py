"""``seg-node demo``: wrong words are answered before anything is started."""

import pytest

from seg_node.commands import main


@pytest.fixture
def model(write_card):
    return str(write_card(network={"name": "external", "classes": 11}))


def test_help_teaches_by_example(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["demo", "--help"])
    assert caught.value.code == 0
    assert "seg-node demo drive.mp4 --duration 60" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words",
    [
        ["--duration", "0"],
        ["--duration", "inf"],
        ["--duration", "soon"],
        ["--size", "big"],
        ["--runtime", "nope"],
        ["--nonsense"],
    ],
)
def test_wrong_arguments_exit_with_2(words, capsys):
    with pytest.raises(SystemExit) as caught:
        main(["demo", *words])
    assert caught.value.code == 2 and capsys.readouterr().err


def test_unknown_model(capsys):
    assert main(["demo", "--model", "nobody"]) == 1
    assert "no model 'nobody'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["nowhere.mp4"], "nowhere.mp4: no such file or folder"),
        (["97"], "camera 97: gives no frames"),
        (["--topic", "/image"], "has no topics"),
        (["--size", "8x8"], "at least 32"),
    ],
)
def test_source_that_gives_nothing(model, words, says, capsys, tmp_path):
    pytest.importorskip("rclpy")
    pytest.importorskip("av")
    assert main(["demo", *words, "--model", model, "--out", str(tmp_path / "out")]) == 1
    assert says in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_nothing_is_played_over_or_removed_that_is_no_demos(model, capsys, tmp_path):
    pytest.importorskip("rclpy")
    pytest.importorskip("av")
    (tmp_path / "overlay.mp4").write_bytes(b"a holiday")
    assert main(["demo", "--model", model, "--out", str(tmp_path)]) == 1
    assert "overlay.mp4: is there already, and is no demo's" in capsys.readouterr().err
    (tmp_path / ".recorded-here").touch()  # a demo's own: may be replaced, but not while it is played
    assert main(["demo", str(tmp_path / "overlay.mp4"), "--model", model, "--out", str(tmp_path)]) == 1
    assert "is what is played" in capsys.readouterr().err
    assert (tmp_path / "overlay.mp4").read_bytes() == b"a holiday"


def test_a_backend_that_is_not_installed_is_told_at_once(model, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr("seg_node.runtimes.is_installed", lambda name: False)
    assert main(["demo", "--runtime", "tensorrt", "--model", model, "--out", str(tmp_path / "out")]) == 1
    assert "--runtime tensorrt needs tensorrt, which is not installed" in capsys.readouterr().err


def test_missing_ros_says_how_to_get_it(model, monkeypatch, capsys):
    from seg_node.demo import session

    monkeypatch.setattr(session, "find_spec", lambda name: None)
    assert main(["demo", "--model", model]) == 1
    assert "source /opt/ros" in capsys.readouterr().err
