"""pyfuse3's handlers: each translates one request to the filesystem and its answer back, and decides nothing.

Nothing but FUSEError leaves a handler, because anything else would end the mount: `_answered` turns what an error is into the
errno its caller sees, and writes to the log what nobody expected, with its traceback.
"""

from __future__ import annotations

import errno
import logging
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import pyfuse3

from artfs.errors import ArtfsError
from artfs.fuse import replies
from artfs.fuse.errno_table import EXPECTED, errno_of
from artfs.fuse.replies import ReplyBuffer, caller, entry, text
from artfs.vfs.filesystem import Filesystem

ERRORS_KEPT = 20

_log = logging.getLogger(__name__)
_P = ParamSpec("_P")
_R = TypeVar("_R")


def _answered(handler: Callable[_P, Coroutine[Any, Any, _R]]) -> Callable[_P, Coroutine[Any, Any, _R]]:
    """`handler`, raising nothing but FUSEError."""

    @wraps(handler)
    async def answer(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        try:
            return await handler(*args, **kwargs)
        except pyfuse3.FUSEError:
            raise
        except Exception as error:
            raise pyfuse3.FUSEError(_noted(args[0], handler, error)) from None

    return answer


def _noted(operations: Any, handler: Callable[..., object], error: Exception) -> int:
    """The errno for `error`, logged if it is news. Never raises: even logging may fail when memory is short."""
    try:
        operations.note(handler.__name__, error)
    except Exception:
        return errno.EIO
    return errno_of(error)


class FuseOperations(pyfuse3.Operations):
    """All requests of one mount."""

    supports_dot_lookup = False
    enable_writeback_cache = False
    enable_acl = False

    def __init__(self, filesystem: Filesystem) -> None:
        super().__init__()
        self._names = filesystem.names
        self._attributes = filesystem.attributes
        self._handles = filesystem.handles
        self._xattrs = filesystem.xattrs
        self.last_errors: deque[str] = deque(maxlen=ERRORS_KEPT)

    def note(self, request: str, error: Exception) -> None:
        """Log an error that a request ended with, unless it is a caller's mistake."""
        if isinstance(error, ArtfsError):
            if error.code in EXPECTED:
                _log.debug("%s: %s", request, error)
                return
            _log.error("%s: %s", request, error)
        elif isinstance(error, OSError) and error.errno:
            _log.debug("%s: %s", request, error)
            return
        else:
            _log.error("%s failed", request, exc_info=error)
        self.last_errors.append(f"{request}: {str(error) or type(error).__name__}")

    # names

    @_answered
    async def lookup(self, parent_inode: int, name: bytes, ctx: pyfuse3.RequestContext) -> pyfuse3.EntryAttributes:
        return entry(await self._names.lookup(parent_inode, text(name)))

    async def forget(self, inode_list: Sequence[tuple[int, int]]) -> None:
        for inode, count in inode_list:
            try:
                self._attributes.forget(inode, count)
            except Exception as error:
                _noted(self, self.forget, error)

    @_answered
    async def mkdir(
        self, parent_inode: int, name: bytes, mode: int, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.EntryAttributes:
        return entry(await self._names.make_directory(parent_inode, text(name), mode, caller(ctx)))

    @_answered
    async def mknod(
        self, parent_inode: int, name: bytes, mode: int, rdev: int, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.EntryAttributes:
        return entry(await self._names.make_node(parent_inode, text(name), mode, caller(ctx)))

    @_answered
    async def symlink(
        self, parent_inode: int, name: bytes, target: bytes, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.EntryAttributes:
        return entry(await self._names.make_symlink(parent_inode, text(name), text(target), caller(ctx)))

    @_answered
    async def link(
        self, inode: int, new_parent_inode: int, new_name: bytes, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.EntryAttributes:
        return entry(await self._names.link(inode, new_parent_inode, text(new_name), caller(ctx)))

    @_answered
    async def unlink(self, parent_inode: int, name: bytes, ctx: pyfuse3.RequestContext) -> None:
        await self._names.unlink(parent_inode, text(name))

    @_answered
    async def rmdir(self, parent_inode: int, name: bytes, ctx: pyfuse3.RequestContext) -> None:
        await self._names.remove_directory(parent_inode, text(name))

    @_answered
    async def rename(
        self,
        parent_inode_old: int,
        name_old: bytes,
        parent_inode_new: int,
        name_new: bytes,
        flags: int,
        ctx: pyfuse3.RequestContext,
    ) -> None:
        names = (parent_inode_old, text(name_old), parent_inode_new, text(name_new))
        await self._names.rename(*names, flags, caller(ctx))

    # attributes

    @_answered
    async def getattr(self, inode: int, ctx: pyfuse3.RequestContext) -> pyfuse3.EntryAttributes:
        return entry(await self._attributes.get(inode))

    @_answered
    async def setattr(
        self,
        inode: int,
        attr: pyfuse3.EntryAttributes,
        fields: pyfuse3.SetattrFields,
        fh: int | None,
        ctx: pyfuse3.RequestContext,
    ) -> pyfuse3.EntryAttributes:
        return entry(await self._attributes.change(inode, replies.change(attr, fields), fh, caller(ctx)))

    @_answered
    async def readlink(self, inode: int, ctx: pyfuse3.RequestContext) -> bytes:
        return (await self._attributes.read_link(inode)).encode()

    @_answered
    async def statfs(self, ctx: pyfuse3.RequestContext) -> pyfuse3.StatvfsData:
        return replies.statvfs(await self._attributes.stats())

    # files

    @_answered
    async def open(self, inode: int, flags: int, ctx: pyfuse3.RequestContext) -> pyfuse3.FileInfo:
        handle = await self._handles.open(inode, flags, caller(ctx))
        return pyfuse3.FileInfo(handle)  # whose pages are kept: the default

    @_answered
    async def create(
        self, parent_inode: int, name: bytes, mode: int, flags: int, ctx: pyfuse3.RequestContext
    ) -> tuple[pyfuse3.FileInfo, pyfuse3.EntryAttributes]:
        handle, attributes = await self._handles.create(parent_inode, text(name), mode, flags, caller(ctx))
        return pyfuse3.FileInfo(handle, keep_cache=True), entry(attributes)

    @_answered
    async def read(self, fh: int, off: int, size: int) -> bytes | memoryview:  # type: ignore[override]  # any buffer will do
        return await self._handles.read(fh, off, size)

    @_answered
    async def write(self, fh: int, off: int, buf: bytes) -> int:
        return await self._handles.write(fh, off, buf)

    async def flush(self, fh: int) -> None:
        """Refused once, after which the kernel sends no more: every close saves a round trip. Staging goes by release."""
        raise pyfuse3.FUSEError(errno.ENOSYS)

    @_answered
    async def fsync(self, fh: int, datasync: bool) -> None:
        await self._handles.fsync(fh, datasync)

    @_answered
    async def release(self, fh: int) -> None:
        await self._handles.release(fh)

    # directories

    @_answered
    async def opendir(self, inode: int, ctx: pyfuse3.RequestContext) -> int:
        return await self._handles.open_directory(inode)

    @_answered
    async def readdir(self, fh: int, start_id: int, token: pyfuse3.ReaddirToken) -> None:
        await self._handles.fill_directory(fh, start_id, ReplyBuffer(token))

    @_answered
    async def fsyncdir(self, fh: int, datasync: bool) -> None:
        await self._handles.fsync_directory(fh, datasync)

    @_answered
    async def releasedir(self, fh: int) -> None:
        await self._handles.release_directory(fh)

    # extended attributes

    @_answered
    async def getxattr(self, inode: int, name: bytes, ctx: pyfuse3.RequestContext) -> bytes:
        # Nothing has others, and the kernel asks for security.capability before each write.
        if not name.startswith(b"user."):
            raise pyfuse3.FUSEError(errno.ENODATA)
        return await self._xattrs.get(inode, text(name))

    @_answered
    async def listxattr(self, inode: int, ctx: pyfuse3.RequestContext) -> Sequence[bytes]:
        return [name.encode() for name in await self._xattrs.list(inode)]

    @_answered
    async def setxattr(self, inode: int, name: bytes, value: bytes, ctx: pyfuse3.RequestContext) -> None:
        await self._xattrs.set(inode, text(name), value, caller(ctx))

    @_answered
    async def removexattr(self, inode: int, name: bytes, ctx: pyfuse3.RequestContext) -> None:
        await self._xattrs.remove(inode, text(name))
