"""Two processes at the same packs, one of which cleans, or both, since the lock was lost: nothing is lost, nothing is left."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from artfs.errors import Busy, DraftNotFound
from artfs.registry.embedded import EmbeddedRegistry
from artfs.registry.postgres import MAINTENANCE_LOCK
from artfs.registry.sql_registry import SqlRegistry
from artfs.store.packs import LocalPackStore, PackName
from artfs.wire.deletions import Removal
from artfs.wire.records import SealRequest
from tests.contract.uploading import Content, commit, content_of, fetch, send, write_pack
from tests.registries import OWN_REGISTRIES, administer, migrated_database, open_postgres_registry

pytestmark = [pytest.mark.falsifies("deletion", "whole")]

WAIT_S = 60


class WatchedStore(LocalPackStore):
    """A store that tells before and after it takes a pack, and before and after it deletes one."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.before_delete: Callable[[PackName], None] = _ignore
        self.after_delete: Callable[[PackName], None] = _ignore
        self.before_ingest: Callable[[PackName], None] = _ignore
        self.after_ingest: Callable[[PackName], None] = _ignore

    def ingest(self, name: PackName, source: Path) -> None:
        self.before_ingest(name)
        super().ingest(name, source)
        self.after_ingest(name)

    def delete(self, name: PackName) -> None:
        self.before_delete(name)
        super().delete(name)
        self.after_delete(name)


def _ignore(name: PackName) -> None:
    pass


class Scene:
    """A registry as two processes have it."""

    def __init__(self, root: Path, url: str, stack: ExitStack) -> None:
        self._root = root
        self._url = url
        root.mkdir()
        self.stores = [WatchedStore(root / "packs") for _ in range(2)]
        self.one, self.two = (self._open(store) for store in self.stores)
        for registry in (self.one, self.two):
            stack.callback(registry.close)
        self.one.projects.create("vision")

    def _open(self, store: WatchedStore) -> SqlRegistry:
        if self._url:
            return open_postgres_registry(self._url, self._root, store=store)
        return EmbeddedRegistry(self._root, store=store)

    def lose_lock(self) -> None:
        """Whoever cleans packs has the lock no longer, and does not know."""
        if self._url:
            high, low = MAINTENANCE_LOCK >> 32, MAINTENANCE_LOCK & 0xFFFFFFFF
            administer(
                "SELECT pg_terminate_backend(l.pid) FROM pg_locks l JOIN pg_database d ON d.oid = l.database"
                f" WHERE l.locktype = 'advisory' AND l.classid = {high} AND l.objid = {low} AND l.granted"
                f" AND d.datname = '{self._url.partition('dbname=')[2].partition(' ')[0]}'"
            )
        else:
            (self._root / "maintenance.lock").unlink()

    def stored_packs(self) -> int:
        return len(list((self._root / "packs").rglob("*.pack")))


@pytest.fixture(params=OWN_REGISTRIES)
def scene(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Scene]:
    with ExitStack() as stack:
        url = stack.enter_context(migrated_database()) if request.param == "postgres" else ""
        yield Scene(tmp_path / "registry", url, stack)


def one_pack_of_two(registry: SqlRegistry) -> Content:
    """Two versions in one pack, of which the second is to stay: that is returned."""
    both = content_of({"a": {"goes": b"x" * 4000}, "b": {"stays": b"y" * 4000}})
    commit(registry, "vision", "both", both)
    kept = content_of({"stays": b"y" * 4000})
    commit(registry, "vision", "kept", kept)
    return kept


def in_background(act: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=act, daemon=True)
    thread.start()
    return thread


def has_all(registry: SqlRegistry, content: Content) -> bool:
    return all(fetch(registry, "vision", key) == data for key, data in content.objects.items())


DELETE_BOTH = Removal({"both": [0]}, delete_aliases=True)


def test_a_pack_that_another_gave_up_is_not_switched_to(scene: Scene) -> None:
    """The other one decides that the new pack has no use, and deletes its file right after the first has switched to it."""
    kept = one_pack_of_two(scene.one)
    one_is_done, two_deletes = threading.Event(), threading.Event()
    threads: list[threading.Thread] = []

    def clean_in_two(name: PackName) -> None:
        scene.stores[0].after_ingest = _ignore
        scene.lose_lock()
        threads.append(in_background(lambda: scene.two.versions.remove("vision", Removal())))
        assert two_deletes.wait(WAIT_S)

    def wait_for_one(name: PackName) -> None:
        scene.stores[1].before_delete = _ignore
        two_deletes.set()
        one_is_done.wait(WAIT_S)

    scene.stores[0].after_ingest = clean_in_two
    scene.stores[1].before_delete = wait_for_one
    try:
        scene.one.versions.remove("vision", DELETE_BOTH)
    finally:
        one_is_done.set()
    for thread in threads:
        thread.join(WAIT_S)
        assert not thread.is_alive()
    assert has_all(scene.one, kept)
    assert scene.stored_packs() == 1


