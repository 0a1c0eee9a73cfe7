"""Questions to a W&B server that is slow, gone, lying or none at all: they end in time, and the key goes to nobody else."""

from __future__ import annotations

import base64
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import urllib3

from artfs.client.remote.transport import Outside
from artfs.errors import (
    AccessDenied,
    ArtfsError,
    NotAuthenticated,
    PathNotFound,
    ReferenceForbidden,
    ReferenceUnavailable,
    RegistryUnavailable,
    TooManyRequests,
    VersionNotFound,
)
from artfs.wandb_client import graphql, queries
from artfs.wandb_client.address import WandbAddress
from artfs.wandb_client.graphql import ATTEMPTS_MAX, GraphQL
from artfs.wandb_client.memory import Memory
from artfs.wandb_client.registry import WandbRegistry
from tests.network.scripted import Reply, Scripted, answer, record, scripted

KEY = "0123456789abcdef0123456789abcdef01234567"
ENCODED = base64.b64encode(f"api:{KEY}".encode()).decode()
VIEWER = record({"data": {"viewer": {"entity": "team"}}})
HTML = answer(200, b"<html>Log in to the guest network</html>", "text/html")
WAIT_S = 20.0
VERSION = {"id": "id-0", "state": "COMMITTED", "digest": "d", "versionIndex": 0, "artifactType": {"name": "dataset"}}


def without_pauses() -> Outside:
    return Outside(sleep=lambda _: None)


def asked(url: str) -> str | None:
    """The entity that a server tells, after the usual attempts without pauses."""
    opened = GraphQL(url, KEY, outside=without_pauses())
    try:
        viewer = opened.ask(queries.VIEWER, {}).viewer
    finally:
        opened.close()
    return None if viewer is None else viewer.entity


@contextmanager
def reading(*replies: Reply) -> Iterator[tuple[WandbRegistry, Scripted]]:
    """A registry over a server that tells `replies`."""
    with scripted(*replies) as server:
        registry = WandbRegistry(WandbAddress(server.url, "team"), KEY, outside=without_pauses())
        yield registry, server
        registry.close()


