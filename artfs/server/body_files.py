"""Bodies that become files, part by part: written by threads, so the event loop waits for no disk."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from starlette.requests import Request

from artfs.errors import InvalidValue
from artfs.server.bodies import declared_bytes, stream
from artfs.server.service import Service
from artfs.store.durable import FILE_MODE, reported

BUFFER_BYTES = 1 << 20


def _ignore(_: bytearray) -> None:
    pass


async def receive_file(
    service: Service, request: Request, path: Path, most: int, update: Callable[[bytearray], None] = _ignore
) -> int:
    """A body of at most so many bytes as a new file that is whole, or is not there; its length.

    Args:
        update: given each part before it is written, in a thread.

    Raises InvalidValue for a body of another length than it declares, StorageFull, StorageFailed, and what `stream` raises.
    """
    declared = declared_bytes(request, most)
    received, buffer = 0, bytearray()
    with reported("store an upload in", path.parent):
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE)
    try:
        async for part in stream(request, most, service.settings):
            buffer += part
            received += len(part)
            if len(buffer) >= BUFFER_BYTES:
                await service.run(_write, fd, buffer, update, path)
                buffer = bytearray()
        await service.run(_write, fd, buffer, update, path)
        if declared is not None and received != declared:
            raise InvalidValue(f"the body ended after {received} of {declared} bytes", hint="send it again")
    except BaseException:
        remove_file(path)
        raise
    finally:
        os.close(fd)
    return received


def _write(fd: int, data: bytearray, update: Callable[[bytearray], None], path: Path) -> None:
    update(data)
    with reported("write", path):
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]


def remove_file(path: Path) -> None:
    """Remove it if it is there and can be removed: what is left over is swept later."""
    with suppress(OSError):
        path.unlink(missing_ok=True)
