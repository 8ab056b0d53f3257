"""A stranger's checkpoint becomes a model that every command takes, or is refused with the reason."""

import json
import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from seg_node import networks, runtimes  # noqa: E402
from seg_node.commands import main  # noqa: E402
from seg_node.importing import import_checkpoint, input_of  # noqa: E402
from seg_node.importing.checkpoint import read_state  # noqa: E402
from seg_node.importing.matching import MismatchError, fit  # noqa: E402
from seg_node.model_card import CardError, load_card  # noqa: E402

FED = {"size": (48, 64), "channels": "rgb", "mean": [0, 0, 0], "std": [1, 1, 1]}


@pytest.fixture(scope="module")
def state() -> dict:
    torch.manual_seed(1)
    return dict(networks.build("rdsnet", 11).state_dict())


def saved(path: Path, content: object) -> Path:
    torch.save(content, path)
    return path


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"state_dict": state, "epoch": 3, "miou": np.float64(0.5)},
        lambda state: {"state_dict": {"module." + key: value for key, value in state.items()}, "best": np.float32(1)},
        lambda state: {"model": {"module.model." + key: value for key, value in state.items()}},
    ],
    ids=["plain", "state_dict", "module", "model"],
)
def test_weights_are_found_however_a_trainer_wrapped_them(state: dict, wrap, tmp_path: Path) -> None:
    found = read_state(saved(tmp_path / "a.pth.tar", wrap(state)))
    assert found.keys() == state.keys() and all(torch.equal(found[key], state[key]) for key in state)


