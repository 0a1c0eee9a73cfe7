"""Immutable bodies with ranges and strong ETags (RFC 9110): one range of bytes, conditional requests, nothing held whole."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import NamedTuple

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from artfs.errors import InvalidValue, StorageFailed
from artfs.server.errors import error_response
from artfs.server.file_parts import FileResponse, takes_file_parts
from artfs.store.pack_bytes import LocalPackBytes

PART_BYTES = 1 << 20
SENT_BY_KERNEL_BYTES = 128 << 10  # less is quicker read and sent with the head
IMMUTABLE = "private, max-age=31536000, immutable"

Read = Callable[[int, int], Awaitable[bytes]]
"""Exactly so many bytes from an offset, less only if the body was cut short meanwhile."""


class ByteRange(NamedTuple):
    start: int
    end: int  # behind the last byte


def etag_of(name: str) -> str:
    return f'"{name}"'


def parse_range(text: str, size_bytes: int) -> ByteRange | None:
    """The one range that a Range header asks for; None for one that is to be ignored (several, other units, nonsense).

    An empty range is one that cannot be satisfied.
    """
    unit, _, spec = text.partition("=")
    first, dash, last = spec.strip().partition("-")
    numbers = [part for part in (first, last) if part]
    fits = all(part.isascii() and part.isdecimal() and len(part) < 19 for part in numbers)
    if unit.strip().lower() != "bytes" or not dash or not numbers or not fits:
        return None
    if not first:
        return ByteRange(max(0, size_bytes - int(last)), size_bytes)
    if last and int(last) < int(first):
        return None
    end = min(int(last) + 1, size_bytes) if last else size_bytes
    return ByteRange(int(first), max(int(first), end))


async def ranged(
    request: Request, size_bytes: int, etag: str, read: Read, file: LocalPackBytes | None = None
) -> Response:
    """The answer to a GET or HEAD of an immutable body; of one in a `file`, perhaps a `FileResponse`, which closes it."""
    headers = {"ETag": etag, "Accept-Ranges": "bytes", "Cache-Control": IMMUTABLE}
    matches = [part.strip() for part in request.headers.get("if-none-match", "").split(",")]
    if etag in matches or "*" in matches:
        return Response(status_code=304, headers=headers)
    wanted = None
    if "range" in request.headers and request.headers.get("if-range", etag) == etag:
        wanted = parse_range(request.headers["range"], size_bytes)
    start, end = wanted or (0, size_bytes)
    if wanted is not None:
        if start >= size_bytes or start == end:
            refused = error_response(
                InvalidValue(f"{request.headers['range']} of {size_bytes} bytes", hint="ask for bytes that are there")
            )
            refused.status_code = 416
            refused.headers.update({"Content-Range": f"bytes */{size_bytes}", "Accept-Ranges": "bytes"})
            return refused
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{size_bytes}"
    headers["Content-Length"] = str(end - start)
    status = 200 if wanted is None else 206
    if request.method == "HEAD":
        return Response(status_code=status, headers=headers, media_type="application/octet-stream")
    if file is not None and end - start >= SENT_BY_KERNEL_BYTES and takes_file_parts(request.scope):
        return FileResponse(file, start, end, status, headers, "application/octet-stream")
    if end - start <= PART_BYTES:
        return Response(await _exactly(read, start, end), status, headers, media_type="application/octet-stream")
    return StreamingResponse(_parts(read, start, end), status, headers, media_type="application/octet-stream")


async def _parts(read: Read, start: int, end: int) -> AsyncIterator[bytes]:
    for begin in range(start, end, PART_BYTES):
        yield await _exactly(read, begin, min(begin + PART_BYTES, end))


async def _exactly(read: Read, start: int, end: int) -> bytes:
    data = await read(start, end - start)
    if len(data) != end - start:
        raise StorageFailed("a stored body is shorter than it was")  # once begun, an answer is cut: the client notices
    return data
