"""Servers of references that answer what no honest one would: nothing of it reaches a reader as content."""

from __future__ import annotations

import socket

import pytest

from artfs.client.references.http_source import HttpSource
from artfs.client.references.policy import Policy
from artfs.client.references.reader import ReferenceReader
from artfs.errors import ReferenceChanged, ReferenceUnavailable
from artfs.model.digest import Digest
from artfs.model.reference import Reference, encode_reference
from tests.network.scripted import Reply, answer, scripted

pytestmark = [pytest.mark.falsifies("verified", "hostile", "references")]

ETAG = '"state"'
SIZE = (1 << 20) + 10
BODY = bytes(SIZE)


def _read(*replies: Reply) -> bytes:
    """The last ten bytes of a reference to what the server answers with."""
    with scripted(*replies) as server:
        source = HttpSource(Policy(hosts=["127.0.0.1"]), call_s=3.0)
        try:
            reference = Reference(f"{server.url}/f", SIZE, ETAG)
            reader = ReferenceReader(lambda scheme: source)
            opened = reader.open("p", Digest.of(encode_reference(reference)), reference)
            return bytes(opened.read(SIZE - 10, 10))
        finally:
            source.close()


def _part(
    body: bytes = BODY[-10:], content_range: str = f"bytes {SIZE - 10}-{SIZE - 1}/{SIZE}", **headers: str
) -> bytes:
    return answer(206, body, "text/plain", content_range=content_range, **{"etag": ETAG, **headers})


def test_an_honest_answer_is_read() -> None:
    assert _read(_part()) == BODY[-10:]


@pytest.mark.parametrize(
    ("reply", "error", "said"),
    [
        (_part(content_range=f"bytes 0-9/{SIZE}"), ReferenceUnavailable, "another range"),
        (_part(content_range="bytes 1-2"), ReferenceUnavailable, "a range that is none"),
        (_part(content_range=""), ReferenceUnavailable, "a range that is none"),
        (_part(content_range=f"bytes {SIZE - 10}-{SIZE - 1}/{SIZE + 1}"), ReferenceChanged, "bytes, not"),
        (_part(etag='"other"'), ReferenceChanged, "another ETag"),
        (_part(etag='W/"state"'), ReferenceChanged, "no ETag any more"),
        (_part(etag=""), ReferenceChanged, "no ETag any more"),
        (_part(content_encoding="gzip"), ReferenceUnavailable, "compressed"),
        (_part(BODY[-9:]), ReferenceUnavailable, "ended after 9 of 10"),
        (answer(200, b"<html>log in</html>", "text/html"), ReferenceChanged, "bytes, not"),
        (answer(204), ReferenceUnavailable, "answered 204"),
        (answer(206, BODY[-10:]), ReferenceUnavailable, "a range that is none"),
        (answer(301, location="/f"), ReferenceUnavailable, "redirects more than"),
        (answer(302, location="//"), ReferenceUnavailable, "redirects more than"),
        (answer(302, location="http://[broken/"), ReferenceUnavailable, "no URL"),
        (answer(302, location="file:///etc/passwd"), ReferenceUnavailable, "no URL"),
        (answer(302, location="http://me:secret@127.0.0.1/"), ReferenceUnavailable, "no URL"),
        (answer(412), ReferenceChanged, "another ETag"),
        (answer(416), ReferenceChanged, "shorter"),
        (b"garbage\r\n\r\n", ReferenceUnavailable, "cannot read"),
        (b"HTTP/1.1 206 X\r\ncontent-length: many\r\n\r\n", ReferenceUnavailable, "cannot read|none"),
    ],
)
def test_a_lie_is_an_error(reply: Reply, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        _read(reply)


def test_the_body_of_a_redirect_is_not_read() -> None:
    """It may never end."""

    def endless(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 302 X\r\nlocation: /g\r\ntransfer-encoding: chunked\r\n\r\n")
        while True:
            connection.sendall(b"5\r\nwords\r\n")

    assert _read(endless, _part()) == BODY[-10:]


def test_bytes_behind_the_range_are_no_content() -> None:
    assert _read(_part(BODY[-10:] + b"more")) == BODY[-10:]


def test_a_whole_body_that_is_longer_than_it_says_is_cut() -> None:
    whole = answer(200, BODY + b"more", "text/plain", content_length=str(SIZE), etag=ETAG)
    assert _read(whole) == BODY[-10:]
