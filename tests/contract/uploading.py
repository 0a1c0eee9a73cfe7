"""Contents as nested dicts, and sending them to a registry the way a client does."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from artfs.client.pack_source import LocalPacks, PackSource, PackSources, PackVanished, StoredPacks
from artfs.client.remote.packs import HttpPacks
from artfs.client.remote.registry import RemoteRegistry
from artfs.model import codec
from artfs.model.chunking import cut_points
from artfs.model.digest import Digest, ObjectKey, ObjectKind
from artfs.model.recipe import decode_recipe, encode_recipe
from artfs.model.tree import Entry, EntryKind, PageSummary, decode_page, symlink_entry
from artfs.model.tree_build import build_directory
from artfs.registry.sql_registry import SqlRegistry
from artfs.store.pack_file import PackWriter, new_pack_header
from artfs.wire.records import DraftRecord, SealRequest, SealResult
from artfs.wire.service import KEYS_MAX, Registry
from tests.stores import SignedPacks

Tree = Mapping[str, "bytes | str | Tree"]
"""A directory: bytes are files, str are symbolic links, mappings are directories."""

FETCHES_MAX = 100
START_NS = 1_700_000_000 * 10**9


class Clock:
    """A clock that only tests move."""

    def __init__(self, now_ns: int = START_NS) -> None:
        self.now_ns = now_ns

    def __call__(self) -> int:
        self.now_ns += 1000
        return self.now_ns

    def advance_s(self, seconds: float) -> None:
        self.now_ns += int(seconds * 10**9)


@dataclass
class Content:
    """All objects of a directory, children first, and its root."""

    root: Digest = field(default_factory=lambda: Digest(bytes(32)))
    objects: dict[ObjectKey, bytes] = field(default_factory=dict)
    size_bytes: int = 0
    file_count: int = 0

    @property
    def root_key(self) -> ObjectKey:
        return ObjectKey(ObjectKind.TREE, self.root)

    def keep(self, kind: ObjectKind, data: bytes) -> Digest:
        key = ObjectKey(kind, Digest.of(data))
        self.objects.setdefault(key, data)
        return key.digest


def content_of(tree: Tree, *, large_bytes: int = 1 << 20) -> Content:
    """The objects of `tree`. Files over `large_bytes` become recipes."""
    content = Content()
    summary = _directory(tree, content, large_bytes)
    content.root, content.size_bytes, content.file_count = summary.digest, summary.size_bytes, summary.file_count
    return content


def _directory(tree: Tree, content: Content, large_bytes: int) -> PageSummary:
    entries = [_entry(name, tree[name], content, large_bytes) for name in sorted(tree)]
    return build_directory(entries, lambda page: content.keep(ObjectKind.TREE, page))


def _entry(name: str, value: bytes | str | Tree, content: Content, large_bytes: int) -> Entry:
    if isinstance(value, str):
        return symlink_entry(name, value)
    if isinstance(value, Mapping):
        below = _directory(value, content, large_bytes)
        return Entry(name, EntryKind.DIRECTORY, below.digest, below.size_bytes, file_count=below.file_count)
    if len(value) <= large_bytes:
        return Entry(name, EntryKind.FILE, content.keep(ObjectKind.CHUNK, value), len(value))
    chunks, start = [], 0
    lengths = cut_points(value)
    if len(lengths) == 1:
        lengths = [len(value) // 2, len(value) - len(value) // 2]
    for length in lengths:
        data = value[start : start + length]
        chunks.append((content.keep(ObjectKind.CHUNK, data), length))
        start += length
    recipe = content.keep(ObjectKind.RECIPE, encode_recipe(Digest.of(value), chunks))
    return Entry(name, EntryKind.LARGE_FILE, recipe, len(value))


def children_of(key: ObjectKey, data: bytes) -> set[ObjectKey]:
    """What an object refers to."""
    if key.kind is ObjectKind.CHUNK:
        return set()
    return set(decode_recipe(data).children() if key.kind is ObjectKind.RECIPE else decode_page(data).children())


def write_pack(
    registry: Registry,
    project_uid: bytes,
    objects: Iterable[tuple[ObjectKey, bytes]],
    *,
    now_ns: int = START_NS,
    random_bytes: Callable[[int], bytes] = os.urandom,
) -> Path:
    """A finished pack in the registry's spool."""
    header = new_pack_header(project_uid, now_ns, random_bytes)
    writer = PackWriter(registry.spool / f"{header.pack_id.hex()}.pack", header)
    for key, data in objects:
        writer.add(key, data)
    return writer.finish()


def send(registry: Registry, draft: DraftRecord, content: Content, *, now_ns: int = START_NS) -> list[ObjectKey]:
    """Send what the registry says is missing, and return that."""
    keys = list(content.objects)
    missing = [
        key for i in range(0, len(keys), KEYS_MAX) for key in registry.drafts.missing(draft.id, keys[i : i + KEYS_MAX])
    ]
    if missing:
        objects = ((key, content.objects[key]) for key in missing)
        registry.drafts.put_pack(draft.id, write_pack(registry, draft.project_uid, objects, now_ns=now_ns))
    return missing


def commit(
    registry: Registry, project: str, artifact: str, tree: Tree | Content, *aliases: str, now_ns: int = START_NS
) -> SealResult:
    """Make a version of `tree`."""
    content = tree if isinstance(tree, Content) else content_of(tree)
    draft = registry.drafts.open(project)
    send(registry, draft, content, now_ns=now_ns)
    return registry.drafts.seal(draft.id, SealRequest(artifact, content.root, list(aliases)))


def fetch_again(registry: Registry, project: str, key: ObjectKey) -> bytes | None:
    """As a client reads beside others who delete: a pack that vanished was rewritten, so ask again where the object is."""
    for _ in range(FETCHES_MAX):
        with suppress(PackVanished):
            return fetch(registry, project, key)
    raise AssertionError(f"{key} keeps vanishing")


def fetch(registry: Registry, project: str, key: ObjectKey) -> bytes | None:
    """An object read from where `locate` says it is, verified; None when it is not stored."""
    (location,) = registry.objects.locate(project, [key])
    if location is None:
        return None
    stored = _packs_of(registry).read(location.url, location.offset, location.stored_bytes)
    data = bytes(codec.decode(location.codec, stored, location.size_bytes))
    assert Digest.of(data) == key.digest
    return data


def _packs_of(registry: Registry) -> PackSource:
    if isinstance(registry, RemoteRegistry):
        return HttpPacks(registry.transport)
    sources: dict[str, PackSource] = {"file": LocalPacks(), "http": SignedPacks()}
    if isinstance(registry, SqlRegistry):
        sources["store"] = StoredPacks(registry.resources.store)
    return PackSources(sources)
