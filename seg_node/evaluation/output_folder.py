"""A folder of results that appears when all of it is written, and not before."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np

_QUALITY = [cv2.IMWRITE_JPEG_QUALITY, 90]


@contextmanager
def output_folder(out: Path, mark: str) -> Iterator[Path]:
    """Yield an empty folder beside ``out`` that takes its place at the end; a run that dies leaves ``out`` as it was.

    ``mark``: the file by which results of the same command are known; they are replaced. Raises ValueError where
    ``out`` holds anything else.
    """
    out = out.resolve()
    unfinished, old = out.with_name(f".{out.name}.unfinished"), out.with_name(f".{out.name}.old")
    if old.exists() and not out.exists():
        os.replace(old, out)  # a run was killed between the two renames below
    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not (out / mark).is_file())):
        raise ValueError(f"{out}: is there already and holds no {mark}; choose another folder, or empty it")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    try:
        yield unfinished
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    shutil.rmtree(old, ignore_errors=True)
    if out.exists():
        os.replace(out, old)
    os.replace(unfinished, out)
    shutil.rmtree(old, ignore_errors=True)


def write_picture(path: Path, picture: np.ndarray) -> None:
    """Write uint8 (H, W, 3) BGR as what the name says. Raises OSError where it cannot."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(path), picture, _QUALITY if path.suffix == ".jpg" else []):
        raise OSError(f"{path}: cannot be written")
