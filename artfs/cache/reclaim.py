"""Which segments make room, and which objects in them stay: decided from samples of their times of last use.

Space is freed by segments: those with the largest share of objects unused for long go, and what was used lately in them is
carried over into a new one. That is the least recently used order but for one liberty: rather than only the very
oldest objects, which lie everywhere, `SLACK` times as many are let go where they lie together, so that little is copied.

Pure.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import NamedTuple

from artfs.cache.layout import PINNED

SAMPLE = 64  # stamps looked at per segment
SLACK = 3


class SegmentUse(NamedTuple):
    """A segment's share of the disk, and the sorted times of last use of a sample of its records."""

    id: int
    disk_bytes: int
    stamps: Sequence[int]

    @property
    def holds_pins(self) -> bool:
        """As far as the sample tells; pins come in runs."""
        return bool(self.stamps) and self.stamps[-1] >= PINNED

    @property
    def typical_use_ns(self) -> int:
        return self.stamps[len(self.stamps) // 2] if self.stamps else 0

    def stale_share(self, keep_from_ns: int) -> float:
        if not self.stamps:
            return 1.0
        return sum(1 for stamp in self.stamps if stamp < keep_from_ns) / len(self.stamps)


class ReclaimPlan(NamedTuple):
    """Segments to remove, best first, after carrying over their objects used at `keep_from_ns` or later."""

    segments: list[int]
    keep_from_ns: int


def sample_stamps(stamps: array[int]) -> list[int]:
    return sorted(stamps[:: max(1, len(stamps) // SAMPLE)])


def plan_reclaim(uses: Sequence[SegmentUse], need_bytes: int) -> ReclaimPlan:
    """How to free about `need_bytes`; as much of it as is possible without touching pinned objects."""
    keep_from_ns = _cutoff(uses, need_bytes * SLACK)
    by_share = sorted(uses, key=lambda use: (-use.stale_share(keep_from_ns), use.typical_use_ns))
    chosen: list[int] = []
    freed = 0.0
    for use in by_share:
        stale = use.disk_bytes * use.stale_share(keep_from_ns)
        if freed >= need_bytes or not stale:
            break
        chosen.append(use.id)
        freed += stale
    return ReclaimPlan(chosen, keep_from_ns)


def _cutoff(uses: Sequence[SegmentUse], stale_bytes: int) -> int:
    """The time of last use below which about `stale_bytes` are, or all that is not pinned."""
    found = float(sum(use.disk_bytes for use in uses if not use.stamps))
    for stamp, weight in sorted((stamp, use.disk_bytes / len(use.stamps)) for use in uses for stamp in use.stamps):
        if stamp >= PINNED:
            break
        found += weight
        if found >= stale_bytes:
            return stamp + 1
    return PINNED


def plan_cutoff(stamps_and_sizes: Sequence[tuple[int, int]], excess_bytes: int) -> tuple[int, int, int]:
    """For a cleanup: the time from which objects stay, how many go, and their bytes.

    Args:
        stamps_and_sizes: of every object.
        excess_bytes: to be removed at least, as far as pins allow.
    """
    removed_bytes = 0
    for count, (stamp, size) in enumerate(sorted(stamps_and_sizes)):
        if removed_bytes >= excess_bytes or stamp >= PINNED:
            return stamp, count, removed_bytes
        removed_bytes += size
    return PINNED, len(stamps_and_sizes), removed_bytes
