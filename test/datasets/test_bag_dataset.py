"""A recording as a data set: the street's own bag, whose pixels and labels are known."""

import multiprocessing
from pathlib import Path

import numpy as np
import pytest

from seg_node.datasets import DatasetError, label_set_of, may_open, open_split, splits_of
from seg_node.datasets.bag import _pair, _Place
from seg_node.datasets.street import Street

SIZE = (48, 64)
pytest.importorskip("rosbags", reason="a bag needs the library rosbags")


@pytest.fixture(scope="module", params=["street.mcap", "street"])
def street_bag(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from seg_node.replay.make_bag import record_street

    path = tmp_path_factory.mktemp("bags") / request.param
    record_street(path, 1.0, 10.0, SIZE, seed=7)
    return path


def test_pairs_are_what_was_recorded_in_any_order(street_bag: Path) -> None:
    split = open_split("bag", "all", street_bag)
    assert len(split) == 10 and label_set_of("bag", street_bag) == "camvid11"
    street = Street(7, SIZE, 10.0)
    for index in (9, 0, 4):
        image, label = street.render(index)
        sample = split[index]
        assert np.array_equal(sample.image, image) and np.array_equal(sample.label, label)
    assert len({sample.name for sample in split}) == 10


def test_the_first_part_is_train_the_rest_val(street_bag: Path) -> None:
    train, val = (open_split("bag", split, street_bag) for split in ("train", "val"))
    assert (len(train), len(val)) == (8, 2)
    assert splits_of("bag", street_bag) == ("all",) and may_open("bag", street_bag) == ("train", "val", "all")
    assert not {sample.name for sample in train} & {sample.name for sample in val}


def _labels_of(path: Path, queue: "multiprocessing.Queue[list]", split: object) -> None:
    queue.put([int(split[index].label.sum()) for index in range(len(split))])  # type: ignore[arg-type,index]


def test_forked_processes_read_at_the_same_time(street_bag: Path) -> None:
    split = open_split("bag", "all", street_bag)
    own = [int(split[index].label.sum()) for index in range(len(split))]
    context = multiprocessing.get_context("fork")
    queue: multiprocessing.Queue = context.Queue()
    readers = [context.Process(target=_labels_of, args=(street_bag, queue, split)) for _ in range(2)]
    for reader in readers:
        reader.start()
    assert [queue.get(timeout=60) for _ in readers] == [own, own]
    for reader in readers:
        reader.join()


def test_a_table_says_splits_topics_and_label_set(street_bag: Path) -> None:
    table = street_bag.parent / "dataset.yaml"
    table.write_text(
        "label_set: camvid11\nimage: /camera/image_raw\nlabel: /camera/ground_truth\n"
        f"splits: {{train: [{street_bag.name}], val: [{street_bag.name}, {street_bag.name}]}}\n"
    )
    try:
        assert splits_of("bag", street_bag.parent) == may_open("bag", street_bag.parent) == ("train", "val")
        assert len(open_split("bag", "train", street_bag.parent)) == 10
        assert len(open_split("bag", "val", street_bag.parent)) == 20
        with pytest.raises(ValueError, match="train, val"):
            open_split("bag", "test", street_bag.parent)
        table.write_text("labels: camvid11\n")
        with pytest.raises(DatasetError, match=r"dataset.yaml: has the keys \['labels'\]"):
            label_set_of("bag", street_bag.parent)
    finally:
        table.unlink()


def test_ids_of_another_label_set_are_named(street_bag: Path, tmp_path: Path) -> None:
    (tmp_path / "two.yaml").write_text("name: two\nclasses: [{name: a, color: [1, 2, 3]}]\n")
    (tmp_path / "dataset.yaml").write_text(f"label_set: two.yaml\nsplits: {{val: [{street_bag}]}}\n")
    assert label_set_of("bag", tmp_path) == str(tmp_path / "two.yaml")
    with pytest.raises(DatasetError, match=r"label at \d+ on /camera/ground_truth: holds ids .*two are 0 to 0"):
        open_split("bag", "val", tmp_path)[0]


def test_a_bag_without_labels_says_what_it_has(real_bags: Path) -> None:
    with pytest.raises(DatasetError, match="no topic looks like label images"):
        open_split("bag", "all", real_bags / "camera_mixed.mcap")


def test_what_is_no_bag_is_said(tmp_path: Path) -> None:
    (tmp_path / "x.mcap").write_bytes(b"no bag")
    with pytest.raises(DatasetError, match=r"x\.mcap"):
        open_split("bag", "all", tmp_path / "x.mcap")
    with pytest.raises(ValueError, match=r"dataset.yaml"):
        open_split("bag", "test", tmp_path / "x.mcap")
    with pytest.raises(ValueError, match="--data"):
        open_split("bag", "all")


def test_images_take_the_label_of_their_stamp_or_the_nearest() -> None:
    images = [_Place(i, 0, 100 * i) for i in range(5)]
    labels = [_Place(9, 0, 230), _Place(8, 0, 0), _Place(7, 0, 451)]
    assert [(a.stamp, b.stamp) for a, b in _pair(images, labels)] == [(0, 0), (200, 230)]
    assert _pair(images, []) == []
