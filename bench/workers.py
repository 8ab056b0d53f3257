"""Processes that do one thing when asked: a line of JSON in, a line of JSON out.

Both ends are here: ``Worker`` in the process that measures, ``serve`` in the one that works. A worker ends when its
input does, so none outlives a measurement that was killed.
"""

import json
import os
import queue
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
_PATIENCE = 300.0  # seconds for one answer, unless said otherwise


class WorkerError(RuntimeError):
    """A worker failed or does not answer; the message has the end of what it said."""


class Worker:
    """``python -m bench.NAME`` as a process of its own; a context manager."""

    def __init__(self, name: str, environment: Mapping[str, str], logs: Path, *words: str) -> None:
        self.name, self._log = name, logs / f"{name.rpartition('.')[2]}_{time.monotonic_ns()}.log"
        with open(self._log, "wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", name, *words],
                cwd=ROOT,
                env=dict(environment),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,  # Ctrl-C is for us, who then end it
            )
        self._answers: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._answers.put(line)
        self._answers.put("")  # it ended

    def send(self, do: str, **request: Any) -> None:
        """Ask without waiting; ``receive`` gets the answer."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"do": do, **request}) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise WorkerError(f"{self.name} has ended: {self.said()}") from error

    def receive(self, patience: float = _PATIENCE) -> dict[str, Any]:
        """Raises WorkerError where it failed, ended or took longer than ``patience`` seconds."""
        try:
            answer = json.loads(self._answers.get(timeout=patience) or '{"error": "ended"}')
        except queue.Empty:
            answer = {"error": f"has not answered for {patience:.0f} s"}
        if "error" in answer:
            raise WorkerError(f"{self.name}: {answer['error']}\n{self.said()}")
        return dict(answer["answer"])

    def ask(self, do: str, patience: float = _PATIENCE, **request: Any) -> dict[str, Any]:
        self.send(do, **request)
        return self.receive(patience)

    def said(self) -> str:
        return "\n".join(self._log.read_text(encoding="utf-8", errors="replace").splitlines()[-15:])

    def close(self) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.close()
            self._process.wait(5.0)
        except (OSError, subprocess.TimeoutExpired):
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def serve(**handlers: Callable[..., dict[str, Any]]) -> None:
    """Answer requests until there are no more. What anybody else prints goes to stderr."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer: dict[str, Any] = {"answer": handlers[request.pop("do")](**request)}
        except Exception:
            answer = {"error": traceback.format_exc()}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def cpu_seconds(pid: int) -> float:
    """Return the processor time that a process and its threads have used."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_mb(pid: int) -> float:
    """Return the resident memory of a process, in MB."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024 / 1e6
    return 0.0
