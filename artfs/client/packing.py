"""From objects to stored packs: what the registry has is not sent, the rest is compressed, packed and handed over in order.

Objects wait in a small batch, are asked for together, and then go into the open pack of their kind: content into one, recipes and
tree pages into another, so that the pages of a version lie close together. A finished pack is made durable and handed to the
registry by one background thread, content always before the recipes and pages that refer to it.

Owner of everything mutable: `Packer`, under its lock; the sending thread owns the packs it was given.
"""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from artfs.errors import DraftNotFound
from artfs.model import codec
from artfs.model.codec import Codec
from artfs.model.digest import ObjectKey, ObjectKind
from artfs.model.pack import PACK_BYTES_TARGET, PACK_OBJECTS_MAX
from artfs.store.pack_file import PackWriter, new_pack_header
from artfs.vfs.ports import Bytes
from artfs.wire.records import DraftRecord
from artfs.wire.service import KEYS_MAX, Registry

BATCH_BYTES = 8 << 20
BATCH_OBJECTS = 512
SENDING_MAX = 2  # finished packs waiting to be stored: bounds disk use and what a failure costs
KNOWN_MAX = 100_000
COMPRESSING_THREADS = 2
PARALLEL_BYTES_MIN = 256 << 10  # a batch smaller than this is compressed sooner than handed to threads


class _Sent(NamedTuple):
    """What a stored pack holds, and the draft that holds it."""

    keys: list[ObjectKey]
    draft: DraftRecord


