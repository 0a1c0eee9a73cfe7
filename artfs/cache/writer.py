"""Storing objects, and making room for them within the limit that all processes share.

Each process appends to a segment of its own, whose whole space is allocated when it begins; so the disk space of all files
is the account, nothing is counted twice or drifts, and a put takes no lock but at the end of a segment. One segment's
space is always kept free, to carry objects over from segments that are given up.

Owners: `Writer` has its lock; the segment appended to is locked against other processes by `flock`, which ends with the
process. Raises OSError; what was not stored is simply not there.
"""

from __future__ import annotations

import errno
import logging
import threading
import time
from collections.abc import Iterator, Mapping, Sequence

from artfs.cache.directory import LockBusy, try_lock
from artfs.cache.layout import (
    DEAD,
    Record,
    Slot,
    mark_of,
    round_up,
    segment_header_for,
)
from artfs.cache.opened import LOCK_WAIT_S, Opened
from artfs.cache.reclaim import SegmentUse, plan_reclaim, sample_stamps
from artfs.cache.segment import Appender, Bytes, NewRecord, Segment
from artfs.model.digest import ObjectKey

SEGMENT_BYTES_MAX = 64 << 20
SEGMENT_BYTES_MIN = 256 << 10
_SEGMENTS_AIM = 128  # in a full cache
_SEGMENTS_LEAST = 8
_OBJECT_SHARE_MAX = 4  # an object larger than this part of the limit is not stored
_TURN_SHARE = 64  # this part of the limit is freed at a time
_INDEX_SHARE_MAX = 16
_RECLAIMS_MAX = 8  # plans go by samples, and may free less than they say
_CARRY_BYTES = 1 << 20
_BATCH = 128  # objects that are stored before it is seen whether the index is crowded: a crowded one loses some of them
_BUSY_S = 5.0  # while somebody holds the lock for long, it is not waited for again
_REFUSED_S = 1.0  # a cache found full is looked at again after this

_log = logging.getLogger(__name__)


