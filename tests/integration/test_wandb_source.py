"""Files of a W&B server by range: of our own server, and of one that is told what to answer."""

from __future__ import annotations

import base64
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import md5
from pathlib import Path
from random import Random
from urllib.parse import quote

import pytest

from artfs.client.references.http_source import followed
from artfs.client.references.policy import Policy
from artfs.client.references.references import References
from artfs.client.references.source import Told
from artfs.errors import (
    AccessDenied,
    ArtfsError,
    DamagedObject,
    InvalidValue,
    NotAuthenticated,
    ReferenceChanged,
    ReferenceForbidden,
    ReferenceUnavailable,
)
from artfs.model.access import Role, Scope, api_key_of_token
from artfs.model.digest import Digest
from artfs.model.reference import Reference, block_bytes_for
from artfs.vfs.ports import Bytes, OpenReference
from artfs.wandb_client.signed_urls import URL_LIFE_S
from artfs.wandb_client.source import WandbSource
from tests.integration.serving import Place
from tests.integration.test_wandb_protocol import COMMIT, PROJECT, Side, put
from tests.network.scripted import Reply, Scripted, answer, scripted
from tests.network.web import web

pytestmark = [pytest.mark.falsifies("references", "hostile")]

KEY = "0123456789abcdef" * 2 + "01234567"
BODY = Random(1).randbytes(1000)
MD5 = md5(BODY, usedforsecurity=False).hexdigest()
SIGNED = "/stored/object?X-Signature=secret"


def uri_of(name: str = "a.bin", digest: str = MD5, project: str = "vision") -> str:
    return f"wandb:/artifactsV2/default/geoff/{project}/bikes/birth/{digest}/{quote(name, safe='')}"


def part(first: int = 10, last: int = 19, body: bytes = BODY) -> bytes:
    return answer(206, body[first : last + 1], "text/plain", content_range=f"bytes {first}-{last}/{len(body)}")


def moved(location: str = SIGNED) -> bytes:
    return answer(302, location=location)


class Asking:
    """A source, and a server that answers with the replies in turn."""

    def __init__(self, server: Scripted) -> None:
        self.server = server
        self.source = WandbSource(server.url, KEY, call_s=3.0)

    @property
    def lines(self) -> list[str]:
        return [seen.line for seen in self.server.seen]

    def read(self, span: tuple[int, int] | None = (10, 10), uri: str = uri_of()) -> bytes:
        return self.source.receive(uri, span, '"wanted"', 0, self._joined)

    def _joined(self, told: Told, pieces: Iterator[Bytes]) -> bytes:
        assert (told.etag, told.size_bytes) == ('"wanted"', len(BODY))
        return b"".join(map(bytes, pieces))


@contextmanager
def asking(*replies: Reply) -> Iterator[Asking]:
    with scripted(*replies) as server:
        made = Asking(server)
        try:
            yield made
        finally:
            made.source.close()


def test_the_key_goes_to_the_server_and_not_to_the_signed_url() -> None:
    with asking(moved(), part()) as ask:
        assert ask.read() == BODY[10:20]
        question, reading = ask.server.seen
        assert question.line == f"GET /artifactsV2/default/geoff/vision/bikes/birth/{MD5}/a.bin"
        assert question.headers["authorization"] == "Basic " + base64.b64encode(f"api:{KEY}".encode()).decode()
        assert reading.line == f"GET {SIGNED}"
        assert "authorization" not in reading.headers
        assert reading.headers["range"] == "bytes=10-19"
        assert KEY not in repr(ask.source)


def test_a_signed_url_is_asked_for_once() -> None:
    with asking(moved(), part(), part(20, 29)) as ask:
        assert ask.read() + ask.read((20, 10)) == BODY[10:30]
        assert ask.lines[1:] == [f"GET {SIGNED}"] * 2


def test_after_a_while_it_is_asked_for_again() -> None:
    with scripted(moved(), part(), moved("/other"), part()) as server:
        now_s = [0.0]
        source = WandbSource(server.url, "", clock=lambda: now_s[0])
        for _ in range(2):
            assert source.receive(uri_of(), (10, 10), "", 0, lambda told, pieces: b"".join(pieces)) == BODY[10:20]
            now_s[0] += URL_LIFE_S + 1
        assert server.seen[3].line == "GET /other"
        assert "authorization" not in server.seen[0].headers  # there is no key
        source.close()


@pytest.mark.parametrize("status", [400, 401, 403, 410])
def test_a_url_that_expired_is_renewed_once(status: int) -> None:
    with asking(moved(), part(), answer(status), moved("/renewed"), part(20, 29)) as ask:
        assert ask.read() + ask.read((20, 10)) == BODY[10:30]
        assert ask.lines[2:] == [f"GET {SIGNED}", ask.lines[0], "GET /renewed"]
    with asking(moved(), answer(status), moved(), answer(status)) as ask:
        with pytest.raises(ReferenceUnavailable, match=rf"a\.bin .* {status} twice"):
            ask.read()


