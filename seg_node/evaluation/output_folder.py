"""A folder of results that appears when all of it is written, and not before."""

import json
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np

_QUALITY = [cv2.IMWRITE_JPEG_QUALITY, 90]
_WRITTEN = ".written"  # names what a command wrote into its folder: the rest is somebody's and stays


@contextmanager
def output_folder(out: Path, mark: str, reads: Iterable[Path] = ()) -> Iterator[Path]:
    """Yield an empty folder beside ``out`` that takes its place at the end; a run that dies leaves ``out`` as it was.

    ``mark``: the file by which results of the same command are known; they are replaced, and what somebody laid beside
    them is kept. ``reads``: what the command reads. Raises ValueError where that lies in ``out``, or where ``out``
    holds anything but such results.
    """
    out = out.resolve()
    for path in reads:
        if out in (path.resolve(), *path.resolve().parents):
            raise ValueError(
                f"{path}: would be replaced, since it lies in {out}; choose another folder for the results"
            )
    unfinished = out.with_name(f".{out.name}.unfinished")
    _recover(out)
    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not (out / mark).is_file())):
        raise ValueError(f"{out}: is there already and holds no {mark}; choose another folder, or empty it")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    try:
        yield unfinished
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    put_in_place(unfinished, out)


def put_in_place(unfinished: Path, out: Path) -> None:
    """Make a folder of results ``out``: what was written there before goes, and what somebody laid beside it stays.

    A kill at any moment leaves the old results or the new ones, once it is called again.
    """
    old = _recover(out)
    written = sorted(path.name for path in unfinished.iterdir())
    (unfinished / _WRITTEN).write_text(json.dumps(written) + "\n", encoding="utf-8")
    shutil.rmtree(old, ignore_errors=True)
    if out.exists():
        os.replace(out, old)
    os.replace(unfinished, out)
    _bring_back(old, out)
    shutil.rmtree(old, ignore_errors=True)


def _recover(out: Path) -> Path:
    """Mend what a kill while a folder was put in place has left; return where that lays the old one aside."""
    old = out.with_name(f".{out.name}.old")
    if old.exists() and not out.exists():
        os.replace(old, out)  # killed between the two renames
    elif out.is_dir():
        _bring_back(old, out)  # or right after them
    return old


def _bring_back(old: Path, out: Path) -> None:
    """Move what no command wrote out of the old folder."""
    if (old / _WRITTEN).is_file():
        ours = {_WRITTEN, *json.loads((old / _WRITTEN).read_text(encoding="utf-8"))}
        for path in old.iterdir():
            if path.name not in ours and not (out / path.name).exists():
                os.replace(path, out / path.name)


def write_picture(path: Path, picture: np.ndarray) -> None:
    """Write uint8 (H, W, 3) BGR as what the name says. Raises OSError where it cannot."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(path), picture, _QUALITY if path.suffix == ".jpg" else []):
        raise OSError(f"{path}: cannot be written")
