"""Asking a running mount how it is: one JSON request line, one JSON answer line, over its socket.

The client must not import pyfuse3 or trio, so that `artfs status` starts quickly; the serving side is in `control_server`.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from artfs.errors import Unavailable
from artfs.fuse.mount_records import MountRecord
from artfs.wire.json import UNDECODABLE

REQUEST_BYTES_MAX = 64 << 10
ANSWER_BYTES_MAX = 64 << 20
ANSWER_S = 5.0


def ask(record: MountRecord, request: str, timeout_s: float = ANSWER_S, **details: str) -> dict[str, Any]:
    """The answer of a mount's process to `request` (`status`, `track`). Raises Unavailable if it gives none in time."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(timeout_s)
            with short_address(Path(record.socket)) as address:
                connection.connect(address)
            connection.sendall(msgspec.json.encode({"request": request, **details}) + b"\n")
            line = _read_line(connection)
        answer: dict[str, Any] = msgspec.json.decode(line, type=dict[str, Any])
    except (OSError, *UNDECODABLE) as error:
        raise Unavailable(
            f"the mount at {record.mountpoint} (process {record.pid}) does not answer: {error}",
            hint=f"see {record.log}" if record.log else "",
        ) from None
    if "error" in answer:
        raise Unavailable(f"the mount at {record.mountpoint} refused {request!r}: {answer['error']}")
    return answer


@contextmanager
def short_address(path: Path) -> Iterator[str]:
    """An address of the socket `path` that fits into the 108 bytes a socket address has, however long the path is."""
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)


def _read_line(connection: socket.socket) -> bytes:
    data = bytearray()
    while not data.endswith(b"\n"):
        part = connection.recv(1 << 16)
        if not part or len(data) > ANSWER_BYTES_MAX:
            break
        data += part
    return bytes(data)
