"""How far the kernel reads ahead in a file of a mount, raised where that is permitted (for root).

Its default makes eight requests of what one could be, and each costs a round trip between kernel and mount.

The kernel takes the smaller of its own value and the mount's when the mount begins, so it is set afterwards, by
/sys/class/bdi. docs/operations.md tells how to let other users have it.
"""

from __future__ import annotations

import logging
from pathlib import Path

import trio

from artfs.fuse.mount_points import device_of

READ_AHEAD_KIB = 1024  # as much as one request may ask for
TRIES = 10
PAUSE_S = 0.05  # within which a mount has begun

_BDI = Path("/sys/class/bdi")
_log = logging.getLogger(__name__)


async def raise_read_ahead(mountpoint: Path) -> None:
    """Have the kernel read READ_AHEAD_KIB ahead, or more if it does. Never fails, and never touches the mount."""
    try:
        device = device_of(mountpoint)
        if device is None:
            return
        setting = _BDI / device / "read_ahead_kb"
        for _ in range(TRIES):
            if int(setting.read_text()) < READ_AHEAD_KIB:
                setting.write_text(f"{READ_AHEAD_KIB}\n")
            await trio.sleep(PAUSE_S)
            if int(setting.read_text()) >= READ_AHEAD_KIB:
                return
    except (OSError, ValueError) as error:
        _log.debug("the kernel's read-ahead stays as it is: %s", error)
