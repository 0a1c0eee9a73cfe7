"""Readers: processes that read parts of a data set at once, each byte of which is compared with its source."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench.data import DataSet
from tests.bench.measure import CheckFailed

READER = Path(__file__).with_name("reader.py")
ANSWER_S = 900.0


@dataclass(frozen=True)
class Reading:
    """What some readers did together."""

    seconds: float
    files: int
    bytes: int
    answers: tuple[dict[str, Any], ...]

    @property
    def files_per_s(self) -> float:
        return self.files / self.seconds

    @property
    def mib_per_s(self) -> float:
        return self.bytes / 2**20 / self.seconds

    @property
    def latencies_s(self) -> list[float]:
        return [latency for answer in self.answers for latency in answer.get("latencies", ())]


@dataclass(frozen=True)
class Order:
    """What one reader is told to read: paths of `data` below `root`."""

    root: Path
    data: DataSet
    paths: Sequence[str]
    how: str = "one_by_one"
    method: str = ""
    limit_s: float = 600.0
    latencies: bool = False

    def line(self) -> str:
        told = {"root": str(self.root), "paths": list(self.paths), "how": self.how, "method": self.method}
        digests = {path: self.data.digests[path] for path in self.paths}
        return json.dumps({**told, "digests": digests, "limit_s": self.limit_s, "latencies": self.latencies}) + "\n"


def read(root: Path, data: DataSet, paths: Sequence[str], *, processes: int = 1, **how: Any) -> Reading:
    """`paths` dealt out to so many processes, read from their common start to the end of the last one."""
    return read_all([Order(root, data, paths[number::processes], **how) for number in range(processes)])


def read_all(orders: Sequence[Order]) -> Reading:
    """One process for each order. Raises CheckFailed if a byte is wrong, or a reader fails."""
    with ExitStack() as stack:
        readers = [stack.enter_context(_started(order)) for order in orders]
        for reader in readers:
            if _line(reader) != "ready\n":
                raise CheckFailed(f"a reader did not start: {reader.communicate(timeout=30)[1][-300:]}")
        for reader in readers:
            assert reader.stdin is not None
            reader.stdin.write("go\n")
            reader.stdin.flush()
        answers = tuple(_answer(reader) for reader in readers)
    for answer in answers:
        if answer["wrong"]:
            raise CheckFailed(f"other bytes than the source's were read from {', '.join(answer['wrong'])}")
    seconds = max(answer["end"] for answer in answers) - min(answer["begin"] for answer in answers)
    files, total = (sum(answer[name] for answer in answers) for name in ("files", "bytes"))
    return Reading(max(seconds, 1e-9), files, total, answers)


class _started:
    """A reader with its order; killed at the end if it still runs."""

    def __init__(self, order: Order) -> None:
        pipe = subprocess.PIPE
        self._process = subprocess.Popen([sys.executable, READER], stdin=pipe, stdout=pipe, stderr=pipe, text=True)
        assert self._process.stdin is not None
        self._process.stdin.write(order.line())
        self._process.stdin.flush()

    def __enter__(self) -> subprocess.Popen[str]:
        return self._process

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate(timeout=30)


def _line(reader: subprocess.Popen[str]) -> str:
    assert reader.stdout is not None
    return reader.stdout.readline()


def _answer(reader: subprocess.Popen[str]) -> dict[str, Any]:
    try:
        output, complaint = reader.communicate(timeout=ANSWER_S)
    except subprocess.TimeoutExpired:
        raise CheckFailed(f"a reader did not end within {ANSWER_S:g} s") from None
    if reader.returncode:
        raise CheckFailed(f"a reader failed: {complaint.strip()[-300:]}")
    found: dict[str, Any] = json.loads(output)
    return found
