"""What clients should not send: a clear answer with a stable code, nothing stored half, and nobody else affected."""

from __future__ import annotations

import json
import os
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from artfs.model.access import Scope
from artfs.model.digest import Digest, ObjectKey, ObjectKind
from artfs.registry.fsck import check
from artfs.server.settings import ServerSettings
from artfs.store.pack_file import PackWriter, new_pack_header
from tests.contract.uploading import content_of
from tests.integration.serving import Caller, Draft, Place, Server, upload, wait_until

pytestmark = [pytest.mark.falsifies("hostile")]

CONTENT = content_of({"a.txt": b"first", "d": {"b.bin": bytes(range(256)) * 100}})
CHUNK = ObjectKey(ObjectKind.CHUNK, Digest.of(b"a chunk"))
LIMITS = ServerSettings()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(tmp_path_factory.mktemp("server"))


@pytest.fixture(scope="module")
def server(place: Place) -> Iterator[Server]:
    """It has not logged a traceback, and what it stored is sound, when all tests are over."""
    with place.serving() as server:
        yield server
        assert "Traceback" not in server.log
    assert not list((place.directory / "registry/spool").iterdir())
    report = check(place.directory / "registry")
    assert not report.findings, report.findings


@pytest.fixture(scope="module")
def alice(place: Place, server: Server) -> Caller:
    caller = server.caller(place.user("alice", Scope.ADMIN, admin=True))
    caller.ok("POST", "/v1/projects", {"name": "vision"})
    upload(caller, "vision", "bikes", CONTENT)
    return caller


@pytest.fixture(autouse=True)
def bystander(place: Place, server: Server, alice: Caller) -> Iterator[None]:
    """After every test what was there is there, and the server serves."""
    yield
    (version,) = alice.ok("GET", "/v1/projects/vision/artifacts/bikes/versions")["items"]
    assert version["root"] == CONTENT.root.text


@pytest.fixture
def draft(alice: Caller) -> Iterator[Draft]:
    opened = Draft.open(alice, "vision")
    yield opened
    alice("DELETE", f"/v1/drafts/{opened.id}")


@pytest.mark.parametrize(
    "body",
    [
        *(
            b"",
            b"{",
            b"[]",
            b"null",
            b'"x"',
            b"\xff\xfe",
            b"[" * 100_000,
            b'{"name": "x"',
            b'{"name": 5}',
            b'{"name": null}',
        ),
        *(
            b'{"name": "ok", "visibility": "secret"}',
            b'{"name": "ok", "surprise": 1}',
            b"\x00" * 50,
            b'{"name": "\\ud800"}',
        ),
    ],
)
def test_a_body_that_is_not_what_it_must_be_is_refused(alice: Caller, body: bytes) -> None:
    status, code = alice.refused("POST", "/v1/projects", data=body)
    assert (status, code) in [(400, "invalid-value"), (400, "invalid-name")]


@pytest.mark.parametrize("name", ["..", ".", "a/b", "", "a\0b", "-x", "é", "x" * 129, "a b", "a\nb"])
def test_a_name_that_breaks_the_rules_is_refused(alice: Caller, name: str) -> None:
    assert alice.refused("POST", "/v1/projects", {"name": name})[0] == 400
    assert alice.refused("POST", "/v1/projects/vision/artifacts", {"name": name})[0] == 400
    assert alice.refused("POST", "/v1/users", {"name": name})[0] == 400


@pytest.mark.parametrize(
    "segment", ["%2e%2e", "..", "%00", "a%00b", "%2fetc%2fpasswd", "..%2f..%2fetc", "%ff", "%", "x" * 3000, "a%0d%0ab"]
)
def test_a_path_that_leads_out_leads_nowhere(server: Server, alice: Caller, segment: str) -> None:
    for path in (
        f"/v1/projects/{segment}",
        f"/v1/projects/{segment}/artifacts/bikes",
        f"/v1/projects/vision/artifacts/{segment}/versions",
        f"/v1/projects/vision/artifacts/bikes/versions/{segment}",
        f"/v1/projects/vision/packs/{segment}",
        f"/v1/projects/vision/trees/{segment}",
        f"/v1/projects/vision/trees/{segment}/pages",
        f"/v1/users/{segment}/tokens",
    ):
        status, body = raw(
            server, f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {alice.token}\r\n\r\n".encode()
        )
        assert status in (400, 404), (path, status)
        assert json.loads(body)["code"]


