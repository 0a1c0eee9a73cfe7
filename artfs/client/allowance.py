"""How many bytes may be fetched that nobody asked for: bounded by what was asked for, or used afterwards, whatever is read.

`windows` decides by how densely packs are read, which is a guess; this is the bound that holds when it guesses wrong. What is
taken along, indexes included, is paid from a credit: FREE_BYTES at first, RATIO_MAX bytes more for each byte that a reader
used, and never more than CREDIT_BYTES_MAX, so that who has read a data set through cannot waste more than that afterwards.
With 90, and a cache that keeps it all, one request serves many files however large the data set is: each file that is used
allows another 90 to be brought.

Owner of the counts: itself, under its lock.
"""

from __future__ import annotations

import threading

FREE_BYTES = 16 << 20
RATIO_MAX = 90
CREDIT_BYTES_MAX = 512 << 20


class Allowance:
    """Args:
    free_bytes: taken along at most before anything was used.
    ratio_max: bytes taken along for each byte used.
    """

    def __init__(self, free_bytes: int = FREE_BYTES, ratio_max: int = RATIO_MAX) -> None:
        self._ratio_max = ratio_max
        self._lock = threading.Lock()
        self._credit_bytes = free_bytes

    def used(self, size_bytes: int) -> None:
        """So much was asked for, or found where it had been taken along; each object counts once a fetch."""
        with self._lock:
            grown = self._credit_bytes + self._ratio_max * size_bytes
            self._credit_bytes = max(self._credit_bytes, min(grown, CREDIT_BYTES_MAX))

    @property
    def spare_bytes(self) -> int:
        """How much may be taken along now."""
        with self._lock:
            return self._credit_bytes

    def take(self, size_bytes: int) -> bool:
        """Whether so much may be taken along; it is counted then."""
        with self._lock:
            if size_bytes > self._credit_bytes:
                return False
            self._credit_bytes -= size_bytes
            return True
