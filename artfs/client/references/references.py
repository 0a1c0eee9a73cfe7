"""References of one client: what URIs stand for, how that is kept, and the reader of what they refer to."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from artfs.client.references.policy import Policy
from artfs.client.references.reader import ReferenceReader
from artfs.client.references.seen import SeenBlocks
from artfs.client.references.source import OBJECTS_MAX, Located, Source, Told, shown
from artfs.client.scan import Ready
from artfs.errors import InvalidValue, ReferenceUnavailable
from artfs.model.digest import Digest
from artfs.model.names import split_path
from artfs.model.reference import Reference, block_bytes_for, encode_reference
from artfs.model.tree import Entry, EntryKind
from artfs.vfs.ports import Bytes

if TYPE_CHECKING:
    from artfs.cache.object_cache import ObjectCache
    from artfs.client.upload import UploadSession


class References:
    """Looking at URIs, and reading what was kept of them. Safe from any thread.

    Nothing is opened before it is needed, and then belongs to the process.

    Args:
        policy: which may be followed; the same for adding and reading.
        cache: where bytes that were read are kept; None for memory alone. Closed together with this.
        seen: the file in which it is remembered which bytes were read; None for this process alone.
        ca_file: certificates (PEM) that https: trusts besides the usual ones; empty for none.
        environ: where s3: finds its keys and endpoint.
        sources: of other schemes, which `policy` has no say in. Closed together with this.
    """

    def __init__(
        self,
        policy: Policy,
        *,
        cache: ObjectCache | None = None,
        seen: Path | None = None,
        ca_file: str = "",
        environ: Mapping[str, str] | None = None,
        sources: Mapping[str, Source] | None = None,
    ) -> None:
        self._policy = policy
        self._ca_file = ca_file
        self._environ = environ or {}
        self._cache = cache
        self._lock = threading.Lock()
        self._sources: dict[str, Source] = {}
        self._others = dict(sources or {})
        self._seen = None if seen is None else SeenBlocks(seen)
        self.reader = ReferenceReader(self.source, cache=cache, seen=self._seen)

    def close(self) -> None:
        """End what is under way, too."""
        with self._lock:
            for source in (*self._sources.values(), *self._others.values()):
                source.close()
            self._sources.clear()
        if self._seen is not None:
            self._seen.close()
        if self._cache is not None:
            self._cache.close()

    def resolve(
        self, uri: str, name: str | None = None, *, checksum: bool = True, max_objects: int = OBJECTS_MAX
    ) -> list[tuple[str, Reference]]:
        """What `uri` stands for, each with its path: one thing with its name, or everything below a directory or prefix.

        Args:
            name: the path of what `uri` stands for, or the directory for all that is below it; None for its own name, or
                for no directory.
            checksum: of what has no strong ETag, and of files, read all and note the SHA-256 of every block. Otherwise
                only length and ETag are noted (of a file: its mtime), and no bytes are read.
            max_objects: raises InvalidValue if there are more.

        Raises InvalidValue, InvalidName, ReferenceForbidden, ReferenceUnavailable, ReferenceChanged, UnsupportedFile.
        """
        parts = split_path(name) if name else ()
        source = self.source(uri.partition(":")[0] if ":" in uri else "")
        resolved: list[tuple[str, Reference]] = []
        for found in source.locate(uri, max_objects):
            path = "/".join(parts if parts and not found.is_below else (*parts, found.path))
            if not path:
                raise InvalidValue(
                    f"{shown(uri)} has no name of its own", hint="say what to call it: --reference-as, or name="
                )
            resolved.append((path, _describe(source, found, checksum)))
        return resolved

    def source(self, scheme: str) -> Source:
        """What reads a scheme. Raises ReferenceForbidden, and InvalidValue for one that is not known."""
        if scheme in self._others:
            return self._others[scheme]
        self._policy.check_scheme(scheme)
        kind = "http" if scheme == "https" else scheme
        with self._lock:
            found = self._sources.get(kind)
            if found is None:
                found = self._sources[kind] = self._open(kind)
            return found

    def _open(self, kind: str) -> Source:
        if kind == "file":
            from artfs.client.references.file_source import FileSource

            return FileSource()
        if kind == "s3":
            from artfs.client.references.s3_source import S3Source

            return S3Source(self._policy, self._environ)
        from artfs.client.references.http_source import HttpSource

        return HttpSource(self._policy, ca_file=self._ca_file)


def referring(path: str, reference: Reference) -> Ready:
    """The entry at `path` that a reference becomes, with its descriptor."""
    data = encode_reference(reference)
    return Ready(Entry(path.rpartition("/")[2], EntryKind.REFERENCE, Digest.of(data), reference.size_bytes), data)


def store_reference(session: UploadSession, path: str, reference: Reference) -> Entry:
    """Send a descriptor; the entry that holds it, named as the last part of `path`."""
    entry, data = referring(path, reference)
    session.add_small(entry.digest, data)
    return entry


def _describe(source: Source, located: Located, checksum: bool) -> Reference:
    told = located.told
    if not checksum or (told.etag and not source.is_local):
        if told.size_bytes is None:
            raise ReferenceUnavailable(f"{shown(located.uri)} does not say how long it is", hint="add it with checksum")
        return Reference(located.uri, told.size_bytes, told.etag, block_bytes=block_bytes_for(told.size_bytes))
    return source.receive(located.uri, None, "", told.size_bytes or 0, _hasher(located.uri))


def _hasher(uri: str) -> Callable[[Told, Iterator[Bytes]], Reference]:
    def take(told: Told, pieces: Iterator[Bytes]) -> Reference:
        block_bytes = block_bytes_for(told.size_bytes or 0)
        whole, block, blocks = sha256(), sha256(), bytearray()
        size_bytes = left_bytes = 0
        for piece in pieces:
            whole.update(piece)
            view = memoryview(piece)
            size_bytes += len(view)
            while view:
                if not left_bytes:
                    block, left_bytes = sha256(), block_bytes
                part = view[:left_bytes]
                block.update(part)
                left_bytes -= len(part)
                view = view[len(part) :]
                if not left_bytes:
                    blocks += block.digest()
        if left_bytes:
            blocks += block.digest()
        return Reference(uri, size_bytes, "", Digest(whole.digest()), block_bytes, bytes(blocks))

    return take
