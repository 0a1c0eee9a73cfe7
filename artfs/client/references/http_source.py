"""References by http: and https:. Ranges of one state of a resource, over connections of their own.

No credentials are sent, of artfs or others: not the token, no cookie, nothing from a .netrc. Each hop of a redirect is judged
like the first, and so is the address that a connection was really made to. The time of every call is bounded, whatever the
server does; a server that just did not answer is not asked again for a moment.
"""

from __future__ import annotations

import random
import re
import threading
import time
from collections.abc import Callable, Iterator
from email.utils import parsedate_to_datetime
from typing import TypeVar
from urllib.parse import urljoin, urlsplit

import requests

from artfs import __version__
from artfs.client.references.policy import Policy, host_and_port
from artfs.client.references.source import Located, Told, changed, name_of, shown
from artfs.client.remote.breaker import Breaker
from artfs.client.remote.connections import Connections, Exchange, Unreachable
from artfs.errors import InvalidValue, ReferenceUnavailable
from artfs.vfs.ports import Bytes

CALL_S = 30.0  # of a call with all its attempts, besides what its bytes take
BYTES_PER_S_MIN = 1 << 20  # slower is given up
READ_TIMEOUT_S = 10.0
REDIRECTS_MAX = 5
ATTEMPTS_MAX = 4
FIRST_BACKOFF_S = 0.2
PIECE_BYTES = 256 << 10
ORIGINS_MAX = 64
LAST_MODIFIED_AGE_S = 2.0  # younger than this when it was told, and it may be of two states
_GATEWAY = (502, 503, 504)
_AGAIN = (408, 429, 500, *_GATEWAY)
_NO_HEAD = (400, 403, 404, 405, 501)  # some servers, and signed URLs, only know GET
_CONTENT_RANGE = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19}|\*)")

_T = TypeVar("_T")
_Take = Callable[[Told, Iterator[Bytes]], _T]


class Redirected(Exception):
    """An answer that leads to `location`, which may be relative and is not judged yet."""

    def __init__(self, location: str) -> None:
        super().__init__(location)
        self.location = location


class _TryAgain(Exception):
    """An answer that may be another one later; `of_host`: also to anything else that is asked of that host."""

    def __init__(self, status: int) -> None:
        super().__init__(f"it answered {status}")
        self.of_host = status in _GATEWAY


