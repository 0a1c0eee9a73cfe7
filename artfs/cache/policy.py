"""When a full cache should take in what it missed: the eviction policy, over nothing but a trace of accesses.

Training reads a data set in epochs: every object about once, in a new order each time. If it does not fit, the least recently
used policy throws out exactly what is needed next; the best simple policy keeps what is there and takes nothing in (a hit
ratio equal to the share that fits). Everywhere else recency is a good guide. So the victim is always the least recently
used object, and the question decided here is whether to make room at all:

- *fresh* objects were never seen before, or so long ago that they belong to another time. While most accesses are fresh
  something new is being read, and it is admitted;
- *stale* residents have not been used for longer than any epoch lasts. While there are any, they make room;
- residents that give far fewer hits than epochs would are *worthless* (a backup went through the cache): they are replaced,
  once, and the new ones get their chance;
- while a cache that always admits would clearly do better, so does this one;
- otherwise everything held is as likely to be read next as what was missed, and stays.

A use may be told several times: a file is read in several requests, of which some are under way at once. So an access to what was
accessed among the last few others is the same use, and does not count (the correlated references of LRU-K, O'Neil et al.,
SIGMOD 1993); counted, each would look like a short gap and like a hit that only recency explains.

How long an epoch lasts is learnt from the gaps between accesses to the same object: in epochs of N shuffled objects their
median is N, and none reaches 2 N. Gaps, and a small image of the cache, are kept for a sample of the objects chosen by their
digest (spatial sampling as in SHARDS, Waldspurger et al., FAST 2015), so memory is bounded and most accesses cost one mask.

Pure: no I/O, no clock, no randomness. Not thread-safe; the owner serialises.
"""

from __future__ import annotations

from collections import OrderedDict
from math import frexp, inf

SAMPLES_MAX = 8192  # objects whose last access is remembered: about 1 MiB
IMAGE_OBJECTS_MIN = 64  # sampling gets no sparser than leaves this many of the cache's objects in the image
FRESH_SHARE = 0.6  # of recent accesses, above which something new is being read
FRESH_SMOOTHING = 1 / 48  # weight of one sampled access in that share
EPOCHS_STALE = 2.5  # median gaps; shuffled epochs never reach 2, and the median is known within 1/8
WORTH_SHARE = 0.3  # of the hits that epochs would give, below which what is held is not worth keeping
SHORT_ACCESSES = 256  # sampled ones, over which hits are compared with a cache that always admits
RECENT_MARGIN = 0.06  # of hits by which always admitting must be better before it is done
CORRELATED_MAX = 256  # other objects accessed between two accesses, up to which they are one use
_CORRELATED_SHARE = 16  # and at most this part of the cache
_SUBDIVISIONS = 8  # of an octave of gaps
_MEDIAN_EVERY = 32


class GapHistogram:
    """Gaps between accesses to the same object, on a logarithmic scale, where old ones fade."""

    __slots__ = ("_counts", "_due", "_median", "_weight")

    def __init__(self) -> None:
        self._counts: dict[int, float] = {}
        self._weight = 1.0
        self._due = 0
        self._median = inf

    def add(self, gap: int, half_life: int) -> None:
        """Count one gap; those counted `half_life` gaps ago count half."""
        mantissa, exponent = frexp(gap)
        bucket = exponent * _SUBDIVISIONS + int((mantissa * 2 - 1) * _SUBDIVISIONS)
        self._weight *= 1.0 + 0.6931 / max(half_life, 16)
        self._counts[bucket] = self._counts.get(bucket, 0.0) + self._weight
        self._due -= 1
        if self._due <= 0:
            self._refresh()

    def median(self) -> float:
        """The upper edge of the bucket that holds the median; infinite before the first gap."""
        return self._median

    def _refresh(self) -> None:
        self._due = _MEDIAN_EVERY
        total = sum(self._counts.values())
        below = 0.0
        for bucket in sorted(self._counts):
            below += self._counts[bucket]
            if below * 2 >= total:
                exponent, part = divmod(bucket, _SUBDIVISIONS)
                self._median = 2.0 ** (exponent - 1) * (1 + (part + 1) / _SUBDIVISIONS)
                break
        self._counts = {b: c / self._weight for b, c in self._counts.items() if c > total / 1e6}
        self._weight = 1.0


