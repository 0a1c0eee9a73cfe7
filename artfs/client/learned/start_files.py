"""What was learned of starts, in a directory that all of a user's mounts of a registry share: one small file for each.

To lose or damage any of it harms nothing: a file that cannot be read is removed, and one that cannot be written is not written.
Written whole, beside, and renamed; the oldest are removed when there are too many.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import msgspec

from artfs.client.learned.starts import BYTES_MAX, OBJECTS_MAX, STARTS_MAX, Start
from artfs.model.digest import DIGEST_BYTES, ObjectKind
from artfs.store.durable import write_private

FORMAT = 1
FILE_BYTES_MAX = 4 << 20
_KINDS = frozenset(int(kind) for kind in ObjectKind)
_log = logging.getLogger(__name__)
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(tuple[int, Start])


class StartFiles:
    """The files in `directory`, which is made when first needed."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def load(self) -> Iterator[Start]:
        """All that can be read, the latest last."""
        for path in self._paths():
            try:
                if path.stat().st_size > FILE_BYTES_MAX:
                    raise ValueError("too large")
                yield _decoded(path.read_bytes())
            except FileNotFoundError:
                continue
            except (OSError, ValueError, msgspec.MsgspecError) as error:
                _log.info("what was learned in %s is of no use: %s", path, error)
                path.unlink(missing_ok=True)

    def keep(self, start: Start) -> None:
        path = self._directory / f"{sha256(start.name.encode()).hexdigest()[:32]}.start"
        try:
            write_private(path, _encoder.encode((FORMAT, start)))
            for old in self._paths()[:-STARTS_MAX]:
                old.unlink(missing_ok=True)
        except OSError as error:
            _log.info("what was learned of a start is not kept: %s", error)

    def _paths(self) -> list[Path]:
        """The oldest first."""
        found = []
        try:
            for entry in os.scandir(self._directory):
                if entry.name.endswith(".start"):
                    found.append((entry.stat().st_mtime_ns, entry.path))
        except OSError:
            pass
        return [Path(path) for _, path in sorted(found)]


def _decoded(data: bytes) -> Start:
    """Raises ValueError or MsgspecError for anything that `keep` would not have written."""
    file_format, start = _decoder.decode(data)
    if file_format != FORMAT or len(start.objects) > OBJECTS_MAX:
        raise ValueError("of another format")
    for one in start.objects:
        if one.kind not in _KINDS or len(one.digest) != DIGEST_BYTES:
            raise ValueError("an object that cannot be")
        place = one.place
        numbers = (0, 0, 0) if place is None else (place.offset, place.stored_bytes, place.size_bytes)
        if min(numbers) < 0 or max(numbers[1:]) > BYTES_MAX:
            raise ValueError("a place that cannot be")
    return start
