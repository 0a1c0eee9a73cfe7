"""What to mount where, and what a mount process tells of its beginning: shared by who starts one, who serves and who supervises.

Must not import pyfuse3 or trio.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from artfs.fuse.mount_options import MountOptions
from artfs.fuse.mount_points import Claim
from artfs.fuse.mount_records import MountRecords

if TYPE_CHECKING:
    from artfs.fuse.backend import OpenBackend


@dataclass(frozen=True, slots=True)
class MountRequest:
    """What to mount where.

    Attributes:
        mountpoint: resolved, see `mount_points.resolve`.
        registry: what the registry is called in records and answers.
        claim: the right to mount there, given back when the mount is usable.
        log: the log file, empty in the foreground.
        pinned_at: the position that aliases are pinned at, if a mount was there before this one that chose it.
        replaces: the device number of a dead mount at the same place, which stays until this one is ready to take it.
    """

    mountpoint: Path
    registry: str
    options: MountOptions
    records: MountRecords
    claim: Claim
    log: str = ""
    pinned_at: int | None = None
    replaces: str = ""


class Began(NamedTuple):
    """A mount is usable: the device number of it, and the position that its aliases are pinned at, if they are."""

    device: str
    pinned_at: int | None


Ready = Callable[[Began], None]
"""Called when requests are answered."""

Run = Callable[[MountRequest, "OpenBackend", Ready], None]
"""Mounts and returns when the mount was taken away. Raises ArtfsError if it cannot begin."""
