import numpy as np
import pytest

from seg_node.label_set import UNLABELLED, load_label_set, names


def test_camvid_has_eleven_classes_and_void() -> None:
    labels = load_label_set("camvid11")
    assert labels.class_count == 11
    assert labels.names[0] == "Sky" and labels.names[10] == "Bicyclist"
    assert labels.raw_ids[11] == UNLABELLED
    assert tuple(labels.palette[3]) == (128, 64, 128)  # BGR of road's (128, 64, 128)
    assert tuple(labels.palette[UNLABELLED]) == (0, 0, 0)


@pytest.mark.parametrize("name", names())
def test_every_shipped_set_reads_and_has_distinct_colours(name: str) -> None:
    labels = load_label_set(name)
    assert labels.name == name
    colours = {tuple(c) for c in labels.palette[: labels.class_count]}
    assert len(colours) == labels.class_count


def test_an_unknown_name_lists_what_there_is() -> None:
    with pytest.raises(ValueError, match="camvid11"):
        load_label_set("camvid99")


ONE = "name: mine\nclasses: [{name: road, color: [1, 2, 3]}]\n"


@pytest.mark.parametrize(
    "text, says",
    [
        ("name: mine\nclases: []\n", "clases"),
        ("", "table"),
        ("{", "YAML"),
        (ONE + "name: again\n", "twice"),
        (ONE + "unlabelled: 11\n", "unlabelled"),
        (ONE + "raw_ids: [0]\n", "raw_ids"),
        (ONE + "raw_ids: {-1: 0}\n", "raw_ids -1"),
        (ONE + "raw_ids: {1: 1}\n", "raw_ids 1: 1"),
        (ONE + "raw_ids: {1: 300}\n", "300"),
        ("name: mine\nclasses: []\n", "classes"),
        ("name: mine\nclasses: [road]\n", "class 0"),
        (ONE.replace("3]", "300]"), "class 0.*300"),
        (ONE.replace(", 2, 3", ""), "class 0"),
        (ONE.replace("road", "on"), "class 0.*quotes"),
        (ONE.replace("}]", "}, {name: road, color: [4, 5, 6]}]"), "class 1.*once"),
    ],
)
def test_a_broken_file_is_named(tmp_path, text: str, says: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=rf"(?s)mine\.yaml.*{says}"):
        load_label_set(path)


def test_check_names_the_wrong_ids() -> None:
    labels = load_label_set("camvid11")
    labels.check(np.array([[0, 10, 255]], np.uint8), "x")
    with pytest.raises(ValueError, match=r"frame 7.*\[12\]"):
        labels.check(np.array([[0, 12]], np.uint8), "frame 7")
