"""What is stored survives a power cut: bytes are on disk before they get their name, and the name before anybody is told."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from artfs.model.digest import Digest, ObjectKey, ObjectKind
from artfs.model.pack import PackHeader
from artfs.store.durable import make_directories, write_file
from artfs.store.encrypted_file import encrypt_file
from artfs.store.encryption_keys import EncryptionKeys
from artfs.store.pack_bytes import LocalPackBytes
from artfs.store.pack_file import PackWriter
from artfs.store.packs import LocalPackStore, PackName, replace_pack
from tests.synced import NAME, SYNC, Synced

pytestmark = [pytest.mark.falsifies("durable")]

HEADER = PackHeader(b"p" * 16, b"u" * 16, 7)
PACK = PackName(HEADER.project_uid, HEADER.pack_id)
DATA = b"text " * 1000


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    writer = PackWriter(tmp_path / "new", HEADER)
    writer.add(ObjectKey(ObjectKind.CHUNK, Digest.of(DATA)), DATA)
    return writer.finish()


@pytest.fixture
def store(tmp_path: Path) -> LocalPackStore:
    return LocalPackStore(tmp_path / "packs")


@pytest.fixture
def synced(pack: Path, store: LocalPackStore, monkeypatch: pytest.MonkeyPatch) -> Synced:
    return Synced(monkeypatch)


def test_a_file_that_is_replaced_is_on_disk_before_its_name_and_its_name_before_the_answer(
    tmp_path: Path, synced: Synced
) -> None:
    path = tmp_path / "f"
    write_file(path, b"data")
    (what, temporary), *rest = synced.calls
    assert (what, Path(temporary).parent) == (SYNC, tmp_path)
    assert temporary != str(path)
    assert rest == [(NAME, str(path)), (SYNC, str(tmp_path))]


def test_the_name_of_every_directory_that_is_made_is_on_disk(tmp_path: Path, synced: Synced) -> None:
    make_directories(tmp_path / "a/b/c", tmp_path)
    assert synced.calls == [(SYNC, str(path)) for path in (tmp_path, tmp_path / "a", tmp_path / "a/b")]


def test_a_pack_that_is_finished_is_on_disk(tmp_path: Path, synced: Synced) -> None:
    PackWriter(tmp_path / "other", HEADER).finish()
    assert synced.taken() == {str(tmp_path / "other")}


def test_a_pack_is_on_disk_before_the_store_has_it_and_the_directories_before_the_answer(
    store: LocalPackStore, pack: Path, synced: Synced
) -> None:
    target = store.path(PACK)
    store.ingest(PACK, pack)
    named = synced.calls.index((NAME, str(target)))
    assert synced.calls.index((SYNC, str(pack))) < named
    assert synced.calls[named + 1 :] == [(SYNC, str(target.parent))]
    assert synced.taken() >= {str(store.root), str(target.parent.parent), str(target.parent)}


def test_a_pack_that_was_there_is_on_disk_before_the_answer_too(
    store: LocalPackStore, pack: Path, synced: Synced
) -> None:
    """Whoever stored it may have been killed before its name was on disk."""
    store.ingest(PACK, pack)
    synced.forget()
    store.ingest(PACK, pack)
    assert synced.taken() >= {str(pack), str(store.path(PACK).parent)}


def test_a_copied_pack_is_on_disk_before_the_store_has_it(
    store: LocalPackStore, pack: Path, synced: Synced, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(*_: object) -> None:
        raise OSError(errno.EXDEV, "another file system")

    monkeypatch.setattr(os, "link", no_links)
    target = store.path(PACK)
    store.ingest(PACK, pack)
    named = synced.calls.index((NAME, str(target)))
    copies = [path for what, path in synced.calls[:named] if what == SYNC and Path(path).parent == target.parent]
    assert len(copies) == 1
    assert synced.calls[named + 1 :] == [(SYNC, str(target.parent))]


def test_a_pack_that_is_replaced_is_on_disk_before_its_name(
    store: LocalPackStore, pack: Path, tmp_path: Path, synced: Synced
) -> None:
    store.ingest(PACK, pack)
    other = tmp_path / "other"
    other.write_bytes(pack.read_bytes())
    synced.forget()
    replace_pack(store, PACK, other)
    target = store.path(PACK)
    assert synced.calls == [(SYNC, str(other)), (NAME, str(target)), (SYNC, str(target.parent))]


def test_an_encrypted_pack_is_on_disk(pack: Path, tmp_path: Path, synced: Synced) -> None:
    with LocalPackBytes(pack) as plain:
        encrypt_file(plain, tmp_path / "sealed", PACK, EncryptionKeys("k", {"k": b"k" * 32}), os.urandom)
    assert synced.taken() == {str(tmp_path / "sealed")}
