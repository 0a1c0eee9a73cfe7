"""When a tree page's entries entered the project, beside the page: the mtimes that a mount shows.

A page is immutable and keeps its children alive, so the times of its children never change while it exists. They are kept as
runs `(count, time_ns)`, since neighbours mostly entered together, and are in no digest.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from itertools import accumulate, groupby

import msgspec

from artfs.errors import DamagedObject

TIME_NS_MAX = 2**63 - 1
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[tuple[int, int]])


def encode_times(times_ns: Iterable[int]) -> bytes:
    """Pack one time an entry, in the page's order."""
    return _encoder.encode([(sum(1 for _ in run), time) for time, run in groupby(times_ns)])


class PageTimes:
    """Times by entry position; positions beyond what is known have the page's own time.

    Raises DamagedObject for what `encode_times` would not have written, or a time that no file can have.
    """

    __slots__ = ("_default_ns", "_ends", "_times")

    def __init__(self, encoded: bytes, page_created_at_ns: int) -> None:
        try:
            runs = _decoder.decode(encoded) if encoded else []
        except (msgspec.DecodeError, RecursionError) as error:
            raise DamagedObject(f"the times of a tree page do not decode: {error}") from None
        if any(count < 1 or not 0 <= time <= TIME_NS_MAX for count, time in runs):
            raise DamagedObject("the times of a tree page cannot be")
        self._ends = list(accumulate(count for count, _ in runs))
        self._times = [time for _, time in runs]
        self._default_ns = page_created_at_ns

    def __getitem__(self, i: int) -> int:
        run = bisect_right(self._ends, i)
        return self._times[run] if run < len(self._times) else self._default_ns

    def run_end(self, i: int) -> int | None:
        """The position behind the last that has the same time as `i` in one run; None if all that follow have."""
        run = bisect_right(self._ends, i)
        return self._ends[run] if run < len(self._ends) else None
