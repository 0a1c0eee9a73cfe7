"""Clients that hold what they can: connections, headers, bodies, guesses. Others are served meanwhile, or soon after."""

from __future__ import annotations

import resource
import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from artfs.model.access import Scope
from tests.integration.serving import Caller, Place, Server, wait_until
from tests.reliability.trials import tried

pytestmark = [pytest.mark.falsifies("hostile", "no-hang")]

FILES = 256  # descriptors that the server has
FLOOD = 400
HEADER_S = 1


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(tmp_path_factory.mktemp("server"))


@pytest.fixture(scope="module")
def server(place: Place) -> Iterator[Server]:
    """One with few descriptors, since a limit is met sooner or later whatever it is."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, hard))
    try:
        with place.serving("--header-timeout", str(HEADER_S), "--body-timeout", str(HEADER_S)) as opened:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            yield opened
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture(scope="module", autouse=True)
def alice(place: Place, server: Server) -> Caller:
    """Known to the server before others guess from the same address."""
    caller = server.caller(place.user("alice", Scope.ADMIN, admin=True))
    caller.ok("GET", "/v1/me")
    return caller


def connect(server: Server) -> socket.socket:
    address = urlsplit(server.url)
    return socket.create_connection((address.hostname, address.port), timeout=30)


@pytest.mark.serial
@pytest.mark.parametrize(
    "said", [b"", b"GET / HT", b"POST /v1/projects HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{"]
)
def test_a_flood_of_connections_passes(alice: Caller, server: Server, said: bytes) -> None:
    """More than the server has descriptors. They run out of time, and it goes on as if nothing had been."""
    with ExitStack() as stack:
        for _ in range(FLOOD):
            connection = stack.enter_context(connect(server))
            with suppress(OSError):
                connection.sendall(said)
        wait_until(lambda: _answers(server), "the server answers while they are held")
    alice.ok("GET", "/v1/projects")
    assert server.process.poll() is None
    tried("connections that were held", FLOOD)


def _answers(server: Server) -> bool:
    with suppress(OSError), closing(connect(server)) as connection:
        connection.settimeout(1)
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        return connection.recv(20).startswith(b"HTTP/1.1 200")
    return False


# Heads that one reader of HTTP takes for another length, or another number of requests, than the next one would.
AMBIGUOUS = [
    b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
    b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
    b"Content-Length: 5\r\nContent-Length: 50\r\n",
    b"Content-Length: +5\r\n",
    b"Content-Length: 0x5\r\n",
    b"Content-Length: 5 5\r\n",
    b"Content-Length: 5,6\r\n",
    b"Content-Length : 5\r\n",
    b" Content-Length: 5\r\n",
    b"Content-Length: -0\r\n",
    b"Transfer-Encoding : chunked\r\n",
    b"Transfer-Encoding: xchunked\r\n",
    b"Transfer-Encoding: chunked, identity\r\n",
    b"Transfer-Encoding: identity, chunked\r\n",
    b"Transfer-Encoding:\x0bchunked\r\n",
    b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
    b"X: a\rTransfer-Encoding: chunked\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n",
    b"Content-Length: 99999999999999999999999999\r\n",
]
HIDDEN = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.mark.parametrize("head", AMBIGUOUS)
def test_what_could_be_read_in_two_ways_is_not_read_at_all(server: Server, head: bytes) -> None:
    with closing(connect(server)) as connection:
        connection.sendall(b"POST /v1/projects HTTP/1.1\r\nHost: x\r\n" + head + b"\r\n0\r\n\r\n" + HIDDEN)
        answers = _all_of(connection)
    assert answers.startswith((b"HTTP/1.1 4", b"HTTP/1.1 501")), answers
    assert b"HTTP/1.1 2" not in answers, "what was hidden was answered"
    tried("requests that could be two")


CHUNKS = [
    b"5\r\n{}\r\n0\r\n\r\n",
    b"-1\r\n{}\r\n0\r\n\r\n",
    b"0x2\r\n{}\r\n0\r\n\r\n",
    b"2;" + b"a" * 70_000 + b"\r\n{}\r\n0\r\n\r\n",
    b"fffffffffffffffff\r\n{}",
    b"2\n{}\n0\n\n",
    b"2\r\n{}0\r\n\r\n",
    b"0\r\nA: " + b"a" * 70_000 + b"\r\n\r\n",
]


@pytest.mark.parametrize("body", CHUNKS)
def test_a_body_in_pieces_that_are_none_ends_the_connection(server: Server, body: bytes) -> None:
    with closing(connect(server)) as connection:
        connection.sendall(b"POST /v1/projects HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        with suppress(OSError):
            connection.sendall(body + HIDDEN)
        answers = _all_of(connection)
    assert answers.count(b"HTTP/1.1 2") == 0
    tried("requests that could be two")


def _all_of(connection: socket.socket) -> bytes:
    received = b""
    with suppress(OSError):
        while part := connection.recv(65536):
            received += part
    return received


def test_no_header_of_a_request_comes_back_as_a_header_of_the_answer(alice: Caller) -> None:
    """Beside the request's name, which is given back and may be only so long and so plain."""
    for name in ("a" * 500, "a\tb", "<script>", "a;b=c", 'a"b'):
        answer = alice("GET", "/v1/me", headers={"X-Request-Id": name, "X-Evil": name})
        assert "X-Evil" not in answer.headers
        given = answer.headers["X-Request-Id"]
        assert len(given) <= 128
        assert given.isprintable()
        tried("headers that might come back")


def test_the_server_wrote_no_traceback(server: Server) -> None:
    assert "Traceback" not in server.log
    assert Path(f"/proc/{server.process.pid}").exists()