@pytest.mark.parametrize(
    "query",
    [
        "limit=x",
        "limit=-1",
        "limit=99999999999999999999",
        "after=-5",
        "after=1.5",
        "after=%00",
        "as_of=x",
        "wait_s=nan&after=0",
    ],
)
def test_a_query_that_is_no_number_is_refused(alice: Caller, query: str) -> None:
    name = query.partition("=")[0]
    path = {
        "as_of": "/v1/projects/vision/artifacts/bikes/aliases",
        "wait_s": "/v1/changes",
    }.get(name, "/v1/projects/vision/artifacts/bikes/versions")
    assert alice.refused("GET", f"{path}?{query}") == (400, "invalid-value")


@pytest.mark.parametrize("number", [2**63, -1, 10**30, 1.5, "1", None])
def test_a_number_that_no_version_has_is_refused(alice: Caller, number: object) -> None:
    path = "/v1/projects/vision/artifacts/bikes"
    assert alice.refused("PUT", f"{path}/aliases/best", {"number": number})[0] == 400
    assert alice.refused("POST", f"{path}/deletions", {"numbers": [number]})[0] == 400
    assert (
        alice.refused(
            "POST", "/v1/users/alice/tokens", {"name": "x", "scopes": ["read"], "expires_at_ns": number or -1}
        )[0]
        == 400
    )


@pytest.mark.parametrize(
    "key", ["", "chunk", "chunk sha256:12", "file sha256:" + "0" * 64, "chunk sha256:" + "0" * 62 + "  ", "\0"]
)
def test_a_key_that_names_nothing_is_refused(alice: Caller, draft: Draft, key: str) -> None:
    assert alice.refused("POST", "/v1/projects/vision/locate", {"keys": [key]}) == (400, "invalid-value")
    assert alice.refused("POST", f"/v1/drafts/{draft.id}/missing", {"keys": [key]}) == (400, "invalid-value")


def test_too_many_keys_are_refused(alice: Caller, draft: Draft) -> None:
    keys = {"keys": [str(CHUNK)] * 4097}
    assert alice.refused("POST", "/v1/projects/vision/locate", keys) == (413, "too-large")
    assert alice.refused("POST", f"/v1/drafts/{draft.id}/missing", keys) == (413, "too-large")


def test_a_body_that_is_too_large_is_refused_declared_or_not(server: Server, alice: Caller, draft: Draft) -> None:
    large = b'{"name": "' + b"x" * LIMITS.json_bytes_max + b'"}'
    assert alice.refused("POST", "/v1/projects", data=large) == (413, "too-large")
    assert alice.refused("POST", "/v1/projects", data=iter([large[:1000], large[1000:]])) == (413, "too-large")
    head = f"PUT {draft.path('0' * 32)} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {alice.token}\r\n"
    status, body = raw(server, f"{head}Content-Length: {LIMITS.pack_bytes_max + 1}\r\n\r\n".encode())
    assert (status, json.loads(body)["code"]) == (413, "too-large")


def test_an_unknown_path_and_a_wrong_method_are_told(alice: Caller) -> None:
    assert alice.refused("GET", "/v2/projects") == (404, "not-found")
    assert alice.refused("GET", "/v1/projects/") == (404, "not-found")
    response = alice("DELETE", "/v1/projects")
    assert response.status_code == 405
    assert {"GET", "POST"} <= set(response.headers["Allow"].replace(" ", "").split(","))
    assert response.json()["code"] == "usage"


def test_a_pack_needs_a_length(alice: Caller, draft: Draft) -> None:
    assert alice.refused("PUT", draft.path("0" * 32), data=iter([b"x"])) == (400, "usage")


@pytest.mark.parametrize("data", [b"", b"x", b"garbage" * 1000, bytes(100)])
def test_garbage_is_no_pack(alice: Caller, draft: Draft, data: bytes) -> None:
    assert alice.refused("PUT", draft.path("0" * 32), data=data) == (422, "damaged-pack")


@pytest.mark.parametrize("position", [0, 9, 20, 60, 100, -1, -20, -50, -150])
def test_a_pack_with_a_flipped_bit_is_refused(alice: Caller, draft: Draft, position: int) -> None:
    pack_id, data = draft.pack(CONTENT.objects.items())
    damaged = bytearray(data)
    damaged[position] ^= 1
    status, code = alice.refused("PUT", draft.path(pack_id), data=bytes(damaged))
    assert (status, code) in [(422, "damaged-pack"), (422, "newer-format"), (422, "object-missing")]


