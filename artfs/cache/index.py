"""Where each object probably is: a hash table in a file, shared by all processes without locks.

A bucket of 21 slots is read or one slot of it written with one system call, so a lookup costs about 2 µs and no memory.
Nothing here needs to be true: two processes may overwrite each other's slots, a slot may name a segment that is gone, a
crash may lose any of it. Readers check what they find, and what is lost is fetched again. Files are read and written with
calls, not mapped: a full disk or a truncated file must give an error, not SIGBUS.

The table doubles when buckets overflow; whoever still has the replaced file notices by `is_gone`.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Container

from artfs.cache.directory import CacheDirectory, OwnedFile
from artfs.cache.layout import PAGE_BYTES, SLOT, SLOT_BYTES, Slot

INDEX = "index"
_TEMPORARY = "index.tmp"
_MAGIC = b"artfsci\1"
_HEADER = struct.Struct("<8sQ")  # magic, buckets
_BUCKET_BYTES = 512
_SLOTS = _BUCKET_BYTES // SLOT_BYTES
_MARKS = struct.Struct("<" + f"Q{SLOT_BYTES - 8}x" * _SLOTS + f"{_BUCKET_BYTES - _SLOTS * SLOT_BYTES}x")
_SEGMENTS = struct.Struct("<" + f"8xI{SLOT_BYTES - 12}x" * _SLOTS + f"{_BUCKET_BYTES - _SLOTS * SLOT_BYTES}x")
BUCKETS_MIN, BUCKETS_FIRST = 64, 2048
_FIRST_SHARE = 64  # a new table takes at most this part of the cache's limit
_OVERFLOWS_PER_BUCKET = 1 / 256  # displaced entries per bucket at which the table doubles
_CHUNK_BUCKETS = 2048
_EMPTY = bytes(SLOT_BYTES)


class Index:
    """An opened table. `insert` may displace an entry of its bucket.

    Attributes:
        overflows: entries displaced by this process since it opened the table.
    """

    def __init__(self, file: OwnedFile, buckets: int) -> None:
        self._file = file
        self._buckets = buckets
        self.overflows = 0

    @classmethod
    def open(cls, directory: CacheDirectory) -> Index | None:
        """None if there is no table that can be used."""
        try:
            file = directory.open(INDEX, os.O_RDWR)
        except FileNotFoundError:
            return None
        header = os.pread(file.fd, _HEADER.size, 0)
        if len(header) == _HEADER.size:
            magic, buckets = _HEADER.unpack(header)
            size = os.fstat(file.fd).st_size
            if magic == _MAGIC and buckets & (buckets - 1) == 0 and size == _file_bytes(buckets) and buckets:
                return cls(file, buckets)
        return None

    @classmethod
    def create(cls, directory: CacheDirectory, limit_bytes: int) -> Index:
        """Put an empty table in the place of what there is, a small one for a small cache. The caller holds the lock."""
        buckets = BUCKETS_FIRST
        while buckets > BUCKETS_MIN and _file_bytes(buckets) > limit_bytes // _FIRST_SHARE:
            buckets //= 2
        index = cls(_new_file(directory, buckets), buckets)
        directory.rename(_TEMPORARY, INDEX)
        return index

    @property
    def size_bytes(self) -> int:
        return _file_bytes(self._buckets)

    @property
    def is_crowded(self) -> bool:
        return self.overflows > self._buckets * _OVERFLOWS_PER_BUCKET

    def is_gone(self) -> bool:
        return self._file.is_gone()

    def find(self, mark: int) -> Slot | None:
        bucket = os.pread(self._file.fd, _BUCKET_BYTES, self._offset(mark))
        place = _place(bucket, mark)
        return None if place < 0 else Slot(*SLOT.unpack_from(bucket, place))

    def find_at_once(self, mark: int) -> Slot | None:
        """The same, and None too if that would have to wait for a disk. Raises OSError where it cannot be told."""
        bucket = bytearray(_BUCKET_BYTES)
        if os.preadv(self._file.fd, [bucket], self._offset(mark), os.RWF_NOWAIT) != _BUCKET_BYTES:
            return None
        place = _place(bucket, mark)
        return None if place < 0 else Slot(*SLOT.unpack_from(bucket, place))

    def insert(self, slot: Slot, live: Container[int]) -> Slot | None:
        """Enter `slot`, in the place of an older entry of its mark, a free one, or one whose segment is not `live`.

        Returns the entry it replaced if that was live.
        """
        start = self._offset(slot.mark)
        bucket = os.pread(self._file.fd, _BUCKET_BYTES, start)
        if len(bucket) != _BUCKET_BYTES:
            raise OSError("the index is shorter than it was")
        place, lost = self._choose(bucket, slot.mark, live)
        os.pwrite(self._file.fd, SLOT.pack(*slot), start + place)
        return lost

    def remove(self, slot: Slot) -> None:
        """Take `slot` out if it is still there as it was."""
        start = self._offset(slot.mark)
        bucket = os.pread(self._file.fd, _BUCKET_BYTES, start)
        place = _place(bucket, slot.mark)
        if place >= 0 and bucket[place : place + SLOT_BYTES] == SLOT.pack(*slot):
            os.pwrite(self._file.fd, _EMPTY, start + place)

    def doubled(self, directory: CacheDirectory, live: Container[int]) -> Index:
        """A table of twice the size with the entries of this one, put in its place. The caller holds the lock."""
        file = _new_file(directory, self._buckets * 2)
        for first in range(0, self._buckets, _CHUNK_BUCKETS):
            count = min(_CHUNK_BUCKETS, self._buckets - first)
            chunk = os.pread(self._file.fd, count * _BUCKET_BYTES, PAGE_BYTES + first * _BUCKET_BYTES)
            lower, upper = bytearray(), bytearray()
            for start in range(0, len(chunk), _BUCKET_BYTES):
                halves = self._split(chunk[start : start + _BUCKET_BYTES], live)
                lower += halves[0]
                upper += halves[1]
            os.pwrite(file.fd, lower, PAGE_BYTES + first * _BUCKET_BYTES)
            os.pwrite(file.fd, upper, PAGE_BYTES + (first + self._buckets) * _BUCKET_BYTES)
        directory.rename(_TEMPORARY, INDEX)
        return Index(file, self._buckets * 2)

    def _split(self, bucket: bytes, live: Container[int]) -> tuple[bytes, bytes]:
        halves: tuple[list[bytes], list[bytes]] = ([], [])
        for place in range(0, _SLOTS * SLOT_BYTES, SLOT_BYTES):
            slot = Slot(*SLOT.unpack_from(bucket, place))
            if slot.mark and slot.segment in live:
                halves[1 if slot.mark & self._buckets else 0].append(bucket[place : place + SLOT_BYTES])
        lower, upper = (b"".join(half).ljust(_BUCKET_BYTES, b"\0") for half in halves)
        return lower, upper

    def _choose(self, bucket: bytes, mark: int, live: Container[int]) -> tuple[int, Slot | None]:
        marks = _MARKS.unpack(bucket)
        if mark in marks:
            place = marks.index(mark) * SLOT_BYTES
        elif 0 in marks:
            return marks.index(0) * SLOT_BYTES, None
        else:
            segments = _SEGMENTS.unpack(bucket)
            place = next((i for i, segment in enumerate(segments) if segment not in live), -1) * SLOT_BYTES
            if place < 0:
                self.overflows += 1
                place = (mark >> 48) % _SLOTS * SLOT_BYTES
        old = Slot(*SLOT.unpack_from(bucket, place))
        return place, old if old.segment in live else None

    def _offset(self, mark: int) -> int:
        return PAGE_BYTES + (mark & (self._buckets - 1)) * _BUCKET_BYTES


def _place(bucket: bytes | bytearray, mark: int) -> int:
    """Where in `bucket` the slot of `mark` begins, or -1."""
    wanted = mark.to_bytes(8, "little")
    place = bucket.find(wanted)
    while place >= 0 and (place % SLOT_BYTES or place + SLOT_BYTES > len(bucket)):
        place = bucket.find(wanted, place + 1)
    return place


def _new_file(directory: CacheDirectory, buckets: int) -> OwnedFile:
    """An empty table under a temporary name, with its space allocated: filling it must not fail on a full disk."""
    file = directory.open(_TEMPORARY, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    os.posix_fallocate(file.fd, 0, _file_bytes(buckets))
    os.pwrite(file.fd, _HEADER.pack(_MAGIC, buckets), 0)
    return file


def _file_bytes(buckets: int) -> int:
    return PAGE_BYTES + buckets * _BUCKET_BYTES
