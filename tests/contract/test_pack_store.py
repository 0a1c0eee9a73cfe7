"""What every pack store promises the registry, whatever it is made of."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from artfs.client.pack_source import LocalPacks, PackSources, PackVanished, StoredPacks
from artfs.errors import AlreadyExists, DamagedPack
from artfs.model.digest import Digest, ObjectKey, ObjectKind
from artfs.model.pack import PackHeader
from artfs.store.object_store import ObjectStore
from artfs.store.pack_file import PackReader, PackWriter
from artfs.store.packs import PackName, PackStore, StoredFile, place_of
from tests.stores import KMS_KEY, REQUEST_S, STORE_PARAMS, STORES, Opened, SignedPacks, s3_credentials, s3_url

pytestmark = [pytest.mark.falsifies("durable")]

UID = b"u" * 16


@pytest.fixture(params=STORE_PARAMS)
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Opened]:
    with STORES[request.param](tmp_path) as opened:
        yield opened


@pytest.fixture
def store(opened: Opened) -> PackStore:
    return opened.store


def write(path: Path, name: PackName, *contents: bytes) -> Path:
    writer = PackWriter(path, PackHeader(name.pack_id, name.project_uid, 7))
    for data in contents:
        writer.add(ObjectKey(ObjectKind.CHUNK, Digest.of(data)), data)
    return writer.finish()


NAME = PackName(UID, b"p" * 16)
LARGE = os.urandom(300_000)


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    return write(tmp_path / "new", NAME, LARGE, b"small")


def test_a_pack_is_read_back_in_any_range(store: PackStore, pack: Path) -> None:
    store.ingest(NAME, pack)
    data = pack.read_bytes()
    assert store.size_bytes(NAME) == len(data)
    for offset, length in [(0, 10), (70_000, 100_000), (65_536, 65_536), (0, len(data)), (len(data) - 5, 5), (9, 0)]:
        assert store.read(NAME, offset, length) == data[offset : offset + length]


def test_a_range_ends_with_the_pack(store: PackStore, pack: Path) -> None:
    store.ingest(NAME, pack)
    data = pack.read_bytes()
    assert store.read(NAME, len(data) - 5, 50) == data[-5:]
    assert store.read(NAME, len(data), 50) == store.read(NAME, len(data) + 100_000, 50) == b""


def test_an_opened_pack_is_read_as_a_file_is(store: PackStore, pack: Path) -> None:
    store.ingest(NAME, pack)
    data = pack.read_bytes()
    with store.open(NAME) as opened:
        assert opened.size_bytes == len(data)
        for offset, length in [
            (0, 64),
            (len(data) - 56, 56),
            (100, 200_000),
            (5, 5),
            (len(data), 1),
            (len(data) - 1, 9),
        ]:
            assert opened.pread(offset, length) == data[offset : offset + length]
    with PackReader(store.open(NAME)) as reader:
        assert [bytes(content) for _, content in reader.verified()] == [LARGE, b"small"]


def test_storing_a_pack_again_changes_nothing_and_takes_nothing(store: PackStore, pack: Path) -> None:
    store.ingest(NAME, pack)
    store.ingest(NAME, pack)
    data = pack.read_bytes()
    pack.unlink()
    assert store.read(NAME, 0, 1 << 20) == data
    assert [path.name for path in pack.parent.iterdir() if path.name.startswith(".")] == []


def test_a_name_is_taken_once(store: PackStore, pack: Path, tmp_path: Path) -> None:
    store.ingest(NAME, pack)
    for other in (write(tmp_path / "shorter", NAME, b"x"), write(tmp_path / "as-long", NAME, LARGE, b"other")):
        with pytest.raises(AlreadyExists):
            store.ingest(NAME, other)
        assert other.exists()
    assert store.read(NAME, 0, 1 << 20) == pack.read_bytes()


def test_many_who_store_the_same_pack_at_once_all_succeed(store: PackStore, tmp_path: Path) -> None:
    sources = [tmp_path / f"copy-{number}" for number in range(6)]
    for source in sources:
        write(source, NAME, LARGE)
    failed: list[BaseException] = []
    start = threading.Barrier(len(sources))

    def ingest(source: Path) -> None:
        start.wait()
        try:
            store.ingest(NAME, source)
        except AlreadyExists as error:
            failed.append(error)

    threads = [threading.Thread(target=ingest, args=(source,)) for source in sources]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failed == []
    assert store.read(NAME, 0, 1 << 20) == sources[0].read_bytes()


def test_what_is_absent_is_not_found_and_deleted_without_complaint(store: PackStore, pack: Path) -> None:
    store.ingest(NAME, pack)
    store.delete(NAME)
    store.delete(NAME)
    with pytest.raises(FileNotFoundError):
        store.read(NAME, 0, 1)
    with pytest.raises(FileNotFoundError):
        store.size_bytes(NAME)
    with pytest.raises(FileNotFoundError):
        store.open(NAME)
    store.delete_project(UID)
    assert list(store.files()) == []
    store.ingest(NAME, pack)
    assert store.size_bytes(NAME) == pack.stat().st_size


def test_everything_stored_is_listed_by_project(opened: Opened, tmp_path: Path) -> None:
    names = [PackName(uid, bytes([number]) * 16) for uid in (UID, b"v" * 16) for number in range(3)]
    for number, name in enumerate(names):
        opened.store.ingest(name, write(tmp_path / str(number), name, b"x"))
    assert list(opened.store.files()) == [StoredFile(place_of(name), name) for name in names]
    assert [file.name for file in opened.store.files(UID)] == names[:3]
    assert list(opened.store.files(b"w" * 16)) == []
    stray = f"{UID.hex()}/00/notes.txt"
    opened.change(stray, lambda _: b"x")
    assert [file for file in opened.store.files() if file.name is None] == [StoredFile(stray, None)]


def test_what_is_set_aside_is_no_pack_any_more_and_is_kept(opened: Opened, pack: Path) -> None:
    store = opened.store
    store.ingest(NAME, pack)
    opened.change(place_of(NAME), lambda stored: stored[:-1] + b"!")
    aside = store.set_aside(place_of(NAME), "7")
    assert opened.aside(aside)[-1:] == b"!"
    assert len(opened.aside(aside)) >= pack.stat().st_size
    assert aside == f"{place_of(NAME).replace('/', '-')}.7"
    assert list(store.files()) == []
    with pytest.raises(FileNotFoundError):
        store.read(NAME, 0, 1)


def test_a_client_reads_a_pack_where_its_url_says(store: PackStore, pack: Path) -> None:
    store.ingest(NAME, pack)
    sources = PackSources({"file": LocalPacks(), "store": StoredPacks(store), "http": SignedPacks()})
    data = pack.read_bytes()
    url = store.url(NAME)
    assert sources.read(url, 70_000, 100_000) == data[70_000:170_000]
    assert sources.read(url, len(data) - 3, 3) == data[-3:]
    assert store.url(NAME) == url
    store.delete(NAME)
    with pytest.raises(PackVanished):
        sources.read(url, 0, 1)
    sources.close()


def test_a_pack_that_is_shorter_than_its_client_believes_is_damaged(store: PackStore, pack: Path) -> None:
    store.ingest(NAME, pack)
    with pytest.raises(DamagedPack):
        StoredPacks(store).read(f"store:{UID.hex()}/{NAME.pack_id.hex()}", pack.stat().st_size - 5, 6)


def test_a_store_that_is_there_checks_as_such(store: PackStore) -> None:
    store.check()


@pytest.mark.s3
def test_a_bucket_encrypts_with_the_key_that_the_url_names(pack: Path) -> None:
    store = ObjectStore(f"{s3_url()}&sse=aws:kms&kms_key={KMS_KEY}", credentials=s3_credentials())
    store.ingest(NAME, pack)
    data = pack.read_bytes()
    assert store.read(NAME, 1000, 70_000) == data[1000:71_000]
    answer = requests.get(store.url(NAME), headers={"Range": "bytes=5-9"}, timeout=REQUEST_S)
    assert answer.content == data[5:10]
    assert answer.headers["x-amz-server-side-encryption"] == "aws:kms"
    assert answer.headers["x-amz-server-side-encryption-aws-kms-key-id"] == KMS_KEY
    store.delete(NAME)
