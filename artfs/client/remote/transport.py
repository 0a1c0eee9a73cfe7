"""Requests to one server, and to the buckets it points to: what is repeated, when a server counts as gone, who gets the token.

A request is tried again with exponential backoff and full jitter while its time lasts, if repeating it does no harm, not before
a server's Retry-After. The time of every call is bounded, whatever the server does. The token goes to the server's own origin
only, and is in no message. Nothing that is not artfs' own JSON is taken for an answer. Knows nothing of what requests mean.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlencode, urljoin, urlsplit

from artfs import __version__
from artfs.client.remote.answers import (
    check_asked,
    error_of,
    is_json,
    may_help_later,
    retry_after_s,
    strange,
    tells_of_absence,
    told_error,
)
from artfs.client.remote.breaker import Breaker
from artfs.client.remote.connections import CONNECTIONS_MAX, READ_TIMEOUT_S, Answer, Connections, Exchange, Unreachable
from artfs.client.remote.ranges import RangeRequest, check_range
from artfs.errors import InvalidValue, PathNotFound, RegistryUnavailable
from artfs.store.durable import reported
from artfs.wire import json
from artfs.wire.http import EXCHANGE_ID, TOKEN_SCHEME
from artfs.wire.integrity import CONTENT_DIGEST, content_digest, is_intact

CALL_S = 30.0
BODY_BYTES_PER_S_MIN = 128 << 10  # slower is given up
BODY_BYTES_PER_S = 1 << 20  # that a connection is expected to carry
STORING_S = 60.0  # a server verifies a pack, or seals a version, before it answers
RETRY_AFTER_S_MAX = 10.0  # a server that asks for more is not waited for
FIRST_BACKOFF_S = 0.2
BACKOFF_S_MAX = 4.0
ATTEMPTS_MAX = 6
REDIRECTS_MAX = 2  # of a range
ANSWER_BYTES_MAX = 256 << 20
ORIGINS_MAX = 64  # that may count as gone

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Outside:
    """What is not deterministic, for tests to replace. `sleep` None: until the time is over or the transport closes."""

    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], object] | None = None
    random: Callable[[], float] = random.random


@dataclass(frozen=True, slots=True)
class _Call:
    """A request, and how long and how often it may be tried.

    Attributes:
        again: whether repeating it does no harm.
        call_s: within which it must be over, with the time that its bytes may take.
        retry_s: within which it may be tried again: that bytes may take long is no reason to wait longer for silence.
        apart: does not count against the requests at once, since it waits for long.
    """

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes | Path | None = field(default=None, repr=False)
    again: bool = True
    read_s: float = READ_TIMEOUT_S
    call_s: float = CALL_S
    retry_s: float = CALL_S
    bytes_max: int = ANSWER_BYTES_MAX
    cut: tuple[int, int] | None = None
    into: Sequence[memoryview] = field(default=(), repr=False)
    apart: bool = False


class _Process:
    """What belongs to one process: after a fork there is another."""

    def __init__(self, ca_file: str, clock: Callable[[], float]) -> None:
        self.pid = os.getpid()
        self.connections = Connections(ca_file, clock)
        self.places = threading.BoundedSemaphore(CONNECTIONS_MAX)
        self.closed = threading.Event()


class Transport:
    """Calls of one server. Safe from any thread, and after a fork.

    Args:
        url: the server's; a path is a prefix.
        token: empty for none.
        ca_file: certificates (PEM) that are trusted besides the usual ones; empty for none.
        call_s: of a call with all its attempts, besides what large bodies take at BODY_BYTES_PER_S_MIN.

    Attributes:
        breaker: whether the server counts as gone.
        received_bytes: of all answers. Like the next, only told to people: not exact when threads meet.
        request_count: attempts included.
    """

    def __init__(
        self, url: str, token: str, *, ca_file: str = "", outside: Outside | None = None, call_s: float = CALL_S
    ) -> None:
        self.url = checked_url(url)
        self._call_s = call_s
        self._origin = origin_of(self.url)
        self._token = token
        self._ca_file = ca_file
        self._outside = outside or Outside()
        self._own = _Process(ca_file, self._outside.clock)
        self.breaker = Breaker(self._outside.clock)
        self._buckets: dict[str, Breaker] = {}
        self.received_bytes = 0
        self.request_count = 0

    def __repr__(self) -> str:
        return f"Transport({self.url})"

    @property
    def is_closed(self) -> bool:
        return self._process().closed.is_set()

    def get(self, path: str, type_: type[_T], query: Mapping[str, Any] | None = None, *, wait_s: float = 0.0) -> _T:
        """A record. `wait_s` is how long the server may take on purpose, on a connection besides the others."""
        url = f"{self.url}{path}" + (f"?{urlencode(query)}" if query else "")
        apart = wait_s > 0
        call = _Call(
            "GET", url, read_s=READ_TIMEOUT_S + wait_s, call_s=self._call_s + wait_s, retry_s=self._call_s, apart=apart
        )
        return self._decoded(self._answered(call), type_)

    def get_bytes(self, path: str, query: Mapping[str, Any], bytes_max: int) -> memoryview:
        """A body that is no record."""
        answer = self._answered(_Call("GET", f"{self.url}{path}?{urlencode(query)}", bytes_max=bytes_max))
        if answer.headers.get("Content-Type", "") != "application/octet-stream":
            raise strange(answer, self.url)
        return memoryview(answer.body)

    def send(
        self,
        method: str,
        path: str,
        body: Any = None,
        type_: type[_T] | None = None,
        *,
        again: bool = True,
        wait_s: float = 0.0,
    ) -> _T:
        """Send a record (None: no body) and get one.

        Args:
            again: whether it may be repeated when its answer was lost.
            wait_s: how long the server may work before it answers, beyond the usual.
        """
        data = None if body is None else _encoded(body)
        headers = {} if data is None else {"Content-Type": "application/json", CONTENT_DIGEST: content_digest(data)}
        call = _Call(
            method, self.url + path, headers, data, again, READ_TIMEOUT_S + wait_s, self._call_s + wait_s, self._call_s
        )
        answer = self._asked(call)
        if type_ is not None:
            return self._decoded(answer, type_)
        self._check_done(answer)
        return None  # type: ignore[return-value]  # as asked for

    def send_file(self, path: str, source: Path) -> None:
        """PUT a file, as a stream."""
        with reported("read", source):
            size_bytes = source.stat().st_size
            call_s = STORING_S + self._call_s + size_bytes / BODY_BYTES_PER_S_MIN
            retry_s = self._call_s + size_bytes / BODY_BYTES_PER_S
            headers = {"Content-Type": "application/octet-stream"}
            call = _Call("PUT", self.url + path, headers, source, read_s=STORING_S, call_s=call_s, retry_s=retry_s)
            self._check_done(self._asked(call))

    def read_range(self, url: str, offset: int | None, length: int) -> bytes | bytearray:
        """Exactly `length` bytes of `url` (relative to the server's or absolute), from `offset`; None: the last ones.

        Fewer only at the end of the body. Raises PathNotFound, RegistryUnavailable, and what else it is told.
        """
        wanted = RangeRequest(offset, length)
        return check_range(self._ranged(url, wanted), wanted, self.url)

    def read_range_into(self, url: str, offset: int, into: Sequence[memoryview]) -> int:
        """The same into buffers, one after another. Returns how many bytes there were; fewer only at the end of the body."""
        wanted = RangeRequest(offset, sum(map(len, into)))
        answer = self._ranged(url, wanted, into)
        data = memoryview(check_range(answer, wanted, self.url))
        if answer.filled_bytes:
            return answer.filled_bytes
        at = 0
        for buffer in into:
            part = data[at : at + len(buffer)]
            buffer[: len(part)] = part
            at += len(part)
        return at

    def _ranged(self, url: str, wanted: RangeRequest, into: Sequence[memoryview] = ()) -> Answer:
        target = self._resolved(url)
        for _ in range(REDIRECTS_MAX + 1):
            call = _Call(
                "GET",
                target,
                {"Range": wanted.header},
                call_s=self._call_s + wanted.length / BODY_BYTES_PER_S_MIN,
                retry_s=self._call_s,
                bytes_max=wanted.length + (64 << 10),
                cut=wanted.cut,
                into=into,
            )
            answer = self._performed(call)
            location = answer.headers.get("Location", "")
            if answer.status not in (301, 302, 303, 307, 308) or not location:
                break
            target = urljoin(target, location)
        if answer.status not in (200, 206):
            is_own = origin_of(target) == self._origin
            if is_own and answer.status in (404, 410) and told_error(answer) is None:  # nginx's, that sends for us
                raise PathNotFound(f"{self.url} has no such pack any more")
            raise error_of(answer, self.url, is_own=is_own)
        return answer

    def close(self) -> None:
        """End every call, also those under way in other threads: they raise RegistryUnavailable."""
        process = self._process()
        process.closed.set()
        process.connections.close()

    def _resolved(self, url: str) -> str:
        """A URL that begins with a slash is below the server's own, whatever prefix that has."""
        if url.startswith("/") and not url.startswith("//"):
            return self.url + url
        return urljoin(self.url + "/", url)

    def _answered(self, call: _Call) -> Answer:
        answer = self._performed(call)
        if not 200 <= answer.status < 300:
            raise error_of(answer, self.url)
        return answer

    def _asked(self, call: _Call) -> Answer:
        """The answer to what changes something, and to no other request. Older servers do not say which it is to."""
        exchange = os.urandom(8).hex()
        answer = self._answered(replace(call, headers={**call.headers, EXCHANGE_ID: exchange}))
        check_asked(answer.headers.get(EXCHANGE_ID, exchange) == exchange, self.url)
        return answer

    def _check_done(self, answer: Answer) -> None:
        """Of what is answered by no record: a page that says 200 is somebody else's, who did nothing."""
        if answer.status != 204:
            raise strange(answer, self.url)

    def _decoded(self, answer: Answer, type_: type[_T]) -> _T:
        if not is_json(answer):
            raise strange(answer, self.url)
        try:
            return json.decode(answer.body, type_)
        except InvalidValue as error:
            raise RegistryUnavailable(
                f"{self.url} answered what this artfs does not understand: {error.message}", hint="upgrade artfs"
            ) from None

    def _performed(self, call: _Call) -> Answer:
        """The answer, whatever its status. Raises RegistryUnavailable when there is none in time."""
        origin = origin_of(call.url)
        breaker = self._breaker(origin)
        entered = breaker.enter()
        if entered is False:
            raise RegistryUnavailable(f"{origin} does not answer: {breaker.reason}", hint="artfs status")
        process, began_s = self._process(), self._outside.clock()
        try:
            answer = self._tried(process, call, breaker, ATTEMPTS_MAX if entered else 1)
        except Unreachable as failure:
            reason = failure.reason
        else:
            if tells_of_absence(answer):
                breaker.failed(f"it answered {answer.status}", began_s)
            else:
                breaker.succeeded()
            return answer
        if not process.closed.is_set():
            breaker.failed(reason, began_s)
        raise RegistryUnavailable(f"cannot reach {origin}: {reason}", hint=_hint(reason))

    def _tried(self, process: _Process, call: _Call, breaker: Breaker, attempts: int) -> Answer:
        begun_s = self._outside.clock()
        deadline_s = begun_s + call.call_s
        for number in range(attempts):
            answer, failure, after_s = None, None, 0.0
            try:
                answer = self._once(process, call, deadline_s)
                if not may_help_later(answer, repeatable=call.again):
                    return answer
                after_s = retry_after_s(answer)
            except Unreachable as error:
                failure = error
            hopeless = failure is not None and (failure.lasting or (failure.sent and not call.again))
            backoff_s = self._outside.random() * min(FIRST_BACKOFF_S * 2**number, BACKOFF_S_MAX)
            pause_s = max(after_s, backoff_s)
            late = after_s > RETRY_AFTER_S_MAX or self._outside.clock() + pause_s >= begun_s + call.retry_s
            if hopeless or late or number == attempts - 1 or breaker.reason:
                if answer is not None:
                    return answer
                raise failure or Unreachable("no answer in time")
            (self._outside.sleep or process.closed.wait)(pause_s)
        raise AssertionError("the last attempt returns or raises")

    def _once(self, process: _Process, call: _Call, deadline_s: float) -> Answer:
        exchange = Exchange(
            call.method, call.url, self._headers(call), call.body, call.read_s, call.bytes_max, call.cut, call.into
        )
        self.request_count += 1
        if call.apart:
            return _intact(process.connections.perform(exchange, deadline_s))
        if not process.places.acquire(timeout=max(deadline_s - self._outside.clock(), 0.0)):
            raise Unreachable("too many requests are under way already", sent=False)
        try:
            answer = process.connections.perform(exchange, deadline_s)
        finally:
            process.places.release()
        self.received_bytes += len(answer.body) + answer.filled_bytes
        return _intact(answer)

    def _headers(self, call: _Call) -> dict[str, str]:
        headers = {"User-Agent": f"artfs/{__version__}", "Accept-Encoding": "identity", **call.headers}
        if self._token and origin_of(call.url) == self._origin:
            headers["Authorization"] = f"{TOKEN_SCHEME} {self._token}"
        return headers

    def _process(self) -> _Process:
        if self._own.pid != os.getpid():  # a child must not talk on its parent's connections, nor wait for its locks
            self._own = _Process(self._ca_file, self._outside.clock)
            self.breaker = Breaker(self._outside.clock)
            self._buckets = {}
        return self._own

    def _breaker(self, origin: str) -> Breaker:
        """The server's, or a bucket's."""
        self._process()
        if origin == self._origin:
            return self.breaker
        if origin not in self._buckets and len(self._buckets) >= ORIGINS_MAX:
            self._buckets.clear()
        return self._buckets.setdefault(origin, Breaker(self._outside.clock))


def _intact(answer: Answer) -> Answer:
    """Raises Unreachable for a body that is not what its head says."""
    if not answer.filled_bytes and not is_intact(answer.body, answer.headers.get(CONTENT_DIGEST, "")):
        raise Unreachable("its answer was changed on the way")
    return answer


def _encoded(body: Any) -> bytes:
    try:
        return json.encode(body)
    except (TypeError, ValueError, NotImplementedError, RecursionError, OverflowError) as error:
        raise InvalidValue(f"this cannot be written as JSON: {error}") from None


def _hint(reason: str) -> str:
    if "CERTIFICATE_VERIFY_FAILED" in reason:
        return "if the server's certificate is your own, ca_file must name it (ARTFS_CA_FILE; artfs login --ca-file)"
    return "check the network and the server"


def checked_url(url: str) -> str:
    """A server's URL without a slash at its end. Raises InvalidValue."""
    try:
        parts = urlsplit(url)
        whole = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        whole = False
    if not whole or parts.query or parts.fragment or parts.username or parts.password:
        raise InvalidValue("that is not the URL of a server", hint="write https://HOST:PORT, without a password")
    return url.rstrip("/")


def origin_of(url: str) -> str:
    """Scheme, host and port: to whom credentials belong. Raises RegistryUnavailable for what is none."""
    try:
        parts = urlsplit(url)
        port = parts.port or {"http": 80, "https": 443}[parts.scheme]
    except (ValueError, KeyError):
        raise RegistryUnavailable("a server told of a place that cannot be reached by HTTP") from None
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"{parts.scheme}://{host}:{port}"
