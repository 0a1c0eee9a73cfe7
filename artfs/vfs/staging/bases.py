"""Holding what drafts were made from: a version may be deleted while a draft of it is open, and what the draft did not change
must still be there when it is committed.

The draft's upload leases the root of that version, which holds everything below, from soon after the draft is first used; again
from time to time, since an upload may be replaced by another. Until the registry has answered once, nothing is held.
Owner of what is due: the event loop.
"""

from __future__ import annotations

import logging

import trio

from artfs.errors import ArtfsError
from artfs.model.digest import Digest
from artfs.vfs.door import Door, Lane
from artfs.vfs.staging.draft import Draft
from artfs.vfs.staging.ingest import DraftUpload, Ingest
from artfs.vfs.staging.inode import ROOT_NUMBER
from artfs.vfs.staging.table import DraftTable

LOOK_S = 0.5
AGAIN_S = 60.0

_log = logging.getLogger(__name__)


class BaseLeases:
    """The leases of all adopted drafts."""

    def __init__(self, table: DraftTable, ingest: Ingest, door: Door) -> None:
        self._table = table
        self._ingest = ingest
        self._door = door
        self._due_s: dict[Draft, float] = {}

    async def run(self) -> None:
        """Hold what is due, until cancelled."""
        while True:
            drafts = self._table.all_adopted()
            self._due_s = {draft: due_s for draft, due_s in self._due_s.items() if draft in drafts}
            for draft in drafts:
                if self._due_s.get(draft, 0.0) <= trio.current_time():
                    self._due_s[draft] = trio.current_time() + AGAIN_S
                    await self._hold(draft)
            await trio.sleep(LOOK_S)

    async def _hold(self, draft: Draft) -> None:
        root = None if draft.gone or draft.sealing else _base_of(draft)
        if root is None:
            return
        upload = self._ingest.of(draft)
        async with upload.sending:
            if draft.gone or draft.sealing:
                return
            try:
                if not await self._door.run(Lane.COMMIT, self._hold_now, upload, root):
                    _log.warning("what %s was made from is no longer stored", draft.place)
            except (ArtfsError, OSError) as error:
                _log.info("cannot hold what %s was made from: %s", draft.place, error)

    def _hold_now(self, upload: DraftUpload, root: Digest) -> bool:
        return self._ingest.open_session(upload).hold_tree(root)


def _base_of(draft: Draft) -> Digest | None:
    row = draft.index.fetch("SELECT origin FROM inode WHERE number = ?", (ROOT_NUMBER,))
    return None if row is None or row[0] is None else Digest(row[0])
