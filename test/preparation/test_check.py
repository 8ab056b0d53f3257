"""check-data's eyes: each kind of damage on its own in a data set in Cityscapes' official layout."""

import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from layouts import camvid_original, cityscapes, imagenet, suncg, write

from seg_node.preparation import check
from seg_node.preparation.check import check_split
from seg_node.preparation.frequencies import draw

COUNT = 12


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return cityscapes(tmp_path, {"train": {"aachen": COUNT}})


def image(folder: Path, number: int) -> Path:
    return folder / f"leftImg8bit/train/aachen/aachen_{number:06d}_000019_leftImg8bit.png"


def label(folder: Path, number: int) -> Path:
    return folder / f"gtFine/train/aachen/aachen_{number:06d}_000019_gtFine_labelTrainIds.png"


def test_a_whole_split_is_counted(folder: Path) -> None:
    steps: list[tuple[int, int]] = []
    report = check_split("cityscapes", "train", folder, 1, lambda done, total: steps.append((done, total)))
    assert not report.problems and report.samples == COUNT and report.sizes == {"32x70": COUNT}
    truth = [cv2.imread(str(label(folder, i)), cv2.IMREAD_UNCHANGED) for i in range(COUNT)]
    wanted = np.bincount(np.concatenate(truth).ravel(), minlength=256)
    assert report.counts.tolist() == wanted[:19].tolist() and report.unlabelled == wanted[255]
    assert report.images[13] == COUNT and report.images[14] == 0  # cars, and no trucks
    assert steps[-1] == (COUNT, COUNT)
    assert report.as_dict()["classes"]["car"]["share"] == pytest.approx(wanted[13] / wanted[:19].sum(), abs=1e-8)