def test_a_pack_that_another_deleted_meanwhile_is_made_again(scene: Scene) -> None:
    """The other one is through with all of it before the first goes on."""
    kept = one_pack_of_two(scene.one)

    def clean_in_two(name: PackName) -> None:
        scene.stores[0].before_ingest = _ignore
        scene.lose_lock()
        scene.two.versions.remove("vision", Removal())

    scene.stores[0].before_ingest = clean_in_two
    scene.one.versions.remove("vision", DELETE_BOTH)
    assert has_all(scene.one, kept)
    assert scene.stored_packs() == 1, "a file that no row speaks of was left"


def test_what_is_deleted_while_its_pack_is_rewritten_does_not_stay_in_the_new_one(scene: Scene) -> None:
    one_pack_of_two(scene.one)

    def delete_the_rest(name: PackName) -> None:
        scene.stores[0].after_ingest = _ignore
        scene.two.versions.remove("vision", Removal({"kept": [0]}, delete_aliases=True), clean=False)

    scene.stores[0].after_ingest = delete_the_rest
    scene.one.versions.remove("vision", DELETE_BOTH)
    assert scene.stored_packs() == 0


def test_a_pack_that_is_stored_while_it_is_deleted_leaves_no_file(scene: Scene) -> None:
    """Its upload is ended by another process, which looks for the file before it is there."""
    content = content_of({"file": b"x" * 4000})
    draft = scene.one.drafts.open("vision")
    one_is_done, two_deleted = threading.Event(), threading.Event()
    threads: list[threading.Thread] = []

    def abandon_in_two(name: PackName) -> None:
        scene.stores[0].before_ingest = _ignore
        threads.append(in_background(lambda: scene.two.drafts.abandon(draft.id)))
        assert two_deleted.wait(WAIT_S)

    def wait_for_one(name: PackName) -> None:
        two_deleted.set()
        one_is_done.wait(WAIT_S)

    scene.stores[0].before_ingest = abandon_in_two
    scene.stores[1].after_delete = wait_for_one
    try:
        with pytest.raises(DraftNotFound):
            send(scene.one, draft, content)
    finally:
        one_is_done.set()
    for thread in threads:
        thread.join(WAIT_S)
        assert not thread.is_alive()
    assert scene.stored_packs() == 0


def test_a_pack_on_its_way_out_is_not_taken_for_stored(scene: Scene) -> None:
    """A client that sends a pack again for another upload may meet the first, which was of no use and is being deleted."""
    content = content_of({"file": b"x" * 4000})
    commit(scene.one, "vision", "first", content)
    mine, others = scene.one.drafts.open("vision"), scene.two.drafts.open("vision")
    pack = write_pack(scene.one, mine.project_uid, content.objects.items())
    again = pack.with_suffix(".again")
    shutil.copyfile(pack, again)
    one_is_done, two_deletes = threading.Event(), threading.Event()
    threads: list[threading.Thread] = []

    def use_and_give_up(name: PackName) -> None:
        scene.stores[0].before_ingest = _ignore
        with scene.one.resources.maintenance_lock(wait=True):
            scene.two.drafts.put_pack(others.id, again)
        scene.two.versions.remove("vision", Removal({"first": [0]}, delete_aliases=True), clean=False)
        threads.append(in_background(lambda: scene.two.drafts.abandon(others.id)))
        assert two_deletes.wait(WAIT_S)

    def wait_for_one(name: PackName) -> None:
        two_deletes.set()
        one_is_done.wait(WAIT_S)

    scene.stores[0].before_ingest = use_and_give_up
    scene.stores[1].before_delete = wait_for_one
    try:
        with pytest.raises(Busy):
            scene.one.drafts.put_pack(mine.id, pack)
    finally:
        one_is_done.set()
        for thread in threads:
            thread.join(WAIT_S)
            assert not thread.is_alive()
    send(scene.one, mine, content)
    scene.one.drafts.seal(mine.id, SealRequest("second", content.root))
    assert has_all(scene.one, content)
    assert scene.stored_packs() == 1


def test_a_pack_that_is_in_use_stays_when_an_upload_ends_that_sends_it_again(scene: Scene) -> None:
    content = content_of({"file": b"x" * 4000})
    mine, others = scene.one.drafts.open("vision"), scene.one.drafts.open("vision")
    pack = write_pack(scene.one, mine.project_uid, content.objects.items())
    again = pack.with_suffix(".again")
    shutil.copyfile(pack, again)
    scene.one.drafts.put_pack(mine.id, pack)
    scene.one.drafts.seal(mine.id, SealRequest("bikes", content.root))
    scene.stores[0].before_ingest = lambda name: scene.two.drafts.abandon(others.id)
    with pytest.raises(DraftNotFound):
        scene.one.drafts.put_pack(others.id, again)
    assert has_all(scene.one, content)
