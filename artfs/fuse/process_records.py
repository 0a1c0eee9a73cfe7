"""Records that say what a process does, one JSON file each, and hold as long as it lives. Must not import pyfuse3 or trio."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, TypeVar

import msgspec

from artfs.wire.json import UNDECODABLE


class OfProcess(Protocol):
    """A record that knows whether its process lives."""

    @property
    def is_alive(self) -> bool: ...


_R = TypeVar("_R", bound=OfProcess)


def read_living(path: Path, type_: type[_R]) -> _R | None:
    """The record in `path`; None if there is none that can be read, or its process is gone, which removes it. Raises OSError."""
    try:
        record = msgspec.json.decode(path.read_bytes(), type=type_)
    except (FileNotFoundError, *UNDECODABLE):
        return None
    if record.is_alive:
        return record
    path.unlink(missing_ok=True)
    return None