@pytest.mark.parametrize(
    ("reply", "error", "said"),
    [
        (answer(404), ReferenceUnavailable, r"a\.bin is gone"),
        (answer(401), NotAuthenticated, "does not accept the API key"),
        (answer(403), AccessDenied, r"does not let this API key read a\.bin"),
        (answer(418), ReferenceUnavailable, "answered 418"),
        (answer(503), ReferenceUnavailable, "503"),
        (moved("file:///etc/passwd"), ReferenceUnavailable, "no URL"),
        (moved("http://me:secret@127.0.0.1/"), ReferenceUnavailable, "no URL"),
        (b"garbage\r\n\r\n", ReferenceUnavailable, "cannot read"),
    ],
)
def test_what_the_server_answers_instead(reply: Reply, error: type[ArtfsError], said: str) -> None:
    with asking(reply) as ask:
        with pytest.raises(error, match=said) as told:
            ask.read()
        assert KEY not in str(told.value)


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_what_passes_is_tried_again(status: int) -> None:
    with asking(answer(status), moved(), answer(status), part()) as ask:
        assert ask.read() == BODY[10:20]


@pytest.mark.parametrize(
    ("reply", "error", "said"),
    [
        (answer(404), ReferenceUnavailable, r"a\.bin cannot be read: .* 404"),
        (part(11, 20), ReferenceUnavailable, "another range"),
        (answer(206, BODY[10:20]), ReferenceUnavailable, "a range that is none"),
        (answer(206, BODY[10:19], content_range="bytes 10-19/1000"), ReferenceUnavailable, "ended after 9 of 10"),
        (part().replace(b"text/plain", b"text/plain\r\ncontent-encoding: gzip"), ReferenceUnavailable, "compressed"),
        (answer(416), ReferenceChanged, "shorter"),
    ],
)
def test_lies_of_the_storage_are_errors(reply: Reply, error: type[ArtfsError], said: str) -> None:
    with asking(moved(), reply) as ask, pytest.raises(error, match=said) as told:
        ask.read()
    assert "secret" not in str(told.value)


def test_a_body_that_is_cut_is_asked_for_again() -> None:
    def cut(connection: socket.socket) -> None:
        connection.sendall(part()[:-5])

    with asking(moved(), cut, part()) as ask:
        assert ask.read() == BODY[10:20]


def test_a_server_that_answers_with_the_file_itself_is_read() -> None:
    with asking(part(0, 0), part(), part(20, 29)) as ask:
        assert ask.read() + ask.read((20, 10)) == BODY[10:30]
        assert [seen.headers["range"] for seen in ask.server.seen] == ["bytes=0-0", "bytes=10-19", "bytes=20-29"]
        assert all("authorization" in seen.headers for seen in ask.server.seen)
    with asking(part(0, 0), moved(), moved(), part()) as ask:  # it changed its mind
        assert ask.read() == BODY[10:20]
        assert ask.lines[-1] == f"GET {SIGNED}"


@pytest.mark.parametrize("host", ["127.0.0.2", "localhost", "169.254.169.254", "[::1]", "10.0.0.1"])
def test_a_signed_url_into_a_private_network_is_not_followed(host: str) -> None:
    with web("127.0.0.2") as inside:
        port = inside.host.rpartition(":")[2]
        with asking(moved(f"http://{host}:{port}/latest/meta-data")) as ask:
            with pytest.raises(ReferenceForbidden):
                ask.read()
        with asking(moved(), moved(f"http://{host}:{port}/latest/meta-data")) as ask:
            with pytest.raises(ReferenceForbidden):
                ask.read()
        assert inside.requests == []


def test_where_else_signed_urls_may_lead_can_be_said() -> None:
    with web("127.0.0.2") as bucket:
        url = bucket.put("/object", BODY)
        with scripted(moved(f"{url}?signature")) as server:
            source = WandbSource(server.url, KEY, hosts=("public", bucket.host))
            found = source.receive(uri_of(), (10, 10), "", 0, lambda told, pieces: b"".join(pieces))
            source.close()
    assert found == BODY[10:20]
    assert [*map(str.lower, bucket.requests[0].headers)].count("authorization") == 0


def test_a_signed_url_without_tls_is_not_followed_from_a_server_with_it() -> None:
    with pytest.raises(ReferenceUnavailable, match="from https to http"):
        followed("https://api.wandb.ai/a", "https://api.wandb.ai/a", "http://storage.googleapis.com/b")


def test_names_are_encoded() -> None:
    with asking(moved(), part()) as ask:
        assert ask.read(uri=uri_of("ä b?c#d%41+.txt")) == BODY[10:20]
        assert ask.lines[0].endswith("/%C3%A4%20b%3Fc%23d%2541%2B.txt")