@pytest.mark.parametrize("length", [1, 59, 60, 200, -1])
def test_a_pack_that_was_cut_is_refused(alice: Caller, draft: Draft, length: int) -> None:
    pack_id, data = draft.pack(CONTENT.objects.items())
    assert alice.refused("PUT", draft.path(pack_id), data=data[:length]) == (422, "damaged-pack")


def test_a_pack_under_another_id_or_for_another_project_is_refused(alice: Caller, draft: Draft) -> None:
    pack_id, data = draft.pack([(CHUNK, b"a chunk")])
    assert alice.refused("PUT", draft.path("0" * 32), data=data) == (422, "damaged-pack")
    stranger = Draft(alice, "vision", draft.id, os.urandom(16))
    pack_id, data = stranger.pack([(CHUNK, b"a chunk")])
    assert alice.refused("PUT", draft.path(pack_id), data=data) == (422, "damaged-pack")
    assert alice.refused("PUT", draft.path("not-an-id"), data=data) == (400, "invalid-value")


def test_an_object_with_another_ones_digest_is_refused(alice: Caller, draft: Draft, tmp_path: Path) -> None:
    header = new_pack_header(draft.uid, time.time_ns())
    writer = PackWriter(tmp_path / "pack", header)
    writer.add(CHUNK, b"other bytes")
    data = writer.finish().read_bytes()
    assert alice.refused("PUT", draft.path(header.pack_id.hex()), data=data) == (422, "damaged-pack")
    assert alice.ok("POST", f"/v1/drafts/{draft.id}/missing", {"keys": [str(CHUNK)]}) == {"keys": [str(CHUNK)]}


def test_parents_before_children_are_refused(alice: Caller, draft: Draft) -> None:
    content = content_of({"new": b"new content", "sub": {"x": b"y"}})
    pack_id, data = draft.pack(reversed(content.objects.items()))
    assert alice.refused("PUT", draft.path(pack_id), data=data) == (422, "object-missing")
    keys = {"keys": [str(key) for key in content.objects]}
    assert alice.ok("POST", f"/v1/drafts/{draft.id}/missing", keys) == keys


def test_a_seal_needs_its_root(alice: Caller, draft: Draft) -> None:
    path = f"/v1/drafts/{draft.id}/seal"
    assert alice.refused("POST", path, {"artifact": "x", "root": "sha256:" + "0" * 64}) == (422, "object-missing")
    assert alice.refused("POST", path, {"artifact": "x", "root": "0" * 64}) == (400, "invalid-value")
    assert alice.refused("POST", path, {"artifact": "..", "root": CONTENT.root.text}) == (400, "invalid-name")


def test_repeated_requests_change_nothing_more(alice: Caller) -> None:
    content = content_of({"replayed": b"bytes"})
    alice.ok("POST", "/v1/projects", {"name": "replay", "exist_ok": True})
    draft = Draft.open(alice, "replay")
    pack_id, data = draft.pack(content.objects.items())
    for _ in range(3):
        alice.ok("PUT", draft.path(pack_id), data=data)
    first = draft.seal("r", content)
    assert [draft.seal("r", content) for _ in range(2)] == [first] * 2
    assert len(alice.ok("GET", "/v1/projects/replay/artifacts/r/versions")["items"]) == 1
    assert alice.refused("PUT", draft.path(pack_id), data=data) == (409, "draft-closed")
    alice.ok("DELETE", f"/v1/drafts/{draft.id}")


@pytest.mark.parametrize("draft_id", ["0" * 32, "x", "%00", "f" * 500])
def test_a_draft_that_is_none_is_not_found(alice: Caller, draft_id: str) -> None:
    path = f"/v1/drafts/{draft_id}"
    for method, more in (("POST", "/renew"), ("PUT", "/packs/" + "0" * 32)):
        status, code = alice.refused(method, path + more, data=b"xx")
        assert (status, code) in [(404, "draft-not-found"), (400, "invalid-value")]


def test_an_abandoned_draft_takes_nothing(alice: Caller) -> None:
    draft = Draft.open(alice, "vision")
    pack_id, data = draft.pack([(CHUNK, b"a chunk")])
    alice.ok("DELETE", f"/v1/drafts/{draft.id}")
    assert alice.refused("PUT", draft.path(pack_id), data=data) == (404, "draft-not-found")
    assert alice.refused("POST", f"/v1/drafts/{draft.id}/renew") == (404, "draft-not-found")


