"""A liar between a real HTTP server and its clients: it does what a fault says to the k-th request, or to all.

It takes requests and answers apart as a whole, so that it can change, swap, repeat, lose and keep them, and it works for
`artfs serve` and for an S3 server alike. `tests.faults.lies` names the faults. To measure, there is `tests.network.proxy`,
which passes bytes on and knows no messages.

    with Liar.to(server.url) as liar:
        liar.strike("a lost answer", skip=2, times=1)    # the third request from now
        ...client of liar.url...
        assert liar.struck == 1
        liar.heal()

A fault is a function of an `Exchange`. Whoever was redirected elsewhere came to `liar.stranger`, which notes what it was told.
Owner of what connections share: `Liar`, under its lock. A thread for each connection.
"""

from __future__ import annotations

import socket
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import IO
from urllib.parse import urlsplit

FORWARD_S = 90.0  # longer than any request of the tests takes a server that works
REMEMBERED_BYTES_MAX = 8 << 20
REMEMBERED_MAX = 4  # answers of a kind
_WORDS = frozenset(
    [
        "v1",
        "projects",
        "artifacts",
        "versions",
        "aliases",
        "drafts",
        "packs",
        "trees",
        "pages",
        "recipes",
        "locate",
        "changes",
        "missing",
        "seal",
        "renew",
        "deletions",
    ]
)
Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Request:
    method: str
    target: str
    headers: Headers = field(repr=False)
    body: bytes = field(repr=False)

    @property
    def line(self) -> str:
        return f"{self.method} {self.target}"

    @property
    def kind(self) -> str:
        """The same for requests that ask the same of other things."""
        parts = urlsplit(self.target).path.split("/")
        return (
            f"{self.method} {'/'.join(part if part in _WORDS else '*' for part in parts)} {self.header('range') != ''}"
        )

    def header(self, name: str) -> str:
        return next((value for found, value in self.headers if found.lower() == name), "")

    def without(self, name: str) -> Request:
        return replace(self, headers=tuple(pair for pair in self.headers if pair[0].lower() != name))

    def encoded(self) -> bytes:
        kept = [
            pair
            for pair in self.headers
            if pair[0].lower() not in ("connection", "transfer-encoding", "content-length")
        ]
        if self.body or self.header("content-length") or self.header("transfer-encoding"):
            kept.append(("content-length", str(len(self.body))))
        return _encoded(f"{self.method} {self.target} HTTP/1.1", (*kept, ("connection", "close")), self.body)


@dataclass(frozen=True)
class Answer:
    """Attributes:
    length: what the head says of the body, if that is something else.
    """

    status: int
    headers: Headers = field(repr=False)
    body: bytes = field(repr=False)
    length: int | None = None

    def with_header(self, name: str, value: str) -> Answer:
        return replace(self, headers=(*(pair for pair in self.headers if pair[0].lower() != name), (name, value)))

    def encoded(self) -> bytes:
        dropped = ("connection", "transfer-encoding", "content-length")
        kept = [pair for pair in self.headers if pair[0].lower() not in dropped]
        if self.status not in (204, 304):
            kept.append(("content-length", str(len(self.body) if self.length is None else self.length)))
        return _encoded(f"HTTP/1.1 {self.status} Told", tuple(kept), self.body)


