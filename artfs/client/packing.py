"""From objects to stored packs: what the registry has is not sent, the rest is compressed, packed and handed over in order.

Objects wait in a small batch, are asked for together, and then go into the open pack of their kind: content into one, recipes and
tree pages into another, so that the pages of a version lie close together. A finished pack is made durable and handed to the
registry by one background thread, content always before the recipes and pages that refer to it.

Owner of everything mutable: `Packer`, under its lock; the sending thread owns the packs it was given.
"""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, wait
from contextlib import contextmanager
from itertools import chain

from artfs.client.draft_lease import DraftLease
from artfs.client.threads import Threads
from artfs.model import codec
from artfs.model.codec import Codec
from artfs.model.digest import ObjectKey, ObjectKind
from artfs.model.pack import PACK_BYTES_TARGET, PACK_OBJECTS_MAX, UNPACKED_BYTES_TARGET
from artfs.store.pack_file import PackWriter, new_pack_header
from artfs.vfs.ports import Bytes
from artfs.wire.service import KEYS_MAX, Registry

BATCH_BYTES = 8 << 20
BATCH_OBJECTS = 1024
SENDING_MAX = 2  # finished packs waiting to be stored: bounds disk use and what a failure costs
KNOWN_MAX = 100_000
COMPRESS_BYTES = 512 << 10  # what one thread compresses at a time: less is not worth handing over

Encoded = tuple[Codec, Bytes]


