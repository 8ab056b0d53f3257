"""One bag or many, here or on a Ray cluster: a report each, and one of all."""

import functools
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from seg_node.replay import bag_names as names
from seg_node.replay import report, results_folder, spread
from seg_node.replay.page import write_page
from seg_node.replay.progress import Bars, Interrupts
from seg_node.replay.session import Plan, Replayer


class Done(NamedTuple):
    """What became of the bags."""

    reports: list[tuple[dict[str, Any], Path]]  # each with its folder; of several bags the merged one comes last
    failed: dict[str, str]  # bag -> why
    interrupted: bool = False


def here(plan: Plan, bags: Sequence[str], out: Path) -> Done:
    """Replay bags one after the other: one into ``out``, several into folders there, and a merged report into ``out``.

    Raises what a single bag's replay raises, FileExistsError for a foreign report in ``out``; of several, the others go
    on. Ctrl-C ends it with what there is.
    """
    folders = {bags[0]: out} if len(bags) == 1 else {b: out / name for b, name in names.folder_names(bags).items()}
    if len(bags) > 1:
        results_folder.check(out)
    reports: list[tuple[dict[str, Any], Path]] = []
    failed: dict[str, str] = {}
    with Interrupts() as interrupts, Bars() as bars, Replayer(plan) as replayer:
        for bag in bags:
            try:
                reports.append((_replay(replayer, bag, folders[bag], bars, interrupts), folders[bag]))
            except KeyboardInterrupt:  # of a drive of which nothing came back
                interrupts.received = True
            except Exception as error:  # a bag that cannot be opened, a full disk, a node that dies
                if len(bags) == 1:
                    raise
                failed[bag] = " ".join(str(error).split()) or type(error).__name__
                bars.say(f"{bag}: {error}")
            if interrupts.received:
                break
    if len(bags) > 1:
        left = bags[len(reports) + len(failed) :] if interrupts.received else []
        reports += _merge([folder for _, folder in reports], out, plan, _problems(failed, left))
    return Done(reports, failed, interrupts.received)


def on_ray(plan: Plan, bags: Sequence[str], out: Path) -> Done:
    """Replay bags over a Ray cluster, those apart that an earlier run has finished; merge their reports into ``out``.

    Paths in the plan must be absolute. Raises ImportError without Ray.
    """
    results_folder.check(out)
    Replayer(plan).close()  # a model that does not load is better said here, once
    models, folders = [name for name in (plan.model, plan.against) if name], [plan.truth] if plan.truth else []
    key = names.key_of(plan._asdict(), models, folders)
    with Bars("bytes") as bars:
        move = bars.add(f"{len(bags)} bags")
        try:
            done = spread.replay_on_ray(
                bags, functools.partial(replay_one, plan), out, key=key, say=bars.say, progress=move
            )
        except KeyboardInterrupt:
            bars.say("interrupted: bags that are done stay; the same command goes on with the others")
            return Done([], {}, interrupted=True)
        if done.skipped:
            bars.say(f"{len(done.skipped)} of {len(bags)} bags were done by an earlier run")
    reports = [(report.read(folder), folder) for folder in done.folders.values()]
    reports += _merge(list(done.folders.values()), out, plan, _problems(done.failed, []))
    return Done(reports, done.failed)


def replay_one(plan: Plan, bag: Path, folder: Path) -> None:
    """Replay one bag with networks of its own: what a worker of a cluster does."""
    with Replayer(plan) as replayer:
        if replayer.replay(bag, folder)["interrupted"]:
            raise RuntimeError(f"{bag}: interrupted")


def _replay(replayer: Replayer, bag: str, folder: Path, bars: Bars, interrupts: Interrupts) -> dict[str, Any]:
    move = bars.add(names.folder_names([bag])[bag])

    def progress(done: int, total: int | None) -> None:
        move(done, total)
        interrupts.check()

    with names.local(bag) as path:
        made = replayer.replay(path, folder, progress)
    if "://" in bag:
        names.call_by_its_name(folder, bag, path)
        made["bag"]["path"] = bag
    for text in [*made["notes"], *made["broken"][:3]]:
        bars.say(f"{path.name}: {text}")
    if len(made["broken"]) > 3:
        bars.say(f"{path.name}: {len(made['broken'])} messages could not be used; all are in {folder / report.NAME}")
    return made


def _problems(failed: dict[str, str], left: Iterable[str]) -> list[str]:
    texts = [f"{bag} is not in this report: {why}" for bag, why in failed.items()]
    return texts + [f"{bag} is not in this report: interrupted before it" for bag in left]


def _merge(folders: Sequence[Path], out: Path, plan: Plan, notes: Sequence[str]) -> list[tuple[dict[str, Any], Path]]:
    if not folders:
        (out / report.NAME).unlink(missing_ok=True)  # an earlier run's would be taken for this one's
        return []
    merged = report.merge(folders, out, notes)
    if "page" in plan.outputs:
        write_page(out)
    return [(merged, out)]
