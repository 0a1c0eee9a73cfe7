"""Keys of encryption, and what happens when they change or are not there."""

from __future__ import annotations

import os
from base64 import b64encode
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from artfs.errors import AlreadyExists, DamagedPack, InvalidValue, StorageFailed
from artfs.model.digest import Digest, ObjectKey, ObjectKind
from artfs.model.pack import PackHeader
from artfs.store.encrypted import EncryptedPackStore, reencrypt
from artfs.store.encryption_keys import EncryptionKeys, load_keys, parse_keys
from artfs.store.pack_file import PackWriter
from artfs.store.packs import LocalPackStore, PackName

pytestmark = [pytest.mark.falsifies("verified")]

OLD, NEW = bytes(range(32)), bytes(range(100, 132))
OLD_TEXT, NEW_TEXT = b64encode(OLD).decode(), b64encode(NEW).decode()
NAMES = [PackName(b"u" * 16, bytes([n]) * 16) for n in (7, 8, 9)]


def write(path: Path, name: PackName) -> Path:
    writer = PackWriter(path, PackHeader(name.pack_id, name.project_uid, 7))
    data = b"secret " * 20_000 + name.pack_id
    writer.add_encoded(ObjectKey(ObjectKind.CHUNK, Digest.of(data)), len(data), 0, data)
    return writer.finish()


@pytest.fixture
def inner(tmp_path: Path) -> LocalPackStore:
    return LocalPackStore(tmp_path / "packs")


@pytest.mark.parametrize(
    "text",
    [
        f"k1 = {OLD_TEXT}\nk2 = {NEW_TEXT}\n",
        f'k1 = "{OLD_TEXT}"\nk2 = "{NEW_TEXT}"\n',
        f"# keys\n\nk2={NEW_TEXT}\nk1={OLD_TEXT}\ncurrent = k1\n",
        f'current = "k1"\nk2 = "{NEW_TEXT}"\nk1 = "{OLD_TEXT}"',
    ],
)
def test_keys_are_read_from_lines_and_from_toml(text: str) -> None:
    keys = parse_keys(text, "it")
    assert (keys.current, keys.find("k1"), keys.find("k2"), keys.find("k3")) == ("k1", OLD, NEW, None)
    assert OLD.hex() not in repr(keys)
    assert repr(OLD) not in repr(keys)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "k1",
        "k1 = short",
        f"k1 = {OLD_TEXT}x",
        f"a b = {OLD_TEXT}",
        f"k1={OLD_TEXT}\ncurrent=k2",
        f"k1={OLD_TEXT}\n" * 2,
    ],
)
def test_what_are_no_keys_is_refused_without_showing_them(text: str) -> None:
    with pytest.raises(InvalidValue) as refused:
        parse_keys(text, "the file")
    assert "the file" in str(refused.value)
    assert OLD_TEXT not in str(refused.value)


def test_keys_come_from_a_file_of_their_owner_or_from_a_variable(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_text(f"k1 = {OLD_TEXT}\n")
    path.chmod(0o640)
    with pytest.raises(StorageFailed, match="others can read"):
        load_keys(str(path), {})
    path.chmod(0o600)
    assert load_keys(str(path), {}) == load_keys("env:KEYS", {"KEYS": path.read_text()})
    with pytest.raises(StorageFailed):
        load_keys(str(tmp_path / "absent"), {})
    with pytest.raises(InvalidValue, match="KEYS"):
        load_keys("env:KEYS", {})


def test_no_plain_byte_is_on_disk_and_no_file_is_left_over(inner: LocalPackStore, tmp_path: Path) -> None:
    source = write(tmp_path / "new", NAMES[0])
    EncryptedPackStore(inner, EncryptionKeys("k1", {"k1": OLD})).ingest(NAMES[0], source)
    on_disk = inner.path(NAMES[0]).read_bytes()
    assert b"secret" not in on_disk
    assert NAMES[0].pack_id not in on_disk
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "packs"]


