"""From recorded drives to a verdict: how good, how fast, how many frames lost, and where it fails.

Reads rosbag2 (sqlite3 and mcap, compressed or not, any age); needs no ROS. Every frame goes through the pipeline and
the runtime that the robot runs. Writes OUT/report.html, report.json, annotated.mcap (for RViz and Foxglove), replay.rrd
(for Rerun) and overlay.mp4; of several bags, each into a folder of its own, and a merged report into OUT.

examples:
  seg-node replay drive.mcap --model rdsnet_camvid
  seg-node replay drive/ --model rdsnet_camvid --image /front/image_raw --label /front/label
  seg-node replay drive.db3 --model new_model --truth labels/ --against old_model --out verdict
  seg-node replay drive.mcap --model rdsnet_camvid --live          in the bag's own time, to the real node
  seg-node replay 's3://drives/2024-*/*.mcap' --model rdsnet_camvid --ray

Ground truth: a topic of label images (mono8, class ids), matched by stamp, or a folder of PNGs named by stamp or in
order; without it, labels are compared from frame to frame and with a second model. A message that cannot be read is
counted and reported. Ctrl-C writes what there is.
"""

import argparse
import json
import math
from pathlib import Path
from typing import Any

from seg_node.commands._arguments import WrongArguments

_LEFT_OUT = ("moments", "confusion", "worst", "palette", "hardware", "versions", "settings", "bags")
INTERRUPTED = 130


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from seg_node import label_set, runtimes

    add = parser.add_argument
    add("bags", nargs="+", metavar="BAG", help="folder, .mcap or .db3 file, or a pattern in quotes; s3:// with fsspec")
    add("--model", required=True, metavar="M", help="a shipped model's name, or a folder with a card.yaml")
    add("--image", metavar="TOPIC", help="the images' topic (default: chosen, and said)")
    truth = parser.add_mutually_exclusive_group()
    truth.add_argument("--label", metavar="TOPIC", help="topic with ground truth, mono8 class ids")
    truth.add_argument("--truth", type=Path, metavar="DIR", help="folder of PNGs with ground truth")
    known = ", ".join(label_set.names())
    add("--label-set", metavar="L", help=f"what the ground truth's ids mean: {known} or a file (default: the model's)")
    add("--against", metavar="M2", help="a second model to compare with, frame by frame")
    add("--runtime", default="auto", choices=["auto", *runtimes.names()], help="(default: the fastest installed)")
    add("--device", default="auto", help="auto, cpu or gpu (default auto)")
    add(
        "--precision",
        default="auto",
        choices=runtimes.PRECISIONS,
        help="(default auto: int8 where harmless, else what the file holds)",
    )
    add("--out", type=Path, default=Path("replay_out"), metavar="DIR", help="(default: replay_out)")
    add("--live", action="store_true", help="play the bag in its own time to the real node, over DDS; needs ROS 2")
    add("--rate", type=_rate, metavar="X", help="how many times as fast as it was recorded; with --live (default 1)")
    add("--ray", action="store_true", help="spread the bags over a Ray cluster; goes on where an earlier run ended")
    add("--no-video", action="append_const", dest="without", const="video", help="no overlay.mp4")
    add("--no-bag", action="append_const", dest="without", const="bag", help="no annotated.mcap")
    add("--no-rerun", action="append_const", dest="without", const="rerun", help="no replay.rrd")
    add("--no-page", action="append_const", dest="without", const="page", help="no report.html")
    add("--json", action="store_true", help="print one JSON object a report and nothing else")


def _rate(text: str) -> float:
    value = float(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"'{text}' is no positive number")
    return value


def run(arguments: argparse.Namespace) -> int:
    from seg_node.replay import bag_names, many

    plan = _plan(arguments)
    bags = bag_names.expand(arguments.bags)
    replay = many.on_ray if arguments.ray else many.here
    done = replay(plan, bags, arguments.out)
    for report, folder in done.reports:
        print(json.dumps(_short(report, folder)) if arguments.json else _table(report, folder))
    if done.interrupted:
        return INTERRUPTED
    return 1 if done.failed or not done.reports or any(_is_poor(report) for report, _ in done.reports) else 0


