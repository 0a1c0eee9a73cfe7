"""Looking objects up: nothing leaves here whose SHA-256 is not its digest.

Hashing every time costs 9 µs for 12 KiB, and is what lets index and segments do without locks: whatever a race, a crash or a
bad disk makes of them is a miss. Safe from any thread.

`read_at_once` is for an event loop: it takes what is in the page cache, where a thread would cost several times the reading, and
leaves everything else to `read`. Writing the time of a use may wait for a disk, so such uses are noted by the next `read` or
`put`; when USES_MAX wait for that, there is nothing at once until then.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from hashlib import sha256

from artfs.cache.layout import DEAD, Record, Slot, mark_of
from artfs.cache.opened import Opened
from artfs.cache.segment import Segment
from artfs.model.digest import ObjectKey

SMALL_BYTES_MAX = 64 << 10  # what is read and hashed in less time than a thread takes to begin
USES_MAX = 512

_log = logging.getLogger(__name__)


def read_at_once(opened: Opened, project_uid: bytes, key: ObjectKey) -> memoryview | None:
    """An object, verified, if it is held, small, and nothing has to be waited for: no disk, no lock of a process."""
    if len(opened.uses) >= USES_MAX:
        return None
    try:
        slot = opened.index.find_at_once(mark_of(project_uid, key))
        segment = None if slot is None or slot.length > SMALL_BYTES_MAX else opened.segment_at_hand(slot.segment)
        if slot is None or segment is None:
            return None
        place = Record(slot.number, slot.offset, slot.length, project_uid, key)
        data = segment.read_at_once(project_uid, key, place)
    except OSError:  # it would wait, or the file system cannot tell
        return None
    if data is None or sha256(data).digest() != key.digest:  # `read` finds out what is wrong
        return None
    opened.uses.append((segment, slot.number, slot.mark, opened.clock()))
    return data


def note_uses(opened: Opened) -> None:
    """Write down the times of what was read at once."""
    while opened.uses:
        try:
            segment, number, mark, time_ns = opened.uses.popleft()
            segment.set_stamp(number, opened.stamp_at(mark, time_ns))
        except IndexError:  # another thread took the last
            return
        except OSError as error:
            _log.debug("a use of a cached object could not be noted: %s", error)


def read(opened: Opened, project_uid: bytes, keys: Sequence[ObjectKey]) -> dict[ObjectKey, memoryview]:
    """Those of `keys` that are held, verified. What cannot be read is a miss."""
    opened.notice_changes()
    note_uses(opened)
    located: list[tuple[Slot, ObjectKey]] = []
    for key in keys:
        slot = opened.index.find(mark_of(project_uid, key))
        if slot is not None:
            located.append((slot, key))
    if len(located) > 1:
        located.sort(key=lambda place: (place[0].segment, place[0].offset))
    found: dict[ObjectKey, memoryview] = {}
    damaged: list[ObjectKey] = []
    for slot, key in located:
        data = _read_one(opened, project_uid, key, slot, damaged)
        if data is not None:
            found[key] = data
    if damaged:
        _log.warning("%d damaged objects were dropped from the cache, %s the first", len(damaged), damaged[0])
    return found


def _read_one(
    opened: Opened, project_uid: bytes, key: ObjectKey, slot: Slot, damaged: list[ObjectKey]
) -> memoryview | None:
    try:
        segment = opened.segment(slot.segment)
        if segment is None:
            opened.index.remove(slot)
            return None
        place = Record(slot.number, slot.offset, slot.length, project_uid, key)
        data = segment.read(project_uid, key, place)
        if data is None or sha256(data).digest() != key.digest:
            if _drop(opened, segment, slot, is_record=data is not None):
                damaged.append(key)
            return None
    except OSError as error:  # one bad sector, or no descriptor left, must not cost the other objects
        _log.debug("%s cannot be read from the cache: %s", key, error)
        return None
    _note_use(opened, segment, slot)
    return data


def _note_use(opened: Opened, segment: Segment, slot: Slot) -> None:
    try:
        segment.set_stamp(slot.number, opened.stamp_for(slot.mark))
    except OSError as error:
        _log.debug("a use of a cached object could not be noted: %s", error)


def _drop(opened: Opened, segment: Segment, slot: Slot, *, is_record: bool) -> bool:
    """Forget what cannot be read. Returns whether it is damaged, and not just gone."""
    gone = segment.is_gone()
    if gone:
        opened.forget(segment.id)
    elif is_record:
        segment.set_stamp(slot.number, DEAD)
    opened.index.remove(slot)
    return not gone
