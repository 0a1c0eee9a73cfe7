"""One HTTP exchange within a deadline: a request out, a whole body in, over connections that are kept and reused.

requests bounds each wait for bytes but not their sum: a server that sends a byte now and then would hold a caller for ever. So
a watchdog thread shuts the socket of an exchange that is past its deadline, in whatever phase it is, which also ends exchanges
when the client closes. Decides nothing about repeating; never follows redirects; never logs headers.

Owner of the exchanges under way: `Watchdog`, under its condition. Each belongs to the thread that began it.
"""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from typing import IO, Any, TypeVar

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from artfs.errors import InvalidValue

CONNECT_TIMEOUT_S = 5.0
READ_TIMEOUT_S = 10.0  # between bytes
CONNECTIONS_MAX = 16  # kept open; as many requests at once, besides the one that waits for changes
PIECE_BYTES = 256 << 10  # received at once
SKIP_BYTES_MAX = 128 << 20  # passed over of an answer that ignores the range

_T = TypeVar("_T")


class Unreachable(Exception):
    """An exchange that came to nothing.

    Attributes:
        reason: for people; tells no secrets.
        sent: whether the server may have acted on the request.
        lasting: whether trying again cannot help.
    """

    def __init__(self, reason: str, *, sent: bool = True, lasting: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.sent = sent
        self.lasting = lasting


@dataclass(frozen=True, slots=True)
class Exchange:
    """What to send, and what to take of the answer.

    Attributes:
        body: bytes, or a file to stream.
        body_bytes_max: an answer that is longer is none.
        cut: offset and length of what is wanted of a 200 answer, which then has the whole.
        into: buffers that take a partial answer (206) of exactly their length, in place of the answer's body.
        check_peer: called with the address that a connection was made to, before anything is sent; raises to refuse it.
    """

    method: str
    url: str
    headers: Mapping[str, str] = field(repr=False)  # may hold a token
    body: bytes | Path | None = field(default=None, repr=False)
    read_timeout_s: float = READ_TIMEOUT_S
    body_bytes_max: int = 64 << 20
    cut: tuple[int, int] | None = None
    into: Sequence[memoryview] = field(default=(), repr=False)
    check_peer: Callable[[str], None] | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """Attributes:
    filled_bytes: of the body that went into the exchange's buffers; `body` is empty then.
    """

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes | bytearray = field(repr=False)
    filled_bytes: int = 0


class _Guarded:
    """An exchange as the watchdog sees it."""

    def __init__(self, deadline_s: float, check_peer: Callable[[str], None] | None) -> None:
        self.deadline_s = deadline_s
        self.check_peer = check_peer
        self.connection: HTTPConnection | None = None
        self.ended = ""  # why the watchdog ended it

    def end(self, reason: str) -> None:
        self.ended = reason
        sock = getattr(self.connection, "sock", None)
        if isinstance(sock, socket.socket):
            with suppress(OSError):  # not SSLSocket's own shutdown, which changes what the reading thread is using
                socket.socket.shutdown(sock, socket.SHUT_RDWR)


class _Current(threading.local):
    guarded: _Guarded | None = None


_current = _Current()


def _enrol(connection: HTTPConnection) -> None:
    guarded = _current.guarded
    if guarded is not None:
        guarded.connection = connection
        if guarded.ended:
            raise TimeoutError(guarded.ended)


def _check_peer(connection: HTTPConnection) -> None:
    guarded = _current.guarded
    if guarded is not None and guarded.check_peer is not None:
        guarded.check_peer(str(connection.sock.getpeername()[0]))


class _Connection(HTTPConnection):
    def connect(self) -> None:
        _enrol(self)
        super().connect()
        _enrol(self)  # the watchdog could not end what had no socket yet
        _check_peer(self)

    def request(self, *args: Any, **kwargs: Any) -> None:
        _enrol(self)
        super().request(*args, **kwargs)


class _TlsConnection(HTTPSConnection):
    def connect(self) -> None:
        _enrol(self)
        super().connect()
        _enrol(self)  # the watchdog could not end what had no socket yet
        _check_peer(self)

    def request(self, *args: Any, **kwargs: Any) -> None:
        _enrol(self)
        super().request(*args, **kwargs)


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


class _Session(requests.Session):
    def resolve_redirects(self, *args: Any, **kwargs: Any) -> Iterator[Any]:
        """Nothing: requests prepares the next hop even if it is not to be followed, and reads the whole body for it."""
        return iter(())


class _Adapter(HTTPAdapter):
    def __init__(self, ca_file: str) -> None:
        self._ca_file = ca_file
        super().__init__(pool_connections=4, pool_maxsize=CONNECTIONS_MAX + 1, max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        if self._ca_file:
            kwargs["ssl_context"] = trusting(self._ca_file)
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}


def trusting(ca_file: str) -> ssl.SSLContext:
    """What TLS trusts: the usual authorities and those in `ca_file`. Raises InvalidValue for a file that is none."""
    context = ssl.create_default_context()
    try:
        context.load_verify_locations(ca_file)
    except (OSError, ssl.SSLError) as error:
        raise InvalidValue(
            f"ca_file {ca_file} cannot be used: {error}", hint="name a file of PEM certificates"
        ) from None
    return context


class Connections:
    """Open connections, of one process. Safe from any thread; not to be used after a fork."""

    def __init__(self, ca_file: str, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._session = _Session()
        self._session.trust_env = False  # neither proxies nor a .netrc that would send other credentials
        self._session.cookies.set_policy(_NO_COOKIES)
        adapter = _Adapter(ca_file)
        self._session.mount("http://", adapter)
        self._session.mount("https://", adapter)
        self._watchdog = _Watchdog(clock)

    def perform(self, exchange: Exchange, deadline_s: float) -> Answer:
        """Raises Unreachable when there is no whole answer before `deadline_s`."""

        def take(response: requests.Response) -> Answer:
            body = _Body(response, exchange, deadline_s, self._clock)
            into_bytes = body.fill_buffers()
            return Answer(response.status_code, response.headers, b"" if into_bytes else body.read(), into_bytes)

        return self.receive(exchange, deadline_s, take)

    def receive(self, exchange: Exchange, deadline_s: float, take: Callable[[requests.Response], _T]) -> _T:
        """What `take` makes of the answer, whose body it reads itself, or not. Raises Unreachable, and what `take` raises."""
        guarded = _Guarded(deadline_s, exchange.check_peer)
        self._watchdog.watch(guarded)
        _current.guarded = guarded
        try:
            taken = self._receive(exchange, deadline_s, take)
            if not guarded.ended:  # otherwise its head may be cut, and look like one without a length
                return taken
            failure = Unreachable(guarded.ended)
        except Unreachable as error:
            failure = Unreachable(guarded.ended) if guarded.ended else error
        except _FAILURES as error:
            failure = Unreachable(guarded.ended) if guarded.ended else _failure(error)
        finally:
            _current.guarded = None
            self._watchdog.release(guarded)
        raise failure  # outside the handler: what requests raises carries the request with its headers

    def close(self) -> None:
        """End what is under way, too."""
        self._watchdog.close()
        self._session.close()

    def _receive(self, exchange: Exchange, deadline_s: float, take: Callable[[requests.Response], _T]) -> _T:
        if isinstance(exchange.body, Path):
            with exchange.body.open("rb") as file:
                return self._send(exchange, file, deadline_s, take)
        return self._send(exchange, exchange.body, deadline_s, take)

    def _send(
        self,
        exchange: Exchange,
        body: bytes | IO[bytes] | None,
        deadline_s: float,
        take: Callable[[requests.Response], _T],
    ) -> _T:
        left_s = max(deadline_s - self._clock(), 0.05)
        response = self._session.request(
            exchange.method,
            exchange.url,
            data=body,
            headers=dict(exchange.headers),
            stream=True,
            timeout=(min(CONNECT_TIMEOUT_S, left_s), min(exchange.read_timeout_s, left_s)),
            allow_redirects=False,
        )
        try:
            return take(response)
        finally:
            response.close()


class _Watchdog:
    """Ends exchanges that are past their deadline."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._changed = threading.Condition()
        self._watched: set[_Guarded] = set()
        self._wakes_at_s = float("inf")
        self._thread: threading.Thread | None = None
        self._closed = False

    def watch(self, guarded: _Guarded) -> None:
        with self._changed:
            if self._closed:
                raise Unreachable("the client was closed", lasting=True)
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="artfs-deadlines", daemon=True)
                thread.start()  # raises where there are none to have; the next exchange tries again
                self._thread = thread
            self._watched.add(guarded)
            if guarded.deadline_s < self._wakes_at_s:
                self._changed.notify()

    def release(self, guarded: _Guarded) -> None:
        with self._changed:
            self._watched.discard(guarded)

    def close(self) -> None:
        with self._changed:
            self._closed = True
            for guarded in self._watched:
                guarded.end("the client was closed")
            self._changed.notify()

    def _run(self) -> None:
        with self._changed:
            while not self._closed:
                now_s = self._clock()
                for guarded in self._watched:
                    if guarded.deadline_s <= now_s:
                        guarded.end("it did not finish in time")
                coming = [guarded.deadline_s for guarded in self._watched if not guarded.ended]
                self._wakes_at_s = min(coming, default=float("inf"))
                self._changed.wait(None if not coming else max(self._wakes_at_s - now_s, 0.001))


class _NoCookies(requests.cookies.cookielib.DefaultCookiePolicy):  # type: ignore[name-defined,misc]  # stubs lack it
    """Takes none and sends none: sessions are shared by threads."""


_NO_COOKIES = _NoCookies(allowed_domains=[])
_FAILURES = (requests.RequestException, urllib3.exceptions.HTTPError, HTTPException, OSError)


def _failure(error: BaseException) -> Unreachable:
    """What requests raises, in words and without the URL's query or any header."""
    if isinstance(error, requests.exceptions.SSLError) and not _was_cut(error):
        return Unreachable(f"TLS failed: {_cause(error)}", sent=False, lasting=True)
    if isinstance(error, requests.exceptions.ConnectTimeout):
        return Unreachable("it does not answer (connecting timed out)", sent=False)
    if isinstance(error, requests.exceptions.InvalidURL | requests.exceptions.InvalidSchema):
        return Unreachable("this is not a URL of a server", sent=False, lasting=True)
    if isinstance(error, requests.exceptions.Timeout | TimeoutError | urllib3.exceptions.TimeoutError):
        return Unreachable("it does not answer (no bytes for too long)")
    return Unreachable(_cause(error), sent=not _never_connected(error))


def _never_connected(error: BaseException) -> bool:
    return any(isinstance(cause, urllib3.exceptions.NewConnectionError) for cause in _causes(error))


def _was_cut(error: BaseException) -> bool:
    """Whether a TLS connection ended without a goodbye, or with one while a body was being sent: as a plain one is reset."""
    return any(isinstance(cause, ssl.SSLEOFError | ssl.SSLZeroReturnError) for cause in _causes(error))


def _cause(error: BaseException) -> str:
    """The innermost reason in words."""
    for cause in reversed(_causes(error)):
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
    return type(_causes(error)[-1]).__name__


def _causes(error: BaseException) -> list[BaseException]:
    found = [error]
    while len(found) < 10:
        last = found[-1]
        reasons = [getattr(last, "reason", None), *last.args[:1], last.__cause__, last.__context__]
        following = next((r for r in reasons if isinstance(r, BaseException) and r not in found), None)
        if following is None:
            break
        found.append(following)
    return found


class _Body:
    """What is wanted of an answer's body, to the byte. Raises Unreachable for one that is too long or too short."""

    def __init__(
        self, response: requests.Response, exchange: Exchange, deadline_s: float, clock: Callable[[], float]
    ) -> None:
        self._response = response
        self._exchange = exchange
        self._deadline_s = deadline_s
        self._clock = clock

    def fill_buffers(self) -> int:
        """How many bytes went into the buffers of the exchange, all of them or none."""
        into = self._exchange.into
        wanted = sum(map(len, into))
        plain = self._response.headers.get("Content-Encoding", "identity") == "identity"
        if not wanted or self._response.status_code != 206 or _content_length(self._response) != wanted or not plain:
            return 0
        self._fill(into)
        return wanted

    def _fill(self, buffers: Sequence[memoryview]) -> None:
        """All of the body from the socket into the buffers; urllib3's own way copies it three times."""
        raw: Any = self._response.raw
        source = raw._fp
        filled = 0
        for whole in buffers:
            buffer = whole
            while buffer:
                count = source.readinto(buffer[: 4 * PIECE_BYTES])
                filled += count
                if not count:
                    raise Unreachable(f"its answer ended after {filled} of {sum(map(len, buffers))} bytes")
                buffer = buffer[count:]
                self._check_time()
        raw.release_conn()

    def read(self) -> bytes | bytearray:
        response, exchange = self._response, self._exchange
        if exchange.method == "HEAD":
            return b""
        if response.headers.get("Content-Encoding", "identity") != "identity":
            raise Unreachable("it answered compressed, unasked")
        length = _content_length(response)
        if length is None and "chunked" not in response.headers.get("Transfer-Encoding", "").lower():
            raise Unreachable("its answer does not say how long it is")
        if exchange.cut is not None and response.status_code == 200:
            skip, length = _cut(exchange.cut, length)
        else:
            skip = 0
        if length is not None and length > exchange.body_bytes_max:
            raise Unreachable(f"its answer of {length} bytes is too long")
        data = bytearray()
        if length is not None and PIECE_BYTES <= length == _content_length(response):
            data = bytearray(length)
            self._fill([memoryview(data)])
        while length is None or len(data) < length:
            left = PIECE_BYTES if length is None else min(PIECE_BYTES, skip + length - len(data))
            piece = response.raw.read1(left, decode_content=False)
            if not piece:
                break
            if skip:
                passed = min(skip, len(piece))
                skip -= passed
                piece = piece[passed:]
            data += piece
            if len(data) > exchange.body_bytes_max:
                raise Unreachable("its answer is too long")
            self._check_time()
        if length is not None and len(data) != length:
            raise Unreachable(f"its answer ended after {len(data)} of {length} bytes")
        return data

    def _check_time(self) -> None:
        if self._clock() > self._deadline_s:
            raise Unreachable("it did not finish in time")


def _content_length(response: requests.Response) -> int | None:
    text = response.headers.get("Content-Length", "")
    if response.status_code in (204, 304):
        return 0
    return int(text) if text.isascii() and text.isdigit() else None


def _cut(cut: tuple[int, int], length: int | None) -> tuple[int, int]:
    """How much to pass over and how much to take of a body that is the whole where a range was asked for."""
    offset, wanted = cut
    if length is None or length < offset + wanted or offset > SKIP_BYTES_MAX:
        raise Unreachable("it ignores ranges", lasting=True)
    return offset, wanted
