"""A TCP connection that a test breaks at a message of its choice: of a registry to its database, whose protocol it does not know.

What a client sends at once counts as a message, as it is for a client that waits for its answers. A fault is done when message
number `at` comes (the first since `strike` is 0), on whichever connection:

    with Wire.to(host, port) as wire:
        wire.strike("cut before", at=3)
        ...
        assert wire.struck
        wire.heal()
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

PIECE_BYTES = 1 << 20
SLOW_S = 0.1
KINDS = ("cut before", "cut after", "black hole", "slow", "event")


class Wire:
    """Attributes:
    port: where clients find it, on 127.0.0.1.
    messages: how many came from clients since the last `strike`.
    """

    def __init__(self, host: str, port: int) -> None:
        self._server = (host, port)
        self._lock = threading.Lock()
        self._kind = ""
        self._at = 0
        self._eventful = threading.Lock()
        self._event: Callable[[], None] = _nothing
        self.messages = 0
        self.struck = False
        self._healed = threading.Event()
        self._open: set[socket.socket] = set()
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._listening.getsockname()[1]

    @classmethod
    @contextmanager
    def to(cls, host: str, port: int) -> Iterator[Wire]:
        wire = cls(host, port)
        threading.Thread(target=wire._accept, daemon=True).start()
        try:
            yield wire
        finally:
            wire.heal()
            with suppress(OSError):
                wire._listening.shutdown(socket.SHUT_RDWR)
            wire._listening.close()
            wire._end_all()

    def strike(self, kind: str, *, at: int, event: Callable[[], None] | None = None) -> None:
        """When message number `at` comes:

        cut before: it is lost with all connections.
        cut after: it arrives, and the connections end before its answer is here.
        black hole: from then on nothing comes through either way, and new connections are not answered, until `heal`.
        slow: from then on every message and answer is late by SLOW_S.
        event: `event` is called, and the message goes on.
        """
        assert kind in KINDS
        with self._lock:
            self._kind, self._at, self._event = kind, at, event or _nothing
            self.messages, self.struck = 0, False
            self._healed = threading.Event()

    def heal(self) -> None:
        """All is well from now on. Connections that were held end; an event is waited for."""
        with self._eventful, self._lock:
            held = self._kind == "black hole" and self.struck
            self._kind = ""
            self._healed.set()
        if held:
            self._end_all()

    def _end_all(self) -> None:
        with self._lock:
            ended, self._open = self._open, set()
        for sock in ended:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, suppress(OSError), socket.create_connection(self._server, 5.0) as server:
            for sock in (client, server):
                sock.settimeout(None)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._open |= {client, server}
            down = threading.Thread(target=self._pump, args=(server, client, self._downwards), daemon=True)
            down.start()
            self._pump(client, server, self._upwards)
            down.join()
            with self._lock:
                self._open -= {client, server}

    def _pump(
        self, source: socket.socket, target: socket.socket, passing: Callable[[Callable[[], None]], None]
    ) -> None:
        with suppress(OSError):
            while data := source.recv(PIECE_BYTES):
                passing(lambda data=data: target.sendall(data))  # type: ignore[misc]  # bound now
        for sock in (source, target):
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def _upwards(self, send: Callable[[], None]) -> None:
        with self._lock:
            number = self.messages
            self.messages += 1
            kind, event, healed = self._kind, self._event, self._healed
            is_now = bool(kind) and number == self._at
            since = bool(kind) and number >= self._at
            self.struck |= is_now
        if kind == "cut before" and is_now:
            self._end_all()
            return
        if kind == "event" and is_now:
            with self._eventful:
                event()
        if kind == "black hole" and since:
            healed.wait()
            raise OSError("held until it was too late")
        if kind == "slow" and since:
            healed.wait(SLOW_S)
        send()
        if kind == "cut after" and is_now:
            self._end_all()

    def _downwards(self, send: Callable[[], None]) -> None:
        with self._lock:
            kind, struck, healed = self._kind, self.struck, self._healed
        if struck and kind == "black hole":
            healed.wait()
            raise OSError("held until it was too late")
        if struck and kind == "slow":
            healed.wait(SLOW_S)
        send()


def _nothing() -> None:
    pass
