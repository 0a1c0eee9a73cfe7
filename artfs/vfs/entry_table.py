"""Inode numbers of what is inside versions: 28 bytes for each file that the kernel knows, no Python object.

The kernel may hold millions of inodes. For each this table keeps where the entry is (page number and position), how often it
was looked up, and a fingerprint of its identity, in open-addressed arrays with linear probing. The inode number itself is a hash
of the identity, so equal files share one (and the kernel's page cache); when two identities meet on one number, the
fingerprint tells them apart and the later one takes the next free number. Number and fingerprint together are 125 bits, the
fingerprint keyed with this process's random hash key, so that not even made-up content can be taken for other content.

The arrays are split into shards by the number's high bits, so that growing one never stops the event loop for long. Pure data;
owner: the event loop.
"""

from __future__ import annotations

from array import array
from typing import NamedTuple

from artfs.vfs.page_numbers import PageNumbers

NUMBER_BITS = 61
NUMBER_MASK = (1 << NUMBER_BITS) - 1
FIRST_NUMBER = 2  # 0 means no inode to the kernel, 1 is the root
_SHARD_BITS = 6
_SHARD_SHIFT = NUMBER_BITS - _SHARD_BITS
_SLOTS_MIN = 64
_POSITION_BITS = 24
_POSITION_MASK = (1 << _POSITION_BITS) - 1
_COUNT_MAX = (1 << 32) - 1  # a count that got here stays: the inode is never dropped, which is safe


class EntryPlace(NamedTuple):
    """Where an entry is: a page, by its number, and the position in it."""

    page: int
    position: int


class _Shard:
    """One open-addressed table. A key of 0 marks a free slot."""

    __slots__ = ("counts", "fingerprints", "keys", "mask", "places", "used")

    def __init__(self, slots: int) -> None:
        self.mask = slots - 1
        self.used = 0
        self.keys = array("Q", bytes(8 * slots))
        self.places = array("Q", bytes(8 * slots))
        self.fingerprints = array("Q", bytes(8 * slots))
        self.counts = array("I", bytes(4 * slots))

    def slot(self, key: int) -> int:
        """The slot that holds `key`, or the free one where it belongs."""
        keys, mask = self.keys, self.mask
        slot = key & mask
        while (found := keys[slot]) != key and found:
            slot = (slot + 1) & mask
        return slot

    def resized(self, slots: int) -> _Shard:
        other = _Shard(slots)
        for slot, key in enumerate(self.keys):
            if key:
                other.move_in(other.slot(key), self, slot)
        other.used = self.used
        return other

    def move_in(self, slot: int, other: _Shard, other_slot: int) -> None:
        self.keys[slot] = other.keys[other_slot]
        self.places[slot] = other.places[other_slot]
        self.fingerprints[slot] = other.fingerprints[other_slot]
        self.counts[slot] = other.counts[other_slot]

    def clear(self, slot: int) -> None:
        """Free a slot and move back what had to step over it."""
        keys, mask = self.keys, self.mask
        following = (slot + 1) & mask
        while key := keys[following]:
            home = key & mask
            if (following - home) & mask >= (following - slot) & mask:
                self.move_in(slot, self, following)
                slot = following
            following = (following + 1) & mask
        keys[slot] = 0
        self.used -= 1


class EntryTable:
    """Inode number → place, lookup count and fingerprint. Releases a page's reference when its last entry is forgotten."""

    def __init__(self, pages: PageNumbers) -> None:
        self._pages = pages
        self._shards = [_Shard(_SLOTS_MIN) for _ in range(1 << _SHARD_BITS)]

    def __len__(self) -> int:
        return sum(shard.used for shard in self._shards)

    def count_lookup(self, number: int, fingerprint: int, page: int, position: int) -> int:
        """Count one lookup of an identity and remember `page` and `position` as its place; return its inode number.

        Args:
            number: the identity's preferred inode number.
            fingerprint: 64 more bits of the identity.
            page: a page number that the caller holds.
        """
        if number < FIRST_NUMBER:
            number += FIRST_NUMBER
        place = page << _POSITION_BITS | position
        while True:
            shard = self._shards[number >> _SHARD_SHIFT]
            keys, mask = shard.keys, shard.mask
            slot = number & mask
            while (found := keys[slot]) != number and found:  # as in `slot`, without a call: this is what listing costs
                slot = (slot + 1) & mask
            if not found:
                self._insert(shard, slot, number, fingerprint, place)
                return number
            if shard.fingerprints[slot] == fingerprint:
                break
            number = (number + 1) & NUMBER_MASK or FIRST_NUMBER
        if shard.places[slot] != place:
            self._move(shard, slot, place)
        if shard.counts[slot] != _COUNT_MAX:
            shard.counts[slot] += 1
        return number

    def place(self, number: int) -> EntryPlace | None:
        """Where the entry with this inode number is, or None if the kernel does not hold it."""
        shard = self._shards[number >> _SHARD_SHIFT]
        slot = shard.slot(number)
        if not shard.keys[slot]:
            return None
        place = shard.places[slot]
        return EntryPlace(place >> _POSITION_BITS, place & _POSITION_MASK)

    def forget(self, number: int, count: int) -> bool:
        """Take back `count` lookups; True if the inode is gone now."""
        shard = self._shards[number >> _SHARD_SHIFT]
        slot = shard.slot(number)
        if not shard.keys[slot]:
            return False
        held = shard.counts[slot]
        if held == _COUNT_MAX or held > count:
            shard.counts[slot] = held if held == _COUNT_MAX else held - count
            return False
        self._pages.release(shard.places[slot] >> _POSITION_BITS)
        shard.clear(slot)
        if shard.used * 8 < shard.mask and shard.mask >= _SLOTS_MIN:
            self._resize(number, (shard.mask + 1) // 4)
        return True

    def _insert(self, shard: _Shard, slot: int, number: int, fingerprint: int, place: int) -> None:
        if (shard.used + 1) * 3 > (shard.mask + 1) * 2:
            shard = self._resize(number, (shard.mask + 1) * 2)
            slot = shard.slot(number)
        shard.keys[slot] = number
        shard.places[slot] = place
        shard.fingerprints[slot] = fingerprint
        shard.counts[slot] = 1
        shard.used += 1
        self._pages.acquire(place >> _POSITION_BITS)

    def _move(self, shard: _Shard, slot: int, place: int) -> None:
        old = shard.places[slot] >> _POSITION_BITS
        shard.places[slot] = place
        if old != place >> _POSITION_BITS:
            self._pages.acquire(place >> _POSITION_BITS)
            self._pages.release(old)

    def _resize(self, number: int, slots: int) -> _Shard:
        index = number >> _SHARD_SHIFT
        shard = self._shards[index] = self._shards[index].resized(max(slots, _SLOTS_MIN))
        return shard
