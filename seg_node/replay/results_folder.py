"""Whether a replay may write into a folder: not over the bag that it reads, nor over files that are none of its own."""

from pathlib import Path

from seg_node.replay import report

FILES = {"page": "report.html", "bag": "annotated.mcap", "rerun": "replay.rrd", "video": "overlay.mp4"}
BEGUN = ".replay-begun"  # lies there until the report does: a killed replay is begun anew


def check(folder: Path, bag: Path | None = None, whole: bool = False) -> None:
    """Raise FileExistsError where results in ``folder`` would cost somebody files.

    ``bag``: what is read; None: a merged report is written. ``whole``: the folder is replaced as a whole, and not only
    the files that a replay writes.
    """
    if bag is not None:
        _check_bag(folder.resolve(), bag.resolve(), whole)
    names = ("report.json", *(FILES.values() if bag is not None else [FILES["page"]]))
    there = [path for path in folder.iterdir() if whole or path.name in names] if folder.is_dir() else []
    if there and not _is_ours(folder):
        raise FileExistsError(
            f"{min(there)}: is there already, and no replay's report beside it; choose another --out, or move it"
        )


def _check_bag(folder: Path, bag: Path, whole: bool) -> None:
    into = bag.is_dir() and (folder == bag or bag in folder.parents)
    over = (bag.parent == folder and bag.name in FILES.values()) or (whole and folder in bag.parents)
    if into or over:
        raise FileExistsError(f"{bag}: its results would be written over it, into {folder}; choose another --out")


def _is_ours(folder: Path) -> bool:
    if (folder / BEGUN).exists():
        return True
    try:
        report.read(folder)
    except report.ReportError as error:
        return isinstance(error, report.OtherVersionError)
    return True
