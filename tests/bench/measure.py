"""Racing contestants: interleaved, warmed up, repeated; medians with their spread, and no number for whoever failed a check.

Only ratios within one run mean anything: the machine of another run was another machine, or a busier one.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

DROP_CACHES = Path("/proc/sys/vm/drop_caches")
ROOT = Path(__file__).parents[2]


class CheckFailed(Exception):
    """What was read, stored or listed is not what it should be: there is no number for this."""


@dataclass(frozen=True)
class Sample:
    """One measurement. `counts` are what does not depend on the machine's speed."""

    value: float
    counts: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Figure:
    """All samples of one contestant."""

    samples: tuple[Sample, ...]

    @property
    def median(self) -> float:
        return statistics.median(sample.value for sample in self.samples)

    @property
    def low(self) -> float:
        return min(sample.value for sample in self.samples)

    @property
    def high(self) -> float:
        return max(sample.value for sample in self.samples)

    def count(self, name: str) -> float:
        """The median of a count."""
        return statistics.median(sample.counts[name] for sample in self.samples)

    @property
    def counts(self) -> dict[str, float]:
        return {name: self.count(name) for name in self.samples[0].counts}


@dataclass
class Race:
    """What came of a race: a figure for each who ran, the reason for each who did not."""

    figures: dict[str, Figure] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)


Contestant = Callable[[], Sample]
FAILURES = (CheckFailed, OSError, subprocess.SubprocessError)


SLOW_S = 15.0  # a peer that takes longer takes part in SLOW_ROUNDS rounds
SLOW_ROUNDS = 2


def race(contestants: Mapping[str, Contestant], repeat: int, *, warm_up: int = 1) -> Race:
    """Each contestant once in each round, every round beginning with another. The first `warm_up` rounds do not count.

    Who fails is out, and its reason is kept in place of its numbers. Slow peers of artfs are measured less often.
    """
    samples: dict[str, list[Sample]] = {name: [] for name in contestants}
    slow: set[str] = set()
    found = Race()
    names = list(contestants)
    for number in range(warm_up + repeat):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            if name in found.refused or (name in slow and len(samples[name]) >= SLOW_ROUNDS):
                continue
            begin_s = time.monotonic()
            try:
                sample = contestants[name]()
            except FAILURES as failure:
                found.refused[name] = f"{type(failure).__name__}: {failure}"[:500]
                say(f"    {name} is out: {found.refused[name]}")
                continue
            if time.monotonic() - begin_s > SLOW_S and not name.startswith("artfs"):
                slow.add(name)
            if number >= warm_up:
                samples[name].append(sample)
    found.figures = {name: Figure(tuple(values)) for name, values in samples.items() if name not in found.refused}
    return found


def refuse(failure: Exception) -> Sample:
    """A contestant who could not even begin."""
    raise failure


def drop_caches() -> bool:
    """Write back, and forget what the kernel holds of files. Returns whether that was permitted."""
    os.sync()
    try:
        DROP_CACHES.write_text("3")
    except OSError:
        return False
    return True


def may_drop_caches() -> bool:
    return os.access(DROP_CACHES, os.W_OK)


def warm_up_memory(size_bytes: int = 1 << 30) -> None:
    """Touch memory once: on a virtual machine its first use is slow."""
    block = bytearray(min(size_bytes, 1 << 30))
    block[:: os.sysconf("SC_PAGE_SIZE")] = b"x" * len(range(0, len(block), os.sysconf("SC_PAGE_SIZE")))


def timed(action: Callable[[], object]) -> float:
    begin = time.perf_counter()
    action()
    return time.perf_counter() - begin


def run(
    *command: str | Path, timeout_s: float = 1800, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> str:
    """What a program prints that must succeed. Raises CheckFailed with what it complained about."""
    words = list(map(str, command))
    done = subprocess.run(
        words,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        env=env,
        cwd=cwd,
        check=False,
    )
    if done.returncode:
        raise CheckFailed(f"{' '.join(words[:4])}: exit code {done.returncode}: {(done.stderr or done.stdout)[-300:]}")
    return done.stdout


def require(condition: bool, what: str) -> None:
    """Raise CheckFailed unless `condition`."""
    if not condition:
        raise CheckFailed(what)


def tree_bytes(root: Path) -> int:
    """What the files below `root` hold, apparent sizes."""
    return sum(path.lstat().st_size for path in root.rglob("*") if path.is_file() and not path.is_symlink())


def percentile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def machine_facts() -> dict[str, Any]:
    """Where and when this ran, and of what."""
    cpu = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if "model name" in line
    ]
    uname = os.uname()
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "cpu": f"{len(os.sched_getaffinity(0))} x {cpu[0] if cpu else uname.machine}",
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "kernel": uname.release,
        "load_at_start": round(os.getloadavg()[0], 2),
        "caches_dropped": may_drop_caches(),
        "python": sys.version.split()[0],
        "artfs": _commit(),
    }


def _commit() -> str:
    done = subprocess.run(
        ["git", "-C", str(ROOT), "describe", "--always", "--dirty"],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    return done.stdout.strip() or "unknown"


def say(text: str) -> None:
    """Progress, for whoever waits."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()
