"""Reading what clients send: bounded in size and time, never all of a large body in memory."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import TypeVar

import msgspec
from starlette.requests import ClientDisconnect, Request

from artfs.errors import ArtfsError, InvalidValue, TooLarge, Unavailable
from artfs.server.settings import ServerSettings
from artfs.wire import json
from artfs.wire.integrity import CONTENT_DIGEST, is_intact

_T = TypeVar("_T")


def declared_bytes(request: Request, most: int) -> int | None:
    """The Content-Length, None if there is none. Raises TooLarge before anything of such a body is read, InvalidValue."""
    text = request.headers.get("content-length")
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal()):
        raise InvalidValue(f"a Content-Length of {text!r}", hint="send the number of bytes")
    if len(text) > 18 or int(text) > most:
        raise TooLarge(f"a body of {text} bytes", hint=f"at most {most} are taken here")
    return int(text)


async def stream(request: Request, most: int, settings: ServerSettings) -> AsyncIterator[bytes]:
    """A body part by part. Raises TooLarge, and Unavailable when it stops coming or comes too slowly."""
    begin_s = time.monotonic()
    received = 0
    parts = request.stream()
    while True:
        deadline_s = begin_s + settings.body_start_s + received / settings.body_bytes_per_s_min
        try:
            part = await asyncio.wait_for(anext(parts), max(0.0, deadline_s - time.monotonic()))
        except StopAsyncIteration:
            return
        except TimeoutError:
            raise Unavailable("the request's body came too slowly", hint="try again") from None
        except ClientDisconnect:
            raise Unavailable("the request's body was cut short", hint="try again") from None
        received += len(part)
        if received > most:
            raise TooLarge(f"a body of more than {most} bytes", hint="send less at once")
        yield part


async def read_body(request: Request, most: int, settings: ServerSettings) -> bytes:
    """All of a body of at most so many bytes. Raises what `stream` raises; Unavailable for one that is not what its
    Content-Digest says."""
    declared_bytes(request, most)
    body = bytearray()
    async for part in stream(request, most, settings):
        body += part
    if not is_intact(body, request.headers.get(CONTENT_DIGEST, "")):
        raise Unavailable("the request's body was changed on its way", hint="try again")
    return bytes(body)


async def read_json(request: Request, type_: type[_T], most: int, settings: ServerSettings) -> _T:
    """The request's body, of at most so many bytes, as a record. Raises InvalidValue and what `read_body` raises."""
    found = json.decode(await read_body(request, most, settings), type_)
    _check_texts("the body", found)
    return found


def _check_texts(name: str, value: object) -> None:
    """Raises InvalidValue for a NUL in the text of a member, which no database takes. Free JSON is stored escaped."""
    if isinstance(value, str) and "\0" in value:
        raise InvalidValue(f"{name} has a NUL in it", hint="send text")
    if isinstance(value, list):
        for one in value:
            _check_texts(name, one)
    elif isinstance(value, msgspec.Struct):
        for field in value.__struct_fields__:
            _check_texts(field, getattr(value, field))


async def drain(request: Request, settings: ServerSettings) -> None:
    """Take in the rest of a body that was refused, so that its sender gets to read why: as much as a pack, at its pace."""
    with suppress(ArtfsError, RuntimeError):  # nobody is there any more, it is too long, or it was taken already
        declared_bytes(request, settings.pack_bytes_max)
        async for _ in stream(request, settings.pack_bytes_max, settings):
            pass
