"""What clients are told of files: MD5 digests, computed once for each stored file and kept; and files of versions by path.

Owner of the memory of recent manifests: its lock.
"""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterable, Sequence
from hashlib import md5
from typing import NamedTuple

import msgspec
from cachetools import LRUCache

from artfs.client.client import Client
from artfs.client.files import FileReader
from artfs.client.trees import Found, TreeReader
from artfs.errors import PathNotFound
from artfs.model.content import FileContent
from artfs.model.digest import Digest
from artfs.model.links import Outside, follow
from artfs.model.reference import decode_reference
from artfs.model.tree import Entry, EntryKind
from artfs.wandb_server.state import State
from artfs.wire.records import ProjectRecord
from artfs.wire.wandb_manifests import artifact_digest

REF, DIGEST, EXTRA = "wandb.ref", "wandb.digest", "wandb.extra"  # attributes of entries that are references
ARTIFACT_SCHEME = "wandb-artifact:"
MANIFESTS_MAX = 16
_KINDS = {int(kind): kind for kind in (EntryKind.FILE, EntryKind.LARGE_FILE)}


class File(NamedTuple):
    """A file of a version as clients know it. `digest` is base64 of an MD5, or what a reference's source says.

    `entered_at_ns` is when its content entered the project.
    """

    path: str
    entry: Entry
    digest: str
    entered_at_ns: int
    ref: str = ""
    extra: dict[str, object] = {}  # noqa: RUF012  # never changed

    @property
    def md5(self) -> str:
        """In hexadecimal; empty for a reference."""
        return "" if self.ref else base64.b64decode(self.digest).hex()

    @property
    def content(self) -> FileContent:
        return FileContent.of(self.entry)


class Contents:
    """Files and digests of all projects."""

    def __init__(self, state: State, client: Client) -> None:
        self._state = state
        self._client = client
        self._lock = threading.Lock()
        self._manifests: LRUCache[tuple[bytes, bytes], list[File]] = LRUCache(MANIFESTS_MAX)

    def note(self, project: ProjectRecord, contents: Iterable[tuple[FileContent, str]]) -> None:
        """Keep the MD5 of stored files."""
        rows = [(project.uid, int(c.kind), bytes(c.digest), c.size_bytes, digest) for c, digest in contents]
        with self._state.write() as tx:
            tx.run_many("INSERT OR REPLACE INTO contents VALUES (?, ?, ?, ?, ?)", rows)

    def by_md5(self, project: ProjectRecord, digests: Sequence[str]) -> dict[str, FileContent]:
        """Files with those MD5 digests that were stored once; they may be deleted by now."""
        found: dict[str, FileContent] = {}
        for digest in dict.fromkeys(digests):
            sql = "SELECT kind, digest, size FROM contents WHERE project = ? AND md5 = ?"
            for kind, name, size in self._state.rows(sql, (project.uid, digest)):
                found[digest] = FileContent(_KINDS[kind], Digest(name), size)
        return found

    def files(self, project: ProjectRecord, root: Digest) -> list[File]:
        """All files and references of a version, by path. Links are told as what they point to; what points nowhere is left out.

        Files whose MD5 nobody asked for yet are read for it.
        """
        name = (project.uid, bytes(root))
        with self._lock:
            known = self._manifests.get(name)
        if known is None:
            known = self._read(project, root)
            with self._lock:
                self._manifests[name] = known
        return known

    def digest(self, project: ProjectRecord, root: Digest) -> str:
        """What clients call the version's digest."""
        sql = "SELECT digest FROM roots WHERE project = ? AND root = ?"
        rows = self._state.rows(sql, (project.uid, bytes(root)))
        if rows:
            return str(rows[0][0])
        digest = artifact_digest((file.path, file.digest) for file in self.files(project, root))
        with self._state.write() as tx:
            tx.run("INSERT OR REPLACE INTO roots VALUES (?, ?, ?)", (project.uid, bytes(root), digest))
        return digest

    def known_digest(self, project: ProjectRecord, root: Digest) -> str:
        """The same if it was told before; else empty, and nothing is read."""
        sql = "SELECT digest FROM roots WHERE project = ? AND root = ?"
        rows = self._state.rows(sql, (project.uid, bytes(root)))
        return str(rows[0][0]) if rows else ""

    def _read(self, project: ProjectRecord, root: Digest) -> list[File]:
        trees = TreeReader(self._client.objects, project.name)
        entries = [one for one in trees.walk(root) if one.entry.kind is not EntryKind.DIRECTORY]
        found = [resolved for one in entries if (resolved := _followed(trees, root, one)) is not None]
        reader = FileReader(self._client.objects, project.name)
        stored = [one.entry for one in found if one.entry.kind in _KINDS.values()]
        digests = self._digests(project, reader, stored)
        return sorted((self._file(project.name, one, digests) for one in found), key=lambda file: file.path)

    def _file(self, project: str, found: Found, digests: dict[Digest, str]) -> File:
        entry = found.entry
        xattrs = entry.xattrs
        if REF in xattrs:
            extra = msgspec.json.decode(xattrs.get(EXTRA, b"{}"))
            return File(found.path, entry, xattrs[DIGEST].decode(), found.time_ns, xattrs[REF].decode(), extra)
        if entry.kind is not EntryKind.REFERENCE:
            digest = base64.b64encode(bytes.fromhex(digests[entry.digest])).decode()
            return File(found.path, entry, digest, found.time_ns)
        reference = decode_reference(bytes(self._client.objects.read(project, FileContent.of(entry).key)))
        etag = reference.etag.strip('"')
        extra = {"etag": etag} if etag else {}
        return File(found.path, entry, etag or reference.uri, found.time_ns, reference.uri, extra)

    def _digests(self, project: ProjectRecord, reader: FileReader, entries: Sequence[Entry]) -> dict[Digest, str]:
        found: dict[Digest, str] = {}
        for entry in entries:
            sql = "SELECT md5 FROM contents WHERE project = ? AND kind = ? AND digest = ?"
            for (digest,) in self._state.rows(sql, (project.uid, int(entry.kind), bytes(entry.digest))):
                found[entry.digest] = digest
        for entry in entries:
            if entry.digest not in found:
                content = FileContent.of(entry)
                computed = md5(usedforsecurity=False)
                for piece in reader.stream(content):
                    computed.update(piece)
                found[entry.digest] = computed.hexdigest()
                self.note(project, [(content, found[entry.digest])])
        return found


def _followed(trees: TreeReader, root: Digest, found: Found) -> Found | None:
    """What a link points to, under the link's path; None if that is no file of the version."""
    if found.entry.kind is not EntryKind.SYMLINK:
        return found
    names = follow(tuple(found.path.split("/")[:-1]), found.entry.target or "", trees.targets_below(root))
    if not names or isinstance(names, Outside):
        return None
    try:
        there = trees.lookup(root, names)
    except PathNotFound:
        return None
    return None if there.entry.kind is EntryKind.DIRECTORY else Found(found.path, there.entry, there.time_ns)
