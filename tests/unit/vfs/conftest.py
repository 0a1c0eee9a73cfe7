"""A filesystem over a real registry, without a kernel."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from artfs.client.objects import ObjectReader
from artfs.client.pack_source import LocalPacks
from artfs.registry.embedded import EmbeddedRegistry
from artfs.vfs.attributes import ROOT_INODE, Attributes, Caller
from artfs.vfs.door import Door
from artfs.vfs.filesystem import Filesystem
from artfs.vfs.ports import Bytes
from artfs.vfs.view import View
from tests.contract.uploading import Tree, commit

NOBODY = Caller(uid=1000, gid=1000, pid=1)


class CountingPacks(LocalPacks):
    """Packs on disk, and how often they were read. Owner of the counts: whoever holds the lock."""

    def __init__(self) -> None:
        super().__init__()
        self._counting = threading.Lock()
        self.read_count = 0
        self.read_bytes = 0

    def read(self, url: str, offset: int, length: int) -> bytes:
        with self._counting:
            self.read_count += 1
            self.read_bytes += length
        return super().read(url, offset, length)


@dataclass
class Listing:
    """A directory buffer of `room` entries."""

    room: int = 1_000_000
    entries: list[tuple[str, int, int]] = field(default_factory=list)  # name, inode, next id

    def add(self, name: str, attributes: Attributes, next_id: int, *, alike: bool = False) -> bool:
        if len(self.entries) == self.room:
            return False
        self.entries.append((name, attributes.inode, next_id))
        return True


@dataclass
class Kernel:
    """What a kernel would have been told to forget."""

    entries: list[tuple[int, str]] = field(default_factory=list)
    attributes: list[int] = field(default_factory=list)
    stored: list[tuple[int, bytes]] = field(default_factory=list)

    def forget_entry(self, parent: int, name: str) -> None:
        self.entries.append((parent, name))

    def forget_attributes(self, inode: int) -> None:
        self.attributes.append(inode)

    def forget_content(self, inode: int) -> None:
        self.attributes.append(inode)

    def store_content(self, inode: int, data: Bytes) -> None:
        self.stored.append((inode, bytes(data)))


class World:
    """A registry, a filesystem over it, and shorthands for what kernels do."""

    def __init__(self, registry: EmbeddedRegistry) -> None:
        self.registry = registry
        self.packs = CountingPacks()
        self.kernel = Kernel()
        self.fs = self.mount()

    def mount(self, *, read_only: bool = False, pinned_at: int | None = None) -> Filesystem:
        """Another filesystem, with nothing in memory."""
        source = ObjectReader(self.registry, packs=self.packs)
        view = View(1000, 1000, 5, read_only=read_only, pinned_at=pinned_at)
        return Filesystem(self.registry, source, view, door=Door(), kernel=self.kernel)

    def put(self, artifact: str, tree: Tree, *aliases: str) -> str:
        project, name = artifact.split("/")
        self.registry.projects.create(project, exist_ok=True)
        return commit(self.registry, project, name, tree, *aliases).version.name

    async def walk(self, path: str, fs: Filesystem | None = None) -> Attributes:
        """Look `path` up from the root, one name after the other."""
        fs = fs or self.fs
        attributes = await fs.attributes.get(ROOT_INODE)
        for name in path.split("/"):
            attributes = await fs.names.lookup(attributes.inode, name)
        return attributes

    async def read(self, path: str, offset: int = 0, size_bytes: int = 1 << 30) -> bytes:
        handle = await self.fs.handles.open((await self.walk(path)).inode, 0, NOBODY)
        try:
            return bytes(await self.fs.handles.read(handle, offset, size_bytes))
        finally:
            await self.fs.handles.release(handle)

    async def list(self, path: str, room: int = 1_000_000) -> list[tuple[str, int, int]]:
        """All entries, in calls of at most `room`."""
        handle = await self.fs.handles.open_directory((await self.walk(path)).inode)
        entries: list[tuple[str, int, int]] = []
        while True:
            part = Listing(room)
            await self.fs.handles.fill_directory(handle, entries[-1][2] if entries else 0, part)
            if not part.entries:
                await self.fs.handles.release_directory(handle)
                return entries
            entries.extend(part.entries)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    registry = EmbeddedRegistry(tmp_path / "registry")
    world = World(registry)
    try:
        yield world
    finally:
        world.packs.close()
        registry.close()
