"""What a replay leaves beside its report: video, annotated bag, Rerun recording, page.

None of them is worth losing the report: where a library is missing, an output is left out with a note, and one that
fails half-way is ended and told of.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from seg_node.evaluation.video_writer import VideoWriter
from seg_node.label_set import LabelSet
from seg_node.pipeline.overlay import Overlay
from seg_node.replay.drive import Drive
from seg_node.replay.measure import Elapsed
from seg_node.replay.offline import Result, Watcher
from seg_node.replay.results_folder import FILES

OUTPUTS = ("page", "bag", "rerun", "video")
_ALPHA = 0.5


class Outputs:
    """The outputs of one drive."""

    def __init__(self, wanted: tuple[str, ...], drive: Drive, labels: LabelSet, folder: Path) -> None:
        """Files that an earlier replay left in ``folder`` are removed, the report's too."""
        self.notes: list[str] = []
        self.problems: list[str] = []  # outputs that were asked for and failed
        self._wanted, self._folder = wanted, folder
        for name in ("report.json", *FILES.values()):
            (folder / name).unlink(missing_ok=True)
        makers: dict[str, Callable[[Path], Any]] = {
            "bag": lambda path: _annotated_bag(path, drive, labels),
            "rerun": lambda path: _rerun_file(path, drive, labels),
            "video": lambda path: _Video(path, drive, labels),
        }
        self._guards = [
            guard for name, make in makers.items() if name in wanted and (guard := self._start(name, make)) is not None
        ]

    @property
    def watchers(self) -> list[Watcher]:
        return list(self._guards)

    def _start(self, name: str, make: Callable[[Path], Any]) -> "_Guard | None":
        try:
            return _Guard(FILES[name], make(self._folder / FILES[name]), self.problems)
        except ImportError as error:
            self.notes.append(f"without {FILES[name]}: {error}")
        except Exception as error:  # whatever its library raises
            self.problems.append(f"{FILES[name]} could not be made: {error}")
        return None

    def close(self) -> None:
        """Finish the files."""
        for guard in self._guards:
            guard.close()
            self.notes += [f"{guard.name}: {note}" for note in getattr(guard.watcher, "notes", [])]

    def write_page(self) -> None:
        """Write report.html from the report that lies in the folder. Raises what goes wrong."""
        if "page" in self._wanted:
            from seg_node.replay.page import write_page

            write_page(self._folder)


class _Guard:
    """A watcher whose failure ends itself, and nothing else."""

    def __init__(self, name: str, watcher: Any, problems: list[str]) -> None:
        self.name, self.watcher, self._problems = name, watcher, problems
        self._failed = False

    def see(self, result: Result) -> None:
        if not self._failed:
            self._try(lambda: self.watcher.see(result), f"ends at frame {result.picture.index}")

    def close(self) -> None:
        self._try(self.watcher.close, "was not finished")

    def _try(self, work: Callable[[], None], what: str) -> None:
        try:
            work()
        except Exception as error:  # disk, codec, library: the report goes on
            if not self._failed:
                self._problems.append(f"{self.name} {what}: {' '.join(str(error).split()) or type(error).__name__}")
            self._failed = True


class _Video:
    """A watcher: overlay.mp4 with every frame, in the drive's own time."""

    def __init__(self, path: Path, drive: Drive, labels: LabelSet) -> None:
        import av  # noqa: F401 (said here, not at the first frame)

        self._writer = VideoWriter(path)
        self._overlay, self._gap = Overlay(labels), 1 / max(drive.rate, 1e-3)
        self._elapsed = Elapsed()
        self._last = -1.0

    def see(self, result: Result) -> None:
        frame, labels = result.picture.frame, result.labels
        blend = self._overlay.blend(frame, labels, self._overlay.color(labels), _ALPHA, legend=True).copy()
        moment = self._moment(result)
        while not self._writer.offer(blend, moment):  # nobody waits for us: no frame is skipped
            time.sleep(0.002)

    def _moment(self, result: Result) -> float:
        """Return seconds since the first frame; where stamps stand still or go back, a frame later than the last."""
        moment = self._elapsed(result.picture)
        self._last = moment if moment >= self._last + 0.001 else self._last + self._gap
        return self._last

    def close(self) -> None:
        self._writer.close()


def _annotated_bag(path: Path, drive: Drive, labels: LabelSet) -> Any:
    from seg_node.replay.annotated_bag import AnnotatedBag

    return AnnotatedBag(path, drive, labels)


def _rerun_file(path: Path, drive: Drive, labels: LabelSet) -> Any:
    from seg_node.replay.rerun_file import RerunFile

    return RerunFile(path, drive, labels)
