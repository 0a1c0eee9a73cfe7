"""The commit of a draft: wait for writers, send the rest, build trees, seal; then the draft is gone.

Whatever fails before the seal leaves the draft complete and usable, with the reason in it. The seal is the registry's single
transaction; a crash between it and the removal of the draft leaves a draft whose commit changes nothing more. All hashing,
building and sealing is in the COMMIT lane; the event loop only passes from step to step.
"""

from __future__ import annotations

import logging
from typing import NamedTuple

import trio

from artfs.errors import ArtfsError, Busy, ObjectMissing
from artfs.model.content import FileContent
from artfs.model.digest import Digest
from artfs.model.lineage import RunRef
from artfs.model.tree import TreePage
from artfs.vfs.door import Door, Lane
from artfs.vfs.ports import ObjectSource
from artfs.vfs.staging.build import TreeBuilder, foreign_contents, holders_of, path_of, unsent_files
from artfs.vfs.staging.draft import Draft
from artfs.vfs.staging.index import os_errors
from artfs.vfs.staging.ingest import DraftUpload, Ingest
from artfs.vfs.staging.inode import ContentState, Inode
from artfs.vfs.staging.links import LinkCheck
from artfs.vfs.staging.settings import read_settings
from artfs.wire.records import SealRequest, SealResult

WRITERS_WAIT_S_MAX = 2.0
SEND_ROUNDS_MAX = 4
_ENSURED_AT_ONCE = 4096

_log = logging.getLogger(__name__)


class _Lost(NamedTuple):
    """Files that must be sent again, by number."""

    numbers: list[int]


class Committer:
    """Commits drafts. `created_by` names the user in the versions it makes."""

    def __init__(self, ingest: Ingest, source: ObjectSource, door: Door, created_by: str) -> None:
        self._ingest = ingest
        self._source = source
        self._door = door
        self._created_by = created_by

    async def commit(self, draft: Draft, artifact: str, alias: str, run: RunRef | None = None) -> SealResult:
        """Seal the draft; when it returns, nothing in the draft may be changed any more, and the caller removes it.

        Args:
            run: whose process commits.
        """
        draft.check_writable()
        draft.sealing = True
        try:
            await self._wait_for_writers(draft)
            async with draft.changing:
                pass  # a change that began before has ended
            result = await self._seal(draft, artifact, alias, "" if run is None else str(run))
        except BaseException as error:
            draft.sealing = False
            if isinstance(error, ArtfsError | OSError):
                _log.warning("commit of %s failed: %s", draft.place, error)
                _keep_reason(draft, str(error))
            raise
        _log.info("committed %s as %s", draft.place, result.version.name)
        return result

    async def _wait_for_writers(self, draft: Draft) -> None:
        # close(2) returns before its RELEASE arrives, so a writer that is gone may still be counted for a moment.
        with trio.move_on_after(WRITERS_WAIT_S_MAX):
            await draft.open_inodes.wait_no_writers()
        numbers = draft.open_inodes.writers()
        if numbers:
            names = ", ".join(sorted(_names(draft, number) for number in numbers[:3]))
            raise Busy(f"still open for writing: {names}", hint="close it, then rename again")

    async def _seal(self, draft: Draft, artifact: str, alias: str, run: str) -> SealResult:
        upload = self._ingest.of(draft)
        async with upload.sending:
            await self._door.run(Lane.COMMIT, self._check, draft)
            try:
                await self._send_all(draft, upload)
                root = await self._door.run(Lane.COMMIT, self._build, upload)
                request = self._request(draft, artifact, [alias], root, run)
                result = await self._door.run(Lane.COMMIT, self._ingest.open_session(upload).seal, request)
            except BaseException:
                with trio.CancelScope(shield=True):
                    await self._ingest.end_session(upload)
                raise
            upload.session = None
            return result

    def _request(self, draft: Draft, artifact: str, aliases: list[str], root: Digest, run: str) -> SealRequest:
        settings = read_settings(draft.index)
        return SealRequest(
            artifact=artifact,
            root=root,
            aliases=list(dict.fromkeys((*aliases, *settings.aliases))),
            type=settings.type,
            description=settings.description,
            metadata=settings.metadata,
            created_by=self._created_by,
            ttl_s=settings.ttl_s,
            run=run,
        )

    async def _send_all(self, draft: Draft, upload: DraftUpload) -> None:
        """Return when the registry holds every content and leases it to this upload."""
        for _ in range(SEND_ROUNDS_MAX):
            unsent = await self._door.run(Lane.COMMIT, self._unsent, upload)
            await self._ingest.send(upload, unsent)
            lost = await self._door.run(Lane.COMMIT, self._ensure, upload)
            if not lost.numbers:
                return
            for number in lost.numbers:
                draft.set_unsent(number)
        raise Busy(f"files of {draft.place} do not hold still", hint="find out which program writes them")

    def _check(self, draft: Draft) -> None:
        with os_errors(), draft.index.reader() as view:
            LinkCheck(view, lambda digest: self._page(draft, digest)).run()

    def _unsent(self, upload: DraftUpload) -> list[int]:
        draft = upload.draft
        with os_errors(), draft.index.reader() as view:
            return unsent_files(view, upload.session_id, lambda inode: _is_as_sent(draft, inode))

    def _ensure(self, upload: DraftUpload) -> _Lost:
        session = self._ingest.open_session(upload)
        draft = upload.draft
        with os_errors(), draft.index.reader() as view:
            contents = foreign_contents(view, upload.session_id)
            missing: list[FileContent] = []
            for i in range(0, len(contents), _ENSURED_AT_ONCE):
                missing += session.ensure(contents[i : i + _ENSURED_AT_ONCE])
            holders = holders_of(view, missing)
            unsent = unsent_files(view, upload.session_id, lambda inode: True)
        lost = [inode.number for inode in holders if inode.content_state == ContentState.LOWER]
        if lost:
            names = ", ".join(_names(draft, number) for number in lost[:3])
            raise ObjectMissing(
                f"the registry no longer holds the content of {names}",
                hint="the version it came from was deleted: write the file again or remove it",
            )
        return _Lost([inode.number for inode in holders] + unsent)

    def _build(self, upload: DraftUpload) -> Digest:
        draft = upload.draft
        session = self._ingest.open_session(upload)
        with os_errors(), draft.index.reader() as view:
            builder = TreeBuilder(view, lambda digest: self._page(draft, digest), session.store_page)
            return builder.build().digest

    def _page(self, draft: Draft, digest: Digest) -> TreePage:
        return self._source.page(draft.place.project, digest).page


def _keep_reason(draft: Draft, text: str) -> None:
    draft.error = text
    with draft.index.transaction():
        draft.index.execute("INSERT INTO meta VALUES ('error', ?) ON CONFLICT DO UPDATE SET value = ?1", (text,))


def _is_as_sent(draft: Draft, inode: Inode) -> bool:
    return inode.is_as_sent(draft.files.stat(inode.number))


def _names(draft: Draft, number: int) -> str:
    """A path of an inode, for a message. Slow: it looks through all names."""
    with os_errors(), draft.index.reader() as view:
        row = view.execute("SELECT parent, name FROM dirent WHERE inode = ?", (number,)).fetchone()
        if row is None:
            return "a deleted file"
        return path_of(view, row[0], row[1])
