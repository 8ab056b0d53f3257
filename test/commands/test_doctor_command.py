"""seg-node doctor as a person meets it, on this very machine."""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def run(*words: str, **environ: str) -> subprocess.CompletedProcess:
    env = {k: v for k, v in os.environ.items() if not k.startswith(("FAST", "RMW_"))}
    command = [sys.executable, "-m", "seg_node", "doctor", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env={**env, **environ}, cwd=ROOT)


def test_json_alone_and_exit_code_1_for_an_error() -> None:
    done = run("--json", "--no-topics", "--cameras", "2", RMW_IMPLEMENTATION="rmw_fastrtps_cpp")
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 1 and all(set(f) == {"check", "level", "says", "type"} for f in found), done.stderr
    assert "fast dds profile" in {f["check"] for f in found if f["level"] == "error"}


def test_what_it_says_to_type_cures_it(tmp_path: Path) -> None:
    profile = tmp_path / "fastdds.xml"
    written = run("--image", "2160x3840", "--write-profile", str(profile))
    assert written.returncode == 0, written.stderr
    exports = dict(
        line[len("export ") :].split("=") for line in written.stdout.splitlines() if line.startswith("export")
    )
    done = run("--json", "--no-topics", "--image", "2160x3840", **exports)
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [f["level"] for f in found if f["check"].startswith("fast dds")] == ["ok"]


def test_wrong_arguments_exit_with_2() -> None:
    done = run("--image", "large")
    assert done.returncode == 2 and "HEIGHTxWIDTH" in done.stderr
