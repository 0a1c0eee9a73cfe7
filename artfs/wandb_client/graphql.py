"""Questions to one W&B server, and files of it that have signed URLs: what is repeated, and who gets the key.

A question is tried again with exponential backoff and full jitter for a few seconds, not before a server's Retry-After. The time
of every call is bounded, whatever the server does. The key goes to the server's own origin only, with questions only, and is in
no message; a question is never redirected. Knows nothing of what questions mean.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Generic, TypeVar
from urllib.parse import urljoin

import msgspec

from artfs import __version__
from artfs.client.references.http_source import followed
from artfs.client.references.policy import PUBLIC
from artfs.client.remote.answers import may_help_later, retry_after_s
from artfs.client.remote.breaker import Breaker
from artfs.client.remote.connections import Answer, Connections, Exchange, Unreachable
from artfs.client.remote.transport import BACKOFF_S_MAX, FIRST_BACKOFF_S, ORIGINS_MAX, Outside, origin_of
from artfs.errors import AccessDenied, PathNotFound, RegistryUnavailable
from artfs.wandb_client.answers import data_of
from artfs.wandb_client.credentials import authorization
from artfs.wandb_client.outside import policy_of
from artfs.wire import json
from artfs.wire.json import UNDECODABLE

READ_S = 20.0  # between bytes: a server works that long on a large page
CALL_S = 40.0  # of a question with all its attempts
RETRY_S = 8.0  # within which it may be tried again
ATTEMPTS_MAX = 5
FETCH_S = 600.0
FETCH_BYTES_MAX = 512 << 20
ANSWER_BYTES_MAX = 256 << 20
REDIRECTS_MAX = 4  # of a file
_REDIRECTS = (301, 302, 303, 307, 308)
_GATEWAY = (502, 503, 504)  # the server, or what is before it, is not able to answer

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Query(Generic[_T]):
    """A question.

    Attributes:
        name: of its operation.
        type_: of its answer; what a server tells besides is passed over.
    """

    name: str
    text: str
    type_: type[_T]


@dataclass(slots=True)
class _Process:
    """What belongs to one process: after a fork there is another."""

    connections: Connections
    pid: int = field(default_factory=os.getpid)
    closed: threading.Event = field(default_factory=threading.Event)
    breakers: dict[str, Breaker] = field(default_factory=dict)  # by origin: the server's, and those of its files


class GraphQL:
    """Safe from any thread, and after a fork.

    Args:
        url: the server's, without a slash at its end.
        key: an API key.
        ca_file: certificates (PEM) that are trusted besides the usual ones; empty for none.
        hosts: where files may be besides on the server itself, as in `Policy`.

    Attributes:
        request_count: attempts included; only told to people.
    """

    def __init__(
        self,
        url: str,
        key: str,
        *,
        ca_file: str = "",
        hosts: Iterable[str] = (PUBLIC,),
        outside: Outside | None = None,
    ) -> None:
        self.url = url
        self._policy = policy_of(url, hosts)
        self._authorization = authorization(key)
        self._ca_file = ca_file
        self._outside = outside or Outside()
        self._own = self._begin()
        self.request_count = 0

    def __repr__(self) -> str:
        return f"GraphQL({self.url})"

    def ask(self, query: Query[_T], variables: Mapping[str, Any]) -> _T:
        """Raises what the server tells, such as NotFound and AccessDenied, NotAuthenticated, and RegistryUnavailable."""
        body = json.encode({"query": query.text, "variables": variables, "operationName": query.name})
        headers = self._headers | {"Content-Type": "application/json", "Authorization": self._authorization}
        exchange = Exchange("POST", f"{self.url}/graphql", headers, body, READ_S, ANSWER_BYTES_MAX)
        data = data_of(self._performed(exchange, CALL_S), self.url)
        try:
            return msgspec.json.decode(data, type=query.type_, strict=False)
        except UNDECODABLE as error:
            raise RegistryUnavailable(
                f"{self.url} answered {query.name} with what this artfs does not understand: {error}",
                hint="upgrade artfs",
            ) from None

    def fetch(self, url: str, *, bytes_max: int = FETCH_BYTES_MAX) -> bytes | bytearray:
        """A file by its signed URL, absolute or relative to the server's. The key is not sent with it.

        Raises PathNotFound, AccessDenied for a URL that is not valid any more, ReferenceForbidden for one that leads inside,
        and RegistryUnavailable.
        """
        target = urljoin(self.url + "/", url)
        for _ in range(REDIRECTS_MAX + 1):
            self._policy.check_url(target)
            check_peer = partial(self._policy.check_address, target)
            exchange = Exchange("GET", target, self._headers, None, READ_S, bytes_max, check_peer=check_peer)
            answer = self._performed(exchange, FETCH_S)
            location = answer.headers.get("Location", "")
            if answer.status not in _REDIRECTS or not location:
                break
            target = followed(self.url, target, location)
        place = origin_of(target)
        if answer.status == 200:
            return answer.body
        if answer.status in (404, 410):
            raise PathNotFound(f"{place} has no such file any more")
        if answer.status in (400, 401, 403):
            raise AccessDenied(f"{place} does not accept the URL that {self.url} gave (status {answer.status})")
        raise RegistryUnavailable(f"{place} answered {answer.status} in the place of a file", hint="try again later")

    def close(self) -> None:
        """End every call, also those under way in other threads: they raise RegistryUnavailable."""
        process = self._process()
        process.closed.set()
        process.connections.close()

    @property
    def _headers(self) -> dict[str, str]:
        return {"User-Agent": f"artfs/{__version__}", "Accept-Encoding": "identity"}

    def _performed(self, exchange: Exchange, call_s: float) -> Answer:
        """The answer, whatever its status. Raises RegistryUnavailable when there is none in time."""
        process, origin = self._process(), origin_of(exchange.url)
        breaker = self._breaker(process, origin)
        entered = breaker.enter()
        if entered is False:
            raise RegistryUnavailable(f"{origin} does not answer: {breaker.reason}", hint="try again later")
        began_s = self._outside.clock()
        try:
            answer = self._tried(process, exchange, call_s, breaker, ATTEMPTS_MAX if entered else 1)
        except Unreachable as error:
            reason = error.reason
        except BaseException:  # it may not be spoken to: that says nothing of it
            breaker.succeeded()
            raise
        else:
            if answer.status in _GATEWAY:
                breaker.failed(f"it answered {answer.status}", began_s)
            else:
                breaker.succeeded()
            return answer
        if not process.closed.is_set():
            breaker.failed(reason, began_s)
        raise RegistryUnavailable(f"cannot reach {origin}: {reason}", hint="check the network and the server")

    def _tried(self, process: _Process, exchange: Exchange, call_s: float, breaker: Breaker, attempts: int) -> Answer:
        begun_s = self._outside.clock()
        for number in range(attempts):
            answer, failure, after_s = None, None, 0.0
            self.request_count += 1
            try:
                answer = process.connections.perform(exchange, begun_s + call_s)
                if not may_help_later(answer, repeatable=True):
                    return answer
                after_s = retry_after_s(answer)
            except Unreachable as error:
                failure = error
            pause_s = max(after_s, self._outside.random() * min(FIRST_BACKOFF_S * 2**number, BACKOFF_S_MAX))
            late = self._outside.clock() + pause_s >= begun_s + min(RETRY_S, call_s)
            if late or number == attempts - 1 or breaker.reason or (failure is not None and failure.lasting):
                if answer is not None:
                    return answer
                raise failure or Unreachable("no answer in time")
            (self._outside.sleep or process.closed.wait)(pause_s)
        raise AssertionError("the last attempt returns or raises")

    def _process(self) -> _Process:
        if self._own.pid != os.getpid():  # a child must not talk on its parent's connections, nor wait for its locks
            self._own = self._begin()
        return self._own

    def _begin(self) -> _Process:
        return _Process(Connections(self._ca_file, self._outside.clock))

    def _breaker(self, process: _Process, origin: str) -> Breaker:
        if origin not in process.breakers and len(process.breakers) >= ORIGINS_MAX:
            process.breakers.clear()
        return process.breakers.setdefault(origin, Breaker(self._outside.clock))
