"""Deleting, rewriting, checking and repairing are the same over every pack store."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from artfs.client.remote.registry import RemoteRegistry
from artfs.errors import DamagedObject, StorageFailed
from artfs.model.digest import ObjectKey
from artfs.registry.embedded import EmbeddedRegistry
from artfs.registry.fsck import check, check_registry, sqlite_checks
from artfs.registry.repair import repair
from artfs.registry.resources import Verify
from artfs.store.encrypted import EncryptedPackStore
from artfs.store.encryption_keys import EncryptionKeys
from artfs.store.packs import LocalPackStore, PackName, place_of
from artfs.wire.deletions import Removal
from tests.contract.uploading import Clock, commit, content_of, fetch
from tests.network.served import admin_token, served
from tests.registries import migrated_database, open_postgres_registry
from tests.stores import STORE_PARAMS, STORES, Opened

pytestmark = [pytest.mark.falsifies("deletion", "verified")]

NOISE = random.Random(1).randbytes(300_000)  # several encrypted blocks
FIRST = content_of({"a": b"first " * 50, "d": {"b": NOISE}}, large_bytes=1 << 20)
SECOND = content_of({"a": b"first " * 50, "new": b"third " * 50})
THIRD = content_of({"a": b"first " * 50, "other": NOISE[::-1]})


class Stored:
    """An open registry with two versions, a pack each, over some store."""

    def __init__(self, root: Path, opened: Opened, clock: Clock) -> None:
        self.root, self.opened, self.clock = root, opened, clock
        self.registry = EmbeddedRegistry(root, store=opened.store, clock=clock)
        self.uid = self.registry.projects.create("vision").uid
        for content in (FIRST, SECOND):
            commit(self.registry, "vision", "bikes", content)

    def pack_of(self, key: ObjectKey) -> PackName:
        with self.registry.resources.database.read() as tx:
            ((pack_id,),) = tx.rows(
                "SELECT p.pack_id FROM packs p JOIN objects o ON o.pack = p.id WHERE o.digest = ?", (key.digest,)
            )
        return PackName(self.uid, pack_id)

    def codes(self) -> list[str]:
        report = check(self.root, store=self.opened.store, clock=self.clock)
        also = check_registry(self.registry.resources, database_checks=sqlite_checks)
        codes = sorted({finding.code for finding in report.findings})
        assert codes == sorted({finding.code for finding in also.findings})
        assert report.verified_bytes == also.verified_bytes
        return codes


@pytest.fixture(params=STORE_PARAMS)
def stored(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> Iterator[Stored]:
    with STORES[request.param](tmp_path / "registry") as opened:
        stored = Stored(tmp_path / "registry", opened, clock)
        yield stored
        stored.registry.close()


def test_a_sound_registry_has_no_findings(stored: Stored) -> None:
    assert stored.codes() == []


def test_deleting_a_version_rewrites_its_pack_with_what_others_need(stored: Stored) -> None:
    before = {file.name for file in stored.opened.store.files()}
    stored.registry.versions.delete("vision", "bikes", [0], delete_aliases=True)
    after = {file.name for file in stored.opened.store.files()}
    assert len(before) == len(after) == 2
    assert len(before & after) == 1
    assert [fetch(stored.registry, "vision", key) for key in SECOND.objects] == list(SECOND.objects.values())
    assert stored.codes() == []


def test_an_emptied_registry_leaves_nothing_in_the_store(stored: Stored) -> None:
    stored.registry.versions.delete("vision", "bikes", [0, 1], delete_aliases=True)
    stored.registry.artifacts.delete("vision", "bikes")
    stored.registry.projects.delete("vision")
    assert list(stored.opened.store.files()) == []


def test_a_server_gives_its_clients_what_it_keeps_in_any_store(stored: Stored, tmp_path: Path) -> None:
    token = admin_token(stored.registry)
    again = partial(EmbeddedRegistry, stored.root, store=stored.opened.store, verify=Verify.ALL)
    with served(again) as url, closing(RemoteRegistry(url, token, spool=tmp_path / "spool")) as remote:
        commit(remote, "vision", "bikes", THIRD)
        for content in (FIRST, SECOND, THIRD):
            assert [fetch(remote, "vision", key) for key in content.objects] == list(content.objects.values())
        located = remote.objects.locate("vision", [FIRST.root_key, THIRD.root_key])
        urls = [location.url for location in located if location is not None]
        assert len(urls) == 2
        assert not any("store:" in url or "file:" in url for url in urls)


def test_a_missing_pack_is_named_and_repaired_to_what_is_left(stored: Stored) -> None:
    stored.opened.store.delete(stored.pack_of(SECOND.root_key))
    assert stored.codes() == ["pack-missing"]
    report = repair(stored.root, store=stored.opened.store, clock=stored.clock)
    assert report.affected == ("vision/bikes:v1",)
    assert stored.codes() == ["object-lost"]


class MisreadStore(LocalPackStore):
    """A store that reads what it holds as `misread` says: a bad cable, or a bucket that is wrong for a moment."""

    misread: Callable[[bytes], bytes] = staticmethod(bytes)

    def read(self, name: PackName, offset: int, length: int) -> bytes:
        return self.misread(super().read(name, offset, length))


@pytest.mark.parametrize(
    "misread", [lambda data: _flipped(data, len(data) // 2), lambda data: data[:-1]], ids=["flipped", "short"]
)
def test_a_pack_that_is_misread_when_it_is_to_be_rewritten_stays_as_it_is(
    tmp_path: Path, misread: Callable[[bytes], bytes]
) -> None:
    both = content_of({"a": {"goes": NOISE[:4000]}, "b": {"stays": NOISE[4000:8000]}})
    kept = content_of({"stays": NOISE[4000:8000]})
    store = MisreadStore(tmp_path / "packs")
    with closing(EmbeddedRegistry(tmp_path / "registry", store=store)) as registry:
        registry.projects.create("vision")
        commit(registry, "vision", "both", both)
        commit(registry, "vision", "kept", kept)
        store.misread = misread
        registry.versions.delete("vision", "both", [0], delete_aliases=True)
        store.misread = bytes
        assert [fetch(registry, "vision", key) for key in kept.objects] == list(kept.objects.values())
        before = sum(store.size_bytes(file.name) for file in store.files() if file.name is not None)
        registry.versions.remove("vision", Removal())
        assert sum(store.size_bytes(file.name) for file in store.files() if file.name is not None) < before
        assert [fetch(registry, "vision", key) for key in kept.objects] == list(kept.objects.values())


def test_a_damaged_tree_is_not_sent_to_anybody(stored: Stored) -> None:
    assert stored.registry.objects.read("vision", FIRST.root_key) == FIRST.objects[FIRST.root_key]
    with stored.registry.resources.database.write() as tx:
        tx.run("UPDATE objects SET start = start - 1 WHERE digest = ?", (bytes(FIRST.root),))  # other bytes, as many
    with pytest.raises(DamagedObject):
        stored.registry.objects.read("vision", FIRST.root_key)


def test_a_damaged_pack_is_named_set_aside_and_its_good_objects_are_kept(stored: Stored) -> None:
    damaged = stored.pack_of(FIRST.root_key)
    size = stored.opened.store.size_bytes(damaged)
    stored.opened.change(place_of(damaged), lambda data: _flipped(data, len(data) - size // 2))
    assert stored.codes() == ["object-damaged"]
    report = repair(stored.root, store=stored.opened.store, clock=stored.clock)
    assert report.affected == ("vision/bikes:v0",)
    assert any("aside" in action for action in report.actions)
    assert stored.codes() == ["object-lost"]
    assert damaged not in {file.name for file in stored.opened.store.files()}
    assert [fetch(stored.registry, "vision", key) for key in SECOND.objects] == list(SECOND.objects.values())


def test_files_that_no_row_speaks_of_are_named_and_set_aside(stored: Stored) -> None:
    stored.opened.change(f"{stored.pack_of(FIRST.root_key).project_uid.hex()}/notes.txt", lambda _: b"x")
    assert stored.codes() == ["stray-file"]
    repair(stored.root, store=stored.opened.store, clock=stored.clock)
    assert stored.codes() == []


@pytest.mark.postgres
@pytest.mark.s3
def test_a_registry_of_several_servers_is_checked_like_any_other(tmp_path: Path, clock: Clock) -> None:
    root = tmp_path / "registry"
    with migrated_database() as url, STORES["s3"](root) as opened:
        registry = open_postgres_registry(url, root, store=opened.store, clock=clock)
        try:
            registry.projects.create("vision")
            for content in (FIRST, SECOND):
                commit(registry, "vision", "bikes", content)
            report = check_registry(registry.resources)
            assert (report.findings, report.pack_count) == ([], 2)
            assert report.object_count == len(FIRST.objects | SECOND.objects)
            with registry.resources.database.read() as tx:
                ((uid, pack_id),) = tx.rows(
                    "SELECT j.uid, p.pack_id FROM packs p JOIN objects o ON o.pack = p.id"
                    " JOIN projects j ON j.id = p.project_id WHERE o.digest = ?",
                    (SECOND.root_key.digest,),
                )
            opened.change(place_of(PackName(uid, pack_id)), lambda data: data[:100])
            opened.change("notes.txt", lambda _: b"x")
            found = check_registry(registry.resources)
            assert {finding.code for finding in found.findings} == {"pack-short", "object-damaged", "stray-file"}
            assert found.affected == ["vision/bikes:v1"]
        finally:
            registry.close()


@pytest.mark.parametrize(
    "keys", [None, EncryptionKeys("k1", {"k1": bytes(32)}), EncryptionKeys("k2", {"k2": bytes(32)})]
)
def test_without_the_right_keys_nothing_is_called_damaged_or_repaired(
    tmp_path: Path, clock: Clock, keys: EncryptionKeys | None
) -> None:
    root = tmp_path / "registry"
    with STORES["encrypted"](root) as opened:
        stored = Stored(root, opened, clock)
        plain = LocalPackStore(root / "packs")
        for act in (check, repair):
            with pytest.raises(StorageFailed, match="encrypted"):
                act(root, store=plain if keys is None else EncryptedPackStore(plain, keys), clock=clock)
        assert stored.codes() == []
        stored.registry.close()


def _flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
