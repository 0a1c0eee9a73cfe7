"""A server that does exactly what a test tells it, byte for byte: for lies that no real server can be made to tell.

Each request gets the next of the `replies`, of which the last goes on for ever, or what a function chooses for it. A reply is
bytes to send, or a function that gets the connection. The connection ends after a reply unless that begins as an HTTP/1.1 answer
with a Content-Length.
"""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

Reply = bytes | Callable[[socket.socket], None]
BUSY_S = 30.0


@dataclass(frozen=True)
class Seen:
    """A request that arrived. Names of headers are in lower case."""

    line: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Scripted:
    """What was asked, and where."""

    url: str
    seen: list[Seen] = field(default_factory=list)
    connections: int = 0


def answer(status: int, body: bytes = b"", content_type: str = "application/json", **headers: str) -> bytes:
    """A whole answer. Underscores in names of headers are dashes; `content_length` replaces the right one."""
    fields = {"content-type": content_type, "content-length": str(len(body))}
    fields |= {name.replace("_", "-"): value for name, value in headers.items()}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/1.1 {status} X\r\n{head}\r\n".encode() + body


def record(value: Any, status: int = 200, **headers: str) -> bytes:
    return answer(status, json.dumps(value).encode(), **headers)


@contextmanager
def scripted(*replies: Reply, tls: ssl.SSLContext | None = None) -> Iterator[Scripted]:
    """A server that answers with the replies in turn."""
    left = list(replies)
    with answering(lambda _: left.pop(0) if len(left) > 1 else left[0], tls=tls) as server:
        yield server


@contextmanager
def answering(choose: Callable[[Seen], Reply], *, tls: ssl.SSLContext | None = None) -> Iterator[Scripted]:
    """A server on a port of this machine, with a thread for each connection; `choose` is called by one of them at a time."""
    listening = socket.create_server(("127.0.0.1", 0))
    server = Scripted(f"{'https' if tls else 'http'}://127.0.0.1:{listening.getsockname()[1]}")
    lock = threading.Lock()
    open_sockets: list[socket.socket] = []

    def converse(connection: socket.socket) -> None:
        connection.settimeout(BUSY_S)
        with suppress(OSError), connection if tls is None else tls.wrap_socket(connection, server_side=True) as opened:
            file = opened.makefile("rb")
            while (request := _read_request(file)) is not None:
                with lock:
                    server.seen.append(request)
                    reply = choose(request)
                if callable(reply):
                    reply(opened)
                    return
                opened.sendall(reply)
                if b"content-length:" not in reply.lower():
                    return

    def accept() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listening.accept()
                with lock:
                    server.connections += 1
                    open_sockets.append(connection)
                threading.Thread(target=converse, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield server
    finally:
        with suppress(OSError):
            listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        for connection in open_sockets:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


def _read_request(file: Any) -> Seen | None:
    line = file.readline()
    if not line:
        return None
    headers = {}
    while (field_line := file.readline().strip()) != b"":
        name, _, value = field_line.partition(b":")
        headers[name.decode().lower()] = value.strip().decode()
    body = file.read(int(headers.get("content-length", 0)))
    return Seen(line.decode().rpartition(" ")[0], headers, body)
