"""Parts of files as bodies, which the kernel sends itself (sendfile): no byte of a pack passes through this process.

A `FilePart` takes the place of bytes in an ASGI message. `Connection` knows what to do with it where there is no TLS, and says so
by an extension of the scope; elsewhere parts are read and sent.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Mapping

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from artfs.store.pack_bytes import LocalPackBytes

EXTENSION = "artfs.file_parts"


class FilePart:
    """`size_bytes` of a file from `offset`."""

    __slots__ = ("fd", "offset", "size_bytes")

    def __init__(self, fd: int, offset: int, size_bytes: int) -> None:
        self.fd = fd
        self.offset = offset
        self.size_bytes = size_bytes

    def __len__(self) -> int:
        return self.size_bytes

    def send_to(self, sock: int) -> int:
        """Send as much as a socket takes at once; how much is left. Raises OSError, EOFError where the file ends early."""
        while self.size_bytes:
            try:
                sent = os.sendfile(sock, self.fd, self.offset, self.size_bytes)
            except BlockingIOError:
                break
            if not sent:
                raise EOFError("a file is shorter than it was")
            self.offset += sent
            self.size_bytes -= sent
        return self.size_bytes


SendFile = Callable[[FilePart], Awaitable[None]]


class FileResponse(Response):
    """A part of an opened file, which is closed afterwards. Only where the scope has the extension."""

    def __init__(
        self, file: LocalPackBytes, start: int, end: int, status_code: int, headers: Mapping[str, str], media_type: str
    ) -> None:
        super().__init__(None, status_code, headers, media_type)
        self._file = file
        self._part = FilePart(file.fileno(), start, end - start)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            await send({"type": "http.response.body", "body": self._part, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            self._file.close()


class Sending:
    """An application around another: what is a `FilePart` goes to `send_file`, all else its usual way."""

    def __init__(self, app: ASGIApp, send_file: SendFile) -> None:
        self._app = app
        self._send_file = send_file

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope.setdefault("extensions", {})[EXTENSION] = {}

        async def sending(message: Message) -> None:
            body = message.get("body")
            await (self._send_file(body) if isinstance(body, FilePart) else send(message))

        await self._app(scope, receive, sending)


def takes_file_parts(scope: Scope) -> bool:
    return EXTENSION in scope.get("extensions", {})
