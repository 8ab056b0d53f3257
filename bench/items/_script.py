"""Items that are programs of their own, which print a JSON object a line."""

import json
import subprocess
import sys
from collections.abc import Iterator

from bench.table import Row, failure
from bench.workers import ROOT


def rows_of(script: str, *words: str) -> Iterator[Row]:
    """Run ``bench/<script>`` and yield what it prints. Where it fails, the last row says so."""
    done = subprocess.run(
        [sys.executable, f"bench/{script}", *words],
        cwd=ROOT,
        text=True,
        capture_output=True,
        check=False,
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    for line in lines:
        yield json.loads(line)
    if done.returncode and not lines:
        yield failure(script, (done.stderr.strip().splitlines() or ["it printed nothing"])[-1])
