"""Files on their way into the registry: hashed, packed and sent as they are closed, so that a commit has little left to do.

A closed file waits a moment (most temporary files are gone by then), then a batch of files goes through the COMMIT lane. What
was sent is recorded in the file's row unless somebody opened it for writing meanwhile. When the registry refuses, files
stay where they are, on local disk, and are tried again later. Owner of the queues: the event loop; of a session: whoever
holds `sending`.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass, field
from typing import NamedTuple

import trio

from artfs.errors import ArtfsError, FileChanged
from artfs.model.content import FileContent
from artfs.vfs.door import Door, Lane
from artfs.vfs.ports import Uploads, UploadSession
from artfs.vfs.staging.draft import Draft
from artfs.vfs.staging.inode import ContentState
from artfs.vfs.staging.turns import Turns

BACKLOG_FILES_MAX = 20_000
BACKLOG_BYTES_MAX = 1 << 30
ROOM_WAIT_S_MAX = 10.0
LINGER_S = 0.25
QUIET_S = 0.1
"""Small files wait until none was closed for this long: sending them while others are made takes three times as long in all,
because both need the interpreter's lock (measured with `cp -r` of files of 3 KB)."""
EAGER_FILES = 8192  # so many small files do not wait
EAGER_FILE_BYTES = 64 << 10  # files that are larger on average do not wait: hashing them needs no lock
BATCH_FILES_MAX = 128
BATCH_BYTES_MAX = 32 << 20
RETRY_S_MAX = 30.0
HEARTBEAT_S = 60.0
WORKERS = 2

_log = logging.getLogger(__name__)


class _Waiting(NamedTuple):
    size_bytes: int
    closed_at_s: float


class _Sent(NamedTuple):
    number: int
    content: FileContent
    found: os.stat_result


@dataclass(eq=False, slots=True)
class DraftUpload:
    """The way of one draft's files. `sending` is held by the one batch, or the commit, that uses the session."""

    draft: Draft
    session: UploadSession | None = None
    session_id: int = 0
    queue: dict[int, _Waiting] = field(default_factory=dict)
    sending: Turns = field(default_factory=Turns)
    is_sending: bool = False
    error: str = ""

    @property
    def backlog_bytes(self) -> int:
        return sum(waiting.size_bytes for waiting in self.queue.values())