def hang_up(connection: socket.socket) -> None:
    """Reset."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


def drip(data: bytes) -> Callable[[socket.socket], None]:
    """One byte now and then, for ever."""

    def send(connection: socket.socket) -> None:
        for i in range(len(data) * 1000):
            connection.sendall(data[i % len(data) :][:1])
            time.sleep(0.02)

    return send


def cut(connection: socket.socket) -> None:
    connection.sendall(answer(200, b'{"data": {', content_length="5000"))


def silent(connection: socket.socket) -> None:
    while connection.recv(1 << 16):
        pass


def project(**more: Any) -> bytes:
    return record({"data": {"project": more}})


def page(nodes: list[Any], end: str | None, more: bool) -> bytes:
    told = {"edges": [{"version": f"v{node['versionIndex']}", "node": node} for node in nodes]}
    return project(
        artifactCollection={"id": "c", "artifacts": told | {"pageInfo": {"hasNextPage": more, "endCursor": end}}}
    )


def test_a_question_is_posted_with_the_key() -> None:
    with scripted(VIEWER) as server:
        assert asked(server.url) == "team"
    (seen,) = server.seen
    assert seen.line == "POST /graphql"
    assert seen.headers["authorization"] == f"Basic {ENCODED}"
    assert json.loads(seen.body)["operationName"] == "ArtfsViewer"


def _named(value: object) -> str:
    """The same in every process, which the text of a function is not."""
    return getattr(value, "__name__", str(value))


@pytest.mark.parametrize(
    "first", [answer(429, b"slow down"), answer(503, b"busy", "text/plain"), answer(500), hang_up], ids=_named
)
def test_what_may_pass_is_asked_again(first: Reply) -> None:
    with scripted(first, first, VIEWER) as server:
        assert asked(server.url) == "team"
    assert len(server.seen) == 3


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (answer(429), TooManyRequests),
        (answer(502, b"<html>", "text/html"), RegistryUnavailable),
        (hang_up, RegistryUnavailable),
    ],
    ids=_named,
)
def test_what_does_not_pass_is_told_after_a_few_attempts(reply: Reply, kind: type[ArtfsError]) -> None:
    with scripted(reply) as server, pytest.raises(kind):
        asked(server.url)
    assert len(server.seen) == ATTEMPTS_MAX


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (answer(401, b"no"), NotAuthenticated),
        (record({"errors": [{"message": "permission denied"}]}, 403), AccessDenied),
        (HTML, RegistryUnavailable),
        (record({"data": {"viewer": 7}}), RegistryUnavailable),
        (cut, RegistryUnavailable),
        (answer(200, b"{}", content_length=str(1 << 40)), RegistryUnavailable),
        (answer(302, location="/elsewhere"), RegistryUnavailable),
        (record({"data": {"viewer": None}}), None),
    ],
)
def test_what_is_no_answer_is_an_error_without_the_key(reply: Reply, kind: type[ArtfsError] | None) -> None:
    with scripted(reply) as server:
        if kind is None:
            assert asked(server.url) is None
            return
        with pytest.raises(kind) as raised:
            asked(server.url)
    assert KEY not in f"{raised.value} {raised.value!r} {raised.value.__context__!r}"
    assert ENCODED not in str(raised.value)


def test_the_key_is_in_no_repr() -> None:
    registry = WandbRegistry(WandbAddress("https://w.example", "team"), KEY)
    assert KEY not in f"{registry!r} {registry.graphql!r}"
    assert ENCODED not in f"{registry!r} {registry.graphql!r}"
    registry.close()


def test_a_question_is_not_redirected() -> None:
    with scripted(VIEWER) as other, scripted(answer(307, location=f"{other.url}/graphql")) as server:
        with pytest.raises(RegistryUnavailable, match="307"):
            asked(server.url)
    assert other.seen == []


@pytest.mark.falsifies("hostile")
def test_files_are_not_fetched_from_inside_the_network() -> None:
    with scripted(answer(200, b"bytes", "binary/octet-stream")) as inside:
        with scripted(answer(302, location=f"{inside.url}/b")) as server:
            opened = GraphQL(server.url, KEY, outside=without_pauses())
            for url in ("/a", f"{inside.url}/b", "http://169.254.169.254/latest/meta-data"):
                with pytest.raises(ReferenceForbidden):
                    opened.fetch(url)
            opened.close()
    assert inside.seen == []


def test_files_are_fetched_without_the_key_wherever_they_lead() -> None:
    with scripted(answer(200, b"bytes", "binary/octet-stream")) as bucket:
        with scripted(answer(302, location=f"{bucket.url}/b?signed=2")) as server:
            opened = GraphQL(server.url, KEY, hosts=["127.0.0.1"], outside=without_pauses())
            assert opened.fetch("/a?signed=1") == b"bytes"
            assert opened.fetch(f"{bucket.url}/b") == b"bytes"
            opened.close()
    assert [seen.line for seen in server.seen] == ["GET /a?signed=1"]
    assert [seen.line for seen in bucket.seen] == ["GET /b?signed=2", "GET /b"]
    assert all("authorization" not in seen.headers for seen in server.seen + bucket.seen)


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (answer(404), PathNotFound),
        (answer(403, b"<Code>AccessDenied</Code>", "application/xml"), AccessDenied),
        (answer(302, location="/again"), RegistryUnavailable),
        (answer(302, location="file:///etc/passwd"), ReferenceUnavailable),
        (answer(206, b"by"), RegistryUnavailable),
        (answer(200, b"x" * 101), RegistryUnavailable),
        (answer(503), RegistryUnavailable),
    ],
)
def test_a_file_that_is_not_to_be_had_is_an_error_without_its_signature(reply: Reply, kind: type[ArtfsError]) -> None:
    with scripted(reply) as server:
        opened = GraphQL(server.url, KEY, outside=without_pauses())
        with pytest.raises(kind) as raised:
            opened.fetch("/a?signed=secret", bytes_max=100)
        opened.close()
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("reply", [drip(b"HTTP/1.1 200 X\r\nx: y\r\n"), silent], ids=["drips", "is silent"])
def test_a_server_that_is_slow_for_ever_is_given_up(reply: Reply, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graphql, "CALL_S", 0.5)
    began_s = time.monotonic()
    with scripted(reply) as server, pytest.raises(RegistryUnavailable):
        asked(server.url)
    assert time.monotonic() - began_s < WAIT_S


def test_a_time_that_is_over_before_the_connection_is_there_counts_too(monkeypatch: pytest.MonkeyPatch) -> None:
    connect = urllib3.util.connection.create_connection
    monkeypatch.setattr(graphql, "CALL_S", 0.2)

    def late(*args: Any, **more: Any) -> socket.socket:
        until_s = time.monotonic() + 0.5
        while time.monotonic() < until_s:
            time.sleep(0.01)
        return connect(*args, **more)

    monkeypatch.setattr(urllib3.util.connection, "create_connection", late)
    began_s = time.monotonic()
    with scripted(drip(b"HTTP/1.1 200 X\r\nx: y\r\n")) as server, pytest.raises(RegistryUnavailable):
        asked(server.url)
    assert time.monotonic() - began_s < WAIT_S / 2


def test_a_server_that_is_gone_is_not_asked_again_for_a_moment() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    opened = GraphQL(f"http://127.0.0.1:{port}", KEY, outside=without_pauses())
    for _ in range(3):
        with pytest.raises(RegistryUnavailable):
            opened.ask(queries.VIEWER, {})
    assert opened.request_count == ATTEMPTS_MAX
    opened.close()


def test_closing_ends_what_is_under_way() -> None:
    arrived = threading.Event()

    def hold(connection: socket.socket) -> None:
        arrived.set()
        connection.recv(1)

    with scripted(hold) as server:
        opened = GraphQL(server.url, KEY)

        def close() -> None:
            arrived.wait(WAIT_S)
            opened.close()

        threading.Thread(target=close, daemon=True).start()
        began_s = time.monotonic()
        with pytest.raises(RegistryUnavailable):
            opened.ask(queries.VIEWER, {})
        assert time.monotonic() - began_s < WAIT_S
        with pytest.raises(RegistryUnavailable):
            opened.ask(queries.VIEWER, {})


def test_a_child_asks_on_connections_of_its_own() -> None:
    with scripted(VIEWER) as server:
        opened = GraphQL(server.url, KEY)
        opened.ask(queries.VIEWER, {})
        child = os.fork()
        if child == 0:
            viewer = opened.ask(queries.VIEWER, {}).viewer
            os._exit(0 if viewer is not None and viewer.entity == "team" else 1)
        assert os.waitpid(child, 0)[1] == 0
        assert opened.ask(queries.VIEWER, {}).viewer is not None
        opened.close()
    assert server.connections == 2


def test_a_list_is_read_to_its_end_and_only_what_is_committed_is_shown() -> None:
    pending = VERSION | {"id": "id-2", "versionIndex": 2, "state": "PENDING"}
    first = page([VERSION | {"id": "id-1", "versionIndex": 1}, pending], "1", True)
    with reading(first, page([VERSION], "2", False)) as (registry, server):
        assert [version.name for version in registry.versions.list("p", "a")] == ["v0", "v1"]
    assert [json.loads(seen.body)["variables"]["after"] for seen in server.seen] == [None, "1"]


@pytest.mark.parametrize("end", ["same", None, ""])
def test_a_list_without_end_is_an_error(end: str | None) -> None:
    with reading(page([VERSION], end, True)) as (registry, _), pytest.raises(RegistryUnavailable, match="without end"):
        registry.versions.list("p", "a")


def test_an_answer_about_another_project_or_version_is_none() -> None:
    other = {"artifactMembership": {"versionIndex": 0, "artifact": VERSION}, "id": "c", "name": "b"}
    with reading(project(id="x", name="Other", artifactCollection=other)) as (registry, _):
        with pytest.raises(ArtfsError, match="no project"):
            registry.projects.get("other")
        with pytest.raises(ArtfsError, match="no artifact"):
            registry.artifacts.get("p", "a")
        with pytest.raises(VersionNotFound):
            registry.versions.resolve("p", "a", "v1")


def test_what_was_read_is_read_on_while_the_server_does_not_answer() -> None:
    with scripted(page([VERSION], None, False), answer(503)) as server:
        now_s = 100.0
        outside = Outside(clock=lambda: now_s, sleep=lambda _: None)
        memory = Memory(clock=lambda: now_s)
        registry = WandbRegistry(WandbAddress(server.url, "team"), KEY, outside=outside, memory=memory)
        (listed,) = registry.versions.list("p", "a")
        now_s += 3600
        assert registry.versions.list("p", "a") == [listed]
        assert registry.versions.resolve("p", "a", "v0") == listed
        with pytest.raises(RegistryUnavailable):
            registry.versions.resolve("p", "a", "v1")
        registry.close()
