"""What a random history of a mount acts on: a filesystem without a kernel, or a real mount, each by paths.

Both answer a call with what the system call would answer, or raise its OSError.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol, TypeVar, TypeVarTuple

import trio

from artfs.client.objects import ObjectReader
from artfs.client.upload import Uploads
from artfs.errors import ArtfsError
from artfs.fuse.errno_table import errno_of
from artfs.registry.embedded import EmbeddedRegistry
from artfs.vfs.attributes import ROOT_INODE, AttributeChange, Attributes, Caller
from artfs.vfs.door import Door
from artfs.vfs.filesystem import Filesystem
from artfs.vfs.staging.area import Staging
from artfs.vfs.view import View
from tests.property.mount_nodes import EXCHANGE, NOREPLACE, Names, Renaming, Seen, refuse

CALLER = Caller(uid=os.getuid(), gid=os.getgid(), pid=1)
_AT_FDCWD = -100
_KINDS = {stat.S_IFDIR: "directory", stat.S_IFREG: "file", stat.S_IFLNK: "link"}
_ROOM = 5  # entries of a listing that are asked for at once
_libc = ctypes.CDLL(None, use_errno=True)
_T = TypeVar("_T")
_Ts = TypeVarTuple("_Ts")


class Shown(Protocol):
    """A mount."""

    def mkdir(self, path: Names) -> None: ...
    def rmdir(self, path: Names) -> None: ...
    def write(self, path: Names, data: bytes, *, append: bool = False) -> None: ...
    def truncate(self, path: Names, size: int) -> None: ...
    def chmod(self, path: Names, mode: int) -> None: ...
    def set_xattr(self, path: Names, name: str, value: bytes) -> None: ...
    def remove_xattr(self, path: Names, name: str) -> None: ...
    def symlink(self, path: Names, target: str) -> None: ...
    def link(self, old: Names, new: Names) -> None: ...
    def unlink(self, path: Names) -> None: ...
    def rename(self, old: Names, new: Names, flags: int) -> None: ...
    def walk(self, top: Names) -> dict[Names, Seen]:
        """Everything at and below a path: directories are listed, and each name that was listed is looked up."""

    def projects(self) -> list[str]:
        """What listing the root shows."""

    def found_of(self, paths: Sequence[Names]) -> list[Names]:
        """Those of some names that are found when they are looked up."""


class RealMount:
    """A mount of this machine."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def at(self, path: Names) -> Path:
        return self.root.joinpath(*path)

    def mkdir(self, path: Names) -> None:
        os.mkdir(self.at(path), 0o755)

    def rmdir(self, path: Names) -> None:
        os.rmdir(self.at(path))

    def write(self, path: Names, data: bytes, *, append: bool = False) -> None:
        how = os.O_APPEND if append else os.O_CREAT | os.O_TRUNC
        fd = os.open(self.at(path), os.O_WRONLY | how, 0o644)
        try:
            os.write(fd, data)
        finally:
            os.close(fd)

    def truncate(self, path: Names, size: int) -> None:
        os.truncate(self.at(path), size)

    def chmod(self, path: Names, mode: int) -> None:
        os.chmod(self.at(path), mode)

    def set_xattr(self, path: Names, name: str, value: bytes) -> None:
        os.setxattr(self.at(path), name, value)

    def remove_xattr(self, path: Names, name: str) -> None:
        os.removexattr(self.at(path), name)

    def symlink(self, path: Names, target: str) -> None:
        os.symlink(target, self.at(path))

    def link(self, old: Names, new: Names) -> None:
        os.link(self.at(old), self.at(new), follow_symlinks=False)

    def unlink(self, path: Names) -> None:
        os.unlink(self.at(path))

    def rename(self, old: Names, new: Names, flags: int) -> None:
        paths = os.fsencode(self.at(old)), os.fsencode(self.at(new))
        if _libc.renameat2(_AT_FDCWD, paths[0], _AT_FDCWD, paths[1], flags):
            refuse(ctypes.get_errno())

    def walk(self, top: Names) -> dict[Names, Seen]:
        found = {top: self._look(self.at(top))}
        if found[top].kind == "directory":
            with os.scandir(self.at(top)) as entries:
                listed = {entry.name: entry.inode() for entry in entries}
            for name, inode in listed.items():
                looked = os.lstat(self.at((*top, name))).st_ino
                assert looked == inode, f"{(*top, name)} is listed as inode {inode} and found as {looked}"
            for name in listed:
                found |= self.walk((*top, name))
        return found

    def projects(self) -> list[str]:
        return os.listdir(self.root)

    def found_of(self, paths: Sequence[Names]) -> list[Names]:
        return [path for path in paths if os.path.lexists(self.at(path))]

    def _look(self, at: Path) -> Seen:
        status = os.lstat(at)
        content: bytes | str | None = None
        xattrs: list[tuple[str, bytes]] = []
        if stat.S_ISLNK(status.st_mode):
            content = os.readlink(at)
        else:
            xattrs = sorted((name, os.getxattr(at, name)) for name in os.listxattr(at))
        if stat.S_ISREG(status.st_mode):
            content = at.read_bytes()
            assert len(content) == status.st_size
        kind = _KINDS[stat.S_IFMT(status.st_mode)]
        return Seen(kind, stat.S_IMODE(status.st_mode), status.st_nlink, content, tuple(xattrs))


