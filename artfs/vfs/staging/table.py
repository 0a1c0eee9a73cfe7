"""The drafts that this process knows, by slot and by place, and their adoption.

A draft gets a slot when its name is first seen and is adopted (locked, opened, recovered) when it is first used. Slots are never
used twice, so an inode number of a draft that is gone stays stale. Owner: the event loop.
"""

from __future__ import annotations

import errno
import logging
import os
import stat

from artfs.errors import Busy
from artfs.vfs.attributes import Attributes
from artfs.vfs.door import Lane
from artfs.vfs.staging.draft import Draft, Resources
from artfs.vfs.staging.inode import DIRECTORY_BYTES, ROOT_NUMBER, SLOT_MASK, inode_number, slot_of
from artfs.vfs.staging.layout import DraftLock, StagingRoot
from artfs.vfs.staging.turns import Turns
from artfs.vfs.staging_port import DraftPlace

_log = logging.getLogger(__name__)


class DraftTable:
    """Slots, places and open drafts."""

    def __init__(self, layout: StagingRoot, resources: Resources) -> None:
        self.layout = layout
        self.resources = resources
        self._slots: dict[DraftPlace, int] = {}
        self._places: dict[int, DraftPlace] = {}
        self._drafts: dict[int, Draft] = {}
        self._adopting = Turns()
        self._last_slot = 0

    def slot(self, place: DraftPlace) -> int:
        """The slot of a draft that exists; given out at first sight."""
        slot = self._slots.get(place)
        if slot is None:
            if self._last_slot == SLOT_MASK:
                raise OSError(errno.ENFILE, "too many staging directories since this mount began")
            self._last_slot = slot = self._last_slot + 1
            self._slots[place] = slot
            self._places[slot] = place
        return slot

    def place(self, inode: int) -> DraftPlace:
        """Where the draft of `inode` is. Raises OSError ESTALE."""
        place = self._places.get(slot_of(inode))
        if place is None:
            raise OSError(errno.ESTALE, "the staging directory was committed or removed")
        return place

    def known_place(self, inode: int) -> DraftPlace | None:
        return self._places.get(slot_of(inode))

    def adopted(self, place: DraftPlace) -> Draft | None:
        slot = self._slots.get(place)
        return None if slot is None else self._drafts.get(slot)

    def all_adopted(self) -> list[Draft]:
        return list(self._drafts.values())

    async def of(self, inode: int) -> Draft:
        """The draft of `inode`, adopted. Raises Busy if another process holds it, OSError ESTALE if it is gone."""
        return self._drafts.get(slot_of(inode)) or await self.adopt(self.place(inode))

    async def adopt(self, place: DraftPlace) -> Draft:
        """The draft at `place`. Raises Busy if another process holds it, OSError ENOENT."""
        async with self._adopting:
            found = self.adopted(place)
            if found is not None:
                return found
            try:
                draft = await self.resources.door.run(Lane.STAGING, self._adopt, place, self.slot(place))
            except FileNotFoundError:
                self.drop(place)
                raise OSError(errno.ENOENT, f"no {place.name!r}") from None
            self._drafts[draft.slot] = draft
            return draft

    def drop(self, place: DraftPlace) -> None:
        """The draft is gone: whatever the kernel still refers to in it is stale."""
        slot = self._slots.pop(place, None)
        if slot is not None:
            self._places.pop(slot, None)
            self._drafts.pop(slot, None)

    def move(self, old: DraftPlace, new: DraftPlace) -> None:
        """The draft has another place now; its inodes stay what they are."""
        slot = self._slots.pop(old)
        self._slots[new] = slot
        self._places[slot] = new

    def _adopt(self, place: DraftPlace, slot: int) -> Draft:
        directory = self.layout.directory(place)
        lock = DraftLock.take(directory)
        if lock is None:
            raise Busy(
                f"another process holds {place.name!r}", hint="use it in the mount that holds it, or unmount there"
            )
        try:
            draft = Draft(place, slot, directory, lock, self.resources)
        except BaseException:
            lock.release()
            raise
        try:
            draft.recover()
        except BaseException:
            draft.close()
            raise
        _log.info("adopted the staging directory %s", directory)
        return draft


def root_attributes(table: DraftTable, place: DraftPlace) -> Attributes:
    """What stat shows of a draft's root, adopted or not. Raises OSError ENOENT."""
    draft = table.adopted(place)
    if draft is not None:
        root = draft.namespace.get(ROOT_NUMBER)
        assert root is not None
        return draft.attributes(root)
    if not table.layout.exists(place):
        table.drop(place)
        raise FileNotFoundError(errno.ENOENT, f"no {place.name!r}")
    found = os.stat(table.layout.directory(place))
    return Attributes(
        inode=inode_number(table.slot(place), ROOT_NUMBER),
        mode=stat.S_IFDIR | 0o755,
        size_bytes=DIRECTORY_BYTES,
        uid=found.st_uid,
        gid=found.st_gid,
        link_count=1,
        atime_ns=found.st_atime_ns,
        mtime_ns=found.st_mtime_ns,
        ctime_ns=found.st_ctime_ns,
        entry_timeout_s=0.0,
        attribute_timeout_s=0.0,
    )