class HttpSource:
    """Implements `Source`. One for all hosts; not to be used after a fork.

    Args:
        ca_file: certificates (PEM) that are trusted besides the usual ones; empty for none.
        call_s: see CALL_S.
    """

    is_local = False

    def __init__(
        self,
        policy: Policy,
        *,
        ca_file: str = "",
        call_s: float = CALL_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._policy = policy
        self._call_s = call_s
        self._clock = clock
        self._connections = Connections(ca_file, clock)
        self._closed = threading.Event()
        self._breakers: dict[str, Breaker] = {}

    def close(self) -> None:
        self._closed.set()
        self._connections.close()

    def whole_md5(self, uri: str) -> bytes | None:
        return None

    def locate(self, uri: str, objects_max: int) -> list[Located]:
        host_and_port(uri)
        told = self._call("HEAD", uri, {}, 0, lambda response, _: _look(response))
        if told is None or told.size_bytes is None:
            told = self._call("GET", uri, {"Range": "bytes=0-0"}, 0, lambda response, _: _told(response, uri))
        return [Located(name_of(uri), uri, told)]

    def receive(self, uri: str, span: tuple[int, int] | None, etag: str, expected_bytes: int, take: _Take[_T]) -> _T:
        headers = {"If-Match": etag} if etag else {}
        return self._call("GET", uri, headers | _range(span), expected_bytes, self._receiving(uri, span, take))

    def receive_here(
        self,
        url: str,
        span: tuple[int, int] | None,
        headers: dict[str, str],
        expected_bytes: int,
        take: _Take[_T],
    ) -> _T:
        """The same of what is at `url` itself, asked for with `headers`. Raises Redirected as well."""
        self._policy.check_url(url)
        return self._hop("GET", url, headers | _range(span), expected_bytes, self._receiving(url, span, take))

    def _receiving(
        self, uri: str, span: tuple[int, int] | None, take: _Take[_T]
    ) -> Callable[[requests.Response, float], _T]:
        def receive(response: requests.Response, deadline_s: float) -> _T:
            told = _told(response, uri)
            length = None if told.size_bytes is None else told.size_bytes - told.start
            if span is not None and not told.is_whole:
                if told.start != span[0]:
                    raise ReferenceUnavailable(f"{shown(uri)} answered with another range than was asked for")
                length = span[1]
            return take(told, _pieces(response, length, deadline_s, self._clock))

        return receive

    def _call(
        self,
        method: str,
        uri: str,
        headers: dict[str, str],
        size_bytes: int,
        take: Callable[[requests.Response, float], _T],
    ) -> _T:
        target = uri
        for _ in range(REDIRECTS_MAX + 1):
            self._policy.check_url(target)
            try:
                return self._hop(method, target, headers, size_bytes, take)
            except Redirected as redirected:
                target = followed(uri, target, redirected.location)
        raise ReferenceUnavailable(f"{shown(uri)} redirects more than {REDIRECTS_MAX} times")

    def _hop(
        self,
        method: str,
        url: str,
        headers: dict[str, str],
        size_bytes: int,
        take: Callable[[requests.Response, float], _T],
    ) -> _T:
        """One request, tried until it is answered for good, or its time is over."""
        breaker = self._breaker(url)
        entered = breaker.enter()
        if entered is False:
            raise ReferenceUnavailable(f"{_origin(url)} does not answer: {breaker.reason}")
        began_s = self._clock()
        deadline_s = began_s + self._call_s + size_bytes / BYTES_PER_S_MIN

        def receive(response: requests.Response) -> _T:
            _judge(response, url)
            return take(response, deadline_s)

        exchange = Exchange(
            method,
            url,
            {"User-Agent": f"artfs/{__version__}", "Accept-Encoding": "identity", **headers},
            read_timeout_s=READ_TIMEOUT_S,
            check_peer=lambda address: self._policy.check_address(url, address),
        )
        attempts = ATTEMPTS_MAX if entered else 1
        reason, is_of_host = "", True
        for number in range(attempts):
            try:
                found = self._connections.receive(exchange, deadline_s, receive)
            except (Unreachable, _TryAgain) as failure:
                reason, is_of_host = str(failure), isinstance(failure, Unreachable) or failure.of_host
                pause_s = random.random() * FIRST_BACKOFF_S * 2**number
                late = self._clock() + pause_s >= began_s + self._call_s
                if late or number == attempts - 1 or (isinstance(failure, Unreachable) and failure.lasting):
                    break
                self._closed.wait(pause_s)
            except BaseException:
                breaker.succeeded()  # it answered
                raise
            else:
                breaker.succeeded()
                return found
        if is_of_host:
            breaker.failed(reason, began_s)
        else:
            breaker.succeeded()
        raise ReferenceUnavailable(f"cannot read {shown(url)}: {reason}", hint="check the network and the server")

    def _breaker(self, url: str) -> Breaker:
        origin = _origin(url)
        if origin not in self._breakers and len(self._breakers) >= ORIGINS_MAX:
            self._breakers.clear()
        return self._breakers.setdefault(origin, Breaker(self._clock))


def _range(span: tuple[int, int] | None) -> dict[str, str]:
    return {} if span is None else {"Range": f"bytes={span[0]}-{span[0] + span[1] - 1}"}


def followed(uri: str, url: str, location: str) -> str:
    """Where a redirect of `url`, which began at `uri`, leads. Raises ReferenceUnavailable for what is not followed."""
    try:
        following = urljoin(url, location).partition("#")[0]
        host_and_port(following)
        schemes = urlsplit(url).scheme, urlsplit(following).scheme
    except (ValueError, InvalidValue):
        raise ReferenceUnavailable(f"{shown(uri)} redirects to what is no URL of a web server") from None
    if schemes == ("https", "http"):
        raise ReferenceUnavailable(f"{shown(uri)} redirects from https to http")
    return following


def _origin(url: str) -> str:
    host, port = host_and_port(url)
    return f"{urlsplit(url).scheme}://{host}:{port}"


def _judge(response: requests.Response, url: str) -> None:
    """Pass an answer of success, and one to HEAD that need not be the last word. Raises what any other means."""
    status = response.status_code
    if status in (301, 302, 303, 307, 308) and response.headers.get("Location"):
        raise Redirected(response.headers["Location"])
    if status in (200, 206) or (response.request.method == "HEAD" and status in _NO_HEAD):
        return
    if status in _AGAIN:
        raise _TryAgain(status)
    if status == 412:
        raise changed(url, "it has another ETag")
    if status == 416:
        raise changed(url, "it is shorter")
    raise ReferenceUnavailable(
        f"{shown(url)} answered {status}", hint="see whether it is still there, and public", status=status
    )


def _look(response: requests.Response) -> Told | None:
    """What an answer to HEAD tells; None if only GET can."""
    return _told(response, "") if response.status_code == 200 else None


def _told(response: requests.Response, uri: str) -> Told:
    headers = response.headers
    if headers.get("Content-Encoding", "identity").lower() not in ("", "identity"):
        raise ReferenceUnavailable(f"{shown(uri)} is sent compressed, unasked", hint="refer to it where it is not")
    etag = headers.get("ETag", "").strip()
    etag = etag if etag.startswith('"') and len(etag) > 2 else ""
    validator = etag or _trusted_time(headers.get("Last-Modified", ""), headers.get("Date", ""))
    if response.status_code == 206:
        match = _CONTENT_RANGE.fullmatch(headers.get("Content-Range", "").strip())
        if match is None:
            raise ReferenceUnavailable(f"{shown(uri)} answered with a range that is none")
        size_bytes = None if match[3] == "*" else int(match[3])
        return Told(size_bytes, etag, validator, int(match[1]))
    length = headers.get("Content-Length", "")
    size_bytes = int(length) if length.isascii() and length.isdigit() else None
    return Told(size_bytes, etag, validator, is_whole=True)


def _trusted_time(modified: str, now: str) -> str:
    """A Last-Modified that no later change can have left as it is (RFC 9110, 8.8.2.2); empty for any other."""
    try:
        age_s = (parsedate_to_datetime(now) - parsedate_to_datetime(modified)).total_seconds()
    except (TypeError, ValueError):
        return ""
    return f"modified {modified}" if age_s >= LAST_MODIFIED_AGE_S else ""


def _pieces(
    response: requests.Response, length: int | None, deadline_s: float, clock: Callable[[], float]
) -> Iterator[bytes]:
    """The body, to the byte. Raises Unreachable when it ends early or takes too long."""
    got = 0
    while length is None or got < length:
        left = PIECE_BYTES if length is None else min(PIECE_BYTES, length - got)
        piece = response.raw.read1(left, decode_content=False)
        if not piece:
            break
        got += len(piece)
        yield piece
        if clock() > deadline_s:
            raise Unreachable("it did not finish in time")
    if length is not None and got != length:
        raise Unreachable(f"its answer ended after {got} of {length} bytes")
