"""The ceiling: what a pyfuse3 file system can do that has nothing to do but pass a local directory on, read-only.

    python -m tests.bench.bare_fuse SOURCE MOUNTPOINT

Everything that saves a round trip without knowing anything: infinite timeouts, keep_cache, no FLUSH, readdirplus. What it lists
it holds in memory. Serves until unmounted.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections.abc import Sequence

import pyfuse3
import trio

FOREVER_S = 1e9


class PassThrough(pyfuse3.Operations):
    """Inodes are positions in `paths`; handles are descriptors, or inodes of directories."""

    supports_dot_lookup = False
    enable_writeback_cache = False
    enable_acl = False

    def __init__(self, source: str) -> None:
        super().__init__()
        self.paths = [b"", os.fsencode(source)]
        self.known: dict[bytes, int] = {self.paths[1]: pyfuse3.ROOT_INODE}
        self.listings: dict[int, list[tuple[bytes, pyfuse3.EntryAttributes]]] = {}
        self.answers: dict[int, pyfuse3.EntryAttributes] = {}

    async def lookup(self, parent_inode: int, name: bytes, ctx: pyfuse3.RequestContext) -> pyfuse3.EntryAttributes:
        return self.attributes(self.paths[parent_inode] + b"/" + name)

    async def getattr(self, inode: int, ctx: pyfuse3.RequestContext) -> pyfuse3.EntryAttributes:
        return self.attributes(self.paths[inode])

    async def forget(self, inode_list: Sequence[tuple[int, int]]) -> None:
        pass

    async def readlink(self, inode: int, ctx: pyfuse3.RequestContext) -> bytes:
        return os.readlink(self.paths[inode])

    async def open(self, inode: int, flags: int, ctx: pyfuse3.RequestContext) -> pyfuse3.FileInfo:
        if flags & os.O_ACCMODE != os.O_RDONLY:
            raise pyfuse3.FUSEError(errno.EROFS)
        return pyfuse3.FileInfo(fh=os.open(self.paths[inode], os.O_RDONLY), keep_cache=True)

    async def read(self, fh: int, off: int, size: int) -> bytes:
        return os.pread(fh, size, off)

    async def flush(self, fh: int) -> None:
        raise pyfuse3.FUSEError(errno.ENOSYS)

    async def release(self, fh: int) -> None:
        os.close(fh)

    async def opendir(self, inode: int, ctx: pyfuse3.RequestContext) -> int:
        return inode

    async def readdir(self, fh: int, start_id: int, token: pyfuse3.ReaddirToken) -> None:
        if fh not in self.listings:
            path = self.paths[fh]
            self.listings[fh] = [(name, self.attributes(path + b"/" + name)) for name in sorted(os.listdir(path))]
        listing = self.listings[fh]
        for position in range(start_id, len(listing)):
            name, found = listing[position]
            if not pyfuse3.readdir_reply(token, name, found, position + 1):
                return

    async def statfs(self, ctx: pyfuse3.RequestContext) -> pyfuse3.StatvfsData:
        data = pyfuse3.StatvfsData()
        data.f_bsize = data.f_frsize = 4096
        data.f_namemax = 255
        return data

    def attributes(self, path: bytes) -> pyfuse3.EntryAttributes:
        inode = self.known.get(path)
        if inode is not None and inode in self.answers:
            return self.answers[inode]
        try:
            found = os.lstat(path)
        except OSError as error:
            raise pyfuse3.FUSEError(error.errno or errno.EIO) from None
        if inode is None:
            inode = self.known[path] = len(self.paths)
            self.paths.append(path)
        entry = pyfuse3.EntryAttributes()
        entry.st_ino = inode
        entry.st_mode = found.st_mode & ~0o222 if not stat.S_ISLNK(found.st_mode) else found.st_mode
        for name in ("st_nlink", "st_uid", "st_gid", "st_size", "st_blksize", "st_blocks"):
            setattr(entry, name, getattr(found, name))
        for name in ("st_atime_ns", "st_mtime_ns", "st_ctime_ns"):
            setattr(entry, name, getattr(found, name))
        entry.entry_timeout = entry.attr_timeout = FOREVER_S
        self.answers[inode] = entry
        return entry


def main(source: str, mountpoint: str) -> None:
    options = {*pyfuse3.default_options, "fsname=bare", "ro"}
    pyfuse3.init(PassThrough(source), mountpoint, options)
    try:
        trio.run(pyfuse3.main)
    finally:
        pyfuse3.close(unmount=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