class EpochPolicy:
    """Learns from `record`, one call an access, and answers `admit`.

    Args:
        capacity_objects: about how many objects fit; may be set again at any time.
    """

    def __init__(self, capacity_objects: int, *, samples_max: int = SAMPLES_MAX) -> None:
        self.capacity_objects = capacity_objects
        self._samples_max = samples_max
        self._shift = 0
        self._mask = 0
        self._accesses = 0
        self._sampled_at = 0
        self._lately: OrderedDict[int, None] = OrderedDict()  # used last, the oldest first
        self._last_access: OrderedDict[int, int] = OrderedDict()  # of sampled objects, oldest first
        self._held = _Image()  # what a cache of this policy would hold of them
        self._recent = _Image()  # what one that always admits would hold
        self._gaps = GapHistogram()
        self._fresh_share = 1.0
        self._refill = 0  # objects still to be admitted, of the image, because what was held proved worthless
        self._admitting = True

    @property
    def admit(self) -> bool:
        """Whether an object that was missed should displace the least recently used one."""
        return self._admitting

    @property
    def sampled_objects(self) -> int:
        """How many objects' accesses are remembered."""
        return len(self._last_access)

    def record(self, mark: int, *, hit: bool) -> None:
        """Note an access to the object with the hash `mark` (64 well mixed bits), and whether the cache had it."""
        if mark in self._lately:
            return
        self._lately[mark] = None
        while len(self._lately) > min(CORRELATED_MAX, self.capacity_objects // _CORRELATED_SHARE):
            self._lately.popitem(last=False)
        self._accesses += 1
        if not (mark >> 32) & self._mask:
            self._record_sampled(mark, hit)

    def _record_sampled(self, mark: int, hit: bool) -> None:
        elapsed = self._accesses - self._sampled_at
        self._sampled_at = self._accesses
        last = self._last_access.pop(mark, None)
        self._last_access[mark] = self._accesses
        epoch = self._gaps.median()
        if last is None:
            fresh = not hit
        else:
            gap = self._accesses - last
            fresh = gap > EPOCHS_STALE * epoch
            self._gaps.add(gap, len(self._last_access))
        self._fresh_share += (fresh - self._fresh_share) * FRESH_SMOOTHING
        room = max(1, self.capacity_objects >> self._shift)
        share = elapsed / epoch
        held = self._held.access(mark, room, self._admitting, share)
        self._recent.access(mark, room, True, share)
        if self._refill and not held:
            self._refill -= 1
            if not self._refill:
                self._held.long_share = self._expected_share()
        self._admitting = self._decide(room)
        if len(self._last_access) > self._samples_max:
            self._thin_out()

    def _decide(self, room: int) -> bool:
        worthless = self._held.long_share < WORTH_SHARE * self._expected_share()
        if not worthless:
            self._refill = 0
        elif not self._refill:
            self._refill = room
        return (
            self._fresh_share > FRESH_SHARE
            or self._refill > 0
            or self._recent.short_share > self._held.short_share + RECENT_MARGIN
            or self._oldest_idle() > EPOCHS_STALE * self._gaps.median()
        )

    def _expected_share(self) -> float:
        """The share of hits that shuffled epochs of the length learnt would give."""
        return min(1.0, self.capacity_objects / self._gaps.median())

    def _oldest_idle(self) -> int:
        oldest = next(iter(self._held.marks), None)
        return 0 if oldest is None else self._accesses - self._last_access.get(oldest, 0)

    def _thin_out(self) -> None:
        """Sample half as many objects, or forget the oldest when that would leave too few."""
        if self.capacity_objects >> (self._shift + 1) < IMAGE_OBJECTS_MIN:
            self._last_access.popitem(last=False)
            return
        self._shift += 1
        self._mask = (1 << self._shift) - 1
        marks: OrderedDict[int, int] | OrderedDict[int, None]
        for marks in (self._last_access, self._held.marks, self._recent.marks):
            for mark in [mark for mark in marks if (mark >> 32) & self._mask]:
                del marks[mark]


class _Image:
    """The sampled objects that a cache would hold, least recently used first, and how well it would do.

    Attributes:
        short_share: of hits, over the last `SHORT_ACCESSES` sampled accesses or so.
        long_share: of hits, over about an epoch: less would take the pause of a sequential epoch for disuse.
    """

    __slots__ = ("long_share", "marks", "short_share")

    def __init__(self) -> None:
        self.marks: OrderedDict[int, None] = OrderedDict()
        self.short_share = 0.0
        self.long_share = 1.0

    def access(self, mark: int, room: int, admit: bool, epoch_part: float) -> bool:
        """Note an access; `epoch_part` is the time since the one before. Returns whether it is a hit."""
        marks = self.marks
        hit = mark in marks
        if hit:
            marks.move_to_end(mark)
        elif admit or len(marks) < room:
            marks[mark] = None
        while len(marks) > room:
            marks.popitem(last=False)
        self.short_share += (hit - self.short_share) / SHORT_ACCESSES
        self.long_share += (hit - self.long_share) * min(epoch_part, 1 / SHORT_ACCESSES)
        return hit