def _plan(arguments: argparse.Namespace) -> Any:
    from seg_node.replay.session import OUTPUTS, Plan

    if arguments.rate is not None and not arguments.live:
        raise WrongArguments("--rate is for --live; offline, every frame is taken as fast as the machine goes")
    if arguments.ray and arguments.live:
        raise WrongArguments("--live needs this machine for itself: leave --ray out")
    if arguments.label_set and not (arguments.label or arguments.truth):
        raise WrongArguments("--label-set says what ground truth means: give --label TOPIC or --truth DIR too")
    if arguments.truth and not arguments.truth.is_dir():
        raise ValueError(f"{arguments.truth}: no such folder")
    return Plan(
        model=str(_absolute(arguments.model)),
        image=arguments.image,
        label=arguments.label,
        truth=str(arguments.truth.absolute()) if arguments.truth else None,
        label_set=_absolute(arguments.label_set),
        against=_absolute(arguments.against),
        runtime=arguments.runtime,
        device=arguments.device,
        precision=arguments.precision,
        live=arguments.live,
        rate=arguments.rate or 1.0,
        outputs=tuple(name for name in OUTPUTS if name not in (arguments.without or ())),
    )


def _absolute(name: str | None) -> str | None:
    """Return a folder's or file's absolute path, for workers elsewhere; a shipped name as it is."""
    there = name is not None and (Path(name).is_file() or (Path(name) / "card.yaml").is_file())
    return str(Path(str(name)).absolute()) if there else name


def _is_poor(report: dict) -> bool:
    """Return whether it does not hold all that was asked for."""
    return bool(report.get("problems")) or report["images"] == 0


def _short(report: dict, folder: Path) -> dict:
    """Return a report without its long lists."""
    short = {key: value for key, value in report.items() if key not in _LEFT_OUT}
    short["agreement"] = {key: value for key, value in report["agreement"].items() if key != "confusion"}
    return {**short, "report": str(folder / "report.json")}


def _table(report: dict, folder: Path) -> str:
    """Return a report as people read it on a terminal."""
    frames, ms, agreement = report["frames"], report["ms_per_image"], report["agreement"]
    lost = ", ".join(f"{count} {cause.replace('_', ' ')}" for cause, count in frames["dropped"].items() if count)
    lines = [
        f"{report['bag']['title']} {report['bag']['topic']}: {report['model']}, {report['runtime']} "
        f"{report['precision']} on {report['device']}, {report['mode']}",
        f"  frames            {frames['out']} of {frames['in']} labelled"
        + (f", lost: {lost}" if lost else ", none lost"),
    ]
    if ms:
        lines.append(f"  ms an image       p50 {ms['p50']:.1f}, p95 {ms['p95']:.1f}")
    if "end_to_end" in report["latency_ms"]:
        lines.append(
            "  ms end to end     p50 {p50:.1f}, p95 {p95:.1f}, p99 {p99:.1f}, max {max:.1f}".format(
                **report["latency_ms"]["end_to_end"]
            )
        )
    if agreement["consecutive"] is not None:
        lines.append(f"  frame to frame    {_percent(agreement['consecutive'])} of the pixels keep their class")
    if agreement["against"] is not None:
        lines.append(f"  with {agreement['against_model']:<12} {_percent(agreement['against'])} of the pixels alike")
    if report["miou"] is not None:
        lines.append(
            f"  mIoU              {_percent(report['miou'])}   pixel accuracy {_percent(report['pixel_accuracy'])}"
        )
        lines += [f"    {name:<16}{_percent(value):>9}" for name, value in report["iou"].items() if value is not None]
    lines += [f"  PROBLEM: {text}" for text in report.get("problems", [])]
    if report["broken"]:
        lines.append(f"  {len(report['broken'])} messages could not be used")
    page = folder / "report.html"
    return "\n".join([*lines, f"  {page if page.exists() else folder / 'report.json'}"])


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"