def test_a_pack_of_an_absent_or_another_key_is_refused_by_name(inner: LocalPackStore, tmp_path: Path) -> None:
    EncryptedPackStore(inner, EncryptionKeys("k1", {"k1": OLD})).ingest(NAMES[0], write(tmp_path / "new", NAMES[0]))
    for keys in (EncryptionKeys("k2", {"k2": NEW}), EncryptionKeys("k1", {"k1": NEW})):
        with pytest.raises(StorageFailed, match="'k1'"):
            EncryptedPackStore(inner, keys).read(NAMES[0], 0, 10)
        with pytest.raises(StorageFailed, match="'k1'"):
            EncryptedPackStore(inner, keys).ingest(NAMES[0], tmp_path / "new")


def test_rotation_encrypts_what_is_plain_or_under_an_older_key(inner: LocalPackStore, tmp_path: Path) -> None:
    sources = [write(tmp_path / str(n), name) for n, name in enumerate(NAMES)]
    inner.ingest(NAMES[0], sources[0])
    EncryptedPackStore(inner, EncryptionKeys("k1", {"k1": OLD})).ingest(NAMES[1], sources[1])
    store = EncryptedPackStore(inner, EncryptionKeys("k2", {"k1": OLD, "k2": NEW}))
    store.ingest(NAMES[2], sources[2])
    with store.open(NAMES[1]) as opened:  # a reader of before reads on
        assert reencrypt(store, tmp_path) == 2
        assert opened.pread(0, 1 << 20) == sources[1].read_bytes()
    assert reencrypt(store, tmp_path) == 0
    alone = EncryptedPackStore(inner, EncryptionKeys("k2", {"k2": NEW}))
    for name, source in zip(NAMES, sources, strict=True):
        assert alone.read(name, 0, 1 << 20) == source.read_bytes()
        assert b"secret" not in inner.path(name).read_bytes()
        alone.ingest(name, source)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "1", "2", "packs"]


def test_rotation_refuses_what_is_no_pack(inner: LocalPackStore, tmp_path: Path) -> None:
    store = EncryptedPackStore(inner, EncryptionKeys("k1", {"k1": OLD}))
    store.ingest(NAMES[0], write(tmp_path / "new", NAMES[0]))
    path = inner.path(NAMES[0])
    damaged = b"X" + path.read_bytes()[1:]
    path.write_bytes(damaged)
    with pytest.raises(DamagedPack):
        reencrypt(store, tmp_path)
    assert path.read_bytes() == damaged


def test_a_plain_pack_is_not_stored_again_beside_its_name(inner: LocalPackStore, tmp_path: Path) -> None:
    inner.ingest(NAMES[0], write(tmp_path / "new", NAMES[0]))
    store = EncryptedPackStore(inner, EncryptionKeys("k1", {"k1": OLD}))
    store.ingest(NAMES[0], tmp_path / "new")
    with pytest.raises(AlreadyExists):
        store.ingest(NAMES[0], PackWriter(tmp_path / "other", PackHeader(NAMES[0].pack_id, b"u" * 16, 7)).finish())


def test_rotation_works_from_another_file_system(inner: LocalPackStore, tmp_path: Path) -> None:
    source = write(tmp_path / "new", NAMES[0])
    inner.ingest(NAMES[0], source)
    store = EncryptedPackStore(inner, EncryptionKeys("k1", {"k1": OLD}))
    with TemporaryDirectory(dir="/dev/shm") as elsewhere:
        assert os.stat(elsewhere).st_dev != tmp_path.stat().st_dev
        assert reencrypt(store, Path(elsewhere)) == 1
        assert list(Path(elsewhere).iterdir()) == []
    assert store.read(NAMES[0], 0, 1 << 20) == source.read_bytes()
    assert b"secret" not in inner.path(NAMES[0]).read_bytes()
    assert [file.name for file in inner.files()] == [NAMES[0]]


def test_without_any_keys_an_encrypted_pack_is_not_taken_for_a_damaged_one(
    inner: LocalPackStore, tmp_path: Path
) -> None:
    EncryptedPackStore(inner, EncryptionKeys("k1", {"k1": OLD})).ingest(NAMES[0], write(tmp_path / "new", NAMES[0]))
    with pytest.raises(StorageFailed, match="encrypted"):
        inner.open(NAMES[0])
    with pytest.raises(StorageFailed, match="encrypted"):
        inner.read(NAMES[0], 100, 10)