def test_safetensors_and_pytorchs_first_format_are_read(state: dict, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file(state, tmp_path / "a.safetensors")
    assert read_state(tmp_path / "a.safetensors").keys() == state.keys()
    torch.save(state, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    assert read_state(tmp_path / "old.pth").keys() == state.keys()


def run_me() -> None:
    raise AssertionError("a stranger's code was run")


class Code:
    def __reduce__(self) -> tuple:
        return (run_me, ())


def test_code_in_a_file_is_not_run_and_named(state: dict, tmp_path: Path) -> None:
    with pytest.raises(CardError, match=r"run_me.*save network\.state_dict"):
        read_state(saved(tmp_path / "a.pth", {"state_dict": state, "more": Code()}))
    with pytest.raises(CardError, match=r"Conv2d.*save network\.state_dict"):
        read_state(saved(tmp_path / "whole.pth", torch.nn.Conv2d(3, 3, 3)))


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", pickle.dumps({"a": 1})[:-3]])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_damaged_file_is_named(content: bytes, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / ("a" + suffix)
    path.write_bytes(content)
    with pytest.raises(CardError, match=str(path)):
        read_state(path)


def test_a_folder_is_told_from_nothing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="is a folder"):
        read_state(tmp_path)
    with pytest.raises(FileNotFoundError, match="no such file"):
        read_state(tmp_path / "a.pth")


def test_safetensors_are_known_by_their_content_and_plain_values_among_tensors_are_passed_over(
    state: dict, tmp_path: Path
) -> None:
    from safetensors.torch import save_file

    save_file(state, tmp_path / "a.pth")
    assert read_state(tmp_path / "a.pth").keys() == state.keys()
    assert read_state(saved(tmp_path / "b.pth", {**state, "epoch": 3, "arch": "rdsnet"})).keys() == state.keys()


def test_a_file_without_tensors_says_what_it_holds(tmp_path: Path) -> None:
    with pytest.raises(CardError, match="epoch, optimizer"):
        read_state(saved(tmp_path / "a.pth", {"epoch": 1, "optimizer": {}}))


def test_an_imported_model_gives_the_same_labels(state: dict, tmp_path: Path) -> None:
    done = import_checkpoint(saved(tmp_path / "a.pth", state), "rdsnet", "camvid11", tmp_path / "m", changes=FED)
    card = load_card(done.folder)
    assert card.network == "rdsnet" and card.classes == 11 and card.size == (48, 64) and card.channels == "rgb"
    images = np.random.default_rng(1).integers(0, 256, (1, 48, 64, 3), np.uint8)
    network = networks.build("rdsnet", 11).eval()
    network.load_state_dict(state)
    with torch.inference_mode():
        truth = network(torch.from_numpy(images).permute(0, 3, 1, 2) / 255).argmax(1)
    labels = runtimes.load_runtime(card, "torch", "cpu").infer(images).labels
    assert np.mean(labels == truth.numpy()) > 0.999


def test_a_void_class_is_published_as_unlabelled(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.pth", networks.build("rdsnet", 12).state_dict())
    import_checkpoint(path, "rdsnet", "camvid12", tmp_path / "m", changes=FED)
    assert load_card(tmp_path / "m").ignored_classes == (11,)


def test_what_differs_is_listed(state: dict) -> None:
    wrong = {**state, "extra.weight": torch.ones(1), "classify.bias": torch.ones(7)}
    del wrong["encoder.0.conv.weight"]
    with pytest.raises(MismatchError) as caught:
        fit("rdsnet", 11, wrong, {})
    text = str(caught.value)
    assert "1 missing: encoder.0.conv.weight" in text and "1 unexpected: extra.weight" in text
    assert "1 of the wrong shape: classify.bias: [7], wanted [11]" in text


def test_what_would_fit_is_told(state: dict) -> None:
    with pytest.raises(MismatchError, match=r"they fit with --labels of 11 classes$"):
        fit("rdsnet", 12, state, {})
    with pytest.raises(MismatchError, match=r"they fit with --network rdsnet --labels of 11 classes$"):
        fit("espnet", 12, state, {})


def test_a_file_that_is_nearly_its_authors_is_a_mismatch() -> None:
    almost = {"encoder.initial_block.conv.weight": torch.ones(3), "encoder.layers.0.foo.weight": torch.ones(3)}
    with pytest.raises(MismatchError, match="2 unexpected"):
        fit("erfnet", 3, almost, {})


def test_a_relative_is_taken_where_it_is_the_only_one() -> None:
    name, _, _ = fit("c3net1", 3, networks.build("ds_espnet", 3).state_dict(), {})
    assert name == "ds_espnet"
    grouped = networks.build("dg2s_star", 3).state_dict()  # as dg2_star's: the shuffle has no weights
    assert fit("dg2s_star", 3, grouped, {})[0] == "dg2s_star"
    with pytest.raises(MismatchError, match=r"they fit with --network dg2_star or dg2s_star$"):
        fit("d_star", 3, grouped, {})


def test_tensors_that_layers_share_may_be_there_once(tmp_path: Path) -> None:
    from safetensors.torch import save_model

    network = networks.build("enet", 3)
    save_model(network, str(tmp_path / "a.safetensors"))
    state = read_state(tmp_path / "a.safetensors")
    assert len(state) < len(network.state_dict())
    loaded = fit("enet", 3, state, {})[2].state_dict()
    assert all(torch.equal(loaded[key], tensor) for key, tensor in network.state_dict().items())


def test_a_classifier_of_its_authors_is_explained(tmp_path: Path, capsys) -> None:
    """DRN-C-26's ImageNet weights, tensors named as its authors do, its last layer a convolution as theirs."""
    torch.manual_seed(1)
    ours = networks.build("drn_c26_imagenet", 12).state_dict()
    theirs = {key.replace("encoder.", ""): tensor for key, tensor in ours.items()}
    theirs["fc.weight"] = theirs["fc.weight"][:, :, None, None]
    path, out, image = saved(tmp_path / "drn_c_26.pth", theirs), tmp_path / "drn", tmp_path / "a.png"
    argv = ["import", str(path), "--network", "drn_c26_imagenet", "--out", str(out)]
    assert main(argv) == 0
    assert "12 classes" in capsys.readouterr().out
    loaded = torch.load(out / "weights.pt", weights_only=True)
    assert all(torch.equal(loaded[key], tensor) for key, tensor in ours.items())
    cv2.imwrite(str(image), np.random.default_rng(1).integers(0, 256, (64, 80, 3), np.uint8))
    assert main(["explain", str(out), str(image), "--class", "3", "--out", str(tmp_path / "why"), "--json"]) == 0
    (model,) = json.loads(capsys.readouterr().out)["models"]
    assert [one["class"] for one in model["classes"]] == ["3"]
    assert main(["inspect", str(path)]) == 0
    assert f"seg-node import {path} --network drn_c26_imagenet" in " ".join(capsys.readouterr().out.split())
    assert main(argv) == 1
    assert "recipe.yaml: is there already" in capsys.readouterr().err
    assert main([*argv[:-1], str(tmp_path / "other"), "--labels", "camvid11"]) == 2
    assert "--labels: drn_c26_imagenet classifies images" in capsys.readouterr().err
    del theirs["fc.weight"]
    assert main([*argv[:1], str(saved(path, theirs)), *argv[2:-1], str(tmp_path / "other")]) == 1
    assert "holds no fc.weight" in capsys.readouterr().err and not (tmp_path / "other").exists()


def test_a_model_needs_a_label_set(state: dict, tmp_path: Path, capsys) -> None:
    argv = ["import", str(saved(tmp_path / "a.pth", state)), "--network", "rdsnet", "--out", str(tmp_path / "m")]
    assert main(argv) == 2
    assert "--labels: say what the network's classes are" in capsys.readouterr().err


@pytest.mark.parametrize("wrong", [{"std": [0, 1, 1]}, {"mean": [float("nan"), 0, 0]}, {"scale": 0}])
def test_an_input_that_cannot_be_is_refused_and_nothing_is_left(state: dict, tmp_path: Path, wrong: dict) -> None:
    path = saved(tmp_path / "a.pth", state)
    with pytest.raises(ValueError, match="std and scale above 0"):
        import_checkpoint(path, "rdsnet", "camvid11", tmp_path / "m", changes={**FED, **wrong})
    assert not (tmp_path / "m").exists()


def test_checkpoints_without_batch_counts_load(state: dict) -> None:
    old = {key: value for key, value in state.items() if not key.endswith("num_batches_tracked")}
    assert len(old) < len(state)
    fit("rdsnet", 11, old, {})


def test_diverged_weights_are_refused_and_nothing_is_left(state: dict, tmp_path: Path) -> None:
    path = saved(tmp_path / "a.pth", {**state, "classify.bias": torch.full((11,), float("nan"))})
    with pytest.raises(ValueError, match=r"NaN or infinity in classify\.bias"):
        import_checkpoint(path, "rdsnet", "camvid11", tmp_path / "m", changes=FED)
    assert not (tmp_path / "m").exists()


def test_a_model_is_not_overwritten(state: dict, tmp_path: Path) -> None:
    path = saved(tmp_path / "a.pth", state)
    import_checkpoint(path, "rdsnet", "camvid11", tmp_path / "m", changes=FED)
    with pytest.raises(FileExistsError, match="choose another --out"):
        import_checkpoint(path, "rdsnet", "camvid11", tmp_path / "m", changes=FED)
    (tmp_path / "theirs").mkdir()
    theirs = saved(tmp_path / "theirs" / "weights.pt", state)
    before = theirs.read_bytes()
    with pytest.raises(FileExistsError, match=r"weights\.pt: is there already"):
        import_checkpoint(theirs, "rdsnet", "camvid11", theirs.parent, changes=FED)
    assert theirs.read_bytes() == before


def test_the_authors_normalisation_is_known_or_asked_for() -> None:
    fed = input_of("espnet", "camvid12", {})
    # (x - mean) / std / 255, in one division
    assert fed.size == (360, 480) and fed.scale == 1 and fed.std[0] == pytest.approx(72.126 * 255)
    with pytest.raises(ValueError, match="--size --channels --mean --std"):
        input_of("rdsnet", "camvid11", {})
    assert input_of("espnet", "camvid12", {"size": (180, 240)}).size == (180, 240)
    assert input_of("espnet", "camvid12", {"mean": [1, 2, 3]}).std == fed.std
    assert input_of("espnet", "camvid12", {"std": [1, 2, 3]}).std == (1, 2, 3)


def test_the_command_prints_one_json_object(state: dict, tmp_path: Path, capsys) -> None:
    words = ["import", str(saved(tmp_path / "a.pth", state)), "--network", "rdsnet", "--labels", "camvid11"]
    words += ["--out", str(tmp_path / "m"), "--size", "48x64", "--channels", "rgb", "--mean", "0,0,0", "--std", "1,1,1"]
    assert main([*words, "--option", "order=authors", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["network"] == "rdsnet" and result["options"] == {"order": "authors"}
    assert result["parameters"] == 918_807
    assert main(words) == 1 and "is there already" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--option", "order"], ["--mean", "1,2"], ["--std", "a,b,c"], ["--size", "0x0"]])
def test_wrong_words_exit_with_2(words: list[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["import", "a.pth", "--network", "rdsnet", "--labels", "camvid11", "--out", "m", *words])
    assert stop.value.code == 2
