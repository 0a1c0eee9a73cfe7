"""Buckets that refuse, fail, hang or are not there: a clear error within a bound, and no key in it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import md5
from pathlib import Path

import pytest
import requests

from artfs.errors import InvalidValue, StorageFailed, StorageFull
from artfs.model.pack import FOOTER_BYTES, PackHeader
from artfs.store.object_store import ObjectStore
from artfs.store.pack_file import PackWriter
from artfs.store.packs import PackName
from tests.network.scripted import answer, scripted
from tests.stores import IMPATIENT, REQUEST_S, s3_credentials, s3_url

pytestmark = [pytest.mark.falsifies("durable")]

NAME = PackName(b"u" * 16, b"p" * 16)
BOUND_S = 15.0
SECRETS = {"access_key_id": "AKIDEXAMPLEID", "secret_access_key": "a-very-secret-key"}


def xml(code: str) -> bytes:
    return f"<?xml version='1.0'?><Error><Code>{code}</Code><AWSAccessKeyId>AKIDEXAMPLEID</AWSAccessKeyId></Error>".encode()


def store_at(endpoint: str, **options: str) -> ObjectStore:
    query = "&".join(f"{name}={value}" for name, value in options.items())
    url = f"s3://bucket/prefix?endpoint={endpoint}&region=us-east-1&path_style=true&{query}"
    return ObjectStore(url, timeouts=IMPATIENT, credentials=SECRETS)


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    return PackWriter(tmp_path / "new", PackHeader(NAME.pack_id, NAME.project_uid, 7)).finish()


def operations(store: ObjectStore, pack: Path) -> list[Callable[[], object]]:
    return [
        lambda: store.ingest(NAME, pack),
        lambda: store.read(NAME, 0, 10),
        lambda: store.size_bytes(NAME),
        lambda: store.open(NAME),
        lambda: list(store.files()),
        lambda: store.delete(NAME),
        lambda: store.set_aside("x", "7"),
        store.check,
    ]


def assert_all_fail(store: ObjectStore, pack: Path, kind: type[StorageFailed | StorageFull], words: str) -> None:
    for operation in operations(store, pack):
        started_s = time.monotonic()
        with pytest.raises(kind, match=words) as failed:
            operation()
        assert time.monotonic() - started_s < BOUND_S
        shown = "".join(traceback.format_exception(failed.value))
        assert not any(secret in shown for secret in SECRETS.values())
        assert "Signature=" not in shown


@pytest.mark.parametrize("code", ["AccessDenied", "SignatureDoesNotMatch", "InvalidAccessKeyId"])
def test_a_bucket_that_refuses_says_so_at_once(pack: Path, code: str) -> None:
    with scripted(answer(403, xml(code), "application/xml")) as server:
        assert_all_fail(store_at(server.url), pack, StorageFailed, "refuses it")
        assert len(server.seen) == 8


@pytest.mark.parametrize("status", [500, 503])
def test_a_bucket_that_fails_is_asked_again_a_few_times(pack: Path, status: int) -> None:
    with scripted(answer(status, xml("SlowDown"), "application/xml")) as server:
        store = store_at(server.url)
        with pytest.raises(StorageFailed, match=f"status {status} SlowDown"):
            store.read(NAME, 0, 10)
        assert len(server.seen) == 1 + IMPATIENT.retries


def test_a_bucket_that_fails_once_is_as_good_as_one_that_does_not() -> None:
    body = answer(206, b"0123456789", "application/octet-stream", content_range="bytes 0-9/10", etag='"x"')
    with scripted(answer(503), body) as server:
        assert store_at(server.url).read(NAME, 0, 10) == b"0123456789"


def test_a_full_bucket_is_full(pack: Path) -> None:
    with scripted(answer(403, xml("QuotaExceeded"), "application/xml")) as server:
        with pytest.raises(StorageFull, match="QuotaExceeded"):
            store_at(server.url).ingest(NAME, pack)


def test_a_bucket_that_is_not_there_is_not_a_pack_that_is_not_there(pack: Path) -> None:
    with scripted(answer(404, xml("NoSuchBucket"), "application/xml")) as server:
        assert_all_fail(store_at(server.url), pack, StorageFailed, "no such bucket")


@contextmanager
def silent() -> Iterator[str]:
    """An endpoint that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


def test_a_bucket_that_does_not_answer_is_given_up(pack: Path) -> None:
    with silent() as endpoint:
        started_s = time.monotonic()
        with pytest.raises(StorageFailed, match="no answer in time"):
            store_at(endpoint).read(NAME, 0, 10)
        assert time.monotonic() - started_s < BOUND_S


def test_an_endpoint_where_nobody_listens_is_given_up(pack: Path) -> None:
    with silent() as endpoint:
        pass
    with pytest.raises(StorageFailed, match="check the endpoint"):
        store_at(endpoint).ingest(NAME, pack)


