"""What is done to a cache as a whole: sweeping after crashes, cleanup, verification, pins, clearing.

Each takes the directory's lock, so that two never meet. Raises OSError, LockBusy among them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from artfs.cache.counts import read_counts, reset_counts
from artfs.cache.directory import is_segment_name
from artfs.cache.layout import DEAD, PINNED, RECORD_HEADER_BYTES, Record, Slot, mark_of
from artfs.cache.opened import LOCK_WAIT_S, Opened
from artfs.cache.reclaim import plan_cutoff
from artfs.cache.reports import CacheInfo, CleanupPlan, CleanupReport, PinInfo, VerifyReport
from artfs.cache.segment import Segment
from artfs.cache.writer import Writer, seal_abandoned
from artfs.model.digest import ObjectKey

UPKEEP_WAIT_S = 30.0
_TEMPORARY = ".tmp"
Progress = Callable[[int, int], None]


def sweep(opened: Opened, writer: Writer) -> None:
    """Put in order what processes that died left behind, and shrink to the limit if it was lowered."""
    directory = opened.directory
    with directory.locked(LOCK_WAIT_S):
        for name in os.listdir(directory.main.fd):
            if name.endswith(_TEMPORARY):
                directory.remove(name)
        opened.pins.sweep()
        for name in os.listdir(directory.segments.fd):
            segment = opened.lockable(int(name)) if is_segment_name(name) else None
            if segment is None:
                with suppress(IsADirectoryError):
                    directory.remove(name, directory.segments)
            elif not segment.is_sealed():
                seal_abandoned(opened, segment.id)
        opened.refresh_live()
        writer.reclaim_excess()


def describe(opened: Opened, root: Path, limit_bytes: int) -> CacheInfo:
    """The cache as it is; hits and misses as far as processes have added theirs."""
    opened.pins.refresh()
    objects = segments = pinned = pinned_bytes = 0
    for id, stamps in _stamps(opened):
        segments += 1
        objects += sum(1 for stamp in stamps if stamp != DEAD)
        pinned_here = sum(1 for stamp in stamps if stamp >= PINNED)
        pinned += pinned_here
        pinned_bytes += _pinned_bytes(opened.segment(id)) if pinned_here else 0
    hits, misses = read_counts(opened.directory)
    occupied = opened.directory.occupied_bytes()
    pins = opened.pins.scopes()
    return CacheInfo(root, limit_bytes, occupied, objects, segments, pinned, pinned_bytes, pins, hits, misses)


def describe_pins(opened: Opened) -> list[PinInfo]:
    """Every pin, by name."""
    opened.notice_changes()
    opened.refresh_live()
    found = []
    for name in opened.pins.scopes():
        marks = opened.pins.marks(name)
        slots = (opened.index.find(mark) for mark in marks)
        found.append(PinInfo(name, len(marks), sum(slot is not None and slot.segment in opened.live for slot in slots)))
    return found


def plan_cleanup(opened: Opened, limit_bytes: int) -> CleanupPlan:
    """Which objects to remove so that `du` says at most `limit_bytes`, as far as pins allow."""
    occupied = opened.directory.occupied_bytes()
    uses = [(stamp, size) for _, _, stamp, size in _objects(opened)]
    wasted = sum(size for stamp, size in uses if stamp == DEAD)
    living = [(stamp, size) for stamp, size in uses if stamp != DEAD]
    keep_from, count, freed = plan_cutoff(living, occupied - limit_bytes)
    if not count:
        return CleanupPlan(limit_bytes, occupied, 0, 0, 0)
    return CleanupPlan(limit_bytes, occupied, count, freed + wasted, keep_from)


def execute_cleanup(opened: Opened, writer: Writer, plan: CleanupPlan) -> CleanupReport:
    """Remove what the plan says. Segments that other processes append to are left alone."""
    directory = opened.directory
    before = directory.occupied_bytes()
    removed = 0
    with directory.locked(UPKEEP_WAIT_S):
        writer.seal()
        opened.pins.refresh()
        for id, stamps in list(_stamps(opened)) if plan.object_count else ():
            if any(stamp < plan.keep_from_ns for stamp in stamps) or not stamps:
                removed += writer.empty(id, plan.keep_from_ns)
        writer.seal()
        if not opened.refresh_live():
            opened.index = opened.new_index()
    after = directory.occupied_bytes()
    return CleanupReport(removed, before - after, after)


def verify(opened: Opened, progress: Progress) -> VerifyReport:
    """Hash every object; remove what is damaged. `progress` gets the bytes done and those there are."""
    sizes = opened.refresh_live()
    total, done = sum(sizes.values()), 0
    objects = checked_bytes = lost = 0
    damaged: list[ObjectKey] = []
    for id, size in sizes.items():
        segment = opened.segment(id)
        if segment is None:
            continue
        stamps, walked = segment.stamps(), 0
        for record, stamp in zip(segment.records(), stamps, strict=False):
            walked += 1
            if stamp == DEAD:
                continue
            objects += 1
            checked_bytes += record.length
            if not _is_whole(segment, record):
                damaged.append(record.key)
                _remove(opened, segment, record)
            progress(done + record.end, total)
        for number in range(walked, len(stamps)):  # beyond damage between records: nothing tells where they begin
            if stamps[number] != DEAD:
                lost += 1
                segment.set_stamp(number, DEAD)
        done += size
    return VerifyReport(objects, checked_bytes, damaged, lost)


def clear(opened: Opened, writer: Writer) -> CleanupReport:
    """Remove everything, also what other processes are storing and what is pinned; the pins themselves stay."""
    directory = opened.directory
    with directory.locked(UPKEEP_WAIT_S):
        writer.seal()
        before = directory.occupied_bytes()
        removed = 0
        for id in opened.refresh_live():
            segment = opened.lockable(id)
            if segment is not None:
                removed += sum(1 for stamp in segment.stamps() if stamp != DEAD)
                segment.discard(directory)
            else:
                directory.remove(str(id), directory.segments)
        opened.index = opened.new_index()
        opened.refresh_live()
        reset_counts(directory)
        after = directory.occupied_bytes()
    return CleanupReport(removed, before - after, after)


def pin(opened: Opened, scope: str, project_uid: bytes, keys: Iterable[ObjectKey]) -> int:
    """Keep `keys` until `scope` is unpinned; those not held yet as soon as they are. Returns how many are held."""
    marks = [mark_of(project_uid, key) for key in keys]
    with opened.directory.locked(UPKEEP_WAIT_S):
        opened.pins.add(scope, marks)
    return sum(_stamp(opened, opened.index.find(mark), PINNED) for mark in marks)


def unpin(opened: Opened, scope: str) -> int:
    """Let the objects of `scope` go when their time comes, but for those that others pin. Returns how many."""
    with opened.directory.locked(UPKEEP_WAIT_S):
        opened.pins.refresh()
        marks: Sequence[int] = opened.pins.marks(scope)
        opened.pins.drop(scope)
    now = opened.clock()
    return sum(_stamp(opened, opened.index.find(mark), now) for mark in marks if mark not in opened.pins)


def _stamp(opened: Opened, slot: Slot | None, stamp: int) -> bool:
    segment = opened.segment(slot.segment) if slot is not None else None
    if slot is None or segment is None:
        return False
    segment.set_stamp(slot.number, stamp)
    return True


def _pinned_bytes(segment: Segment | None) -> int:
    if segment is None:
        return 0
    pairs = zip(segment.records(), segment.stamps(), strict=False)
    return sum(RECORD_HEADER_BYTES + record.length for record, stamp in pairs if stamp >= PINNED)


def _stamps(opened: Opened) -> Iterator[tuple[int, Sequence[int]]]:
    for id in opened.refresh_live():
        segment = opened.segment(id)
        if segment is not None:
            yield id, segment.stamps()


def _objects(opened: Opened) -> Iterator[tuple[int, Record, int, int]]:
    """Segment, record, time of last use and stored size of every record."""
    for id in opened.refresh_live():
        segment = opened.segment(id)
        if segment is not None:
            for record, stamp in zip(segment.records(), segment.stamps(), strict=False):
                yield id, record, stamp, RECORD_HEADER_BYTES + record.length


def _is_whole(segment: Segment, record: Record) -> bool:
    data = segment.read(record.project_uid, record.key, record)
    return data is not None and sha256(data).digest() == record.key.digest


def _remove(opened: Opened, segment: Segment, record: Record) -> None:
    segment.set_stamp(record.number, DEAD)
    slot = opened.index.find(mark_of(record.project_uid, record.key))
    if slot is not None and (slot.segment, slot.offset) == (segment.id, record.offset):
        opened.index.remove(slot)
