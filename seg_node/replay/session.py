"""One bag from start to end, and what to make of it: the same on this machine and on a worker of a cluster."""

from pathlib import Path
from typing import NamedTuple

OUTPUTS = ("page", "bag", "rerun", "video")


class Plan(NamedTuple):
    """How bags are replayed. Only plain values: it travels to other machines."""

    model: str  # a shipped model's name or a folder with a card.yaml
    image: str | None = None  # topic; None: chosen
    label: str | None = None  # topic with ground truth
    truth: str | None = None  # or a folder with it
    label_set: str | None = None  # of the ground truth; None: the model's own
    against: str | None = None  # a second model
    runtime: str = "auto"
    device: str = "auto"
    precision: str = "auto"
    outputs: tuple[str, ...] = OUTPUTS  # written beside report.json


class Replayer:
    """Networks, loaded once for many bags. A context manager.

    with Replayer(plan) as replayer:
        report = replayer.replay(Path("drive.mcap"), Path("out/drive"), progress)
    """

    def __init__(self, plan: Plan) -> None: ...


def replay(replayer: Replayer, bag: Path, out: Path) -> None: ...
