"""A draft driven as the kernel drives it: paths are walked by lookups, calls go by number, over a real embedded registry."""

from __future__ import annotations

import errno
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from stat import S_IFREG, S_ISDIR, S_ISLNK

import trio

from artfs.client.objects import ObjectReader
from artfs.client.upload import Uploads
from artfs.model.content import FileContent
from artfs.model.digest import Digest
from artfs.model.tree import Entry, EntryKind, LeafPage
from artfs.model.tree_build import build_directory
from artfs.registry.embedded import EmbeddedRegistry
from artfs.vfs.attributes import AttributeChange, Attributes, Caller
from artfs.vfs.door import Door
from artfs.vfs.staging.area import Staging
from artfs.vfs.staging.draft import Base, fill_draft
from artfs.vfs.staging.layout import StagingRoot
from artfs.vfs.staging.resolve import link_count
from artfs.vfs.staging_port import DraftPlace, VersionFile
from artfs.wire.records import SealRequest, SealResult, VersionRecord

PROJECT = "p"
ARTIFACT = "a"
CALLER = Caller(uid=1000, gid=1000, pid=1)


class Listing:
    """A `DirectoryBuffer` of bounded size that remembers everything."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.names: list[str] = []
        self.attributes: dict[str, Attributes] = {}
        self.last_id = 0

    def add(self, name: str, attributes: Attributes, next_id: int, *, alike: bool = False) -> bool:
        if self.room == 0:
            return False
        self.room -= 1
        self.names.append(name)
        self.attributes[name] = attributes
        self.last_id = next_id
        return True


class Drive:
    """One draft, by paths relative to its root. Errors are those of the calls."""

    def __init__(self, staging: Staging, place: DraftPlace) -> None:
        self.staging = staging
        self.place = place

    async def inode(self, path: str) -> int:
        return (await self.stat(path)).inode

    async def stat(self, path: str) -> Attributes:
        found = await self.staging.drafts.lookup(self.place)
        parts = [part for part in path.split("/") if part]
        for part in parts:
            found = await self.staging.nodes.lookup(found.inode, part)
        return found if parts else await self.staging.nodes.getattr(found.inode)

    async def parent(self, path: str) -> tuple[int, str]:
        head, _, name = path.rpartition("/")
        found = await self.stat(head)
        if not S_ISDIR(found.mode):
            raise NotADirectoryError(errno.ENOTDIR, f"{head!r} is not a directory")
        return found.inode, name

    async def mkdir(self, path: str, mode: int = 0o755) -> Attributes:
        return await self.staging.nodes.mkdir(*await self.parent(path), mode, CALLER)

    async def mknod(self, path: str, mode: int = S_IFREG | 0o644) -> Attributes:
        return await self.staging.nodes.mknod(*await self.parent(path), mode, CALLER)

    async def symlink(self, path: str, target: str) -> Attributes:
        return await self.staging.nodes.symlink(*await self.parent(path), target, CALLER)

    async def readlink(self, path: str) -> str:
        return await self.staging.nodes.readlink(await self.inode(path))

    async def link(self, old: str, new: str) -> Attributes:
        inode = await self.inode(old)
        return await self.staging.nodes.link(inode, *await self.parent(new), CALLER)

    async def unlink(self, path: str) -> None:
        await self.staging.nodes.unlink(*await self.parent(path))

    async def rmdir(self, path: str) -> None:
        await self.staging.nodes.rmdir(*await self.parent(path))

    async def rename(self, old: str, new: str, flags: int = 0) -> None:
        await self.staging.nodes.rename(*await self.parent(old), *await self.parent(new), flags)

    async def setattr(self, path: str, change: AttributeChange) -> Attributes:
        return await self.staging.nodes.setattr(await self.inode(path), change, None, CALLER)

    async def chmod(self, path: str, mode: int) -> None:
        await self.setattr(path, AttributeChange(mode=mode))

    async def truncate(self, path: str, size: int) -> None:
        await self.setattr(path, AttributeChange(size_bytes=size))

    async def create(self, path: str, flags: int = os.O_WRONLY, mode: int = 0o644) -> int:
        handle, _ = await self.staging.handles.create(*await self.parent(path), mode, flags | os.O_CREAT, CALLER)
        return handle

    async def open(self, path: str, flags: int = os.O_RDONLY) -> int:
        return await self.staging.handles.open(await self.inode(path), flags, CALLER)

    async def write(self, path: str, data: bytes) -> None:
        """open(O_CREAT | O_TRUNC), write, close."""
        try:
            handle = await self.open(path, os.O_WRONLY | os.O_TRUNC)
        except FileNotFoundError:
            handle = await self.create(path)
        try:
            done = 0
            while done < len(data):
                done += await self.staging.handles.write(handle, done, data[done:])
        finally:
            await self.staging.handles.release(handle)

    async def patch(self, path: str, offset: int, data: bytes) -> None:
        """Write into a file that is there."""
        handle = await self.open(path, os.O_RDWR)
        try:
            await self.staging.handles.write(handle, offset, data)
        finally:
            await self.staging.handles.release(handle)

    async def read(self, path: str) -> bytes:
        handle = await self.open(path)
        try:
            found = b""
            while data := await self.staging.handles.read(handle, len(found), 1 << 20):
                found += data
            return found
        finally:
            await self.staging.handles.release(handle)

    async def list(self, path: str = "", room: int = 7) -> dict[str, Attributes]:
        """All names but "." and "..", asked for a few at a time."""
        handle = await self.staging.handles.open_directory(await self.inode(path))
        found: dict[str, Attributes] = {}
        names: list[str] = []
        offset = 0
        try:
            while True:
                listing = Listing(room)
                await self.staging.handles.read_directory(handle, offset, listing)
                if not listing.names:
                    break
                names += listing.names
                found |= listing.attributes
                offset = listing.last_id
        finally:
            await self.staging.handles.release_directory(handle)
        assert len(names) == len(set(names)), f"listed twice: {names}"
        assert names[:2] == [".", ".."]
        return {name: found[name] for name in names[2:]}

    async def walk(self, path: str = "") -> dict[str, object]:
        """Everything below: None for a directory, bytes for a file, the target for a link."""
        found: dict[str, object] = {}
        for name, attributes in (await self.list(path)).items():
            child = f"{path}/{name}" if path else name
            if S_ISDIR(attributes.mode):
                found[child] = None
                found |= await self.walk(child)
            elif S_ISLNK(attributes.mode):
                found[child] = await self.readlink(child)
            else:
                found[child] = await self.read(child)
        return found

    async def commit(self, alias: str = "best") -> SealResult:
        return await self.staging.drafts.commit(self.place, ARTIFACT, alias)


class Machine:
    """A registry, a staging root, and a staging area over both."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.registry = EmbeddedRegistry(root / "registry")
        self.registry.projects.create(PROJECT, exist_ok=True)
        self.registry.artifacts.create(PROJECT, ARTIFACT, exist_ok=True)
        self.source = ObjectReader(self.registry)
        self.uploads = Uploads(self.registry)
        self.layout = StagingRoot(root / "staging")
        self.staging = self.area()

    def area(self) -> Staging:
        """Another staging area of the same place, as of another process."""
        return Staging(self.layout.root, self.source, self.uploads, Door(), created_by="tester")

    async def draft(self, name: str = "next") -> Drive:
        place = DraftPlace(PROJECT, ARTIFACT, name)
        await self.staging.drafts.make(place, 0o755, CALLER)
        return Drive(self.staging, place)

    def found(self, name: str = "next", staging: Staging | None = None) -> Drive:
        return Drive(staging or self.staging, DraftPlace(PROJECT, ARTIFACT, name))

    def draft_of(self, version: VersionRecord, name: str = "next") -> Drive:
        """A draft as `artfs stage` makes it."""
        page = self.source.page(PROJECT, version.digest).page
        links = link_count(page) if isinstance(page, LeafPage) else 1
        base = Base(version.digest, page.entry_count, links, version.created_at_ns, version.name)
        place = DraftPlace(PROJECT, ARTIFACT, name)
        self.layout.create(place, fill_draft((1000, 1000), 0o755, base, version.created_at_ns))
        return Drive(self.staging, place)

    def put(self, files: dict[str, bytes | None], alias: str = "latest") -> VersionRecord:
        """Seal a version of these files; None is an empty directory, a key ending in @ a symbolic link."""
        session = self.uploads.open(PROJECT)
        spool = self.root / "put"

        added: dict[bytes, FileContent] = {}

        def entry(name: str, data: bytes) -> Entry:
            if data not in added:
                spool.write_bytes(data)
                added[data] = session.add_file(spool)
            content = added[data]
            return Entry(name, content.kind, content.digest, content.size_bytes)

        def build(below: dict[str, bytes | None]) -> Entry:
            groups: dict[str, dict[str, bytes | None]] = {}
            for path, data in below.items():
                name, slash, rest = path.partition("/")
                groups.setdefault(name, {}).update({rest: data} if slash else {})
            entries = []
            for name, inside in sorted(groups.items()):
                data = below.get(name)
                if data is None:
                    child = build(inside)
                    entries.append(
                        Entry(name, EntryKind.DIRECTORY, child.digest, child.size_bytes, file_count=child.file_count)
                    )
                else:
                    entries.append(entry(name, data))
            summary = build_directory(entries, session.store_page)
            return Entry("x", EntryKind.DIRECTORY, summary.digest, summary.size_bytes, file_count=summary.file_count)

        root = build(files).digest
        return session.seal(SealRequest(artifact=ARTIFACT, root=root, aliases=[alias])).version

    def tree(self, root: Digest) -> dict[str, object]:
        """Everything in a version, as `Drive.walk` shows it."""
        page = self.source.page(PROJECT, root).page
        found: dict[str, object] = {}
        for leaf in [page] if isinstance(page, LeafPage) else []:
            for entry in leaf.entries():
                if entry.kind is EntryKind.DIRECTORY:
                    found[entry.name] = None
                    found |= {f"{entry.name}/{path}": data for path, data in self.tree(entry.digest).items()}
                elif entry.kind is EntryKind.SYMLINK:
                    found[entry.name] = entry.target
                elif entry.kind is EntryKind.FILE:
                    assert entry.key is not None
                    found[entry.name] = bytes(self.source.read(PROJECT, entry.key))
        return found

    def version_file(self, version: VersionRecord, name: str) -> VersionFile:
        page = self.source.page(PROJECT, version.digest).page
        assert isinstance(page, LeafPage)
        position = page.find(name)
        assert position is not None
        return VersionFile(PROJECT, page.entry(position), version.created_at_ns)

    def close(self) -> None:
        self.source.close()
        self.registry.close()


@asynccontextmanager
async def machine_at(root: Path) -> AsyncIterator[Machine]:
    """A machine whose staging runs; closed at the end, with everything that was open."""
    machine = Machine(root)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(machine.staging.run)
            try:
                yield machine
            finally:
                nursery.cancel_scope.cancel()
                with trio.CancelScope(shield=True):
                    await machine.staging.close()
    finally:
        machine.close()
