"""``seg-node networks``: what others read from it."""

import json

import pytest

pytest.importorskip("torch")

from seg_node.commands import main


def lines(capsys) -> list[dict]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_one_json_object_a_network(capsys) -> None:
    assert main(["networks", "rdsnet", "--classes", "12", "--size", "360x480", "--json"]) == 0
    [found] = lines(capsys)
    assert found["name"] == "rdsnet" and found["parameters"] == 919960
    assert found["classes"] == 12 and found["size"] == [360, 480] and found["output_stride"] == 8
    assert 2 * found["macs"] < found["flops_c3"] < 2.1 * found["macs"]


def test_the_papers_figures_beside_ours(capsys) -> None:
    assert main(["networks", "rdsnet", "--paper", "--json"]) == 0
    assert [row["parameters"]["ours"] for row in lines(capsys)] == [919960, 928031]
    assert main(["networks", "rdsnet", "--paper"]) == 0
    assert "928,031    +0.00 %" in capsys.readouterr().out


def test_a_row_without_figures_still_names_the_network(capsys) -> None:
    assert main(["networks", "ndnet45_e2", "--paper"]) == 0
    out = capsys.readouterr().out
    assert "NDNet45(e=2)" in out and "ndnet45_e2" in out and "not built" not in out


@pytest.mark.parametrize("words", [["--classes", "3"], ["--size", "64x64"]])
def test_the_papers_tables_have_classes_and_sizes_of_their_own(words: list[str], capsys) -> None:
    assert main(["networks", "rdsnet", "--paper", *words]) == 2
    assert "--paper takes no" in capsys.readouterr().err


def test_an_unknown_network_lists_the_names(capsys) -> None:
    assert main(["networks", "rdsnett"]) == 2
    assert "rdsnet," in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--classes", "0"], ["--classes", "many"], ["--size", "0x5"], ["--size", "big"]])
def test_wrong_arguments_exit_with_2(words: list[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["networks", *words])
    assert stop.value.code == 2