class _Listing:
    """A directory buffer with room for a few entries."""

    def __init__(self) -> None:
        self.entries: list[tuple[str, int, int]] = []

    def add(self, name: str, attributes: Attributes, next_id: int, *, alike: bool = False) -> bool:
        if len(self.entries) == _ROOM:
            return False
        self.entries.append((name, attributes.inode, next_id))
        return True


class BareMount:
    """`artfs.vfs` over a registry, driven as a kernel drives it, and its background work; a thread runs its event loop.

    What the kernel decides before it asks a filesystem is decided here: whether a name exists, and of which kind it is.
    """

    def __init__(self, registry: EmbeddedRegistry, staging_dir: Path) -> None:
        self._registry = registry
        self._staging_dir = staging_dir
        self._ready = threading.Event()
        self._source = ObjectReader(registry)
        self._uploads = Uploads(registry)
        self._known: Counter[int] = Counter()  # what a kernel would have looked up
        self._thread = threading.Thread(target=trio.run, args=(self._serve,), daemon=True)
        self._thread.start()
        assert self._ready.wait(30)

    async def _serve(self) -> None:
        door = Door()
        staging = Staging(self._staging_dir, self._source, self._uploads, door, created_by="tester")
        self._fs = Filesystem(self._registry, self._source, View(CALLER.uid, CALLER.gid, 5), door=door, staging=staging)
        self._token = trio.lowlevel.current_trio_token()
        self._stop = trio.Event()
        async with trio.open_nursery() as nursery:
            for task in self._fs.background_tasks().values():
                nursery.start_soon(task)
            self._ready.set()
            await self._stop.wait()
            nursery.cancel_scope.cancel()
        await staging.close()

    def close(self) -> None:
        trio.from_thread.run_sync(self._stop.set, trio_token=self._token)
        self._thread.join(60)
        assert not self._thread.is_alive()
        self._uploads.close()
        self._source.close()

    def _call(self, function: Callable[[*_Ts], Awaitable[_T]], *args: *_Ts) -> _T:
        try:
            return trio.from_thread.run(function, *args, trio_token=self._token)
        except ArtfsError as error:
            refuse(errno_of(error))

    def forget(self) -> None:
        """What a kernel does that needs memory: it takes back all lookups."""
        trio.from_thread.run_sync(self._forget, trio_token=self._token)

    def _forget(self) -> None:
        for inode, count in self._known.items():
            self._fs.attributes.forget(inode, count)
        self._known.clear()
        assert self._fs.status()["inodes"] == {"entries": 0, "nodes": 1, "pages": 0}

    # --- walking

    async def _lookup(self, parent: int, name: str) -> Attributes:
        found = await self._fs.names.lookup(parent, name)
        if not found.inode:
            refuse(errno.ENOENT)
        self._count(found.inode)
        return found

    def _count(self, inode: int) -> None:
        self._known[inode] += 1

    async def _walk(self, path: Names) -> Attributes:
        found = await self._fs.attributes.get(ROOT_INODE)
        for name in path:
            if not stat.S_ISDIR(found.mode):
                refuse(errno.ENOTDIR)
            found = await self._lookup(found.inode, name)
        return found

    async def _parent(self, path: Names) -> int:
        found = await self._walk(path[:-1])
        return found.inode if stat.S_ISDIR(found.mode) else refuse(errno.ENOTDIR)

    async def _free(self, path: Names) -> int:
        """The parent of a name that must not exist."""
        parent = await self._parent(path)
        if await self._is_there(parent, path[-1]):
            refuse(errno.EEXIST)
        return parent

    async def _is_there(self, parent: int, name: str) -> Attributes | None:
        with suppress(FileNotFoundError):
            return await self._lookup(parent, name)
        return None

    async def _taken(self, path: Names, *, directory: bool) -> int:
        """The parent of a name that must exist and be a directory, or none."""
        parent = await self._parent(path)
        found = await self._lookup(parent, path[-1])
        if stat.S_ISDIR(found.mode) != directory:
            refuse(errno.ENOTDIR if directory else errno.EISDIR)
        return parent

    # --- changing

    def mkdir(self, path: Names) -> None:
        self._call(self._mkdir, path)

    async def _mkdir(self, path: Names) -> None:
        made = await self._fs.names.make_directory(await self._free(path), path[-1], 0o755, CALLER)
        self._count(made.inode)

    def rmdir(self, path: Names) -> None:
        self._call(self._rmdir, path)

    async def _rmdir(self, path: Names) -> None:
        await self._fs.names.remove_directory(await self._taken(path, directory=True), path[-1])

    def write(self, path: Names, data: bytes, *, append: bool = False) -> None:
        self._call(self._write, path, data, append)

    async def _write(self, path: Names, data: bytes, append: bool) -> None:
        parent = await self._parent(path)
        found = await self._is_there(parent, path[-1])
        handles = self._fs.handles
        if found is None:
            if append:
                refuse(errno.ENOENT)
            handle, made = await handles.create(parent, path[-1], 0o644, os.O_WRONLY | os.O_CREAT, CALLER)
            self._count(made.inode)
        else:
            if stat.S_ISDIR(found.mode):
                refuse(errno.EISDIR)
            handle = await handles.open(found.inode, os.O_WRONLY | (os.O_APPEND if append else os.O_TRUNC), CALLER)
        try:
            await handles.write(handle, found.size_bytes if found is not None and append else 0, data)
        finally:
            await handles.release(handle)

    def truncate(self, path: Names, size: int) -> None:
        self._call(self._truncate, path, size)

    async def _truncate(self, path: Names, size: int) -> None:
        found = await self._walk(path)
        if stat.S_ISDIR(found.mode):
            refuse(errno.EISDIR)
        await self._fs.attributes.change(found.inode, AttributeChange(size_bytes=size), None, CALLER)

    def chmod(self, path: Names, mode: int) -> None:
        self._call(self._chmod, path, mode)

    async def _chmod(self, path: Names, mode: int) -> None:
        await self._fs.attributes.change((await self._walk(path)).inode, AttributeChange(mode=mode), None, CALLER)

    def set_xattr(self, path: Names, name: str, value: bytes) -> None:
        self._call(self._set_xattr, path, name, value)

    async def _set_xattr(self, path: Names, name: str, value: bytes) -> None:
        await self._fs.xattrs.set((await self._walk(path)).inode, name, value, CALLER)

    def remove_xattr(self, path: Names, name: str) -> None:
        self._call(self._remove_xattr, path, name)

    async def _remove_xattr(self, path: Names, name: str) -> None:
        await self._fs.xattrs.remove((await self._walk(path)).inode, name)

    def symlink(self, path: Names, target: str) -> None:
        self._call(self._symlink, path, target)

    async def _symlink(self, path: Names, target: str) -> None:
        made = await self._fs.names.make_symlink(await self._free(path), path[-1], target, CALLER)
        self._count(made.inode)

    def link(self, old: Names, new: Names) -> None:
        self._call(self._link, old, new)

    async def _link(self, old: Names, new: Names) -> None:
        found, parent = await self._walk(old), await self._free(new)
        if stat.S_ISDIR(found.mode):
            refuse(errno.EPERM)
        self._count((await self._fs.names.link(found.inode, parent, new[-1], CALLER)).inode)

    def unlink(self, path: Names) -> None:
        self._call(self._unlink, path)

    async def _unlink(self, path: Names) -> None:
        await self._fs.names.unlink(await self._taken(path, directory=False), path[-1])

    def rename(self, old: Names, new: Names, flags: int) -> None:
        assert flags in (0, NOREPLACE, EXCHANGE)
        self._call(self._rename, old, new, flags)

    async def _rename(self, old: Names, new: Names, flags: int) -> None:
        source, target = await self._parent(old), await self._parent(new)
        moved, replaced = await self._lookup(source, old[-1]), await self._is_there(target, new[-1])
        kinds = stat.S_ISDIR(moved.mode), None if replaced is None else stat.S_ISDIR(replaced.mode)
        same = replaced is not None and replaced.inode == moved.inode
        if Renaming(old, new, flags).asks_filesystem(*kinds, same=same):
            await self._fs.names.rename(source, old[-1], target, new[-1], flags, CALLER)

    # --- looking

    def walk(self, top: Names) -> dict[Names, Seen]:
        return self._call(self._walk_below, top)

    async def _walk_below(self, top: Names) -> dict[Names, Seen]:
        found: dict[Names, Seen] = {}
        pending = [(top, await self._walk(top))]
        while pending:
            path, attributes = pending.pop()
            found[path] = seen = await self._look(attributes)
            for name, inode in (await self._listing(attributes.inode) if seen.kind == "directory" else {}).items():
                looked = await self._lookup(attributes.inode, name)
                assert looked.inode == inode, f"{(*path, name)} is listed as inode {inode} and found as {looked.inode}"
                pending.append(((*path, name), looked))
        return found

    async def _listing(self, inode: int) -> dict[str, int]:
        """All entries, a few at a time."""
        handle = await self._fs.handles.open_directory(inode)
        found: list[tuple[str, int, int]] = []
        while True:
            part = _Listing()
            await self._fs.handles.fill_directory(handle, found[-1][2] if found else 0, part)
            if not part.entries:
                break
            found += part.entries
        await self._fs.handles.release_directory(handle)
        listed = [(name, of) for name, of, _ in found if name not in (".", "..")]
        assert len(dict(listed)) == len(listed), f"listed twice: {listed}"
        for _, of in listed:
            self._count(of)
        return dict(listed)

    def projects(self) -> list[str]:
        return list(self._call(self._listing, ROOT_INODE))

    def found_of(self, paths: Sequence[Names]) -> list[Names]:
        return self._call(self._found_of, paths)

    async def _found_of(self, paths: Sequence[Names]) -> list[Names]:
        found = []
        for path in paths:
            with suppress(FileNotFoundError):
                await self._walk(path)
                found.append(path)
        return found

    async def _look(self, found: Attributes) -> Seen:
        kind = _KINDS[stat.S_IFMT(found.mode)]
        content: bytes | str | None = None
        xattrs: list[tuple[str, bytes]] = []
        if kind == "link":
            content = await self._fs.attributes.read_link(found.inode)
        else:
            for name in await self._fs.xattrs.list(found.inode):
                xattrs.append((name, await self._fs.xattrs.get(found.inode, name)))
        if kind == "file":
            handle = await self._fs.handles.open(found.inode, os.O_RDONLY, CALLER)
            content = bytes(await self._fs.handles.read(handle, 0, found.size_bytes + 1))
            await self._fs.handles.release(handle)
            assert len(content) == found.size_bytes
        return Seen(kind, stat.S_IMODE(found.mode), found.link_count, content, tuple(sorted(xattrs)))
