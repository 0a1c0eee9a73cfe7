"""Reading what references refer to: by range, through the cache, every block verified, and never of two states of the source.

A block whose digest the descriptor holds, or whose digest was seen before, is looked for in memory and in the cache as a chunk
of that digest. What is not there is asked for in one range for neighbouring blocks; whoever wants a block that is on its way
waits for it. Without digests in the descriptor, the source must go on telling the state (ETag, or a reliable time of change) that
the descriptor or the first read of this machine names. A source that ignores ranges, or tells no state, is read as one
stream, all of it, if it is small enough.

Where a source knows the MD5 of a whole file, `whole_file` verifies it. A file that is wrong is forgotten, so that it is fetched
again: its blocks may still be in the cache, but are named by their digests there, which nobody knows any more.

Owners of mutable things: the memory and the loads in flight have `_lock`; a load belongs to the thread that began it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from hashlib import sha256
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from cachetools import LRUCache

from artfs.client.references.blocks import cut_blocks, runs
from artfs.client.references.source import Source, Told, changed, shown
from artfs.client.references.subject import SUBJECTS_BYTES, Subject, size_of
from artfs.client.references.whole_file import WholeFile
from artfs.errors import ArtfsError, DamagedObject, InvalidValue, ReferenceForbidden, ReferenceUnavailable
from artfs.model.digest import Digest, ObjectKey, ObjectKind
from artfs.model.reference import Reference
from artfs.vfs.ports import Bytes

if TYPE_CHECKING:
    from artfs.cache.object_cache import ObjectCache
    from artfs.client.references.seen import SeenBlocks

MEMORY_BYTES = 64 << 20
RUN_BYTES_MAX = 8 << 20  # asked for at once, when a file is read in order
WHOLE_BYTES_MAX = 256 << 20  # of a source that is only read as a whole
KEYS_AT_ONCE = 4096  # of a descriptor's blocks
WHOLE_WAIT_S = 600.0  # for another thread that reads a source as a whole
DIGESTS_MAX = 200_000  # of blocks that descriptors do not have, in memory; about 40 MB


class _WholeOnly(Exception):
    """The source must be read as one stream: it sends all of it anyway, or does not tell its state."""


class ReferenceReader:
    """Blocks of references, for all open files of a client.

    Args:
        source: what reads a scheme; raises for one that is not followed.
        cache: objects on local disk; None for memory alone.
        seen: what is remembered across processes; None for this one alone.
    """

    def __init__(
        self,
        source: Callable[[str], Source],
        *,
        cache: ObjectCache | None = None,
        seen: SeenBlocks | None = None,
        memory_bytes: int = MEMORY_BYTES,
    ) -> None:
        self._source = source
        self._cache = cache
        self._seen = seen
        self._lock = threading.Lock()
        self._memory: LRUCache[tuple[Subject, int], Bytes] = LRUCache(
            memory_bytes, getsizeof=lambda data: len(data) + 200
        )
        self._digest_memory: LRUCache[tuple[Subject, int], Digest] = LRUCache(DIGESTS_MAX)
        self._subjects: LRUCache[bytes, Subject] = LRUCache(SUBJECTS_BYTES, getsizeof=size_of)
        self._loading: dict[tuple[Subject, int], Future[Bytes]] = {}
        self._fetched_ranges = self._fetched_bytes = 0

    def open(self, project: str, descriptor: Digest, reference: Reference) -> OpenedReference:
        """One open file. Nothing is asked for yet, so nothing is forbidden yet."""
        name = sha256(f"{project}\0".encode() + descriptor).digest()[:16]
        with self._lock:
            subject = self._subjects.get(name)
            if subject is None:
                subject = self._subjects[name] = Subject(name, project, reference)
        return OpenedReference(self, subject)

    def status(self) -> dict[str, int]:
        """Numbers for `artfs status`."""
        with self._lock:
            return {
                "blocks": len(self._memory),
                "bytes": int(self._memory.currsize),
                "fetched_ranges": self._fetched_ranges,
                "fetched_bytes": self._fetched_bytes,
            }

    def peek(self, subject: Subject, numbers: Sequence[int]) -> list[Bytes] | None:
        """The blocks if all of them are in memory."""
        found = self._in_memory(subject, numbers)
        return [found[number] for number in numbers] if len(found) == len(numbers) else None

    def held(self, subject: Subject, numbers: Sequence[int]) -> list[Bytes] | None:
        """The blocks if all of them are on this machine, and do not have to be verified first."""
        whole = self._whole(subject)
        if whole is not None and whole.is_due:
            return None
        found = self._find(subject, numbers)
        return [found[number] for number in numbers] if len(found) == len(numbers) else None

    def blocks(self, subject: Subject, numbers: range, ahead: int) -> list[Bytes]:
        """The blocks, and with what has to be fetched for them up to `ahead` more, which nobody has asked for yet.

        Raises ReferenceChanged, ReferenceUnavailable, ReferenceForbidden, DamagedObject.
        """
        self._verify_due(subject)
        found = self._find(subject, numbers)
        absent = [number for number in numbers if number not in found]
        if absent and absent[-1] == numbers[-1]:
            absent += self._not_held(subject, range(numbers.stop, min(numbers.stop + ahead, _count(subject))))
        mine, waiting = self._claim(subject, absent)
        if mine:
            found.update(self._load(subject, mine))
        for number, future in waiting.items():
            if number in numbers:
                found[number] = future.result()
        return [found[number] for number in numbers]

    def fill(self, subject: Subject, numbers: range) -> None:
        """Have the blocks in the cache, as far as it keeps them. Raises as `blocks` does."""
        self._verify_due(subject)
        absent = self.not_cached(subject, numbers)
        for run in runs(absent):
            self.blocks(subject, run, 0)

    def not_cached(self, subject: Subject, numbers: Sequence[int]) -> list[int]:
        """Those that are not in the cache on disk."""
        if self._cache is None or self._source(subject.reference.scheme).is_local:
            return []
        digests = self._digests(subject, numbers)
        keys = {number: ObjectKey(ObjectKind.CHUNK, digest) for number, digest in digests.items()}
        absent = self._cache.absent(subject.project, list(keys.values())) if keys else set()
        return [number for number in numbers if number not in keys or keys[number] in absent]

    def known_keys(self, subject: Subject, numbers: range) -> list[ObjectKey]:
        digests = self._digests(subject, numbers[: max(0, _count(subject) - numbers.start)])
        return [ObjectKey(ObjectKind.CHUNK, digests[number]) for number in sorted(digests)]

    def _not_held(self, subject: Subject, numbers: range) -> list[int]:
        """The first of `numbers` up to one that is held."""
        not_cached = numbers if self._cache is None else self.not_cached(subject, numbers)
        in_memory = self._in_memory(subject, numbers)
        return list(takewhile(lambda number: number in not_cached and number not in in_memory, numbers))

    def _find(self, subject: Subject, numbers: Sequence[int]) -> dict[int, Bytes]:
        """Those that are in memory or in the cache."""
        found = self._in_memory(subject, numbers)
        absent = [number for number in numbers if number not in found]
        if not absent or self._cache is None:
            return found
        digests = self._digests(subject, absent)
        if not digests:
            return found
        keys = {number: ObjectKey(ObjectKind.CHUNK, digest) for number, digest in digests.items()}
        cached = self._cache.get(subject.project, list(dict.fromkeys(keys.values())))
        for number, key in keys.items():
            data = cached.get(key)
            if data is not None and len(data) == subject.reference.block_range(number)[1]:
                found[number] = data
                self._remember(subject, number, data)
        return found

    def _in_memory(self, subject: Subject, numbers: Iterable[int]) -> dict[int, Bytes]:
        with self._lock:
            return {n: data for n in numbers if (data := self._memory.get((subject, n))) is not None}

    def _digests(self, subject: Subject, numbers: Sequence[int]) -> dict[int, Digest]:
        """What is known of the digests of these blocks."""
        if subject.reference.blocks:
            known = ((number, subject.reference.block_digest(number)) for number in numbers)
            return {number: digest for number, digest in known if digest is not None}
        with self._lock:
            found = {n: digest for n in numbers if (digest := self._digest_memory.get((subject, n))) is not None}
        if self._seen is not None and len(found) < len(numbers):
            self._settled(subject)
            stored = self._seen.digests(subject.blocks_name, min(numbers), max(numbers))
            with self._lock:
                for number in numbers:
                    if number in stored and number not in found:
                        found[number] = self._digest_memory.setdefault((subject, number), stored[number])
        return found

    def _remember(self, subject: Subject, number: int, data: Bytes) -> None:
        with self._lock:
            if len(data) + 200 <= self._memory.maxsize:
                self._memory[subject, number] = data

    def _claim(
        self, subject: Subject, numbers: Sequence[int]
    ) -> tuple[dict[int, Future[Bytes]], dict[int, Future[Bytes]]]:
        """Which of these blocks the caller is to load, and which others are loading."""
        mine: dict[int, Future[Bytes]] = {}
        waiting: dict[int, Future[Bytes]] = {}
        with self._lock:
            for number in numbers:
                loading = self._loading.get((subject, number))
                if loading is None:
                    self._loading[subject, number] = mine[number] = Future()
                else:
                    waiting[number] = loading
        return mine, waiting

    def _load(self, subject: Subject, mine: Mapping[int, Future[Bytes]]) -> dict[int, Bytes]:
        loaded: dict[int, Bytes] = {}
        failure: BaseException | None = None
        try:
            # Somebody may have loaded them between the look and the claim.
            loaded.update(self._in_memory(subject, mine))
            for run in runs(sorted(number for number in mine if number not in loaded)):
                loaded.update(self._fetch(subject, run))
            return loaded
        except BaseException as error:
            failure = error
            raise
        finally:
            with self._lock:
                for number in mine:
                    del self._loading[subject, number]
            for number, future in mine.items():
                if number in loaded:
                    future.set_result(loaded[number])
                else:
                    future.set_exception(_for_others(failure, subject))

    def _fetch(self, subject: Subject, run: range) -> dict[int, Bytes]:
        reference = subject.reference
        if not subject.is_whole_only:
            offset, end = reference.block_range(run[0])[0], sum(reference.block_range(run[-1]))
            try:
                return self._receive(subject, (offset, end - offset), run)
            except _WholeOnly:
                subject.is_whole_only = True
        return self._fetch_whole(subject, run)

    def _fetch_whole(self, subject: Subject, run: range) -> dict[int, Bytes]:
        reference = subject.reference
        if reference.size_bytes > WHOLE_BYTES_MAX:
            raise ReferenceUnavailable(
                f"{shown(reference.uri)} cannot be read in parts, and is too long to be read as a whole",
                hint="its server ignores ranges, or tells neither ETag nor time: put the file itself into a version",
            )
        if not subject.streaming.acquire(timeout=WHOLE_WAIT_S):
            raise ReferenceUnavailable(f"{shown(reference.uri)} is being read as a whole, too slowly")
        try:
            found = self._find(subject, run)
            return found if len(found) == len(run) else self._receive(subject, None, run)
        finally:
            subject.streaming.release()

    def _receive(self, subject: Subject, span: tuple[int, int] | None, run: range) -> dict[int, Bytes]:
        """Blocks of `run`; those that come besides, when all of the source does, are kept as well."""
        reference = subject.reference
        source = self._source(reference.scheme)

        def take(told: Told, pieces: Iterator[Bytes]) -> dict[int, Bytes]:
            if span is not None and told.is_whole and len(run) < reference.block_count:
                self._check(subject, told, in_parts=False)
                raise _WholeOnly
            self._check(subject, told, in_parts=not told.is_whole)
            epoch = 0 if (whole := self._whole(subject)) is None else whole.epoch
            found: dict[int, Bytes] = {}
            numbers = range(reference.block_count) if told.is_whole else run
            for number, data in zip(numbers, cut_blocks(reference, numbers, pieces), strict=True):
                self._take_block(subject, source, number, data, epoch)
                if number in run:
                    found[number] = data
            return found

        expected_bytes = reference.size_bytes if span is None else span[1]
        etag = "" if reference.blocks else reference.etag
        found = source.receive(reference.uri, span, etag, expected_bytes, take)
        with self._lock:
            self._fetched_ranges += 1
            self._fetched_bytes += expected_bytes
        self._verify_due(subject)
        return found

    def _check(self, subject: Subject, told: Told, *, in_parts: bool) -> None:
        """Whether the source is in the state that is to be read. Raises ReferenceChanged, _WholeOnly."""
        reference = subject.reference
        if told.size_bytes is not None and told.size_bytes != reference.size_bytes:
            raise changed(reference.uri, f"it is {told.size_bytes} bytes, not {reference.size_bytes}")
        if reference.blocks:
            return
        if reference.etag:
            if told.etag != reference.etag:
                raise changed(reference.uri, "it has another ETag" if told.etag else "it tells no ETag any more")
            return
        if self._settled(subject) is None:
            if in_parts and not told.validator:
                raise _WholeOnly
            validator = told.validator if self._seen is None else self._seen.settle(subject.name, told.validator)
            subject.settle(validator)
        if subject.validator and told.validator != subject.validator:
            raise changed(reference.uri, "it is in another state than when it was first read here")
        if not subject.validator and in_parts:
            raise _WholeOnly

    def _settled(self, subject: Subject) -> str | None:
        """The state that is read; None if the next byte settles it."""
        if subject.validator is None and self._seen is not None and not subject.reference.etag:
            known = self._seen.validator(subject.name)
            if known is not None:
                subject.settle(known)
        return subject.validator

    def _take_block(self, subject: Subject, source: Source, number: int, data: bytes, epoch: int) -> None:
        """Verify a block that came, and keep it. Raises ReferenceChanged, DamagedObject."""
        whole = self._whole(subject)
        if whole is not None:
            whole.admit(data, epoch)
        digest = Digest.of(data)
        expected = known = self._digests(subject, [number]).get(number)
        if expected is None:
            kept = {number: digest} if self._seen is None else self._seen.keep(subject.blocks_name, {number: digest})
            with self._lock:
                expected = self._digest_memory.setdefault((subject, number), kept[number])
        if digest != expected:
            if whole is None:
                raise changed(subject.reference.uri, "its bytes are other ones")
            differing = whole.differing()
            if whole.epoch != epoch:
                self._drop(subject)
            raise differing
        self._remember(subject, number, data)
        if self._cache is not None and not source.is_local:
            self._cache.put(subject.project, {ObjectKey(ObjectKind.CHUNK, digest): data})
        if whole is not None and subject.reference.block_count > 1:
            whole.came(number, is_new=known is None)
            self._verify(subject, whole, self._in_memory, {number: (digest, data)}, wait=False)

    def _whole(self, subject: Subject) -> WholeFile | None:
        """What verifies all of it, if its source knows what it must be."""
        if not subject.is_whole_known:
            reference, expected = subject.reference, None
            if reference.etag and not reference.blocks:
                with suppress(ReferenceForbidden, InvalidValue):  # such a reference is not read, either
                    expected = self._source(reference.scheme).whole_md5(reference.uri)
            with self._lock:
                if subject.whole is None and expected is not None:
                    count, name = reference.block_count, subject.blocks_name
                    subject.whole = WholeFile(shown(reference.uri), expected, name, count, self._seen)
                subject.is_whole_known = True
        return subject.whole

    def _verify_due(self, subject: Subject) -> None:
        """Outside of what has a deadline: of a long file this may take long."""
        whole = self._whole(subject)
        if whole is not None and whole.is_due:
            self._verify(subject, whole, self._find, {}, wait=True)

    def _verify(
        self,
        subject: Subject,
        whole: WholeFile,
        look: Callable[[Subject, Sequence[int]], dict[int, Bytes]],
        came: Mapping[int, tuple[Digest, Bytes]],
        *,
        wait: bool,
    ) -> None:
        """Let its digest run on, over what `came` and what `look` finds. Raises DamagedObject."""

        def find(number: int) -> tuple[Digest, Bytes] | None:
            if number in came:
                return came[number]
            digest, data = self._digests(subject, [number]).get(number), look(subject, [number]).get(number)
            return None if digest is None or data is None else (digest, data)

        try:
            whole.run(find, wait=wait)
        except DamagedObject:
            self._drop(subject)
            raise

    def _drop(self, subject: Subject) -> None:
        """Have nothing of it in memory."""
        owned: tuple[LRUCache[tuple[Subject, int], Any], ...] = (self._memory, self._digest_memory)
        with self._lock:
            for held in owned:
                for key in [key for key in held if key[0] is subject]:
                    del held[key]


class OpenedReference:
    """Implements `OpenReference`: one open file."""

    def __init__(self, reader: ReferenceReader, subject: Subject) -> None:
        self._reader = reader
        self._subject = subject
        self._last = -2  # the block that was read last
        self._ahead = 0  # how many behind it were asked for besides

    @property
    def reference(self) -> Reference:
        return self._subject.reference

    def peek(self, offset: int, length: int) -> Bytes | None:
        numbers = self._numbers(offset, length)
        found = self._reader.peek(self._subject, numbers)
        return None if found is None else self._joined(found, numbers, offset, length)

    def held(self, offset: int, length: int) -> Bytes | None:
        numbers = self._numbers(offset, length)
        found = self._reader.held(self._subject, numbers)
        return None if found is None else self._joined(found, numbers, offset, length)

    def read(self, offset: int, length: int) -> Bytes:
        """At most `length` bytes from `offset`. Raises what `ReferenceReader.blocks` raises."""
        numbers = self._numbers(offset, length)
        if not numbers:
            return b""
        if not self._last <= numbers[0] <= self._last + self._ahead + 1:
            self._ahead = 0
        elif numbers[0] > self._last:
            self._ahead = min(max(1, 2 * self._ahead), max(0, RUN_BYTES_MAX // self.reference.block_bytes - 1))
        self._last = numbers[-1]
        found = self._reader.blocks(self._subject, numbers, self._ahead)
        return self._joined(found, numbers, offset, length)

    def stream(self) -> Iterator[Bytes]:
        """All of it in order."""
        step_bytes = max(RUN_BYTES_MAX // 2, self.reference.block_bytes)
        for offset in range(0, self.reference.size_bytes, step_bytes):
            yield self.read(offset, step_bytes)

    def prefetch(self) -> int:
        """Fetch what is not in the cache. Returns how many blocks the cache did not keep."""
        step = max(1, RUN_BYTES_MAX // self.reference.block_bytes)
        lost = 0
        for first in range(0, self.reference.block_count, step):
            numbers = range(first, min(first + step, self.reference.block_count))
            self._reader.fill(self._subject, numbers)
            lost += len(self._reader.not_cached(self._subject, numbers))
        return lost

    def known_keys(self) -> Iterator[ObjectKey]:
        """The blocks whose digests are known, as the cache calls them."""
        for first in range(0, self.reference.block_count, KEYS_AT_ONCE):
            yield from self._reader.known_keys(self._subject, range(first, first + KEYS_AT_ONCE))

    def _numbers(self, offset: int, length: int) -> range:
        end = min(offset + length, self.reference.size_bytes)
        block_bytes = self.reference.block_bytes
        return range(offset // block_bytes, -(-end // block_bytes)) if offset < end else range(0)

    def _joined(self, blocks: Sequence[Bytes], numbers: range, offset: int, length: int) -> Bytes:
        parts = []
        for number, data in zip(numbers, blocks, strict=True):
            start = self.reference.block_range(number)[0]
            parts.append(memoryview(data)[max(0, offset - start) : offset + length - start])
        return parts[0] if len(parts) == 1 else b"".join(parts)


def _count(subject: Subject) -> int:
    return subject.reference.block_count


def _for_others(failure: BaseException | None, subject: Subject) -> ArtfsError:
    """What those are told who waited for a block that did not come."""
    if isinstance(failure, ArtfsError):
        return failure
    return ReferenceUnavailable(f"{shown(subject.reference.uri)} could not be read")
