"""What the filesystem and the kernel's caches say to each other beyond replies: listings filled entry by entry, invalidations.

`artfs.fuse` implements both over pyfuse3; tests implement them with lists. Nothing here blocks or is awaited.
"""

from __future__ import annotations

from typing import Protocol

from artfs.vfs.attributes import Attributes
from artfs.vfs.ports import Bytes


class DirectoryBuffer(Protocol):
    """The answer to one readdir call."""

    def add(self, name: str, attributes: Attributes, next_id: int, *, alike: bool = False) -> bool:
        """Append an entry; False if it does not fit, and then it was not added.

        `alike` says that since the entry before only inode, size and blocks have changed, which is quicker.

        `next_id` is where a later call continues behind this entry. The attributes are copied: one object may serve for
        many entries. Every entry added counts as one lookup of its inode, except "." and "..".
        """


class KernelCaches(Protocol):
    """What the kernel is told to forget or to keep. Requests are queued; errors are logged, never raised."""

    def forget_entry(self, parent: int, name: str) -> None:
        """The next path walk through `name` asks again."""

    def forget_attributes(self, inode: int) -> None: ...
    def forget_content(self, inode: int) -> None:
        """Drop cached pages as well."""

    def store_content(self, inode: int, data: Bytes) -> None:
        """Keep the whole content of a file. No handle of the inode may be open: see `page_pushes`."""


class NoKernel:
    """Kernel caches of a filesystem that is not mounted."""

    def forget_entry(self, parent: int, name: str) -> None: ...
    def forget_attributes(self, inode: int) -> None: ...
    def forget_content(self, inode: int) -> None: ...
    def store_content(self, inode: int, data: Bytes) -> None: ...