class Ingest:
    """Implements `Sink`. One for all drafts."""

    def __init__(self, uploads: Uploads, door: Door) -> None:
        self._uploads = uploads
        self._door = door
        self._by_slot: dict[int, DraftUpload] = {}
        self._files = 0
        self._bytes = 0
        self._stalled_s = 0.0
        self._closed_at_s = -QUIET_S
        self._wake = trio.Event()
        self._progress = trio.Event()

    def closed(self, draft: Draft, number: int) -> None:
        if draft.gone:
            return
        try:
            size = draft.files.stat(number).st_size
        except OSError as error:  # the commit will meet it again, and say so
            _log.warning("%s", error)
            return
        upload = self.of(draft)
        self._take(upload, number)
        if not upload.queue:  # else the workers know already when to come back
            self._wake.set()
        self._closed_at_s = trio.current_time()
        upload.queue[number] = _Waiting(size, self._closed_at_s)
        self._files += 1
        self._bytes += size

    async def room(self) -> None:
        if self._files < BACKLOG_FILES_MAX and self._bytes < BACKLOG_BYTES_MAX:
            return
        with trio.move_on_after(ROOM_WAIT_S_MAX):
            while not self._stalled_s and (self._files >= BACKLOG_FILES_MAX or self._bytes >= BACKLOG_BYTES_MAX):
                await self._progress.wait()

    def of(self, draft: Draft) -> DraftUpload:
        upload = self._by_slot.get(draft.slot)
        if upload is None:
            upload = self._by_slot[draft.slot] = DraftUpload(draft)
        return upload

    def drop(self, draft: Draft) -> DraftUpload | None:
        """The draft is no more; the caller ends its session."""
        upload = self._by_slot.pop(draft.slot, None)
        if upload is not None:
            for number in list(upload.queue):
                self._take(upload, number)
        return upload

    async def run(self) -> None:
        """Send what is closed until cancelled."""
        async with trio.open_nursery() as nursery:
            for _ in range(WORKERS):
                nursery.start_soon(self._work)
            nursery.start_soon(self._keep_leases)

    async def send(self, upload: DraftUpload, numbers: list[int]) -> None:
        """Send these files now; the caller holds `sending`. Raises what the registry and the disk raise."""
        for number in numbers:
            self._take(upload, number)
        draft = upload.draft
        for batch in _batches(draft, [number for number in numbers if _has_name(draft, number)]):
            sent = await self._door.run(Lane.COMMIT, self._send, upload, batch)
            self._record(upload, sent)

    def open_session(self, upload: DraftUpload) -> UploadSession:
        """In a thread, by the holder of `sending`."""
        if upload.session is None:
            upload.session = self._uploads.open(upload.draft.place.project)
            upload.session_id = int.from_bytes(os.urandom(6), "big") + 1
        return upload.session

    async def end_session(self, upload: DraftUpload, *, abandon: bool = False) -> None:
        """Have the next file open a new session, which asks again for everything that this one sent.

        After an error nobody knows what of it was stored. With `abandon`, what was stored is not wanted either. The caller
        holds `sending`.
        """
        session, upload.session, upload.session_id = upload.session, None, 0
        if session is not None:
            try:
                await self._door.run(Lane.COMMIT, session.abandon if abandon else session.close)
            except (ArtfsError, OSError) as error:
                _log.info("ending the upload of %s: %s", upload.draft.place, error)

    def _send(self, upload: DraftUpload, numbers: list[int]) -> list[_Sent]:
        session = self.open_session(upload)
        sent = []
        for number in numbers:
            path = upload.draft.files.path(number)
            try:
                before = os.stat(path)
                content = session.add_file(path)
                after = os.stat(path)
            except (FileNotFoundError, FileChanged):
                continue  # removed or written meanwhile: whoever closes it next will say so
            except ArtfsError:
                if not path.exists():
                    continue
                raise
            if _same(before, after) and content.size_bytes == after.st_size:
                sent.append(_Sent(number, content, after))
        return sent

    def _record(self, upload: DraftUpload, sent: list[_Sent]) -> None:
        draft = upload.draft
        if draft.gone:
            return
        with draft.index.transaction():
            for number, content, found in sent:
                held = draft.open_inodes.get(number)
                if number in upload.queue or (held is not None and held.writers):
                    continue
                draft.index.execute(
                    "UPDATE inode SET content_state = ?, content_kind = ?, content_digest = ?, content_bytes = ?,"
                    " content_session = ?, stamp_mtime_ns = ?, stamp_ctime_ns = ? WHERE number = ? AND content_state IN (?, ?1)",
                    (
                        ContentState.SENT,
                        content.kind,
                        content.digest,
                        content.size_bytes,
                        upload.session_id,
                        found.st_mtime_ns,
                        found.st_ctime_ns,
                        number,
                        ContentState.UNSENT,
                    ),
                )

    def _take(self, upload: DraftUpload, number: int) -> None:
        waiting = upload.queue.pop(number, None)
        if waiting is not None:
            self._files -= 1
            self._bytes -= waiting.size_bytes
            self._progress.set()
            self._progress = trio.Event()

    async def _work(self) -> None:
        while True:
            upload, wait_s = self._next()
            if upload is None:
                with trio.move_on_after(wait_s):
                    await self._wake.wait()
                continue
            upload.is_sending = True
            try:
                await self._send_some(upload)
            finally:
                upload.is_sending = False

    def _next(self) -> tuple[DraftUpload | None, float]:
        """A draft with files that waited long enough, or how long to wait for one."""
        now = trio.current_time()
        soonest = float("inf")
        for upload in self._by_slot.values():
            if upload.queue and not upload.is_sending and not upload.draft.sealing:
                due = next(iter(upload.queue.values())).closed_at_s + LINGER_S
                if self._files < EAGER_FILES and self._bytes < self._files * EAGER_FILE_BYTES:
                    due = max(due, self._closed_at_s + QUIET_S)
                if due <= now:
                    return upload, 0.0
                soonest = min(soonest, due)
        if self._wake.is_set():
            self._wake = trio.Event()
        return None, soonest - now

    async def _send_some(self, upload: DraftUpload) -> None:
        async with upload.sending:
            if upload.draft.sealing or upload.draft.gone:
                return
            numbers = _due(upload, trio.current_time())
            waiting = {number: upload.queue[number] for number in numbers}
            try:
                await self.send(upload, numbers)
            except (ArtfsError, OSError) as error:
                self._put_back(upload, waiting, str(error))
                await self.end_session(upload)
            else:
                upload.error = ""
                self._stalled_s = 0.0
                return
        await trio.sleep(self._stalled_s)

    def _put_back(self, upload: DraftUpload, waiting: dict[int, _Waiting], error: str) -> None:
        _log.warning("cannot send files of %s yet: %s", upload.draft.place, error)
        upload.error = error
        self._stalled_s = min(RETRY_S_MAX, max(1.0, self._stalled_s * 2))
        if upload.draft.gone:
            return
        for number, item in waiting.items():
            if number not in upload.queue:
                upload.queue[number] = item
                self._files += 1
                self._bytes += item.size_bytes
        self._progress.set()
        self._progress = trio.Event()

    async def _keep_leases(self) -> None:
        while True:
            await trio.sleep(HEARTBEAT_S)
            for upload in list(self._by_slot.values()):
                if upload.session is not None and not upload.draft.sealing:
                    try:
                        await self._door.run(Lane.METADATA, upload.session.renew)
                    except ArtfsError as error:
                        _log.info("cannot renew the upload of %s: %s", upload.draft.place, error)


def _due(upload: DraftUpload, now_s: float) -> list[int]:
    """The files that waited longest, one batch of them."""
    numbers: list[int] = []
    size = 0
    for number, waiting in upload.queue.items():
        if waiting.closed_at_s + LINGER_S > now_s or len(numbers) == BATCH_FILES_MAX or size >= BATCH_BYTES_MAX:
            break
        numbers.append(number)
        size += waiting.size_bytes
    return numbers


def _has_name(draft: Draft, number: int) -> bool:
    return draft.index.fetch("SELECT 1 FROM inode WHERE number = ? AND link_count > 0", (number,)) is not None


def _batches(draft: Draft, numbers: list[int]) -> list[list[int]]:
    """Runs of files that go through the door together: a hop costs as much as a small file."""
    batches: list[list[int]] = [[]]
    size = 0
    for number in numbers:
        if len(batches[-1]) == BATCH_FILES_MAX or size >= BATCH_BYTES_MAX:
            batches.append([])
            size = 0
        batches[-1].append(number)
        try:
            size += draft.files.stat(number).st_size
        except OSError:
            batches[-1].pop()  # removed meanwhile
    return [batch for batch in batches if batch]


def _same(before: os.stat_result, after: os.stat_result) -> bool:
    return (before.st_size, before.st_mtime_ns, before.st_ctime_ns) == (
        after.st_size,
        after.st_mtime_ns,
        after.st_ctime_ns,
    )
