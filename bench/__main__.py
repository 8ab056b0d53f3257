"""Measure everything that has a goal, in one run, and keep it in docs/results.

examples:
  make bench                                   everything, an hour and a half; nothing else should run
  make bench-quick                             the same with few frames, in two minutes; kept in bench_out
  make bench ARGS="node tutorial"              two items; the others' rows of today's file stay
  python -m bench models --quick --json        one JSON object a line, and nothing else on stdout

What is compared takes turns in rounds. Nodes, camera and listener are processes of their own, over real DDS. Exit
code: 0 where all was measured, 1 where something failed, whether goals are met or not: a busy machine misses some.
"""

import argparse
import json
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

from bench import table
from bench.plan import PLANS, Plan
from bench.workers import ROOT
from seg_node import plugins

ITEMS = (
    "node",
    "tutorial",
    "startup",
    "models",
    "peak",
    "evaluation",
    "loading",
    "replay",
    "training",
    "scaling",
    "gpu",
)


def main() -> int:
    arguments = _parser().parse_args()
    plan = PLANS["quick" if arguments.quick else "tiny" if arguments.tiny else "full"]
    if arguments.model:
        plan = plan._replace(model=_absolute(arguments.model))
    out = arguments.out or ROOT / ("docs/results" if plan.name == "full" else "bench_out")
    path, rows, failed = table.path_in(out, plan.name), [], False
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        for item in arguments.items or ITEMS:
            failed |= not _measure(item, plan, arguments.json, path, rows)
    except KeyboardInterrupt:
        print(f"\nbench: interrupted; what was done is in {path}", file=sys.stderr)
        return 130
    finally:
        if rows and not arguments.json:
            table.show(rows)
    print(f"bench: {path}", file=sys.stderr)
    return 1 if failed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("items", nargs="*", choices=[[], *ITEMS], metavar="ITEM", help=f"{', '.join(ITEMS)} (all)")
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--quick", action="store_true", help="few frames: two minutes, not for documents")
    kind.add_argument("--tiny", action="store_true", help="a handful of frames: only shows that all works")
    parser.add_argument("--model", metavar="M", help="another model than the shipped one")
    parser.add_argument("--out", type=Path, metavar="DIR", help="(default docs/results; with --quick bench_out)")
    parser.add_argument("--json", action="store_true", help="print one JSON object a line and nothing else")
    return parser


def _measure(item: str, plan: Plan, as_json: bool, path: Path, rows: list[table.Row]) -> bool:
    """Add an item's rows, as they come, to the file too; say whether all went well: what does not is told."""
    begun, first = time.monotonic(), len(rows)

    def say(what: str) -> None:
        print(f"bench: {item}: {what}  ({time.monotonic() - begun:.0f} s)", file=sys.stderr, flush=True)

    module = plugins.load("bench.items", item)
    say((module.__doc__ or "").partition("\n")[0])
    try:
        made: Iterator[table.Row] = module.measure(plan, say)
        for each in made:
            rows.append(table.stamped(item, each, plan.name))
            table.keep(path, item, rows[first:], others=True)
            if as_json:
                print(json.dumps(rows[-1]), flush=True)
    except Exception as error:
        traceback.print_exc()
        say(f"failed: {error}")
        return False
    table.keep(path, item, rows[first:])
    say("done")
    return True


def _absolute(model: str) -> str:
    return str(Path(model).resolve()) if Path(model).exists() else model


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