def test_every_kind_of_damage_is_found_with_its_file(folder: Path) -> None:
    image(folder, 0).unlink()
    for kind in ("labelTrainIds", "labelIds"):
        label(folder, 1).with_name(label(folder, 1).name.replace("labelTrainIds", kind)).unlink()
    data = image(folder, 2).read_bytes()
    image(folder, 2).write_bytes(data[: len(data) // 2])
    flipped = bytearray(label(folder, 3).read_bytes())
    flipped[len(flipped) // 2] ^= 16
    label(folder, 3).write_bytes(bytes(flipped))
    write(label(folder, 4), np.zeros((32, 71), np.uint8))
    write(label(folder, 5), np.full((32, 70), 77, np.uint8))
    write(label(folder, 6), np.zeros((32, 70, 3), np.uint8))
    image(folder, 7).write_bytes(b"")
    write(label(folder, 8), np.zeros((32, 70), np.uint16))
    report = check_split("cityscapes", "train", folder, 2)
    found = {(Path(problem.file).name, problem.kind) for problem in report.problems}
    assert found == {
        (image(folder, 0).name, "missing"),
        (label(folder, 1).name.replace("labelTrainIds", "labelIds"), "missing"),
        (image(folder, 2).name, "unreadable"),
        (label(folder, 3).name, "unreadable"),
        (label(folder, 4).name, "size"),
        (label(folder, 5).name, "ids"),
        (label(folder, 6).name, "size"),
        (image(folder, 7).name, "unreadable"),
        (label(folder, 8).name, "size"),
    }
    assert report.problems[0].file == str(image(folder, 0))  # in the order of the samples
    assert all(problem.message.startswith(problem.file) for problem in report.problems)
    assert sum(report.sizes.values()) == COUNT - 9


def test_one_process_finds_what_many_find(folder: Path) -> None:
    write(label(folder, 5), np.full((32, 70), 77, np.uint8))
    one, many = (check_split("cityscapes", "train", folder, workers) for workers in (1, 2))
    assert one.as_dict() == many.as_dict() and len(one.problems) == 1


def test_an_empty_split_is_a_problem(folder: Path) -> None:
    report = check_split("cityscapes", "val", folder, 1)
    assert [problem.kind for problem in report.problems] == ["empty"]
    assert "leftImg8bit/val/CITY" in report.problems[0].message


def test_every_image_that_is_no_sample_is_named(folder: Path, tmp_path: Path) -> None:
    other = image(folder, 0).with_name("aachen_1.png")
    write(other, np.zeros((32, 70, 3), np.uint8))
    (other.parent / "notes.txt").write_text("no image")
    report = check_split("cityscapes", "train", folder, 1)
    assert [(problem.file, problem.kind) for problem in report.problems] == [(str(other), "layout")]
    assert report.samples == COUNT and report.published == 2975


def test_names_of_no_frame_do_not_hide_what_else_is_wrong(tmp_path: Path) -> None:
    camvid_original(tmp_path, ("0016E5_00390", "0016E9_00390", "0016E9_00391"), np.array([(128, 0, 192)], np.uint8))
    write(tmp_path / "LabeledApproved_full/0016E5_00390_L.png", np.full((4, 4, 3), 1, np.uint8))
    report = check_split("camvid", "train", tmp_path, 1)
    names = [Path(problem.file).name for problem in report.problems]
    strays = [f"0016E9_0039{i}{end}.png" for end in ("", "_L") for i in (0, 1)]
    assert names[:4] == strays and names[4:] == ["0016E5_00390_L.png"]


def test_every_folder_of_no_class_and_every_scene_that_is_not_there_is_named(tmp_path: Path) -> None:
    imagenet(tmp_path / "i", ("cat",), 1)
    for name in ("fish", "bird"):
        (tmp_path / "i/val" / name).mkdir(parents=True)
    report = check_split("imagenet", "val", tmp_path / "i", 1)
    assert [Path(problem.file).name for problem in report.problems][:2] == ["bird", "fish"]
    suncg(tmp_path / "s", ("a",), np.array([1], np.uint8))
    (tmp_path / "s/train.txt").write_text("b a c")
    report = check_split("suncg", "train", tmp_path / "s", 1)
    assert len(report.problems) == 2 and report.samples == 1
    assert [scene in problem.message for scene, problem in zip("bc", report.problems, strict=True)] == [True, True]


def test_a_jpeg_that_is_cut_short_is_found(tmp_path: Path) -> None:
    imagenet(tmp_path, ("cat", "dog"), 3)
    bad, whole = (tmp_path / "train" / "dog" / f"dog_{number}.JPEG" for number in (1, 2))
    for path, end in ((bad, -40), (whole, None)):  # with a thumbnail, as cameras write, which has an end of its own
        thumbnail = path.read_bytes()
        segment = b"\xff\xff\xff\xe1" + (len(thumbnail) + 2).to_bytes(2, "big") + thumbnail
        path.write_bytes((thumbnail[:2] + segment + thumbnail[2:])[:end])
    report = check_split("imagenet", "train", tmp_path, 1)
    assert [(p.file, p.kind) for p in report.problems] == [(str(bad), "unreadable")]
    assert report.counts.tolist() == [3, 2] and report.names == ("cat", "dog") and report.unlabelled == 0


def _dying(indices: tuple[int, ...]) -> "check._Found":
    if 5 in indices:
        os._exit(9)  # as a process that the kernel ends for its memory
    return check._look(indices)


def test_a_sample_that_ends_its_process_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    how = ("cityscapes", "train", folder, 19)
    opened = check.find_split(*how[:3])
    real = check.ProcessPoolExecutor.submit
    monkeypatch.setattr(check.ProcessPoolExecutor, "submit", lambda pool, _, chunk: real(pool, _dying, chunk))
    for part in check._everything(opened, how, 2):
        found.append(part)
    problems = [problem for part in found for problem in part.problems]
    assert [(index, problem.kind) for index, problem in problems] == [(5, "crash")]
    assert problems[0][1].file == str(image(folder, 5))
    assert sorted(i for part in found for i in part.indices) == list(range(COUNT))


def test_the_picture_has_a_bar_for_each_share(folder: Path) -> None:
    report = check_split("cityscapes", "train", folder, 1)
    picture = draw("cityscapes", [report, report])
    bars = {
        name: int((picture == report.palette[i]).all(2)[:, 210:770].sum())
        for i, name in enumerate(report.names)
        if name in ("car", "truck")
    }
    assert bars["car"] > 5000 and bars["truck"] < 200


def test_the_real_one(camvid: Path) -> None:
    report = check_split("camvid", "val", camvid, 2)
    assert report.samples == 101 and not report.problems and report.sizes == {"360x480": 101}