class Packer:
    """Sends objects into one draft after another of a project. Safe to call from several threads.

    Attributes:
        stored_bytes: compressed bytes of all objects that had to be sent so far.
        object_count: how many those are.
    """

    def __init__(self, registry: Registry, project: str, clock_ns: Callable[[], int]) -> None:
        self._registry = registry
        self._project = project
        self._clock_ns = clock_ns
        self._draft: DraftRecord | None = None
        self._lock = threading.RLock()
        self._batch: dict[ObjectKey, Bytes] = {}
        self._batch_bytes = 0
        self._content: PackWriter | None = None
        self._structure: PackWriter | None = None
        self._packed: set[ObjectKey] = set()  # in open packs or being sent
        self._known: OrderedDict[ObjectKey, None] = OrderedDict()  # stored, and leased to the draft
        self._sender = ThreadPoolExecutor(1, "artfs-send")
        self._compressors = ThreadPoolExecutor(COMPRESSING_THREADS, "artfs-compress")
        self._sending: deque[Future[_Sent]] = deque()
        self.stored_bytes = 0
        self.object_count = 0

    @property
    def draft(self) -> DraftRecord:
        """The draft that everything goes into, opened when it is first needed."""
        with self._lock:
            if self._draft is None:
                self._draft = self._registry.drafts.open(self._project)
            return self._draft

    def add(self, key: ObjectKey, data: Bytes) -> None:
        """Send `data` unless it is stored. Children come before parents. Raises what sending earlier objects raised."""
        with self._lock:
            if key in self._batch or key in self._packed or self._is_known(key):
                return
            self._batch[key] = data
            self._batch_bytes += len(data)
            if self._batch_bytes >= BATCH_BYTES or len(self._batch) >= BATCH_OBJECTS:
                self._pack_batch()

    def flush(self) -> None:
        """Return when everything added is stored durably."""
        with self._lock:
            self._pack_batch()
            self._finish_both()
            self._drain(0)

    def lease(self, keys: Iterable[ObjectKey]) -> set[ObjectKey]:
        """Hold what is stored of `keys` for the draft, and return what is not."""
        self.flush()
        wanted = list(dict.fromkeys(keys))
        absent: set[ObjectKey] = set()
        for start in range(0, len(wanted), KEYS_MAX):
            absent.update(self._missing(wanted[start : start + KEYS_MAX]))
        return absent

    def renew(self) -> None:
        """Extend the draft's life; when it has expired, go on with another that holds nothing yet."""
        with self._lock:
            if self._draft is not None:
                try:
                    self._draft = self._registry.drafts.renew(self._draft.id)
                except DraftNotFound:
                    self._reopen()

    def close(self, *, abandon: bool) -> None:
        """Stop the threads and remove unfinished packs; with `abandon`, end the draft as well."""
        with self._lock:
            self._sender.shutdown(wait=True, cancel_futures=True)
            self._compressors.shutdown(wait=True, cancel_futures=True)
            for writer in (self._content, self._structure):
                if writer is not None:
                    writer.discard()
            self._content = self._structure = None
            if abandon and self._draft is not None:
                self._registry.drafts.abandon(self._draft.id)

    def _is_known(self, key: ObjectKey) -> bool:
        if key in self._known:
            self._known.move_to_end(key)
            return True
        return False

    def _reopen(self) -> DraftRecord:
        self._known.clear()
        self._draft = self._registry.drafts.open(self._project)
        return self._draft

    def _missing(self, keys: list[ObjectKey]) -> list[ObjectKey]:
        try:
            missing = self._registry.drafts.missing(self.draft.id, keys)
        except DraftNotFound:
            missing = self._registry.drafts.missing(self._reopen().id, keys)
        absent = set(missing)
        for key in keys:
            if key not in absent:
                self._know(key)
        return missing

    def _know(self, key: ObjectKey) -> None:
        self._known[key] = None
        if len(self._known) > KNOWN_MAX:
            self._known.popitem(last=False)

    def _pack_batch(self) -> None:
        batch, size_bytes = self._batch, self._batch_bytes
        self._batch, self._batch_bytes = {}, 0
        if not batch:
            return
        missing = self._missing(list(batch))
        datas = [batch[key] for key in missing]
        encoded: Iterable[tuple[Codec, Bytes]]
        if size_bytes < PARALLEL_BYTES_MIN:
            encoded = map(codec.encode, datas)
        else:
            encoded = self._compressors.map(codec.encode, datas, chunksize=16)
        for key, data, (how, stored) in zip(missing, datas, encoded, strict=True):
            self._writer(key.kind, len(stored)).add_encoded(key, len(data), how, stored)
            self._packed.add(key)
            self.stored_bytes += len(stored)
            self.object_count += 1

    def _writer(self, kind: ObjectKind, coming_bytes: int) -> PackWriter:
        """The open pack for `kind`, a new one if the object would not fit."""
        writer = self._content if kind is ObjectKind.CHUNK else self._structure
        full = writer is not None and (
            writer.size_bytes + coming_bytes > PACK_BYTES_TARGET or len(writer.objects) >= PACK_OBJECTS_MAX
        )
        if full and kind is ObjectKind.CHUNK:
            self._finish_content()
        elif full:
            self._finish_both()
        writer = self._content if kind is ObjectKind.CHUNK else self._structure
        if writer is None:
            header = new_pack_header(self.draft.project_uid, self._clock_ns())
            writer = PackWriter(self._registry.spool / f"{header.pack_id.hex()}.pack", header)
            if kind is ObjectKind.CHUNK:
                self._content = writer
            else:
                self._structure = writer
        return writer

    def _finish_content(self) -> None:
        writer, self._content = self._content, None
        self._send(writer)

    def _finish_both(self) -> None:
        self._finish_content()
        writer, self._structure = self._structure, None
        self._send(writer)

    def _send(self, writer: PackWriter | None) -> None:
        if writer is not None:
            self._drain(SENDING_MAX - 1)
            self._sending.append(self._sender.submit(self._store, writer, self.draft))

    def _drain(self, most: int) -> None:
        """Wait until at most that many packs are being sent. Raises what sending one raised."""
        while len(self._sending) > most:
            sent = self._sending.popleft().result()
            self._draft = sent.draft
            for key in sent.keys:
                self._packed.discard(key)
                self._know(key)

    # In the sending thread, which must not take the lock: whoever waits for it may hold it.
    def _store(self, writer: PackWriter, draft: DraftRecord) -> _Sent:
        try:
            path = writer.finish()
            try:
                draft = self._put(path, draft)
            finally:
                path.unlink(missing_ok=True)
        except BaseException:
            writer.discard()
            raise
        return _Sent([placed.key for placed in writer.objects], draft)

    def _put(self, path: Path, draft: DraftRecord) -> DraftRecord:
        try:
            self._registry.drafts.put_pack(draft.id, path)
        except DraftNotFound:  # it expired while a machine slept: what is stored so far is asked for again at the end
            draft = self._registry.drafts.open(self._project)
            self._registry.drafts.put_pack(draft.id, path)
        return draft
