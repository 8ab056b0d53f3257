"""One bag from start to end, and what to make of it: the same on this machine and on a worker of a cluster."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from seg_node.label_set import load_label_set
from seg_node.model_card import load_card
from seg_node.pipeline.segmenter import Segmenter
from seg_node.replay import live, offline, report, results_folder
from seg_node.replay.drive import Drive
from seg_node.replay.measure import Measure
from seg_node.replay.offline import Progress, Watcher
from seg_node.replay.outputs import OUTPUTS, Outputs
from seg_node.replay.worst import Worst
from seg_node.runtimes import Runtime, load_runtime

_MIXED = "{} ran in {}, this model in {}; --precision fp32 compares the networks alone"


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
    live: bool = False  # played to the real node
    rate: float = 1.0  # how many times as fast as it was recorded; live only
    outputs: tuple[str, ...] = OUTPUTS  # written beside report.json


class Replayer:
    """Networks, loaded once for many bags. A context manager."""

    def __init__(self, plan: Plan) -> None:
        """Raises ValueError, OSError or ImportError where a model or label set cannot be loaded or does not fit."""
        self.plan = plan
        self._runtimes: list[Runtime] = []
        self._card = load_card(plan.model)
        self._labels = load_label_set(self._card.label_set)
        has_truth = plan.label is not None or plan.truth is not None
        self._truth_set = load_label_set(plan.label_set or self._card.label_set) if has_truth else None
        if self._truth_set is not None:
            self._truth_set.to(self._labels)  # different classes are better said before an hour's work than after
        try:
            self._segmenter = None if plan.live else self._load(plan.model)
            self._against = self._load(plan.against) if plan.against else None
            if self._against is not None:
                self._against.label_set.to(self._labels)
        except BaseException:
            self.close()
            raise

    def _load(self, model: str) -> Segmenter:
        card = load_card(model)
        runtime = load_runtime(card, self.plan.runtime, self.plan.device, self.plan.precision)
        self._runtimes.append(runtime)
        return Segmenter(card, runtime)

    def replay(self, bag: Path, folder: Path, progress: Progress = lambda done, total: None) -> dict[str, Any]:
        """Replay one bag and write its report and the other outputs to ``folder``; returns the report.

        A KeyboardInterrupt ends the drive early: what there is is written, and ``interrupted`` in the report is true.
        ``problems`` tells of outputs that were asked for and not made. Raises SourceError for a bag that cannot be
        replayed, FileExistsError where the results would cost other files, OSError where they cannot be written.
        """
        plan = self.plan
        truth = Path(plan.truth) if plan.truth else None
        with Drive(bag, plan.image, plan.label, truth, self._truth_set) as drive, self._sender(drive, progress) as send:
            results_folder.check(folder, bag)
            folder.mkdir(parents=True, exist_ok=True)
            (folder / results_folder.BEGUN).touch()
            measure = Measure(self._labels, self._truth_set, self._against)
            worst = Worst(measure, self._truth_set)
            outputs = Outputs(plan.outputs, drive, self._labels, folder)
            interrupted, failed = False, list[str]()
            try:
                failed = send([measure, worst, *outputs.watchers])
            except KeyboardInterrupt:
                interrupted = True
            finally:
                outputs.close()
            notes = [*drive.notes, *outputs.notes]
            if interrupted:
                notes.insert(0, f"interrupted after {drive.seen} of {drive.length} messages")
            if self._truth_set is not None and not measure.scored:
                outputs.problems.append("no frame has ground truth: do the stamps of images and labels agree?")
            facts = send.facts(len(measure.moments), len(failed), interrupted)
            about = self._about(drive, failed, [*notes, *outputs.problems], facts)
            made = report.assemble(about, measure, worst)
            made |= {"interrupted": interrupted, "problems": outputs.problems}
            report.write(folder, made, worst.files)
            (folder / results_folder.BEGUN).unlink()
        outputs.write_page()
        return made

    @contextlib.contextmanager
    def _sender(self, drive: Drive, progress: Progress) -> Iterator["_Offline | _Live"]:
        if self._segmenter is not None:
            yield _Offline(self._segmenter, self._runtimes[0], drive, progress)
            return
        plan = self.plan
        words = {"runtime": plan.runtime, "device": plan.device, "precision": plan.precision}
        with live.play(drive, plan.model, rate=plan.rate, progress=progress, **words) as played:
            yield _Live(played, drive, progress)

    def _about(self, drive: Drive, failed: list[str], notes: list[str], facts: dict[str, Any]) -> report.About:
        bag = {"path": str(drive.path), "title": drive.title, "topic": drive.topic, "messages": drive.length}
        notes = [*notes, *facts.pop("notes", [])]
        if self._against is not None and self._runtimes[-1].precision != facts["precision"]:
            notes.append(_MIXED.format(self._against.card.name, self._runtimes[-1].precision, facts["precision"]))
        return report.About(
            mode="live" if self.plan.live else "offline",
            model=self._card.name,
            labels=self._labels,
            bag=bag,
            input_size=(self._card.size[0], self._card.size[1]),
            broken=[*drive.broken, *failed],
            notes=notes,
            settings={key: _plain(value) for key, value in self.plan._asdict().items()},
            against_model=self._against.card.name if self._against else None,
            **facts,
        )

    def close(self) -> None:
        for runtime in self._runtimes:
            runtime.close()
        self._runtimes.clear()

    def __enter__(self) -> "Replayer":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class _Offline:
    """Shows a drive to watchers through the Segmenter."""

    def __init__(self, segmenter: Segmenter, runtime: Runtime, drive: Drive, progress: Progress) -> None:
        self._segmenter, self._runtime, self._drive, self._progress = segmenter, runtime, drive, progress

    def __call__(self, watchers: Sequence[Watcher]) -> list[str]:
        return offline.run(self._segmenter, self._drive, watchers, self._progress)

    def facts(self, out: int, failed: int, interrupted: bool) -> dict[str, Any]:
        """Return what the report says of frames and runtime."""
        # a bag that is damaged up to its end has messages that nobody has seen
        came = self._drive.seen if interrupted else max(self._drive.seen, self._drive.length)
        dropped = {"bad_image": came - out - failed, "inference_failed": failed}
        runtime = self._runtime
        return {
            "frames": {"in": came, "out": out, "dropped": dropped},
            "runtime": runtime.name,
            "device": runtime.device,
            "precision": runtime.precision,
        }


class _Live:
    """Shows watchers what a node has made of a drive."""

    def __init__(self, played: live.Played, drive: Drive, progress: Progress) -> None:
        self._played, self._drive, self._progress = played, drive, progress

    def __call__(self, watchers: Sequence[Watcher]) -> list[str]:
        return live.run(self._played, self._drive, watchers, self._progress)

    def facts(self, out: int, failed: int, interrupted: bool) -> dict[str, Any]:
        del out, failed, interrupted  # the node has counted
        node = self._played.node
        return {
            "frames": {**self._played.frames(), "fps": self._played.fps()},
            "runtime": node.get("runtime", ""),
            "device": node.get("device", ""),
            "precision": node.get("precision", ""),
            "latency_ms": self._played.latency_ms(),
            "notes": self._played.notes(),
        }


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
