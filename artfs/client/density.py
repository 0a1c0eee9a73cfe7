"""How large a piece of a far pack to fetch around a read, judged by how densely the packs are read. Pure.

A round trip costs as much as some megabytes, and whoever reads one file in fifty of a data set mostly goes on to read them all.
But whoever wants one in a hundred should not pay for the rest. So, while little of what was seen of the packs was asked for,
nothing is taken along but where reads lie close together; from DENSE_SHARE on, whole windows are.

| what is read | what is taken along |
|---|---|
| here and there | nothing |
| at least NEAR_READS times within an aligned window, of which they are NEAR_SHARE | that window |
| twice in a pack of at most SMALL_PACK_BYTES | that pack |
| DENSE_SHARE of all larger packs that were read in, and a quarter of that of this one | windows of the largest size |
| DENSE_ALONE_SHARE of this pack, whatever of others | windows of the largest size |

Each time what was taken along was lost before it was used, for want of room, the pack must be read twice as densely.

Not thread-safe; the owner serialises.
"""

from __future__ import annotations

from bisect import bisect_left, insort

WINDOW_BYTES_MAX = 8 << 20
WINDOW_BYTES_FIRST = 128 << 10
NEAR_READS = 4
NEAR_SHARE = 1 / 10
DENSE_SHARE = 1 / 90
DENSE_ALONE_SHARE = 1 / 24
SMALL_PACK_BYTES = 1 << 20  # taken along at the second read: less than the round trips of looking would cost
READ_BYTES_WORTH = 4 << 10  # that a read counts at least: each costs a round trip, however little it reads
PLACES_MAX = 64  # of reads that are remembered, for each pack
SETBACKS_MAX = 8


class PackReads:
    """What was read in one pack.

    Attributes:
        size_bytes: of the pack, as far as is known: how far reads reached, until its index tells.
        used_bytes: asked for, or asked for after it was taken along.
        asked_bytes, reads: asked for where it was not at hand, since the last setback.
    """

    __slots__ = ("_places", "asked_bytes", "reads", "setbacks", "size_bytes", "used_bytes")

    def __init__(self) -> None:
        self.size_bytes = self.used_bytes = self.asked_bytes = self.reads = self.setbacks = 0
        self._places: list[tuple[int, int]] = []  # offsets with lengths, sorted

    @property
    def is_small(self) -> bool:
        """So small that it is taken along whole: that says nothing about others, so it does not count with them."""
        return self.size_bytes <= SMALL_PACK_BYTES

    def within(self, start: int, end: int) -> tuple[int, int]:
        """How many reads began between two offsets, and their bytes."""
        places = self._places[bisect_left(self._places, (start, 0)) : bisect_left(self._places, (end, 0))]
        return len(places), sum(length for _, length in places)

    def note(self, offset: int, length: int) -> None:
        self.reads += 1
        self.asked_bytes += length
        if len(self._places) >= PLACES_MAX:
            del self._places[(self.reads * 31) % PLACES_MAX]
        insort(self._places, (offset, length))

    def set_back(self) -> None:
        self.setbacks = min(self.setbacks + 1, SETBACKS_MAX)
        self.reads = self.asked_bytes = self.used_bytes = 0
        self._places = []


class Density:
    """Reads of all packs together, but for small ones: pages of directories would make a sample of files look denser.

    Args:
        window_bytes_max: may be set again at any time.
    """

    def __init__(self, window_bytes_max: int = WINDOW_BYTES_MAX) -> None:
        self.window_bytes_max = window_bytes_max
        self._known_bytes = self._used_bytes = 0

    def asked(self, pack: PackReads, offset: int, length: int) -> None:
        """A read that is about to be fetched."""
        pack.note(offset, max(length, READ_BYTES_WORTH))
        self.reaches(pack, offset + length)
        self.used(pack, max(length, READ_BYTES_WORTH))

    def used(self, pack: PackReads, size_bytes: int) -> None:
        """What was taken along from the pack is asked for."""
        pack.used_bytes += size_bytes
        if not pack.is_small:
            self._used_bytes += size_bytes

    def reaches(self, pack: PackReads, end: int) -> None:
        """The pack has at least so many bytes."""
        if end > pack.size_bytes:
            self.forget(pack)
            pack.size_bytes = end
            if not pack.is_small:
                self._known_bytes += pack.size_bytes
                self._used_bytes += pack.used_bytes

    def lost(self, pack: PackReads) -> None:
        """What was taken along from the pack was lost before it was asked for."""
        if not pack.is_small:
            self._used_bytes -= pack.used_bytes
        pack.set_back()

    def forget(self, pack: PackReads) -> None:
        """The pack counts no longer."""
        if not pack.is_small:
            self._known_bytes -= pack.size_bytes
            self._used_bytes -= pack.used_bytes

    def window(self, pack: PackReads, offset: int, length: int) -> tuple[int, int]:
        """From where to where to fetch for a read that was noted; not before `offset` and not beyond it for nothing."""
        end = offset + length
        size_bytes = self.window_bytes_max
        if pack.reads < NEAR_READS:
            small = pack.reads > 1 and pack.is_small and not pack.setbacks
            return (0, max(end, min(size_bytes, pack.size_bytes))) if small and end <= size_bytes else (offset, end)
        dense = self._is_dense(pack)
        while size_bytes >= WINDOW_BYTES_FIRST:
            start = offset - offset % size_bytes
            reads, asked_bytes = pack.within(start, start + size_bytes)
            near = reads >= NEAR_READS and (asked_bytes >> pack.setbacks) >= size_bytes * NEAR_SHARE
            if dense or near:
                return start, max(end, start + size_bytes)
            size_bytes //= 2
        return offset, end

    def _is_dense(self, pack: PackReads) -> bool:
        used_bytes = pack.used_bytes >> pack.setbacks
        if used_bytes >= pack.size_bytes * DENSE_ALONE_SHARE:
            return True
        all_dense = self._used_bytes >= self._known_bytes * DENSE_SHARE
        return all_dense and used_bytes >= pack.size_bytes * DENSE_SHARE / 4