class Exchange:
    """One request under way, as a fault has it in hand."""

    def __init__(self, liar: Liar, client: socket.socket, request: Request) -> None:
        self.liar = liar
        self.request = request
        self._client = client
        self.ended = False  # the connection goes no further

    def forwarded(self, request: Request | None = None) -> Answer:
        """The real server's answer."""
        asked = self.request if request is None else request
        with socket.create_connection(self.liar.address, FORWARD_S) as server, server.makefile("rb") as file:
            with self.liar.open_until_end(server):
                server.sendall(asked.encoded())
                return _read_answer(file, asked.method)

    def send_half(self) -> None:
        """The first half of the request reaches the server, and then its connection ends."""
        whole = self.request.encoded()
        with socket.create_connection(self.liar.address, FORWARD_S) as server:
            server.sendall(whole[: len(whole) // 2])

    def reply(self, answer: Answer) -> None:
        self._client.sendall(answer.encoded())

    def send(self, data: bytes) -> None:
        """Bytes to the client, whatever they mean."""
        self._client.sendall(data)

    def hang_up(self) -> None:
        self.ended = True

    def reset(self) -> None:
        """The client's connection ends with RST."""
        self._client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.ended = True

    def pause(self, seconds: float) -> bool:
        """Wait. Returns whether the fault goes on then."""
        return not self.liar.healed.wait(seconds)

    def spare(self) -> None:
        """The fault does not fit this request, which is passed on and does not count."""
        self.liar.struck -= 1
        self.reply(self.forwarded())


Fault = Callable[[Exchange], None]


@dataclass
class _Plan:
    """Which requests a fault is for."""

    fault: Fault
    match: str
    spare: str
    skip: int
    times: int

    def takes(self, line: str) -> bool:
        if not self.times or self.match not in line or (self.spare and self.spare in line):
            return False
        if self.skip:
            self.skip -= 1
            return False
        self.times -= self.times > 0
        return True


class Liar:
    """Attributes:
    url: where clients find it.
    lines: the requests that came.
    bearers: those of them that brought a registry's token.
    struck: how many of them the fault was for.
    stranger: another host, to which requests may be redirected.
    stop: called by the fault that stops the server; `go_on` when all is well again.
    """

    def __init__(
        self, url: str, *, stop: Callable[[], None] | None = None, go_on: Callable[[], None] | None = None
    ) -> None:
        parts = urlsplit(url)
        self.address = (str(parts.hostname), int(parts.port or 80))
        self.stop, self.go_on = stop or _nothing, go_on or _nothing
        self.lines: list[str] = []
        self.bearers: list[str] = []
        self.struck = 0
        self.healed = threading.Event()
        self.stranger = Stranger()
        self._first: dict[str, Answer] = {}
        self._others: dict[str, dict[tuple[str, bytes], Answer]] = defaultdict(dict)
        self._plan: _Plan | None = None
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"

    @classmethod
    @contextmanager
    def to(
        cls, url: str, *, stop: Callable[[], None] | None = None, go_on: Callable[[], None] | None = None
    ) -> Iterator[Liar]:
        liar = cls(url, stop=stop, go_on=go_on)
        for listening, converse in (
            (liar._listening, liar._converse),
            (liar.stranger.listening, liar.stranger.converse),
        ):
            threading.Thread(target=liar._accept, args=(listening, converse), daemon=True).start()
        try:
            yield liar
        finally:
            liar.heal()
            liar._close()

    def strike(self, fault: str | Fault, *, match: str = "", spare: str = "", skip: int = 0, times: int = -1) -> None:
        """From now on `fault` is done to requests with `match` and without `spare` in their line: the first `skip` of
        them not, then `times` of them (-1: all)."""
        from tests.faults.lies import FAULTS

        found = FAULTS[fault] if isinstance(fault, str) else fault
        with self._lock:
            self.healed = threading.Event()
            self._plan = _Plan(found, match, spare, skip, times)
            self.struck = 0

    def heal(self) -> None:
        """All is well from now on. Connections that were held end."""
        with self._lock:
            self._plan = None
            self.healed.set()
        self.go_on()

    def earlier(self, request: Request) -> Answer | None:
        """What was answered the first time."""
        return self._first.get(request.line)

    def of_another(self, request: Request) -> Answer | None:
        """What was answered to another request of the kind."""
        with self._lock:
            answers = [a for key, a in self._others[request.kind].items() if key != (request.target, request.body)]
        return answers[-1] if answers else None

    @contextmanager
    def open_until_end(self, sock: socket.socket) -> Iterator[None]:
        """A connection that ends with the liar."""
        with self._lock:
            self._open.add(sock)
        try:
            yield
        finally:
            with self._lock:
                self._open.discard(sock)

    def _close(self) -> None:
        for listening in (self._listening, self.stranger.listening):
            with suppress(OSError):
                listening.shutdown(socket.SHUT_RDWR)
            listening.close()
        with self._lock:
            for sock in self._open:
                with suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)

    def _accept(self, listening: socket.socket, converse: Callable[[socket.socket], None]) -> None:
        with suppress(OSError):
            while True:
                connection, _ = listening.accept()
                threading.Thread(target=self._kept, args=(connection, converse), daemon=True).start()

    def _kept(self, connection: socket.socket, converse: Callable[[socket.socket], None]) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with suppress(OSError, EOFError), connection, self.open_until_end(connection):
            converse(connection)

    def _converse(self, connection: socket.socket) -> None:
        with connection.makefile("rb") as file:
            ended = False
            while not ended and (request := read_request(file)) is not None:
                with self._lock:
                    self.lines.append(request.line)
                    if request.header("authorization").startswith("Bearer"):
                        self.bearers.append(request.line)
                    plan = self._plan
                    struck = plan is not None and plan.takes(request.line)
                    self.struck += struck
                exchange = Exchange(self, connection, request)
                if struck and plan is not None:
                    plan.fault(exchange)
                else:
                    answer = exchange.forwarded()
                    self._remember(request, answer)
                    exchange.reply(answer)
                ended = exchange.ended

    def _remember(self, request: Request, answer: Answer) -> None:
        if not 200 <= answer.status < 300 or len(answer.body) > REMEMBERED_BYTES_MAX:
            return
        with self._lock:
            if request.method == "GET":
                self._first.setdefault(request.line, answer)
            others = self._others[request.kind]
            others[request.target, request.body] = answer
            while len(others) > REMEMBERED_MAX:
                del others[next(iter(others))]


class Stranger:
    """Another host, which answers whatever is asked with bytes of its own, and notes the requests."""

    def __init__(self) -> None:
        self.listening = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.url = f"http://localhost:{self.listening.getsockname()[1]}"
        self.asked: list[Request] = []

    def converse(self, connection: socket.socket) -> None:
        with connection.makefile("rb") as file:
            while (request := read_request(file)) is not None:
                self.asked.append(request)
                connection.sendall(self._answer(request).encoded())

    def _answer(self, request: Request) -> Answer:
        first, _, last = request.header("range").removeprefix("bytes=").partition("-")
        if first and last:
            told = f"bytes {first}-{last}/{int(last) + 1}"
            return Answer(206, (("content-range", told),), b"?" * (int(last) + 1 - int(first)))
        return Answer(200, (("content-type", "application/json"),), b"{}")


def _nothing() -> None:
    """Of a server that cannot be stopped."""


def _encoded(first: str, headers: Headers, body: bytes) -> bytes:
    return (
        "".join([first, "\r\n", *(f"{name}: {value}\r\n" for name, value in headers), "\r\n"]).encode("latin-1") + body
    )


def _read_head(file: IO[bytes]) -> tuple[str, Headers] | None:
    first = file.readline().decode("latin-1").rstrip()
    if not first:
        return None
    headers = []
    while line := file.readline().decode("latin-1").rstrip():
        name, _, value = line.partition(":")
        headers.append((name, value.strip()))
    return first, tuple(headers)


def _read_body(file: IO[bytes], headers: Headers, *, to_end: bool) -> bytes:
    fields = {name.lower(): value for name, value in headers}
    if fields.get("transfer-encoding", "").lower() == "chunked":
        parts = []
        while size := int(file.readline().partition(b";")[0], 16):
            parts.append(file.read(size))
            file.readline()
        while file.readline().strip():
            pass
        return b"".join(parts)
    if "content-length" not in fields:
        return file.read() if to_end else b""
    body = file.read(int(fields["content-length"]))
    if len(body) < int(fields["content-length"]):
        raise EOFError("a message was cut")
    return body


def read_request(file: IO[bytes]) -> Request | None:
    """None at the end of the connection. Raises EOFError for half of one."""
    head = _read_head(file)
    if head is None:
        return None
    method, target, _ = head[0].split(" ")
    return Request(method, target, head[1], _read_body(file, head[1], to_end=False))


def _read_answer(file: IO[bytes], method: str) -> Answer:
    """Raises EOFError for half of one."""
    status = 100
    headers: Headers = ()
    while status < 200:
        head = _read_head(file)
        if head is None:
            raise EOFError("the server has hung up")
        status, headers = int(head[0].split(" ")[1]), head[1]
    if method == "HEAD" or status in (204, 304):
        length = next((int(value) for name, value in headers if name.lower() == "content-length"), None)
        return Answer(status, headers, b"", length)
    return Answer(status, headers, _read_body(file, headers, to_end=True))
