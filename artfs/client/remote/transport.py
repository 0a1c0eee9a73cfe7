"""HTTP to one server and to the buckets it points to: connections, timeouts, retries, and what went wrong as artfs errors.

Everything is bounded: connecting, the time between bytes, a call with all its retries, connections kept. What is idempotent is
tried again with exponential backoff and full jitter, not before a server's Retry-After. The token goes to the server's own
origin only, and is in no message. Nothing that is not artfs' own JSON is ever taken for an answer.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlencode, urljoin, urlsplit

import requests
import urllib3

from artfs import __version__
from artfs.client.remote.breaker import Breaker
from artfs.errors import (
    ArtfsError,
    InvalidValue,
    PathNotFound,
    RegistryUnavailable,
    StorageFailed,
    TooManyRequests,
    Unavailable,
    error_class,
)
from artfs.wire import json
from artfs.wire.http import TOKEN_SCHEME, ErrorBody

CONNECT_S = 5.0
READ_S = 10.0  # between bytes
CALL_S = 20.0  # of a call with all its retries, besides the time that large bodies take
BODY_BYTES_PER_S_MIN = 64 << 10  # slower is given up
FIRST_BACKOFF_S = 0.1
BACKOFF_S_MAX = 3.0
ATTEMPTS_MAX = 8
IDLE_SESSIONS_MAX = 8
ERROR_BYTES_MAX = 64 << 10
ANSWER_BYTES_MAX = 256 << 20
_PART_BYTES = 1 << 20
_RETRIED = {429, 502, 503, 504}

_T = TypeVar("_T")
_FAILURES = (requests.RequestException, urllib3.exceptions.HTTPError, OSError)


@dataclass(frozen=True, slots=True)
class Outside:
    """What is not deterministic, for tests to replace."""

    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    random: Callable[[], float] = random.random


class _TryAgain(Exception):
    """An attempt failed in a way that may pass."""

    def __init__(self, error: ArtfsError, after_s: float = 0.0, *, sent: bool = True) -> None:
        self.error = error
        self.after_s = after_s
        self.sent = sent  # whether the server may have acted on it


class Transport:
    """Calls of one server. Safe from any thread, and after a fork.

    Args:
        url: the server's, without a path.
        token: empty for none.
        ca_file: certificates (PEM) to check servers against, instead of the usual ones.
    """

    def __init__(self, url: str, token: str, *, ca_file: str = "", outside: Outside | None = None) -> None:
        self.url = url.rstrip("/")
        self._origin = urlsplit(self.url)[:2]
        self._token = token
        self._verify: str | bool = ca_file or True
        self._outside = outside or Outside()
        self.breaker = Breaker(self._outside.clock)
        self._lock = threading.Lock()
        self._idle: list[requests.Session] = []
        self._pid = os.getpid()
        self.received_bytes = 0
        self.request_count = 0

    def __repr__(self) -> str:
        return f"Transport({self.url})"

    def get(self, path: str, type_: type[_T], query: Mapping[str, Any] | None = None, *, wait_s: float = 0.0) -> _T:
        """A record. `wait_s` is how long the server may take on purpose."""
        return json.decode(self._read("GET", path, query, wait_s=wait_s), type_)

    def send(
        self, method: str, path: str, body: Any = None, type_: type[_T] | None = None, *, again: bool = True
    ) -> _T:
        """Send a record (None: no body) and get one. `again`: whether it may be repeated when its answer was lost."""
        data = self._read(method, path, None, None if body is None else json.encode(body), again=again)
        return json.decode(data, type_) if type_ is not None else None  # type: ignore[return-value]  # as asked for

    def send_file(self, path: str, source: Path) -> None:
        """PUT a file, as a stream."""
        size_bytes = source.stat().st_size
        call_s = CALL_S + size_bytes / BODY_BYTES_PER_S_MIN

        def attempt(session: requests.Session) -> None:
            with source.open("rb") as file:
                headers = self._headers(self.url)
                headers["Content-Type"] = "application/octet-stream"
                with _answer(
                    session, "PUT", self.url + path, headers, file, READ_S + size_bytes / (1 << 20)
                ) as response:
                    self._check(response)

        self._retried(attempt, again=True, call_s=call_s)

    def read_range(self, url: str, offset: int | None, length: int) -> bytes | bytearray:
        """Exactly `length` bytes of `url` (relative to the server's or absolute), from `offset`; None: the last ones.

        Fewer only at the end of the body. Raises what `call` does, and the `PathNotFound` or `AccessDenied` of an answer.
        """
        wanted = f"bytes={offset}-{offset + length - 1}" if offset is not None else f"bytes=-{length}"
        call_s = CALL_S + length / BODY_BYTES_PER_S_MIN

        def attempt(session: requests.Session) -> bytes | bytearray:
            return self._read_range(session, urljoin(self.url + "/", url), wanted, offset, length, hops=1)

        return self._retried(attempt, again=True, call_s=call_s)

    def close(self) -> None:
        with self._lock:
            idle, self._idle = self._idle, []
        for session in idle:
            session.close()

    def _read(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any] | None,
        body: bytes | None = None,
        *,
        again: bool = True,
        wait_s: float = 0.0,
    ) -> bytes:
        url = f"{self.url}{path}" + (f"?{urlencode(query)}" if query else "")

        def attempt(session: requests.Session) -> bytes:
            headers = self._headers(url)
            if body is not None:
                headers["Content-Type"] = "application/json"
            with _answer(session, method, url, headers, body, READ_S + wait_s) as response:
                self._check(response)
                if response.status_code != 204 and not _is_json(response):
                    raise _TryAgain(self._strange(response))
                return self._drain(response, ANSWER_BYTES_MAX)

        return self._retried(attempt, again=again, call_s=CALL_S + wait_s)

    def _read_range(
        self, session: requests.Session, url: str, wanted: str, offset: int | None, length: int, *, hops: int
    ) -> bytes | bytearray:
        headers = {**self._headers(url), "Range": wanted}
        with _answer(session, "GET", url, headers, None, READ_S) as response:
            target = response.headers.get("Location")
            if response.status_code == 307 and target and hops:
                return self._read_range(session, urljoin(url, target), wanted, offset, length, hops=hops - 1)
            self._check(response, foreign=urlsplit(url)[:2] != self._origin)
            return self._receive(response, offset, length)

    def _receive(self, response: requests.Response, offset: int | None, length: int) -> bytes | bytearray:
        """The body of a range request, its length checked against what its header says."""
        if response.status_code != 206:
            raise _TryAgain(self._strange(response))
        span, _, whole = response.headers.get("Content-Range", "").removeprefix("bytes ").partition("/")
        first, _, last = span.partition("-")
        if not (first.isdecimal() and last.isdecimal() and whole.isdecimal()):
            raise _TryAgain(self._strange(response))
        begin, got = int(first), int(last) + 1 - int(first)
        expected = min(length, int(whole) - begin) if offset is not None else min(length, int(whole))
        if (
            (offset is not None and begin != offset)
            or got != expected
            or (offset is None and int(last) + 1 != int(whole))
        ):
            raise _TryAgain(self._strange(response))
        data = bytearray(got)
        self._fill(response, memoryview(data))
        return data

    def _fill(self, response: requests.Response, into: memoryview) -> None:
        deadline_s = self._outside.clock() + CALL_S + len(into) / BODY_BYTES_PER_S_MIN
        at = 0
        while at < len(into):
            count = response.raw.readinto(into[at : at + _PART_BYTES])
            if not count:
                raise _TryAgain(RegistryUnavailable(f"an answer of {self.url} was cut short", hint="try again"))
            at += count
            if self._outside.clock() > deadline_s:
                raise _TryAgain(RegistryUnavailable(f"{self.url} sends too slowly", hint="check the network"))
        with self._lock:
            self.received_bytes += len(into)

    def _drain(self, response: requests.Response, most: int) -> bytes:
        deadline_s = self._outside.clock() + CALL_S
        data = bytearray()
        while part := response.raw.read(_PART_BYTES):
            data += part
            if len(data) > most:
                raise RegistryUnavailable(f"an answer of {self.url} is too long", hint="is that an artfs server?")
            if self._outside.clock() > deadline_s + len(data) / BODY_BYTES_PER_S_MIN:
                raise _TryAgain(RegistryUnavailable(f"{self.url} sends too slowly", hint="check the network"))
        declared = response.headers.get("Content-Length")
        if declared is not None and declared != str(len(data)):
            raise _TryAgain(RegistryUnavailable(f"an answer of {self.url} was cut short", hint="try again"))
        with self._lock:
            self.received_bytes += len(data)
        return bytes(data)

    def _check(self, response: requests.Response, *, foreign: bool = False) -> None:
        """Raises the error that an answer tells of, if it does."""
        status = response.status_code
        if status < 400:
            return
        error = self._told(response, foreign)
        if status in _RETRIED:
            raise _TryAgain(error, _retry_after_s(response), sent=status not in (429, 503))
        raise error

    def _told(self, response: requests.Response, foreign: bool) -> ArtfsError:
        if foreign:
            return _FOREIGN.get(response.status_code, StorageFailed)(
                f"the bucket of {self.url} answered {response.status_code}", hint="see the server's log"
            )
        if not _is_json(response):
            return self._strange(response)
        try:
            body = json.decode(response.raw.read(ERROR_BYTES_MAX), ErrorBody)
        except InvalidValue:
            return self._strange(response)
        kind = error_class(body.code)
        if kind is TooManyRequests:
            return TooManyRequests(body.message, hint=body.hint, retry_after_s=_retry_after_s(response))
        return kind(body.message, hint=body.hint)

    def _strange(self, response: requests.Response) -> RegistryUnavailable:
        return RegistryUnavailable(
            f"{self.url} answered {response.status_code}, and not as an artfs server does",
            hint="check the address, and what is between here and there",
        )

    def _headers(self, url: str) -> dict[str, str]:
        headers = {"User-Agent": f"artfs/{__version__}", "Accept-Encoding": "identity"}
        if self._token and urlsplit(url)[:2] == self._origin:
            headers["Authorization"] = f"{TOKEN_SCHEME} {self._token}"
        return headers

    def _retried(self, attempt: Callable[[requests.Session], _T], *, again: bool, call_s: float) -> _T:
        entered = self.breaker.enter()
        if entered is False:
            raise RegistryUnavailable(f"{self.url} does not answer: {self.breaker.reason}", hint="artfs status")
        try:
            found = self._tried(attempt, again, call_s, ATTEMPTS_MAX if entered else 1)
        except Unavailable as error:
            self.breaker.failed(error.message)
            raise
        except ArtfsError:
            self.breaker.succeeded()
            raise
        self.breaker.succeeded()
        return found

    def _tried(self, attempt: Callable[[requests.Session], _T], again: bool, call_s: float, attempts: int) -> _T:
        deadline_s = self._outside.clock() + call_s
        for number in range(attempts):
            try:
                with self._session() as session:
                    return attempt(session)
            except _TryAgain as failed:
                error, after_s, repeatable = failed.error, failed.after_s, again or not failed.sent
            except _FAILURES as failure:
                unsent = isinstance(failure, requests.exceptions.ConnectTimeout | requests.exceptions.SSLError)
                error, after_s, repeatable = self._unreachable(failure), 0.0, again or unsent
            backoff_s = self._outside.random() * min(FIRST_BACKOFF_S * 2**number, BACKOFF_S_MAX)
            pause_s = max(after_s, backoff_s)
            if not repeatable or number == attempts - 1 or self._outside.clock() + pause_s > deadline_s:
                raise error
            self._outside.sleep(pause_s)
        raise AssertionError("an attempt returns or raises")

    def _unreachable(self, failure: BaseException) -> ArtfsError:
        reason = _reason(failure)
        return RegistryUnavailable(f"cannot reach {self.url}: {reason}", hint="check the network and the server")

    @contextmanager
    def _session(self) -> Iterator[requests.Session]:
        with self._lock:
            if self._pid != os.getpid():  # a child must not talk on its parent's connections
                self._idle, self._pid = [], os.getpid()
            session = self._idle.pop() if self._idle else None
            self.request_count += 1
        session = session or self._new_session()
        try:
            yield session
        except BaseException:
            session.close()
            raise
        with self._lock:
            if len(self._idle) < IDLE_SESSIONS_MAX:
                self._idle.append(session)
                return
        session.close()

    def _new_session(self) -> requests.Session:
        session = requests.Session()
        session.trust_env = False
        session.verify = self._verify
        return session


@contextmanager
def _answer(
    session: requests.Session, method: str, url: str, headers: dict[str, str], body: Any, read_s: float
) -> Iterator[requests.Response]:
    """One request. A body that is not read to its end closes the connection."""
    with session.request(
        method, url, headers=headers, data=body, stream=True, allow_redirects=False, timeout=(CONNECT_S, read_s)
    ) as response:
        yield response


def _is_json(response: requests.Response) -> bool:
    return response.headers.get("Content-Type", "").partition(";")[0].strip() == "application/json"


def _retry_after_s(response: requests.Response) -> float:
    text = response.headers.get("Retry-After", "")
    return float(text) if text.isascii() and text.isdecimal() and len(text) < 6 else 0.0


def _reason(failure: BaseException) -> str:
    """The innermost cause in a few words: those of requests name objects and addresses in memory."""
    seen: BaseException = failure
    while True:
        inner = seen.__cause__ or seen.__context__ or (seen.args[0] if seen.args else None)
        inner = getattr(inner, "reason", inner)
        if not isinstance(inner, BaseException) or inner is seen:
            break
        seen = inner
    if isinstance(failure, requests.exceptions.Timeout) or isinstance(seen, TimeoutError):
        return "no answer in time"
    if isinstance(failure, requests.exceptions.SSLError):
        return f"TLS failed ({seen})"
    if isinstance(seen, OSError) and seen.strerror:
        return seen.strerror
    return "the connection was lost"


class PackRefused(PathNotFound):
    """A bucket refuses a pre-signed URL, or has no such pack: it may have expired, or the pack was rewritten."""


_FOREIGN: dict[int, type[ArtfsError]] = {403: PackRefused, 404: PackRefused, 410: PackRefused}
