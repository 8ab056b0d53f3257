"""Where real data lies, as for the tests: SEG_NODE_DATA, or shared/data beside the checkout."""

import os
from pathlib import Path

from bench.workers import ROOT


def camvid() -> Path | None:
    """Return the folder of CamVid in SegNet's layout; None where it is not here."""
    folder = Path(os.environ.get("SEG_NODE_DATA", ROOT.parent / "shared" / "data")) / "camvid"
    return folder if (folder / "train").is_dir() else None