class Packer:
    """Sends objects into a draft of a project. Safe to call from several threads.

    After a method raised, what was not stored yet is forgotten, to be added again; nothing half-done is kept.

    Args:
        compressors: threads that compress, shared with others.

    Attributes:
        lease: the draft.
        stored_bytes: compressed bytes of all objects that had to be sent so far.
        object_count: how many those are.
    """

    def __init__(self, registry: Registry, project: str, clock_ns: Callable[[], int], compressors: Executor) -> None:
        self.lease = DraftLease(registry, project, clock_ns)
        self._registry = registry
        self._clock_ns = clock_ns
        self._compressors = compressors
        self._lock = threading.RLock()
        self._batch: dict[ObjectKey, Bytes] = {}
        self._batch_bytes = 0
        self._content: PackWriter | None = None
        self._structure: PackWriter | None = None
        self._packed: set[ObjectKey] = set()  # in open packs or being sent
        self._known: OrderedDict[ObjectKey, None] = OrderedDict()  # stored, and leased to the draft below
        self._known_to = ""
        self._sender = Threads(1, "artfs-send")
        self._sending: deque[Future[list[ObjectKey]]] = deque()
        self.stored_bytes = 0
        self.object_count = 0

    def add(self, key: ObjectKey, data: Bytes) -> None:
        """Send `data` unless it is stored. Children come before parents. Raises what sending earlier objects raised."""
        with self._lock, self._consistent():
            self._take(key, data)
            if self._batch_bytes >= BATCH_BYTES or len(self._batch) >= BATCH_OBJECTS:
                self._pack_batch()

    def add_at_once(self, objects: Iterable[tuple[ObjectKey, Bytes]]) -> None:
        """The same for several, about a batch of them; their buffers are free again when this returns."""
        with self._lock, self._consistent():
            for key, data in objects:
                self._take(key, data)
            self._pack_batch()

    def flush(self) -> None:
        """Return when everything added is stored durably."""
        with self._lock, self._consistent():
            self._pack_batch()
            self._finish_both()
            self._drain(0)

    def hold(self, keys: Iterable[ObjectKey]) -> set[ObjectKey]:
        """Hold what is stored of `keys` for the draft, and return what is not."""
        self.flush()
        wanted = list(dict.fromkeys(keys))
        absent: set[ObjectKey] = set()
        with self._lock:
            for start in range(0, len(wanted), KEYS_MAX):
                absent.update(self._missing(wanted[start : start + KEYS_MAX]))
        return absent

    def close(self) -> None:
        """Stop the sending thread and remove unfinished packs. Repeatable."""
        with self._lock:
            self._forget_unstored()
            self._sender.shutdown(wait=True)

    def _take(self, key: ObjectKey, data: Bytes) -> None:
        if key not in self._batch and key not in self._packed and not self._is_known(key):
            self._batch[key] = data
            self._batch_bytes += len(data)

    @contextmanager
    def _consistent(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self._forget_unstored()
            raise

    def _forget_unstored(self) -> None:
        wait(self._sending)
        for sent in self._sending:
            if sent.exception() is None:
                self._learn(sent.result())
        self._sending.clear()
        for writer in (self._content, self._structure):
            if writer is not None:
                writer.discard()
        self._content = self._structure = None
        self._packed.clear()
        self._batch, self._batch_bytes = {}, 0

    def _is_known(self, key: ObjectKey) -> bool:
        if key in self._known:
            self._known.move_to_end(key)
            return True
        return False

    def _learn(self, keys: Iterable[ObjectKey]) -> None:
        """These are stored and held by the draft."""
        draft = self.lease.draft.id
        if draft != self._known_to:  # the one before expired, and with it what it held
            self._known.clear()
            self._known_to = draft
        for key in keys:
            self._known[key] = None
        while len(self._known) > KNOWN_MAX:
            self._known.popitem(last=False)

    def _missing(self, keys: Sequence[ObjectKey]) -> list[ObjectKey]:
        """Those of `keys` that must be sent, in their order."""
        absent = set(self.lease.run(lambda draft: self._registry.drafts.missing(draft, keys)))
        self._learn(key for key in keys if key not in absent)
        return [key for key in keys if key in absent]

    def _pack_batch(self) -> None:
        batch, self._batch, self._batch_bytes = self._batch, {}, 0
        if not batch:
            return
        keys = list(batch)
        missing = [
            key for start in range(0, len(keys), KEYS_MAX) for key in self._missing(keys[start : start + KEYS_MAX])
        ]
        datas = [batch[key] for key in missing]
        for key, data, (how, stored) in zip(missing, datas, self._encoded(datas), strict=True):
            self._writer(key.kind, len(stored)).add_encoded(key, len(data), how, stored)
            self._packed.add(key)
            self.stored_bytes += len(stored)
            self.object_count += 1

    def _encoded(self, datas: list[Bytes]) -> Iterable[Encoded]:
        """Compressed where that pays, by several threads if it is much."""
        groups = list(_groups(datas))
        if len(groups) < 2:
            return map(codec.encode, datas)
        return chain.from_iterable(self._compressors.map(_encode_all, groups))

    def _writer(self, kind: ObjectKind, coming_bytes: int) -> PackWriter:
        """The open pack for `kind`, a new one if the object would not fit."""
        is_content = kind is ObjectKind.CHUNK
        writer = self._content if is_content else self._structure
        if writer is not None and not _has_room(writer, coming_bytes):
            if is_content:
                self._finish_content()
            else:
                self._finish_both()
            writer = None
        if writer is None:
            header = new_pack_header(self.lease.draft.project_uid, self._clock_ns())
            writer = PackWriter.in_spool(self._registry.spool, header)
            if is_content:
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
            self._sending.append(self._sender.submit(self._store, writer))
            self._drain(SENDING_MAX)

    def _drain(self, most: int) -> None:
        """Wait until at most that many packs are being sent. Raises what sending one raised."""
        while len(self._sending) > most:
            keys = self._sending[0].result()
            self._sending.popleft()
            self._packed.difference_update(keys)
            self._learn(keys)

    # In the sending thread, which must not take the lock: whoever waits for it may hold it.
    def _store(self, writer: PackWriter) -> list[ObjectKey]:
        try:
            path = writer.finish()
            self.lease.run(lambda draft: self._registry.drafts.put_pack(draft, path))
        finally:
            writer.discard()
        return [placed.key for placed in writer.objects]


def _has_room(writer: PackWriter, coming_bytes: int) -> bool:
    fits = writer.size_bytes + coming_bytes <= PACK_BYTES_TARGET
    return fits and len(writer.objects) < PACK_OBJECTS_MAX and writer.unpacked_bytes < UNPACKED_BYTES_TARGET


def _encode_all(datas: list[Bytes]) -> list[Encoded]:
    return [codec.encode(data) for data in datas]


def _groups(datas: list[Bytes]) -> Iterator[list[Bytes]]:
    """Runs of about COMPRESS_BYTES."""
    group: list[Bytes] = []
    size_bytes = 0
    for data in datas:
        group.append(data)
        size_bytes += len(data)
        if size_bytes >= COMPRESS_BYTES:
            yield group
            group, size_bytes = [], 0
    if group:
        yield group
