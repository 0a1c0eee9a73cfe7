"""All of staging, put together for the mount; and what the command line does with drafts when there is no mount."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import trio

from artfs.errors import ArtfsError
from artfs.vfs.door import Door, Lane
from artfs.vfs.ports import ObjectSource, Uploads
from artfs.vfs.staging.bases import BaseLeases
from artfs.vfs.staging.commit import Committer
from artfs.vfs.staging.draft import Draft, Resources
from artfs.vfs.staging.drafts import DraftDirectory
from artfs.vfs.staging.handles import DraftHandles
from artfs.vfs.staging.ingest import Ingest
from artfs.vfs.staging.inode import ContentState
from artfs.vfs.staging.layout import StagingRoot, delete_buried
from artfs.vfs.staging.nodes import DraftNodes
from artfs.vfs.staging.table import DraftTable
from artfs.vfs.staging.writing import Writing
from artfs.vfs.staging.xattrs import DraftXattrs

CHECKPOINT_EVERY_S = 0.5
_GRAVES_WAITING = 1000

_log = logging.getLogger(__name__)


class Staging:
    """Implements `StagingArea` for the drafts below `root`.

    Args:
        source: where unchanged content is read from.
        uploads: where drafts are committed to.
        created_by: who the versions say made them.
        clock: nanoseconds since the epoch.
    """

    def __init__(
        self,
        root: Path,
        source: ObjectSource,
        uploads: Uploads,
        door: Door,
        *,
        created_by: str = "",
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self._door = door
        self._table = DraftTable(StagingRoot(root), Resources(source, door, clock))
        self._ingest = Ingest(uploads, door)
        self._bases = BaseLeases(self._table, self._ingest, door)
        self._graves_in, self._graves = trio.open_memory_channel[Path](_GRAVES_WAITING)
        writing = Writing(self._ingest)
        committer = Committer(self._ingest, source, door, created_by)
        self.drafts = DraftDirectory(self._table, self._ingest, committer, self._bury)
        self.nodes = DraftNodes(self._table, writing)
        self.xattrs = DraftXattrs(self._table)
        self.handles = DraftHandles(self._table, writing, door)

    async def run(self) -> None:
        """Upload what is closed, renew leases, checkpoint databases, delete what was buried; until cancelled."""
        await self._door.run(Lane.STAGING, self._table.layout.sweep)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._ingest.run)
            nursery.start_soon(self._bases.run)
            nursery.start_soon(self._checkpoint)
            nursery.start_soon(self._delete)

    async def close(self) -> None:
        """Make all drafts durable and give them back. Their uploads' leases run out by themselves."""
        for draft in self._table.all_adopted():
            upload = self._ingest.drop(draft)
            self._table.drop(draft.place)
            draft.gone = True
            if upload is not None:
                async with upload.sending:
                    await self._ingest.end_session(upload)
            try:
                await self._door.run(Lane.STAGING, _close_durably, draft)
            except (OSError, ArtfsError) as error:
                _log.warning("cannot close %s: %s", draft.place, error)

    def status(self) -> Mapping[str, Any]:
        """Every draft with what is on its way, for `artfs status`."""
        adopted = {draft.place: draft for draft in self._table.all_adopted()}
        drafts = [_describe(*place, self._ingest, adopted.get(place)) for place in self._table.layout.all()]
        return {"root": str(self._table.layout.root), "drafts": drafts}

    def _bury(self, grave: Path) -> None:
        try:
            self._graves_in.send_nowait(grave)
        except trio.WouldBlock:
            _log.info("%s is deleted at the next start", grave)

    async def _delete(self) -> None:
        async for grave in self._graves:
            await self._door.run(Lane.STAGING, delete_buried, grave)

    async def _checkpoint(self) -> None:
        while True:
            await trio.sleep(CHECKPOINT_EVERY_S)
            for draft in self._table.all_adopted():
                if draft.index.is_checkpoint_due and not draft.gone:
                    try:
                        await self._door.run(Lane.STAGING, draft.index.checkpoint)
                    except (OSError, ArtfsError) as error:
                        _log.warning("cannot checkpoint %s: %s", draft.place, error)


def _close_durably(draft: Draft) -> None:
    try:
        draft.sync()
    finally:
        draft.close()


def _describe(project: str, artifact: str, name: str, ingest: Ingest, draft: Draft | None) -> dict[str, Any]:
    shown: dict[str, Any] = {"project": project, "artifact": artifact, "name": name}
    if draft is None:
        return {**shown, "state": "elsewhere"}
    upload = ingest.of(draft)
    files, size = draft.index.fetch_one(
        "SELECT count(*), coalesce(sum(content_bytes), 0) FROM inode WHERE content_state IN (?, ?) AND link_count > 0",
        (ContentState.UNSENT, ContentState.SENT),
    )
    return {
        **shown,
        "state": draft.state.value,
        "files": files,
        "bytes": size,
        "backlog_files": len(upload.queue),
        "backlog_bytes": upload.backlog_bytes,
        "error": draft.error or upload.error,
    }
