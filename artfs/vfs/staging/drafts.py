"""Drafts by place: listing, making, removing, renaming and committing them.

A draft that was not used yet since the mount began is only looked at: its attributes are those of its directory on disk, and
whoever enters it first adopts it.
"""

from __future__ import annotations

import errno
import stat
from collections.abc import Callable, Sequence
from pathlib import Path

from artfs.model.lineage import RunRef
from artfs.vfs.attributes import Attributes, Caller
from artfs.vfs.door import Lane
from artfs.vfs.staging.commit import Committer
from artfs.vfs.staging.draft import Draft, fill_draft
from artfs.vfs.staging.ingest import Ingest
from artfs.vfs.staging.inode import ROOT_NUMBER
from artfs.vfs.staging.layout import check_draft_name
from artfs.vfs.staging.nodes import NOREPLACE
from artfs.vfs.staging.table import DraftTable, root_attributes
from artfs.vfs.staging_port import DraftPlace
from artfs.wire.records import SealResult


class DraftDirectory:
    """Implements `Drafts`. `bury` is given the directories that are to be deleted in the background."""

    def __init__(self, table: DraftTable, ingest: Ingest, committer: Committer, bury: Callable[[Path], None]) -> None:
        self._table = table
        self._ingest = ingest
        self._committer = committer
        self._bury = bury
        self._door = table.resources.door

    async def list(self, project: str, artifact: str) -> Sequence[tuple[str, Attributes]]:
        found = []
        for name in self._table.layout.names(project, artifact):
            try:
                found.append((name, root_attributes(self._table, DraftPlace(project, artifact, name))))
            except FileNotFoundError:
                continue  # committed or removed by the process that holds it
        return found

    async def lookup(self, place: DraftPlace) -> Attributes:
        return root_attributes(self._table, place)

    def listed(self, inode: int) -> None:
        """Roots are not counted: a draft lives until it is committed or removed."""

    async def make(self, place: DraftPlace, mode: int, caller: Caller) -> Attributes:
        check_draft_name(place.name)
        if mode & (stat.S_ISUID | stat.S_ISGID):
            raise PermissionError(errno.EPERM, "a version cannot hold setuid and setgid bits")
        fill = fill_draft((caller.uid, caller.gid), mode, None, self._table.resources.clock())
        await self._door.run(Lane.STAGING, self._table.layout.create, place, fill)
        await self._table.adopt(place)
        return root_attributes(self._table, place)

    async def remove(self, place: DraftPlace) -> None:
        draft = await self._table.adopt(place)
        async with draft.changing:
            draft.check_writable()
            if not draft.namespace.is_empty(await draft.resolver.directory(ROOT_NUMBER)):
                raise OSError(errno.ENOTEMPTY, f"{place.name!r} is not empty")
            draft.sealing = True  # nothing may appear in it any more
        await self._end(draft, abandon=True)

    async def rename(self, old: DraftPlace, new: DraftPlace, flags: int) -> None:
        if flags & ~NOREPLACE:
            raise OSError(errno.EINVAL, "staging directories cannot be exchanged")
        if old.project != new.project:
            raise OSError(errno.EXDEV, "another project")
        check_draft_name(new.name)
        draft = await self._table.adopt(old)
        draft.check_writable()
        if old == new:
            return
        if self._table.layout.exists(new):
            if flags & NOREPLACE:
                raise FileExistsError(errno.EEXIST, f"{new.name!r} exists")
            await self.remove(new)
        layout = self._table.layout
        async with draft.changing, self._ingest.of(draft).sending:
            draft.check_writable()
            draft.move(lambda: layout.rename(old, new), new, layout.directory(new))
            self._table.move(old, new)

    async def commit(self, place: DraftPlace, artifact: str, alias: str, run: RunRef | None = None) -> SealResult:
        draft = await self._table.adopt(place)
        result = await self._committer.commit(draft, artifact, alias, run)
        await self._end(draft, abandon=False)
        return result

    async def _end(self, draft: Draft, *, abandon: bool) -> None:
        """The draft is to be no more; its directory goes at once, its files in the background."""
        place = draft.place
        upload = self._ingest.drop(draft)
        self._table.drop(place)
        draft.gone = True
        if abandon and upload is not None:
            async with upload.sending:
                await self._ingest.end_session(upload, abandon=True)
        self._bury(await self._door.run(Lane.STAGING, self._take_away, draft))

    def _take_away(self, draft: Draft) -> Path:
        draft.close()
        return self._table.layout.bury(draft.place)