def test_an_upload_that_is_cut_leaves_nothing(server: Server, alice: Caller, draft: Draft, place: Place) -> None:
    spool = place.directory / "registry/spool"
    head = f"PUT {draft.path('0' * 32)} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {alice.token}\r\n"
    with closing(connect(server)) as connection:
        connection.sendall(f"{head}Content-Length: 30000000\r\n\r\n".encode() + bytes(3_000_000))
        wait_until(lambda: list(spool.iterdir()), "the upload has begun")
    wait_until(lambda: not list(spool.iterdir()), "the upload is cleaned away")


@pytest.mark.parametrize(
    "request_",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GARBAGE\r\n\r\n",
        b"GET /v1 HTTP/9.9\r\nHost: x\r\n\r\n",
        b"GET /v1 HTTP/1.1\r\n\r\n",
        b"GET /v1 HTTP/1.1\r\nHost: x\r\n bad: folded\r\nbad name: x\r\n\r\n",
        b"GET /v1 HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcde",
        b"POST /v1/projects HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
        b"POST /v1/projects HTTP/1.1\r\nHost: x\r\nContent-Length: 5, 5x\r\n\r\nabcde",
        b"POST /v1/projects HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"POST /v1/projects HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n",
        b"GET /v1 HTTP/1.1\r\nHost: x\r\nX-Long: " + b"a" * (LIMITS.header_bytes_max + 10) + b"\r\n\r\n",
        b"GET /" + b"a" * (LIMITS.header_bytes_max + 10) + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /v1/caf\xe9 HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
)
def test_what_is_no_http_is_refused_in_json(server: Server, request_: bytes) -> None:
    status, body = raw(server, request_)
    assert 400 <= status < 500 or status == 501
    assert json.loads(body)["code"]


def test_two_lengths_never_make_two_requests(server: Server) -> None:
    """A body whose length could be read in two ways is not read in both."""
    hidden = b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Request-Id: smuggled\r\n\r\n"
    head = b"POST /v1/projects HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: %d\r\n\r\n" % len(
        hidden
    )
    with closing(connect(server)) as connection:
        connection.sendall(head + b"0\r\n\r\n" + hidden)
        answer = b""
        while part := connection.recv(65536):
            answer += part
            if answer.count(b"HTTP/1.1") > 1:
                break
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"HTTP/1.1") == 1


def connect(server: Server) -> socket.socket:
    address = urlsplit(server.url)
    return socket.create_connection((address.hostname, address.port), timeout=30)


def raw(server: Server, request: bytes) -> tuple[int, bytes]:
    """Status and body of the answer to bytes that may be no request."""
    with closing(connect(server)) as connection:
        connection.sendall(request)
        with connection.makefile("rb") as answer:
            status = int(answer.readline().split()[1])
            length = 0
            while line := answer.readline().strip():
                name, _, value = line.partition(b":")
                length = int(value) if name.lower() == b"content-length" else length
            return status, answer.read(length)


def test_a_registry_that_goes_away_is_told_and_nothing_else(tmp_path: Path) -> None:
    place = Place(tmp_path)
    with place.serving() as server:
        alice = server.caller(place.user("alice", Scope.ADMIN, admin=True))
        alice.ok("POST", "/v1/projects", {"name": "vision"})
        pack_id = upload(alice, "vision", "bikes", CONTENT)
        (tmp_path / "registry").rename(tmp_path / "gone")
        shutil.rmtree(tmp_path / "registry", ignore_errors=True)
        wait_until(lambda: server.caller()("GET", "/readyz").status_code == 503, "it is not ready", 10)
        assert alice("GET", "/healthz").status_code == 200
        for method, path in (("POST", "/v1/projects/vision/drafts"), ("GET", f"/v1/projects/vision/packs/{pack_id}")):
            response = alice(method, path)
            assert response.status_code in (200, 404, 500, 503), response.text
            assert str(tmp_path) not in response.text
            assert "Traceback" not in response.text
        (tmp_path / "gone").rename(tmp_path / "registry")
        wait_until(lambda: server.caller()("GET", "/readyz").status_code == 200, "it is ready again", 10)
        assert alice("GET", f"/v1/projects/vision/packs/{pack_id}").status_code == 200
        alice.ok("POST", "/v1/projects/vision/drafts")