def test_a_bucket_that_only_says_that_it_stored_a_pack_is_not_believed(pack: Path) -> None:
    right = md5(pack.read_bytes(), usedforsecurity=False).hexdigest()
    with scripted(answer(200, etag=f'"{right}"')) as server:
        store_at(server.url).ingest(NAME, pack)
        assert len(server.seen) == 1
    for held in (
        answer(404, xml("NoSuchKey"), "application/xml"),
        answer(206, b"x" * 16, content_range="bytes 0-15/16"),
    ):
        with scripted(answer(200, etag='"another"'), held) as server:
            with pytest.raises(StorageFailed, match=r"says that it did|read a pack"):
                store_at(server.url).ingest(NAME, pack)


def test_a_bucket_that_says_there_is_such_a_pack_and_has_none_failed(pack: Path) -> None:
    with scripted(
        answer(409), answer(404), answer(200, b"<ListBucketResult></ListBucketResult>", "application/xml")
    ) as server:
        with pytest.raises(StorageFailed):
            store_at(server.url).ingest(NAME, pack)


def test_the_buckets_own_encryption_is_asked_for(pack: Path) -> None:
    for options, expected in [
        ({"sse": "AES256"}, {"x-amz-server-side-encryption": "AES256"}),
        (
            {"kms_key": "arn:aws:kms:k"},
            {"x-amz-server-side-encryption": "aws:kms", "x-amz-server-side-encryption-aws-kms-key-id": "arn:aws:kms:k"},
        ),
    ]:
        size_bytes = pack.stat().st_size
        end = pack.read_bytes()[-FOOTER_BYTES:]
        told = f"bytes {size_bytes - len(end)}-{size_bytes - 1}/{size_bytes}"
        with scripted(answer(200, etag='"x"'), answer(206, end, content_range=told, etag='"x"')) as server:
            store_at(server.url, **options).ingest(NAME, pack)
            put, _ = server.seen
            assert {name: value for name, value in put.headers.items() if "encryption" in name} == expected
            assert put.line.startswith("PUT /bucket/prefix/packs/7575")
            assert put.headers["if-none-match"] == "*"


@pytest.mark.parametrize(
    "url",
    [
        "s3://",
        "ftp://bucket",
        "s3://key:secret@bucket/x",
        "s3://bucket/a//b",
        "s3://bucket/../x",
        "s3://bucket?sse=rot13",
        "s3://bucket?secret_access_key=secret",
        "s3://bucket?path_style=perhaps",
        "gs://bucket?sse=AES256",
    ],
)
def test_a_url_that_cannot_be_meant_is_refused_without_its_secrets(url: str) -> None:
    with pytest.raises(InvalidValue) as refused:
        ObjectStore(url)
    assert "=secret" not in str(refused.value)
    assert ":secret" not in str(refused.value)


@pytest.mark.s3
def test_a_wrong_key_is_refused_by_a_real_bucket(pack: Path) -> None:
    store = ObjectStore(s3_url(), timeouts=IMPATIENT, credentials=s3_credentials() | {"secret_access_key": "wrong"})
    assert_all_fail(store, pack, StorageFailed, "refuses it")


@pytest.mark.s3
def test_a_signed_url_is_for_reading_one_pack_only(pack: Path) -> None:
    store = ObjectStore(s3_url(), credentials=s3_credentials())
    store.ingest(NAME, pack)
    try:
        url = store.url(NAME)
        part = requests.get(url, headers={"Range": "bytes=3-9"}, timeout=REQUEST_S)
        assert (part.status_code, part.content) == (206, pack.read_bytes()[3:10])
        assert requests.put(url, data=b"x", timeout=REQUEST_S).status_code == 403
        assert requests.get(url.replace("packs/", "packs/x"), timeout=REQUEST_S).status_code == 403
        assert requests.get(url.partition("?")[0], timeout=REQUEST_S).status_code == 403
    finally:
        store.delete(NAME)


_FORKING = """
import os, sys
from artfs.errors import StorageFailed
from artfs.store.object_store import ObjectStore
from artfs.store.packs import PackName
store = ObjectStore(sys.argv[1])
name = PackName(b"u" * 16, b"p" * 16)
def in_child():
    child = os.fork()
    if child == 0:
        try:
            os._exit(0 if store.read(name, 0, 9) == b"artfspk\\n\\1" and store.url(name).startswith("http") else 1)
        except StorageFailed:
            os._exit(2)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
print(in_child(), store.size_bytes(name) > 0, in_child())
"""


@pytest.mark.s3
def test_a_bucket_opened_before_a_fork_is_used_after_it_but_not_once_it_was_used_before(pack: Path) -> None:
    url = s3_url()
    store = ObjectStore(url, credentials=s3_credentials())
    store.ingest(NAME, pack)
    try:
        keys = {f"AWS_{name.upper()}": value for name, value in s3_credentials().items()}
        command = [sys.executable, "-W", "ignore", "-c", _FORKING, url]
        done = subprocess.run(command, env=os.environ | keys, timeout=60, check=True, capture_output=True, text=True)
        assert done.stdout.split() == ["0", "True", "2"]
    finally:
        store.delete(NAME)
