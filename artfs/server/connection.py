"""One connection of a client, with the bounds that uvicorn leaves open: the time that headers may take, and how long a client may
take nothing of its answer.

Owner of the timers: the event loop. What a request means is the application's business.
"""

from __future__ import annotations

import asyncio
import os
from typing import ClassVar

import anyio.to_thread
import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from artfs.server.file_parts import FilePart, Sending
from artfs.server.settings import ServerSettings
from artfs.wire import json
from artfs.wire.http import ErrorBody

FAREWELL_S = 0.5  # for an idle client to answer the end of TLS, when the server stops
_REFUSED = json.encode(ErrorBody("usage", "this is not an HTTP request", "docs/api.md describes the interface"))


class Connection(H11Protocol):
    """uvicorn's, made by `connections_with`. h11 bounds the bytes of headers, and refuses what could be read in two ways."""

    settings: ClassVar[ServerSettings]
    _header_timer: asyncio.TimerHandle | None = None
    _stall_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn declares it
        super().connection_made(transport)
        if transport.get_extra_info("sslcontext") is None:
            self.app = Sending(self.app, self._send_file)
        self._header_timer = self.loop.call_later(self.settings.header_s, transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_header_timer()
        self._stop_stall_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        between = self.conn.their_state is h11.IDLE
        if not between:
            self._stop_header_timer()
        elif self._header_timer is None and not self.transport.is_closing():
            self._header_timer = self.loop.call_later(self.settings.header_s, self.transport.abort)

    def on_response_complete(self) -> None:
        self._stop_header_timer()  # until something arrives, it is idle and not slow
        super().on_response_complete()

    def shutdown(self) -> None:
        super().shutdown()
        if self.transport.is_closing() and not self.transport.get_write_buffer_size():
            self.loop.call_later(FAREWELL_S, self.transport.abort)

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._stall_timer is None:
            self._stall_timer = self.loop.call_later(self.settings.stall_s, self.transport.abort)

    def resume_writing(self) -> None:
        self._stop_stall_timer()
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        head = f"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\ncontent-length: {len(_REFUSED)}\r\n"
        self.transport.write(head.encode() + b"connection: close\r\n\r\n" + _REFUSED)
        self.transport.close()

    async def _send_file(self, part: FilePart) -> None:
        """Send a part of a body beside the transport, which has nothing of its own to send meanwhile."""
        if self.cycle.disconnected or self.transport.is_closing():
            return
        self.conn.send_with_data_passthrough(h11.Data(data=part))  # type: ignore[arg-type]  # h11 only asks for the length
        sock = os.dup(self.transport.get_extra_info("socket").fileno())  # the loop takes no reader of a transport's own
        try:
            async with asyncio.timeout(self.settings.stall_s) as stall:
                await self._sent()
                while await anyio.to_thread.run_sync(part.send_to, sock):  # a thread, since a disk may be slow
                    stall.reschedule(self.loop.time() + self.settings.stall_s)
                    await self._wait_writable(sock)
        except (OSError, TimeoutError):  # the client is gone, or takes nothing
            self.transport.abort()
        finally:
            os.close(sock)

    async def _sent(self) -> None:
        """Until the transport has sent what it has, such as the head of an answer."""
        pause_s = 0.0
        while self.transport.get_write_buffer_size():  # the transport tells nobody
            await asyncio.sleep(pause_s)
            pause_s = 0.001

    async def _wait_writable(self, sock: int) -> None:
        writable = self.loop.create_future()
        self.loop.add_writer(sock, lambda: None if writable.done() else writable.set_result(None))
        try:
            await writable
        finally:
            self.loop.remove_writer(sock)

    def _stop_header_timer(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None

    def _stop_stall_timer(self) -> None:
        if self._stall_timer is not None:
            self._stall_timer.cancel()
            self._stall_timer = None


def connections_with(settings: ServerSettings) -> type[Connection]:
    """The class of connections with these bounds: uvicorn makes them itself."""
    return type("BoundConnection", (Connection,), {"settings": settings})
