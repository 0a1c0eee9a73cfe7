"""How many bytes may be fetched that nobody asked for: bounded by what was asked for, or used afterwards, whatever is read.

Windows grow with how often a pack is read, which alone says nothing of how much of it will be: ten thousand packs of which
each is read five times would be fetched whole. So all that is taken along, indexes included, is at most FREE_BYTES and RATIO_MAX
times what readers used. With 32, and a cache that keeps it all, one request serves about 64 files however large the data set is:
it may bring 32 files' worth for each one that was used, also for those that earlier requests brought.

Owner of the counts: itself, under its lock.
"""

from __future__ import annotations

import threading

FREE_BYTES = 64 << 20
RATIO_MAX = 32


class Allowance:
    """Args:
    free_bytes: taken along at most before anything was used.
    ratio_max: bytes taken along for each byte used.
    """

    def __init__(self, free_bytes: int = FREE_BYTES, ratio_max: int = RATIO_MAX) -> None:
        self._free_bytes = free_bytes
        self._ratio_max = ratio_max
        self._lock = threading.Lock()
        self._used_bytes = self._taken_bytes = 0

    def used(self, size_bytes: int) -> None:
        """So much was asked for, or found where it had been taken along; each object counts once a fetch."""
        with self._lock:
            self._used_bytes += size_bytes

    @property
    def spare_bytes(self) -> int:
        """How much may be taken along now."""
        with self._lock:
            return max(0, self._free_bytes + self._ratio_max * self._used_bytes - self._taken_bytes)

    def take(self, size_bytes: int) -> bool:
        """Whether so much may be taken along; it is counted then."""
        with self._lock:
            if self._taken_bytes + size_bytes > self._free_bytes + self._ratio_max * self._used_bytes:
                return False
            self._taken_bytes += size_bytes
            return True
