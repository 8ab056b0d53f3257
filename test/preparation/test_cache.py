"""The cache gives what the split gives, reads each sample once, and survives what happens to its files."""

import multiprocessing
import pickle
import shutil
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
from layouts import cityscapes, write

from seg_node.datasets import Sample, Split, fingerprint, open_split
from seg_node.preparation import cache
from seg_node.preparation.cache import CachedSplit, bytes_needed, open_cache
from seg_node.training.augment import fit

SIZE = (16, 36)


class Counted:
    """A split that counts how often a sample is read."""

    def __init__(self, split: Split) -> None:
        self.split, self.reads = split, 0

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, index: int) -> Sample:
        self.reads += 1
        return self.split[index]


@pytest.fixture
def split(tmp_path: Path) -> Counted:
    return Counted(open_split("cityscapes", "train", cityscapes(tmp_path / "data", {"train": {"ulm": 4}})))


def opened(split: Counted, folder: Path, name: str = "train") -> CachedSplit:
    return open_cache(split, name, fingerprint(split.split, times=True), folder, SIZE, fit)


def same(cached: CachedSplit, split: Counted) -> bool:
    for index in range(len(split)):
        image, label, name = split.split[index]
        image, label = fit(image, label, SIZE)
        got = cached[index]
        if not (np.array_equal(got.image, image) and np.array_equal(got.label, label) and got.name == name):
            return False
    return True


def test_samples_are_those_of_the_split_and_read_once(split: Counted, tmp_path: Path) -> None:
    cached = opened(split, tmp_path / "cache")
    assert len(cached) == 4 and cached.kept == 0
    assert same(cached, split) and split.reads == 4 and cached.kept == 4
    assert same(opened(split, tmp_path / "cache"), split) and split.reads == 4
    sample = cached[1]
    sample.image[:] = 0  # its own
    assert same(cached, split)


def test_data_that_changed_is_read_anew_and_the_old_cache_is_gone(split: Counted, tmp_path: Path) -> None:
    other = opened(split, tmp_path / "cache", "val")
    assert same(opened(split, tmp_path / "cache"), split)
    path = next((tmp_path / "data").rglob("*_000001_000019_gtFine_labelTrainIds.png"))
    write(path, np.full((32, 70), 3, np.uint8))
    cached = opened(split, tmp_path / "cache")
    assert cached.kept == 0 and (cached[1].label == 3).all()
    assert len(list((tmp_path / "cache").iterdir())) == 2 and same(other, split)


def test_a_sample_that_was_not_written_whole_is_read_anew(split: Counted, tmp_path: Path) -> None:
    assert same(opened(split, tmp_path / "cache"), split)
    images = next((tmp_path / "cache").rglob("images"))
    data = bytearray(images.read_bytes())
    data[SIZE[0] * SIZE[1] * 3 * 2 + 7] ^= 1  # in sample 2
    images.write_bytes(bytes(data))
    cached = opened(split, tmp_path / "cache")
    assert same(cached, split) and split.reads == 5


def _fill(cached: CachedSplit) -> None:
    for index in range(len(cached)):
        cached[index]


def test_processes_fill_one_cache_together(split: Counted, tmp_path: Path) -> None:
    cached = opened(split, tmp_path / "cache")
    assert isinstance(pickle.loads(pickle.dumps(cached)), CachedSplit)  # a spawned loader gets it so
    context = multiprocessing.get_context("fork")
    fillers = [context.Process(target=_fill, args=(cached,)) for _ in range(2)]
    for filler in fillers:
        filler.start()
    for filler in fillers:
        filler.join(60)
    assert cached.kept == 4 and same(cached, split) and split.reads == 0


def test_a_full_disk_is_said_before_it_is_hit(split: Counted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(1, 1, cache._SPARE + bytes_needed(split, SIZE) - 9))
    with pytest.raises(OSError, match=r"the cache needs .* GB more"):
        opened(split, tmp_path / "cache")
    assert bytes_needed(split, SIZE) == 4 * (SIZE[0] * SIZE[1] * 4 + 132)


def test_a_folder_that_cannot_be_made_is_said(split: Counted, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(OSError, match="cache"):
        opened(split, tmp_path / "cache")


def test_every_split_has_a_fingerprint(split: Counted, camvid: Path) -> None:
    street = [fingerprint(open_split("street", name)) for name in ("train", "val")]
    real = [fingerprint(open_split("camvid", name, camvid)) for name in ("train", "val")]
    assert len({*street, *real, fingerprint(split.split)}) == 5
    assert real[0] == fingerprint(open_split("camvid", "train", camvid))
    with pytest.raises(ValueError, match="Counted"):
        fingerprint(split)
