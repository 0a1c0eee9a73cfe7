"""One connection of a client, with the bounds that uvicorn leaves open: the time that headers may take, and how long a client may
take nothing of its answer.

Owner of the timers: the event loop. What a request means is the application's business.
"""

from __future__ import annotations

import asyncio
from typing import ClassVar

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

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