def segment_bytes_for(limit_bytes: int) -> int:
    aimed = min(max(limit_bytes // _SEGMENTS_AIM, SEGMENT_BYTES_MIN), SEGMENT_BYTES_MAX)
    return round_up(min(aimed, max(limit_bytes // _SEGMENTS_LEAST, 8192)))


def seal_abandoned(opened: Opened, segment_id: int) -> bool:
    """Seal a segment whose process died. False if its process lives, or it is gone."""
    segment = opened.lockable(segment_id)
    if segment is None or not try_lock(segment.file):
        return False
    if not segment.is_sealed():
        Appender.at_end_of(segment).seal()
    return True


class Writer:
    """Appends objects for one process. Safe from any thread.

    Args:
        limit_bytes: what `du` of the cache may come to.

    Attributes:
        is_full: whether the last put found no room left but what others take.
    """

    def __init__(self, opened: Opened, limit_bytes: int) -> None:
        self._opened = opened
        self._limit_bytes = limit_bytes
        self._segment_bytes = segment_bytes_for(limit_bytes)
        self._lock = threading.RLock()
        self._appender: Appender | None = None
        self._refused_at = -_REFUSED_S
        self._busy_until = 0.0
        self._counts: dict[int, int] = {}  # records by segment that is no longer appended to
        self.capacity_objects = 0
        self.is_full = False

    def write(self, project_uid: bytes, objects: Mapping[ObjectKey, Bytes], *, make_room: bool) -> int:
        """Store those of `objects` that are not there and fit; `make_room` allows others to be removed for them.

        Returns how many were stored.
        """
        with self._lock:
            self._opened.notice_changes()
            if self._appender is not None and self._appender.segment.is_gone():
                self._appender = None
            waiting = self._wanted(project_uid, objects)
            stored = 0
            while stored < len(waiting):
                sizes = [record.stored_bytes for record in waiting[stored : stored + _BATCH]]
                fitting = self._appender.room_for(sizes) if self._appender else 0
                if fitting:
                    self._append(waiting[stored : stored + fitting])
                    stored += fitting
                    if self._opened.index.is_crowded:
                        self._grow_index()
                elif not self._next_segment(sizes[0], make_room):
                    break
            return stored

    def close(self) -> None:
        """Give back the space set aside."""
        with self._lock:
            self._seal()

    def reclaim_excess(self) -> None:
        """Shrink to the limit, if it was lowered. The caller holds the directory's lock."""
        with self._lock:
            excess = self._opened.directory.occupied_bytes() - self._limit_bytes
            if excess > 0:
                self._reclaim(excess + self._segment_bytes)
                self._seal()

    def empty(self, segment_id: int, keep_from_ns: int, *, carry: bool = True) -> int:
        """Remove a segment after carrying over what was used since. The caller holds the directory's lock.

        Returns how many objects went; 0 if another process appends to it. Without `carry`, nothing is kept.
        """
        with self._lock:
            if self._appender is not None and self._appender.segment.id == segment_id:
                self._seal()
            segment = self._opened.lockable(segment_id)
            if segment is None or not try_lock(segment.file):
                return 0
            gone = self._carry_over(segment, keep_from_ns) if carry else len(segment.stamps())
            segment.discard(self._opened.directory)
            self._opened.forget(segment_id)
            self._opened.live.discard(segment_id)
            return gone

    def seal(self) -> None:
        """Give back the space set aside, until more is stored."""
        self.close()

    def _wanted(self, project_uid: bytes, objects: Mapping[ObjectKey, Bytes]) -> list[NewRecord]:
        wanted: list[NewRecord] = []
        largest = self._limit_bytes // _OBJECT_SHARE_MAX
        for key, data in objects.items():
            mark = mark_of(project_uid, key)
            slot = self._opened.index.find(mark)
            if (slot is None or slot.segment not in self._opened.live) and len(data) <= largest:
                wanted.append(NewRecord(project_uid, key, data, self._opened.stamp_for(mark)))
        return wanted

    def _append(self, records: Sequence[NewRecord]) -> None:
        assert self._appender is not None
        segment = self._appender.segment
        for record in self._appender.append(records):
            mark = mark_of(record.project_uid, record.key)
            slot = Slot(mark, segment.id, record.offset, record.length, record.number)
            lost = self._opened.index.insert(slot, self._opened.live)
            if lost is not None:
                self._mark_dead(lost)

    def _mark_dead(self, slot: Slot) -> None:
        segment = self._opened.segment(slot.segment)
        if segment is not None:
            segment.set_stamp(slot.number, DEAD)

    def _next_segment(self, stored_bytes: int, make_room: bool) -> bool:
        """Begin a segment with room for `stored_bytes`. False if there is none to be had now."""
        now = time.monotonic()
        if now < self._busy_until or (not make_room and now - self._refused_at < _REFUSED_S):
            return False
        try:
            with self._opened.directory.locked(LOCK_WAIT_S):
                sizes = self._opened.refresh_live()
                self._estimate_capacity(sizes)
                found = self._adopt(sizes, stored_bytes) or self._begin(stored_bytes, make_room)
        except LockBusy:
            self._busy_until = time.monotonic() + _BUSY_S
            raise
        if not found:
            self._refused_at = time.monotonic()
        return found

    def _begin(self, stored_bytes: int, make_room: bool) -> bool:
        capacity = self._capacity_for(stored_bytes)
        self.is_full = self._shortage(capacity + self._segment_bytes) > 0
        for _ in range(_RECLAIMS_MAX):
            shortage = self._shortage(capacity + self._segment_bytes)
            if shortage <= 0:
                break
            if not make_room:
                return False
            progress = self._reclaim(shortage + self._limit_bytes // _TURN_SHARE)
            if self._appender is not None and self._appender.room_for([stored_bytes]):
                return True  # beside what was carried over
            if not progress:
                return False
        else:
            return False
        try:
            self._create(capacity)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT) or not make_room:
                raise
            self._drop_for_full_disk(capacity)
            self._create(capacity)
        return True

    def _capacity_for(self, stored_bytes: int) -> int:
        capacity = self._segment_bytes
        while segment_header_for(capacity).data_start + stored_bytes > capacity:
            capacity = round_up(capacity + stored_bytes + stored_bytes // 256)
        return capacity

    def _shortage(self, wanted_bytes: int) -> int:
        return self._opened.directory.occupied_bytes() + wanted_bytes - self._limit_bytes

    def _create(self, capacity: int) -> None:
        if self._opened.directory.spare_bytes() < capacity:
            raise OSError(errno.ENOSPC, "the disk is almost full")
        id = self._opened.directory.next_segment(self._opened.directory.segment_sizes())
        segment = Segment.create(self._opened.directory, id, capacity)
        try_lock(segment.file)
        self._seal()
        self._opened.live.add(id)
        self._appender = Appender(segment, segment.header.data_start, 0)

    def _adopt(self, sizes: Mapping[int, int], stored_bytes: int) -> bool:
        """Go on with a segment that some process left less than half full; else short runs would leave many."""
        for id, disk_bytes in sizes.items():
            if disk_bytes * 2 > self._segment_bytes or (self._appender and self._appender.segment.id == id):
                continue
            segment = self._opened.lockable(id)
            if segment is None or not try_lock(segment.file):
                continue
            appender = Appender.at_end_of(segment)
            more = segment.header.capacity_bytes - disk_bytes
            if appender.room_for([stored_bytes]) and self._shortage(more + self._segment_bytes) <= 0:
                appender.reopen()
                self._seal()
                self._appender = appender
                self._counts.pop(id, None)
                return True
        return False

    def _seal(self) -> None:
        appender, self._appender = self._appender, None
        if appender is not None and not appender.segment.is_gone():
            appender.seal()

    def _uses(self) -> Iterator[SegmentUse]:
        for id, disk_bytes in self._opened.refresh_live().items():
            if self._appender is None or self._appender.segment.id != id:
                segment = self._opened.segment(id)
                if segment is not None and (segment.is_sealed() or seal_abandoned(self._opened, id)):
                    yield SegmentUse(id, disk_bytes, sample_stamps(segment.stamps()))

    def _reclaim(self, need_bytes: int) -> bool:
        """Give up segments for about `need_bytes`, less if much is carried over. Returns whether anything went."""
        self._opened.pins.refresh()
        plan = plan_reclaim(list(self._uses()), need_bytes)
        before = self._opened.directory.occupied_bytes()
        gone = sum(self.empty(id, plan.keep_from_ns) for id in plan.segments)
        _log.debug("made room in the cache: %d objects of %d segments given up", gone, len(plan.segments))
        return gone > 0 or self._opened.directory.occupied_bytes() < before

    def _drop_for_full_disk(self, need_bytes: int) -> None:
        """Give up segments that hold nothing pinned, without carrying anything over: there is nowhere to put it."""
        plan = plan_reclaim([use for use in self._uses() if not use.holds_pins], need_bytes)
        for id in plan.segments:
            self.empty(id, plan.keep_from_ns, carry=False)
            if self._opened.directory.spare_bytes() >= need_bytes:
                break

    def _carry_over(self, segment: Segment, keep_from_ns: int) -> int:
        """Copy the records used since `keep_from_ns`, as far as there is room. Returns how many were left."""
        kept: list[NewRecord] = []
        kept_bytes = carried = seen = 0
        for record, stamp in zip(segment.records(), segment.stamps(), strict=False):
            seen += stamp != DEAD
            if self._stays(segment.id, record, stamp, keep_from_ns):
                data = segment.read(record.project_uid, record.key, record)
                if data is not None:
                    kept.append(NewRecord(record.project_uid, record.key, data, stamp))
                    kept_bytes += kept[-1].stored_bytes
            if kept_bytes >= _CARRY_BYTES:
                carried += self._append_carried(kept)
                kept, kept_bytes = [], 0
        return seen - carried - self._append_carried(kept)

    def _stays(self, segment_id: int, record: Record, stamp: int, keep_from_ns: int) -> bool:
        mark = mark_of(record.project_uid, record.key)
        if stamp == DEAD or (stamp < keep_from_ns and mark not in self._opened.pins):
            return False
        slot = self._opened.index.find(mark)
        return slot is not None and (slot.segment, slot.offset) == (segment_id, record.offset)

    def _append_carried(self, records: list[NewRecord]) -> int:
        done = 0
        while done < len(records):
            sizes = [record.stored_bytes for record in records[done:]]
            fitting = self._appender.room_for(sizes) if self._appender else 0
            if fitting:
                self._append(records[done : done + fitting])
                done += fitting
                continue
            capacity = self._capacity_for(sizes[0])
            if self._shortage(capacity) > 0:
                break
            try:
                self._create(capacity)
            except OSError as error:
                _log.debug("nothing more can be carried over: %s", error)
                break
        return done

    def _estimate_capacity(self, sizes: Mapping[int, int]) -> None:
        """About how many objects a full cache holds, from how many there are now."""
        active = self._appender.segment.id if self._appender else None
        self._counts = {id: count for id, count in self._counts.items() if id in sizes}
        for id in sizes:
            if id not in self._counts and id != active:
                segment = self._opened.segment(id)
                self._counts[id] = len(segment.stamps()) if segment else 0
        occupied = sum(size for id, size in sizes.items() if id in self._counts)
        if occupied:
            self.capacity_objects = max(1, sum(self._counts.values()) * self._limit_bytes // occupied)

    def _grow_index(self) -> None:
        directory, index = self._opened.directory, self._opened.index
        index.overflows = 0
        grown = index.size_bytes * 2
        if grown > self._limit_bytes // _INDEX_SHARE_MAX or directory.spare_bytes() < grown:
            return
        with directory.locked(LOCK_WAIT_S):
            if not index.is_gone() and (self._shortage(grown) <= 0):
                self._opened.refresh_live()
                self._opened.index = index.doubled(directory, self._opened.live)
