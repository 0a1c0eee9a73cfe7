"""References to objects of a real bucket, with the keys and the endpoint of the environment."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from random import Random

import obstore
import pytest
from obstore.store import S3Store

from artfs.client.client import Client
from artfs.client.files import FileReader
from artfs.client.references.policy import Policy
from artfs.client.references.references import References
from artfs.errors import InvalidValue, ReferenceChanged, ReferenceForbidden, ReferenceUnavailable
from artfs.model.content import FileContent
from artfs.model.tree import Entry
from artfs.registry.embedded import EmbeddedRegistry
from tests.integration.referring import add_references

pytestmark = [pytest.mark.falsifies("references"), pytest.mark.s3]

MIB = 1 << 20
BODY = Random(1).randbytes(5 * MIB + 123)


class Bucket:
    """A prefix of the tests' bucket."""

    def __init__(self) -> None:
        self.name = os.environ["ARTFS_TEST_S3_BUCKET"]
        self.prefix = f"references-{secrets.token_hex(6)}"
        self.store = S3Store(
            self.name,
            endpoint=os.environ["ARTFS_TEST_S3"],
            client_options={"allow_http": True},
            access_key_id=os.environ["ARTFS_TEST_S3_ACCESS_KEY"],
            secret_access_key=os.environ["ARTFS_TEST_S3_SECRET_KEY"],
        )

    def put(self, key: str, body: bytes) -> str:
        obstore.put(self.store, f"{self.prefix}/{key}", body, use_multipart=False)
        return f"{self.uri}/{key}"

    def delete(self, key: str) -> None:
        obstore.delete(self.store, [f"{self.prefix}/{key}"])

    @property
    def uri(self) -> str:
        return f"s3://{self.name}/{self.prefix}"


@pytest.fixture
def bucket() -> Iterator[Bucket]:
    made = Bucket()
    yield made
    for chunk in obstore.list(made.store, made.prefix):
        obstore.delete(made.store, [found["path"] for found in chunk])


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", os.environ["ARTFS_TEST_S3_ACCESS_KEY"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", os.environ["ARTFS_TEST_S3_SECRET_KEY"])
    monkeypatch.setenv("AWS_ENDPOINT_URL", os.environ["ARTFS_TEST_S3"])
    references = References(Policy(hosts=[]), environ=os.environ)
    opened = Client(EmbeddedRegistry(tmp_path / "registry"), references=references)
    opened.registry.projects.create("p")
    yield opened
    opened.close()


def _add(client: Client, uri: str, max_objects: int = 100) -> dict[str, Entry]:
    return add_references(client, "p", uri, max_objects=max_objects)


def _read(client: Client, entry: Entry) -> bytes:
    return b"".join(FileReader(client.objects, "p").stream(FileContent.of(entry)))


@pytest.mark.parametrize("name", ["a.bin", "with space.bin", "a%20b+c=d&e#f?g.bin", "übung.bin"])
def test_an_object_is_read_by_ranges_of_its_state(client: Client, bucket: Bucket, name: str) -> None:
    entries = _add(client, bucket.put(f"dir/{name}", BODY))
    assert [*entries] == [name]
    opened = client.objects.open_references("p", [(FileContent.of(entries[name]), "")])[0]
    assert opened.reference.etag.startswith('"')
    assert bytes(opened.read(3 * MIB - 5, 10)) == BODY[3 * MIB - 5 : 3 * MIB + 5]
    assert _read(client, entries[name]) == BODY


def test_a_prefix_stands_for_everything_below(client: Client, bucket: Bucket) -> None:
    bodies = {f"{i % 3}/{i}.txt": b"%d" % i for i in range(7)}
    for key, body in bodies.items():
        bucket.put(key, body)
    for uri in (bucket.uri, f"{bucket.uri}/"):
        entries = _add(client, uri)
        assert {path: _read(client, entry) for path, entry in entries.items()} == bodies
    with pytest.raises(InvalidValue, match="more than 6 objects"):
        _add(client, bucket.uri, max_objects=6)
    with pytest.raises(ReferenceUnavailable, match="nothing at"):
        _add(client, f"{bucket.uri}/none/")


def test_an_object_that_changes_is_never_mixed(client: Client, bucket: Bucket) -> None:
    (entry,) = _add(client, bucket.put("a.bin", BODY)).values()
    opened = client.objects.open_references("p", [(FileContent.of(entry), "")])[0]
    assert bytes(opened.read(0, 10)) == BODY[:10]
    bucket.put("a.bin", BODY[::-1])
    with pytest.raises(ReferenceChanged, match="another ETag"):
        opened.read(2 * MIB, 10)
    bucket.delete("a.bin")
    with pytest.raises(ReferenceUnavailable, match="not there"):
        opened.read(2 * MIB, 10)


def test_wrong_keys_are_told_without_them(client: Client, bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    uri = bucket.put("a.bin", BODY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong-and-secret")
    with pytest.raises(ReferenceUnavailable, match=r"refuses|nothing at") as refused:
        _add(client, uri)
    assert "wrong-and-secret" not in str(refused.value)


def test_buckets_can_be_forbidden(tmp_path: Path) -> None:
    references = References(Policy(["https"]), environ=os.environ)
    with pytest.raises(ReferenceForbidden, match="s3"):
        references.resolve("s3://bucket/key")
    for uri in ("s3://", "s3:///key", "s3://me@bucket/key", "s3://bucket/a//b"):
        with pytest.raises(InvalidValue):
            References(Policy(), environ={"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}).resolve(uri)
