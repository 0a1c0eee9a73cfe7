"""Values to and from pyfuse3: names, attributes, listings, statfs."""

from __future__ import annotations

import errno

import pyfuse3

from artfs.vfs.attributes import AttributeChange, Attributes, Caller, FilesystemStats

BLOCK_SIZE_HINT = 128 << 10  # st_blksize: what copying programs read at once


def text(name: bytes) -> str:
    """A name as text. Raises OSError EILSEQ if it is not UTF-8."""
    try:
        return name.decode("utf-8")
    except UnicodeDecodeError:
        raise OSError(errno.EILSEQ, "a name that is not UTF-8") from None


def caller(ctx: pyfuse3.RequestContext) -> Caller:
    return Caller(ctx.uid, ctx.gid, ctx.pid, ctx.umask)


def entry(attributes: Attributes) -> pyfuse3.EntryAttributes:
    reply = pyfuse3.EntryAttributes()
    reply.st_blksize = BLOCK_SIZE_HINT
    _copy(attributes, reply)
    _copy_times(attributes, reply)
    return reply


def _copy(attributes: Attributes, reply: pyfuse3.EntryAttributes) -> None:
    reply.st_ino = attributes.inode
    reply.generation = attributes.generation
    reply.st_mode = attributes.mode
    reply.st_nlink = attributes.link_count
    reply.st_uid = attributes.uid
    reply.st_gid = attributes.gid
    reply.st_size = attributes.size_bytes
    reply.st_blocks = attributes.block_count
    reply.entry_timeout = attributes.entry_timeout_s
    reply.attr_timeout = attributes.attribute_timeout_s


def _copy_times(attributes: Attributes, reply: pyfuse3.EntryAttributes) -> None:
    reply.st_atime_ns = attributes.atime_ns
    reply.st_mtime_ns = attributes.mtime_ns
    reply.st_ctime_ns = attributes.ctime_ns


class ReplyBuffer:
    """The reply to one readdirplus: a `kernel.DirectoryBuffer`. One EntryAttributes serves all entries, which are copied."""

    __slots__ = ("_entry", "_times", "_token")

    def __init__(self, token: pyfuse3.ReaddirToken) -> None:
        self._token = token
        self._entry = pyfuse3.EntryAttributes()
        self._entry.st_blksize = BLOCK_SIZE_HINT
        self._times = (-1, -1, -1)

    def add(self, name: str, attributes: Attributes, next_id: int, *, alike: bool = False) -> bool:
        reply = self._entry
        if alike:
            reply.st_ino = attributes.inode
            reply.st_size = attributes.size_bytes
            reply.st_blocks = attributes.block_count
            return pyfuse3.readdir_reply(self._token, name.encode(), reply, next_id)
        _copy(attributes, reply)
        times = (attributes.atime_ns, attributes.mtime_ns, attributes.ctime_ns)
        if times != self._times:  # neighbours mostly have the same, and setting them is slow
            _copy_times(attributes, reply)
            self._times = times
        return pyfuse3.readdir_reply(self._token, name.encode(), reply, next_id)


def change(attributes: pyfuse3.EntryAttributes, fields: pyfuse3.SetattrFields) -> AttributeChange:
    return AttributeChange(
        mode=attributes.st_mode if fields.update_mode else None,
        uid=attributes.st_uid if fields.update_uid else None,
        gid=attributes.st_gid if fields.update_gid else None,
        size_bytes=attributes.st_size if fields.update_size else None,
        atime_ns=attributes.st_atime_ns if fields.update_atime else None,
        mtime_ns=attributes.st_mtime_ns if fields.update_mtime else None,
    )


def statvfs(stats: FilesystemStats) -> pyfuse3.StatvfsData:
    reply = pyfuse3.StatvfsData()
    reply.f_bsize = reply.f_frsize = stats.block_bytes
    reply.f_blocks = stats.block_count
    reply.f_bfree = stats.free_blocks
    reply.f_bavail = stats.available_blocks
    reply.f_files = stats.file_count
    reply.f_ffree = reply.f_favail = stats.free_files
    reply.f_namemax = stats.name_bytes_max
    return reply
