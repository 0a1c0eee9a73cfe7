"""The current directory, entered anew by its path: a mount tells versions apart only for whoever walks to them from above.

Whoever stands in an alias that moved stands in the version that it meant, and stays there.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from artfs.fuse.mount_points import FILESYSTEM_TYPE, mounted_at

_DELETED = " (deleted)"
_VERSION = "user.artfs.version"
_PARTS_ABOVE = 3  # project/artifact/version


def enter_again() -> None:
    """Walk to the current directory from the root of its mount, if that is one of artfs. Raises nothing: one may be nowhere."""
    here = os.readlink("/proc/self/cwd").removesuffix(_DELETED)
    mountpoint = next((path for path in (Path(here), *Path(here).parents) if mounted_at(path) == FILESYSTEM_TYPE), None)
    if mountpoint is None:
        return
    inside = Path(here).relative_to(mountpoint).parts
    with suppress(OSError):
        if len(inside) < _PARTS_ABOVE:
            os.chdir(here)
            return
        root = os.path.join(".", *[".."] * (len(inside) - _PARTS_ABOVE))
        version = os.getxattr(root, _VERSION).decode()
        os.chdir(here)
        if os.getxattr(root, _VERSION).decode() != version:
            os.chdir(mountpoint.joinpath(*inside[:2], version, *inside[3:]))
