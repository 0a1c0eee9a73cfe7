"""Trees of versions, made of their manifests when somebody looks into them, and held in memory while there is room.

A version's record names a root that stands for its tree (`WandbVersion.root`); all pages below are named by their digests, so
that versions share what is equal in them. What was dropped is made again of the manifest. Owners of mutable things: `_lock`;
a version that is being read belongs to the thread that reads it, and others wait for it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from urllib.parse import quote

from cachetools import LRUCache

from artfs.client.version_tree import build_tree
from artfs.errors import DamagedObject, InvalidValue, ObjectMissing, PathConflict, UsageError
from artfs.model.digest import Digest
from artfs.model.reference import SIZE_BYTES_MAX, Reference, encode_reference
from artfs.model.tree import Entry, EntryKind, LeafPage, TreePage, decode_page
from artfs.vfs.ports import DatedPage
from artfs.wandb_client.births import Births, file_digest
from artfs.wandb_client.versions import WandbVersion
from artfs.wire.times import PageTimes, encode_times
from artfs.wire.wandb_manifests import LAYOUT_1, Manifest, ManifestEntry

HELD_BYTES = 256 << 20  # of trees in memory, encoded
PAGE_ENTRIES_MAX = 400_000  # in decoded pages
HOMES_MAX = 1_000_000
_OVERHEAD_BYTES = 150  # of an object in a dictionary
UNKNOWN = "unknown"  # as a scheme: nothing reads it
_SHOWN_MAX = 1000  # characters of a reference that is not one

Find = Callable[[Digest], WandbVersion | None]
ReadManifest = Callable[[WandbVersion], Manifest]
Created = Callable[[WandbVersion, str], int | None]
"""When another version of the same artifact, with that id, was made."""


@dataclass(frozen=True, slots=True)
class _Tree:
    """The objects of one version: pages, and descriptors of references to elsewhere. All are chunks or pages by digest."""

    root: Digest
    created_at_ns: int
    objects: dict[Digest, bytes] = field(repr=False)
    size_bytes: int


class Trees:
    """Pages by digest.

    Args:
        find: the version that a root stands for.
        manifest: read from the server, or kept here.
        created: see `Created`.
    """

    def __init__(self, births: Births, find: Find, manifest: ReadManifest, created: Created) -> None:
        self._births = births
        self._find = find
        self._manifest = manifest
        self._created = created
        self._lock = threading.Lock()
        self._trees: LRUCache[Digest, _Tree] = LRUCache(HELD_BYTES, getsizeof=lambda tree: tree.size_bytes)
        self._pages: LRUCache[Digest, DatedPage] = LRUCache(
            PAGE_ENTRIES_MAX, getsizeof=lambda dated: len(dated.page) + 16
        )
        self._homes: LRUCache[Digest, Digest] = LRUCache(HOMES_MAX)  # in which version's tree an object is
        self._reading: dict[Digest, threading.Lock] = {}

    def status(self) -> dict[str, int]:
        """Numbers for `artfs status`."""
        with self._lock:
            return {"versions": len(self._trees), "bytes": int(self._trees.currsize), "pages": len(self._pages)}

    def peek(self, digest: Digest) -> DatedPage | None:
        """The page if it is decoded."""
        with self._lock:
            return self._pages.get(digest)

    def page(self, digest: Digest) -> DatedPage:
        """A page, or the one that a version's root stands for. Raises ObjectMissing, DamagedObject, and what asking raises."""
        held = self.peek(digest)
        if held is not None:
            return held
        data, created_at_ns = self._found(digest)
        dated = self._dated(decode_page(data), created_at_ns)
        with self._lock:
            if len(dated.page) + 16 <= self._pages.maxsize:
                self._pages[digest] = dated
        return dated

    def object(self, digest: Digest) -> bytes:
        """An encoded page or descriptor. Raises ObjectMissing, and what asking raises."""
        return self._found(digest)[0]

    def _found(self, digest: Digest) -> tuple[bytes, int]:
        """An object, and when the version was made in whose tree it is."""
        shown = self._find(digest)
        if shown is not None:
            tree = self._tree(shown)
            return tree.objects[tree.root], tree.created_at_ns
        with self._lock:
            home = self._homes.get(digest)
        version = None if home is None else self._find(home)
        if version is None:
            raise ObjectMissing(f"{digest.text} is in no tree that was read of the server")
        tree = self._tree(version)
        return tree.objects[digest], tree.created_at_ns

    def _tree(self, version: WandbVersion) -> _Tree:
        root = version.root
        with self._lock:
            tree = self._trees.get(root)
            if tree is not None:
                return tree
            turn = self._reading.setdefault(root, threading.Lock())
        try:
            with turn:
                with self._lock:
                    tree = self._trees.get(root)
                return self._keep(root, self._made(version)) if tree is None else tree
        finally:
            with self._lock:
                self._reading.pop(root, None)

    def _keep(self, root: Digest, tree: _Tree) -> _Tree:
        with self._lock:
            if tree.size_bytes <= self._trees.maxsize:
                self._trees[root] = tree
            for digest in tree.objects:
                self._homes.setdefault(digest, root)
        return tree

    def _made(self, version: WandbVersion) -> _Tree:
        manifest = self._manifest(version)
        objects: dict[Digest, bytes] = {}

        def store(data: bytes) -> Digest:
            digest = Digest.of(data)
            objects[digest] = data
            return digest

        try:
            root = build_tree(_entries(version, manifest, self._marks(version, manifest), store), store)
        except (UsageError, PathConflict) as error:  # what is wrong is the server's
            raise DamagedObject(f"the manifest of {version.name} cannot be shown: {error.message}") from None
        size_bytes = sum(len(data) + _OVERHEAD_BYTES for data in objects.values())
        return _Tree(root, version.created_at_ns, objects, size_bytes)

    def _marks(self, version: WandbVersion, manifest: Manifest) -> dict[str, bytes]:
        """The marks of all files, by what they came with."""
        policy = manifest.policy
        ids = {entry.birth_id or "" for entry in manifest.contents.values()}
        created_at_ns = {id_: self._created(version, id_) for id_ in ids if id_}
        return {
            id_: self._births.note(
                version,
                policy.layout or LAYOUT_1,
                policy.region or "",
                id_,
                created_at_ns.get(id_),
            )
            for id_ in ids
        }

    def _dated(self, page: TreePage, created_at_ns: int) -> DatedPage:
        times = encode_times(self._times(page, created_at_ns)) if isinstance(page, LeafPage) else b""
        return DatedPage(page, PageTimes(times, created_at_ns), created_at_ns)

    def _times(self, page: LeafPage, created_at_ns: int) -> Iterator[int]:
        for i in range(len(page)):
            birth = self._births.of(page.digest(i)) if page.kind(i) is EntryKind.REFERENCE else None
            yield created_at_ns if birth is None or birth.created_at_ns is None else birth.created_at_ns


def _entries(
    version: WandbVersion, manifest: Manifest, marks: dict[str, bytes], store: Callable[[bytes], Digest]
) -> Iterator[tuple[str, Entry]]:
    for path, told in manifest.contents.items():
        mark = marks[told.birth_id or ""]
        digest = store(encode_reference(_elsewhere(told))) if told.ref else file_digest(told, mark)
        if (told.size is None and not told.ref) or (told.size or 0) > SIZE_BYTES_MAX:
            raise InvalidValue(f"it does not say how long {path!r} is")
        yield path, Entry("", EntryKind.REFERENCE, digest, told.size or 0)


def _elsewhere(told: ManifestEntry) -> Reference:
    """What a reference to another place says. One that artfs has no words for is shown, and cannot be read."""
    assert told.ref is not None
    try:
        return Reference(told.ref, told.size or 0, told.etag)
    except InvalidValue:
        return Reference(f"{UNKNOWN}:{quote(told.ref[:_SHOWN_MAX], safe='')}", told.size or 0)
