"""The pack stores that tests run on, by name: each opened empty, with what it holds removed afterwards."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import obstore
import pytest
import requests
from obstore.store import S3Store

from artfs.client.pack_source import PackVanished, Places
from artfs.model.digest import ObjectKey
from artfs.store.bucket_url import Timeouts
from artfs.store.encrypted import EncryptedPackStore
from artfs.store.encryption_keys import EncryptionKeys
from artfs.store.object_store import ObjectStore
from artfs.store.pack_file import PackReader
from artfs.store.packs import LocalPackStore, PackStore
from artfs.vfs.ports import Bytes

REQUEST_S = 30.0
KMS_KEY = "artfs-test"  # what the S3 server of scripts/services encrypts with
KEYS = EncryptionKeys("k1", {"k1": bytes(range(32))})


class Opened:
    """A store, and ways to change what it holds as nobody should, and to look at what it set aside.

    Attributes:
        aside: the bytes that were set aside under a name.
    """

    def __init__(
        self, store: PackStore, change: Callable[[str, Callable[[bytes], bytes]], None], aside: Callable[[str], bytes]
    ) -> None:
        self.store = store
        self._change = change
        self.aside = aside

    def change(self, place: str, how: Callable[[bytes], bytes]) -> None:
        """Replace the stored bytes at `place`, or put some there if there are none."""
        self._change(place, how)


def _in_directory(root: Path) -> Callable[[str, Callable[[bytes], bytes]], None]:
    def change(place: str, how: Callable[[bytes], bytes]) -> None:
        path = root / place
        path.write_bytes(how(path.read_bytes() if path.exists() else b""))

    return change


def _aside_in(root: Path) -> Callable[[str], bytes]:
    return lambda name: (root / "quarantine" / name).read_bytes()


@contextmanager
def directory(root: Path) -> Iterator[Opened]:
    root.mkdir(exist_ok=True)
    yield Opened(LocalPackStore(root / "packs"), _in_directory(root / "packs"), _aside_in(root))


@contextmanager
def encrypted(root: Path) -> Iterator[Opened]:
    root.mkdir(exist_ok=True)
    store = EncryptedPackStore(LocalPackStore(root / "packs"), KEYS)
    yield Opened(store, _in_directory(root / "packs"), _aside_in(root))


@contextmanager
def s3(root: Path) -> Iterator[Opened]:
    url = s3_url()
    client = s3_client(url)

    def change(place: str, how: Callable[[bytes], bytes]) -> None:
        key = f"packs/{place}"
        try:
            data = bytes(obstore.get(client, key).bytes())
        except FileNotFoundError:
            data = b""
        obstore.put(client, key, how(data), use_multipart=False)

    def aside(name: str) -> bytes:
        return bytes(obstore.get(client, f"quarantine/{name}").bytes())

    try:
        yield Opened(ObjectStore(url, credentials=s3_credentials()), change, aside)
    finally:
        for chunk in obstore.list(client):
            obstore.delete(client, [found["path"] for found in chunk])


def s3_client(url: str) -> S3Store:
    """For looking at and changing what a store at `url` holds, past it."""
    return S3Store(
        os.environ["ARTFS_TEST_S3_BUCKET"],
        prefix=url.partition("?")[0].rpartition("/")[2],
        endpoint=os.environ["ARTFS_TEST_S3"],
        client_options={"allow_http": True},
        access_key_id=os.environ["ARTFS_TEST_S3_ACCESS_KEY"],
        secret_access_key=os.environ["ARTFS_TEST_S3_SECRET_KEY"],
    )


def s3_url(prefix: str = "") -> str:
    """A bucket of the tests' S3 server, below a prefix that nobody else uses."""
    bucket, endpoint = os.environ["ARTFS_TEST_S3_BUCKET"], os.environ["ARTFS_TEST_S3"]
    return f"s3://{bucket}/{prefix or secrets.token_hex(8)}?endpoint={endpoint}&region=us-east-1&path_style=true"


def s3_credentials() -> dict[str, str]:
    return {
        "access_key_id": os.environ["ARTFS_TEST_S3_ACCESS_KEY"],
        "secret_access_key": os.environ["ARTFS_TEST_S3_SECRET_KEY"],
    }


STORES: dict[str, Callable[[Path], AbstractContextManager[Opened]]] = {
    "directory": directory,
    "encrypted": encrypted,
    "s3": s3,
}
STORE_PARAMS = ["directory", "encrypted", pytest.param("s3", marks=pytest.mark.s3)]

IMPATIENT = Timeouts(connect_s=1, read_s=2, attempt_s=4, retries=2, retry_s=4)
"""For tests of buckets that do not answer."""


def keys_in_packs(store: PackStore, project_uid: bytes) -> list[ObjectKey]:
    """Every object in every pack of a project, as often as it is stored, verified; sorted. Fails for any other file."""
    found: list[ObjectKey] = []
    for file in store.files(project_uid):
        assert file.name is not None, f"{file.place} has no business there"
        with TemporaryDirectory() as copies:
            url, path = store.url(file.name), Path(copies) / "copy"
            if url.startswith("file:"):
                path = Path(url.removeprefix("file:"))
            else:
                path.write_bytes(store.read(file.name, 0, store.size_bytes(file.name)))
            with PackReader(path) as pack:
                found += [placed.key for placed, _ in pack.verified()]
    return sorted(found)


class SignedPacks:
    """The `PackSource` that anybody has: a URL and a range."""

    def read(self, url: str, offset: int, length: int) -> bytes:
        if not length:
            return b""
        answer = requests.get(url, headers={"Range": f"bytes={offset}-{offset + length - 1}"}, timeout=REQUEST_S)
        if answer.status_code == 404:
            raise PackVanished("gone")
        assert answer.status_code == 206, answer.text
        return answer.content

    def read_pieces(self, url: str, places: Places) -> list[Bytes]:
        return [self.read(url, offset, length) for offset, length in places]

    def close(self) -> None:
        pass
