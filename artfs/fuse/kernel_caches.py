"""Telling the kernel what to forget and what to keep, through pyfuse3: the `vfs.kernel.KernelCaches` of a mount.

Names are forgotten by pyfuse3's own thread, because the kernel may make it wait for a request under way; the rest never waits.
"""

from __future__ import annotations

import contextlib

import pyfuse3


class PyfuseCaches:
    """Owner of `mounted`: the serving task, which sets it while the kernel can be told anything."""

    def __init__(self) -> None:
        self.mounted = False

    def forget_entry(self, parent: int, name: str) -> None:
        if self.mounted:
            pyfuse3.invalidate_entry_async(parent, name.encode(), ignore_enoent=True)

    def forget_attributes(self, inode: int) -> None:
        self._forget(inode, attr_only=True)

    def forget_content(self, inode: int) -> None:
        self._forget(inode, attr_only=False)

    def store_content(self, inode: int, data: bytes | memoryview) -> None:
        if self.mounted:
            with contextlib.suppress(OSError):  # the kernel asks for it, if it wants it
                pyfuse3.notify_store(inode, 0, data)  # type: ignore[arg-type]  # any buffer will do

    def _forget(self, inode: int, *, attr_only: bool) -> None:
        if self.mounted:
            with contextlib.suppress(OSError):  # the kernel does not hold it
                pyfuse3.invalidate_inode(inode, attr_only)
