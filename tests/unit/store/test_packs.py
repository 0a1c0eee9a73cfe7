"""Packs in a local directory, and pack files written and read."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from pathlib import Path

import pytest

from artfs.errors import AlreadyExists, DamagedObject, DamagedPack, StorageFailed, StorageFull
from artfs.model.codec import Codec
from artfs.model.digest import Digest, ObjectKey, ObjectKind
from artfs.model.pack import HEADER_BYTES, PackHeader
from artfs.store.durable import reported, storage_error, write_file
from artfs.store.pack_file import PackReader, PackWriter, new_pack_header
from artfs.store.packs import LocalPackStore, PackName

pytestmark = [pytest.mark.falsifies("durable", "verified")]

HEADER = PackHeader(b"p" * 16, b"u" * 16, 7)
NAME = PackName(HEADER.project_uid, HEADER.pack_id)
TEXT, NOISE = b"text " * 1000, os.urandom(5000)


def key_of(data: bytes) -> ObjectKey:
    return ObjectKey(ObjectKind.CHUNK, Digest.of(data))


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    writer = PackWriter(tmp_path / "new", HEADER)
    for data in (TEXT, NOISE, b""):
        writer.add(key_of(data), data)
    return writer.finish()


@pytest.fixture
def store(tmp_path: Path) -> LocalPackStore:
    return LocalPackStore(tmp_path / "packs")


def test_a_pack_is_read_as_it_was_written(pack: Path) -> None:
    with PackReader(pack) as reader:
        assert reader.header == HEADER
        assert [(placed.key, bytes(data)) for placed, data in reader.verified()] == [
            (key_of(data), data) for data in (TEXT, NOISE, b"")
        ]
        assert [placed.codec for placed in reader.objects] == [Codec.ZSTD, Codec.RAW, Codec.RAW]
        assert reader.size_bytes == pack.stat().st_size


def test_a_pack_without_objects_is_a_pack(tmp_path: Path) -> None:
    with PackReader(PackWriter(tmp_path / "empty", HEADER).finish()) as reader:
        assert reader.objects == []


def test_the_writer_knows_its_size(tmp_path: Path) -> None:
    writer = PackWriter(tmp_path / "new", HEADER)
    assert writer.size_bytes == HEADER_BYTES
    placed = writer.add(key_of(TEXT), TEXT)
    assert (placed.offset, writer.size_bytes) == (HEADER_BYTES, HEADER_BYTES + placed.stored_bytes)
    writer.discard()
    writer.discard()
    assert not writer.path.exists()


def test_a_header_takes_its_id_from_the_randomness_given() -> None:
    assert new_pack_header(b"u" * 16, 5, lambda n: b"r" * n) == PackHeader(b"r" * 16, b"u" * 16, 5)


@pytest.mark.parametrize("keep", [0, HEADER_BYTES - 1, HEADER_BYTES + 10, -1])
def test_a_pack_cut_short_is_damaged(pack: Path, keep: int) -> None:
    os.truncate(pack, keep if keep >= 0 else pack.stat().st_size + keep)
    with pytest.raises(DamagedPack):
        PackReader(pack)


def test_an_object_with_a_flipped_bit_is_not_given(pack: Path) -> None:
    with PackReader(pack) as reader:
        noise = reader.objects[1]
        with pack.open("r+b") as file:
            file.seek(noise.offset + 100)
            file.write(bytes([NOISE[100] ^ 1]))
        with pytest.raises(DamagedObject):
            reader.read(noise)
        assert reader.read(reader.objects[0]) == TEXT


def test_ingesting_keeps_the_source_until_the_caller_removes_it(store: LocalPackStore, pack: Path) -> None:
    store.ingest(NAME, pack)
    store.ingest(NAME, pack)
    data = pack.read_bytes()
    pack.unlink()
    assert store.read(NAME, 0, 1 << 20) == data
    assert store.read(NAME, 3, 4) == data[3:7]
    assert store.size_bytes(NAME) == len(data)
    assert [file.name for file in store.files()] == [file.name for file in store.files(NAME.project_uid)] == [NAME]
    assert list(store.files(b"x" * 16)) == []
    assert store.url(NAME) == f"file:{store.path(NAME)}"


def test_a_name_is_taken_once(store: LocalPackStore, pack: Path, tmp_path: Path) -> None:
    store.ingest(NAME, pack)
    other = PackWriter(tmp_path / "other", HEADER).finish()
    with pytest.raises(AlreadyExists):
        store.ingest(NAME, other)
    assert other.exists()


def test_packs_are_for_their_owner_only(store: LocalPackStore, pack: Path) -> None:
    pack.chmod(0o644)
    store.ingest(NAME, pack)
    path = store.path(NAME)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for directory in (path.parent, path.parent.parent, store.root):
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700


def test_a_pack_across_file_systems_is_copied(store: LocalPackStore, tmp_path: Path) -> None:
    elsewhere = Path("/dev/shm")
    if elsewhere.stat().st_dev == tmp_path.stat().st_dev:
        pytest.fail("this test needs /dev/shm to be a file system of its own")
    source = elsewhere / f"artfs-test-{os.getpid()}"
    try:
        PackWriter(source, HEADER).finish()
        store.ingest(NAME, source)
        store.ingest(NAME, source)
        assert store.read(NAME, 0, 1 << 20) == source.read_bytes()
        assert stat.S_IMODE(store.path(NAME).stat().st_mode) == 0o600
        assert [path.name for path in store.path(NAME).parent.iterdir()] == [store.path(NAME).name]
    finally:
        source.unlink(missing_ok=True)


def test_a_copy_does_not_take_the_place_of_a_pack_that_came_meanwhile(
    store: LocalPackStore, pack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = PackWriter(tmp_path / "other", HEADER).finish()

    def too_late(source: Path, target: Path) -> None:
        shutil.copyfile(other, target)
        raise OSError(errno.EXDEV, "another file system")

    monkeypatch.setattr(os, "link", too_late)
    with pytest.raises(AlreadyExists):
        store.ingest(NAME, pack)
    assert store.read(NAME, 0, 1 << 20) == other.read_bytes()


def test_deleting_is_repeatable_and_reading_then_says_not_found(store: LocalPackStore, pack: Path) -> None:
    store.ingest(NAME, pack)
    store.delete(NAME)
    store.delete(NAME)
    with pytest.raises(FileNotFoundError):
        store.read(NAME, 0, 1)
    store.delete_project(NAME.project_uid)
    assert list(store.root.iterdir()) == []


@pytest.mark.parametrize(
    ("number", "kind"), [(errno.ENOSPC, StorageFull), (errno.EDQUOT, StorageFull), (errno.EIO, StorageFailed)]
)
def test_an_error_of_the_disk_says_what_failed_where(number: int, kind: type[StorageFull]) -> None:
    error = storage_error(OSError(number, os.strerror(number)), "write the pack", Path("/data/x.pack"))
    assert type(error) is kind
    assert error.message.startswith("cannot write the pack /data/x.pack: ")


def test_a_writer_on_a_full_disk_fails_as_full(tmp_path: Path) -> None:
    (tmp_path / "new").symlink_to("/dev/full")
    with pytest.raises(StorageFull):
        write_to_full_device(tmp_path / "new")


def write_to_full_device(path: Path) -> None:
    with reported("write the pack", path), path.open("wb", buffering=0) as file:
        file.write(b"x")


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    write_file(tmp_path / "f", b"1")
    write_file(tmp_path / "f", b"2")
    assert (tmp_path / "f").read_bytes() == b"2"
    assert [p.name for p in tmp_path.iterdir()] == ["f"]


def test_a_directory_that_cannot_be_made_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageFailed):
        LocalPackStore(tmp_path / "file" / "packs")
