"""The mount's side of its control socket: answers processes of the same user. The client's side is `control`."""

from __future__ import annotations

import logging
import os
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import trio

from artfs.errors import ArtfsError
from artfs.fuse.control import REQUEST_BYTES_MAX, short_address
from artfs.wire.json import UNDECODABLE

CONNECTIONS_MAX = 16
REQUEST_S = 5.0
PAUSE_S = 0.5  # after a request could not be taken

_log = logging.getLogger(__name__)

Answers = Mapping[str, Callable[[Mapping[str, str]], Awaitable[Mapping[str, Any]]]]
"""What to call with each request, whole. Called on the event loop; must not block it. An ArtfsError is told to who asks."""


async def serve_control(
    path: Path, answers: Answers, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Serve requests at the socket `path` until cancelled."""
    await trio.Path(path).unlink(missing_ok=True)
    listener = trio.socket.socket(trio.socket.AF_UNIX, trio.socket.SOCK_STREAM)
    mask = os.umask(0o177)
    try:
        with short_address(path) as address:
            await listener.bind(address)
    finally:
        os.umask(mask)
    listener.listen(CONNECTIONS_MAX)
    with listener:
        async with trio.open_nursery() as nursery:
            limit = trio.CapacityLimiter(CONNECTIONS_MAX)
            task_status.started()
            while True:
                try:
                    connection, _ = await listener.accept()
                    nursery.start_soon(partial(_answer, trio.SocketStream(connection), answers, limit))
                except Exception as error:  # no free descriptor, say: no reason to end the mount
                    _log.warning("cannot take a request on the control socket: %s", error)
                    await trio.sleep(PAUSE_S)


async def _answer(stream: trio.SocketStream, answers: Answers, limit: trio.CapacityLimiter) -> None:
    try:
        async with limit, stream:
            with trio.move_on_after(REQUEST_S):
                request = await _read_request(stream)
                await stream.send_all(msgspec.json.encode(await _answer_to(request, answers)) + b"\n")
    except (OSError, trio.BrokenResourceError):
        pass  # whoever asked has gone
    except Exception:
        _log.exception("a request on the control socket failed")


async def _answer_to(request: Mapping[str, str], answers: Answers) -> Mapping[str, Any]:
    name = request.get("request", "")
    answer = answers.get(name)
    if answer is None:
        return {"error": f"unknown request {name!r}"}
    try:
        return await answer(request)
    except ArtfsError as error:
        return {"error": str(error)}


async def _read_request(stream: trio.SocketStream) -> Mapping[str, str]:
    data = bytearray()
    while not data.endswith(b"\n") and len(data) < REQUEST_BYTES_MAX:
        part = await stream.receive_some(4096)
        if not part:
            break
        data += part
    try:
        return msgspec.json.decode(data, type=dict[str, str])
    except UNDECODABLE:
        return {}
