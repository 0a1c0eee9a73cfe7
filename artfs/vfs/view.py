"""How one mount shows a registry: the owner of what it shows, whether it may change, what aliases mean. Fixed for its life."""

from __future__ import annotations

import errno
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class View:
    """Facts of one mount.

    Args:
        uid, gid: the owner of everything shown: the user who mounted.
        mounted_at_ns: the root directory's times.
        read_only: refuse every change with EROFS.
        pinned_at: aliases mean what they meant at this change number, for ever; None follows them.
    """

    uid: int
    gid: int
    mounted_at_ns: int
    read_only: bool = False
    pinned_at: int | None = None

    def require_writable(self) -> None:
        """Raises OSError EROFS on a read-only mount."""
        if self.read_only:
            raise OSError(errno.EROFS, "the mount is read-only")
