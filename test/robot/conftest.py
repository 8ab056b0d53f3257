"""Real images for what a robot runs: the shipped golden ones, and CamVid where it is."""

from pathlib import Path

import cv2
import pytest

GOLDEN = Path(__file__).resolve().parent.parent.parent / "config" / "golden"


@pytest.fixture(scope="session")
def golden():
    """Name -> uint8 (240, 320, 3) BGR."""
    paths = [path for path in sorted(GOLDEN.glob("*.png")) if not path.name.endswith(".label.png")]
    assert len(paths) == 8
    return {path.name: cv2.imread(str(path)) for path in paths}


@pytest.fixture
def streets(camvid):
    """Four of CamVid's validation images, far apart: [(uint8 (360, 480, 3) BGR, uint8 (360, 480) class ids)]."""
    paths = sorted((camvid / "val").glob("*.png"))[::30]
    assert len(paths) == 4
    return [
        (cv2.imread(str(path)), cv2.imread(str(camvid / "valannot" / path.name), cv2.IMREAD_GRAYSCALE))
        for path in paths
    ]