@pytest.mark.parametrize(
    "uri",
    [
        "wandb:/graphql",
        "wandb:/artifactsV2/" + MD5,
        uri_of(digest="d41d8"),
        uri_of(digest=MD5.upper()),
        uri_of(digest="0x" + MD5[2:]),
        uri_of(project=".."),
        uri_of(project="."),
        uri_of(name=""),
        "http:" + uri_of().removeprefix("wandb:"),
    ],
)
def test_what_is_no_file_is_not_asked_for(uri: str) -> None:
    with asking(part()) as ask:
        with pytest.raises(InvalidValue):
            ask.read(uri=uri)
        with pytest.raises(InvalidValue):
            ask.source.whole_md5(uri)
        assert ask.lines == []


def test_nobody_refers_to_them() -> None:
    with asking(part()) as ask, pytest.raises(InvalidValue):
        ask.source.locate(uri_of(), 1)


def test_a_dead_server_is_soon_not_asked_again() -> None:
    with asking(part()) as ask:
        pass
    source = WandbSource(ask.server.url, KEY, call_s=3.0)
    for said in ("cannot read", "does not answer"):
        with pytest.raises(ReferenceUnavailable, match=said):
            source.receive(uri_of(), (0, 1), "", 0, lambda told, pieces: None)
    source.close()


@contextmanager
def reading(source: WandbSource, root: Path) -> Iterator[Callable[[str, bytes], OpenReference]]:
    """Opens what a URI names, which is as long as those bytes."""
    references = References(Policy(schemes=()), seen=root / "references.db", sources={"wandb": source})

    def opened(uri: str, body: bytes) -> OpenReference:
        digest = uri.split("/")[-2]
        reference = Reference(uri, len(body), f'"{digest}"', block_bytes=block_bytes_for(len(body)))
        return references.reader.open("p", Digest.of(digest.encode()), reference)

    try:
        yield opened
    finally:
        references.close()


def test_bytes_with_another_md5_are_no_content(tmp_path: Path) -> None:
    wrong = part(0, 999, bytes(1000))
    with asking(moved(), wrong, part(0, 999)) as ask, reading(ask.source, tmp_path) as opened:
        file = opened(uri_of(), BODY)
        with pytest.raises(DamagedObject, match=r"a\.bin"):
            file.read(0, 10)
        assert file.read(0, 10) == BODY[:10]


def test_a_storage_without_ranges_is_read_as_a_whole(tmp_path: Path) -> None:
    with asking(moved(), answer(200, BODY, "text/plain")) as ask, reading(ask.source, tmp_path) as opened:
        assert opened(uri_of(), BODY).read(990, 100) == BODY[990:]


def test_another_length_is_no_content(tmp_path: Path) -> None:
    with asking(moved(), part(0, 999)) as ask, reading(ask.source, tmp_path) as opened:
        with pytest.raises(ReferenceChanged, match="1000 bytes, not"):
            opened(uri_of(), BODY + b"more").read(0, 10)


def test_files_of_our_own_server(tmp_path: Path) -> None:
    large = Random(2).randbytes((5 << 20) + 77)
    files = {"a.txt": b"small", "sub/b ä%41.bin": large, "c": BODY}
    place = Place(tmp_path)
    key = api_key_of_token(place.user("geoff", Scope.WRITE))
    assert key is not None
    place.project(PROJECT, geoff=Role.WRITER)
    with place.serving("--wandb") as server:
        _log(Side(server.url, key), files)
        source = WandbSource(server.url, key)
        with reading(source, tmp_path) as opened:
            for path, data in files.items():
                uri = uri_of(path.rpartition("/")[2], md5(data, usedforsecurity=False).hexdigest())
                assert b"".join(opened(uri, data).stream()) == data
                middle = len(data) // 2
                assert bytes(opened(uri, data).read(middle, 3)) == data[middle : middle + 3]
            questions = [line for line in server.access_lines if line["path"].startswith("/artifactsV2")]
            assert [line["status"] for line in questions] == [302] * len(files)
            with pytest.raises(ReferenceUnavailable, match="gone"):
                opened(uri_of(digest="0" * 32), BODY).read(0, 1)
        wrong = WandbSource(server.url, "0" * 40)
        with reading(wrong, tmp_path / "wrong") as opened, pytest.raises(NotAuthenticated):
            opened(uri_of(), BODY).read(0, 1)


def _log(side: Side, files: dict[str, bytes]) -> None:
    artifact = side.begin()
    for path, data in files.items():
        url = side.file_url(artifact, path, data)
        assert url is not None
        assert put(url, data).status_code == 200
    side.describe(artifact, files)
    side.ask(COMMIT, a=artifact)
