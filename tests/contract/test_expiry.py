"""Times to live: what is deleted when, against a clock that the test moves."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing
from functools import partial
from pathlib import Path

import pytest

from artfs.client.remote.registry import RemoteRegistry
from artfs.errors import VersionNotFound
from artfs.registry.database import Transaction
from artfs.registry.embedded import EmbeddedRegistry
from artfs.registry.sql_registry import SqlRegistry
from artfs.registry.sqlite import SqliteDatabase
from artfs.server.settings import ServerSettings
from artfs.wire.records import SealRequest, VersionChange, VersionRecord
from tests.contract.uploading import Clock, commit, content_of, fetch, send
from tests.network.served import admin_token, served
from tests.registries import OWN_REGISTRIES, own_registry

pytestmark = [pytest.mark.falsifies("deletion")]

DAY_S = 86_400
WAIT_S = 30.0


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=OWN_REGISTRIES)
def registry(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> Iterator[SqlRegistry]:
    with own_registry(request.param, tmp_path / "registry", clock) as opened:
        opened.projects.create("vision")
        yield opened


def make(registry: SqlRegistry, text: bytes, *aliases: str, ttl_s: int | None = None) -> VersionRecord:
    content = content_of({"own": text, "all": b"all"})
    draft = registry.drafts.open("vision")
    send(registry, draft, content)
    return registry.drafts.seal(draft.id, SealRequest("bikes", content.root, list(aliases), ttl_s=ttl_s)).version


def numbers(registry: SqlRegistry) -> list[int]:
    return [version.number for version in registry.versions.list("vision", "bikes")]


def test_a_version_goes_at_its_time_and_not_before(registry: SqlRegistry, clock: Clock) -> None:
    expiring = make(registry, b"brief", ttl_s=100)
    kept = make(registry, b"kept")
    assert expiring.expires_at_ns is not None
    clock.now_ns = expiring.expires_at_ns - 10**6
    assert registry.collection.plan().version_count == 0
    assert registry.collection.collect().version_count == 0
    assert numbers(registry) == [0, 1]
    clock.now_ns = expiring.expires_at_ns
    plan = registry.collection.plan()
    assert (plan.version_count, plan.object_count) == (1, 2)
    assert registry.collection.collect() == plan
    assert numbers(registry) == [1]
    assert fetch(registry, "vision", kept.root_key) is not None
    assert registry.objects.locate("vision", [expiring.root_key]) == [None]
    assert registry.collection.collect().version_count == 0


def test_an_alias_other_than_latest_keeps_a_version_while_it_means_it(registry: SqlRegistry, clock: Clock) -> None:
    make(registry, b"best", "best", ttl_s=DAY_S)
    make(registry, b"last", ttl_s=DAY_S)
    assert registry.aliases.list("vision", "bikes") == {"best": 0, "latest": 1}
    clock.advance_s(2 * DAY_S)
    (plan,) = registry.collection.collect().expired
    assert [(one.artifact, one.numbers, one.aliases) for one in plan.artifacts] == [("bikes", [1], ["latest"])]
    assert registry.aliases.list("vision", "bikes") == {"best": 0}
    registry.aliases.remove("vision", "bikes", "best")
    assert registry.collection.collect().version_count == 1
    assert numbers(registry) == []


def test_the_time_can_be_changed(registry: SqlRegistry, clock: Clock) -> None:
    for text in (b"longer", b"for ever", b"given late"):
        make(registry, text, ttl_s=None if text == b"given late" else DAY_S)
    registry.versions.update("vision", "bikes", 0, VersionChange(ttl_s=3 * DAY_S))
    assert registry.versions.update("vision", "bikes", 1, VersionChange(ttl_s=0)).expires_at_ns is None
    registry.versions.update("vision", "bikes", 2, VersionChange(ttl_s=1))
    clock.advance_s(2 * DAY_S)
    registry.collection.collect()
    assert numbers(registry) == [0, 1]
    clock.advance_s(2 * DAY_S)
    registry.collection.collect()
    assert numbers(registry) == [1]


def test_who_commits_what_is_there_already_has_it_as_long_as_a_version_of_its_own(
    registry: SqlRegistry, clock: Clock
) -> None:
    """Identical content makes no new version: the one that there is must not go before what was asked for."""
    first = make(registry, b"same", ttl_s=DAY_S)
    assert first.expires_at_ns is not None
    longer = make(registry, b"same", ttl_s=3 * DAY_S)
    assert longer.number == first.number
    assert longer.expires_at_ns is not None
    assert longer.expires_at_ns > first.expires_at_ns + DAY_S
    position = registry.changes.position()
    assert make(registry, b"same", ttl_s=DAY_S).expires_at_ns == longer.expires_at_ns, "others rely on it"
    assert registry.changes.position() == position
    clock.advance_s(4 * DAY_S)  # its time is over, and nobody has collected it yet
    assert make(registry, b"same").expires_at_ns is None
    assert [change.name for change in registry.changes.since(position)] == ["v0"]
    registry.collection.collect()
    assert numbers(registry) == [0]
    assert make(registry, b"same", ttl_s=DAY_S).expires_at_ns is None


def test_what_is_named_or_given_time_while_others_are_deleted_stays(registry: SqlRegistry, clock: Clock) -> None:
    for i in range(24):
        make(registry, b"%d" % i, ttl_s=DAY_S)
    clock.advance_s(2 * DAY_S)
    looks = 0

    def changed_meanwhile() -> bool:
        nonlocal looks
        looks += 1
        if looks == 1:
            registry.aliases.move("vision", "bikes", "rescued", 20)
            registry.versions.update("vision", "bikes", 21, VersionChange(ttl_s=DAY_S))
            registry.versions.delete("vision", "bikes", [22])
        return False

    assert registry.collection.collect(stopped=changed_meanwhile).version_count == 21
    assert looks > 1
    assert numbers(registry) == [20, 21]


def test_collecting_stops_between_transactions_and_goes_on_later(registry: SqlRegistry, clock: Clock) -> None:
    for i in range(40):
        make(registry, b"%d" % i, ttl_s=DAY_S)
    clock.advance_s(2 * DAY_S)
    assert registry.collection.collect(versions=5).version_count == 5
    first = registry.collection.collect(stopped=lambda: True).version_count
    assert 0 < first < 35
    assert registry.collection.collect().version_count == 35 - first


def test_collecting_that_is_stopped_begins_nothing_more(registry: SqlRegistry, clock: Clock) -> None:
    """As a server that ends: others may have to wait for it."""
    expired = make(registry, b"expired", ttl_s=DAY_S)
    make(registry, b"kept")
    upload = content_of({"a": b"never sealed"})
    send(registry, registry.drafts.open("vision"), upload)
    packs = [path for path in registry.spool.parent.rglob("*.pack") if path.parent != registry.spool]
    clock.advance_s(2 * DAY_S)
    done = registry.collection.collect(stopped=lambda: True)
    assert (done.version_count, done.draft_count) == (1, 0)
    assert registry.objects.locate("vision", [expired.root_key]) == [None]
    assert all(path.exists() for path in packs)
    later = registry.collection.collect()
    assert (later.version_count, later.draft_count) == (0, 1)
    assert registry.objects.locate("vision", list(upload.objects)) == [None, None]
    assert sum(path.exists() for path in packs) == 1, "the pack of what is kept, in which nothing died"


def test_abandoned_uploads_are_collected_and_counted(registry: SqlRegistry, clock: Clock) -> None:
    content = content_of({"a": b"never sealed"})
    send(registry, registry.drafts.open("vision"), content)
    clock.advance_s(2 * DAY_S)
    plan = registry.collection.plan()
    assert (plan.version_count, plan.draft_count, plan.object_count) == (0, 1, 2)
    assert registry.collection.collect() == plan
    assert registry.objects.locate("vision", list(content.objects)) == [None, None]


def test_an_upload_that_is_renewed_just_when_it_is_to_be_collected_holds_what_it_held(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    others_clock = Clock()
    with (
        closing(EmbeddedRegistry(tmp_path / "registry", clock=clock)) as registry,
        closing(EmbeddedRegistry(tmp_path / "registry", clock=others_clock)) as other,
    ):
        registry.projects.create("vision")
        make(registry, b"held")
        content = content_of({"own": b"held", "all": b"all"})
        draft = other.drafts.open("vision")
        assert other.drafts.missing(draft.id, list(content.objects)) == []
        others_clock.advance_s(DAY_S - 60)
        clock.advance_s(DAY_S + 60)
        begin = SqliteDatabase.write
        renewed = False

        def renewed_before(database: SqliteDatabase, *, durable: bool = True) -> AbstractContextManager[Transaction]:
            nonlocal renewed
            if not renewed:
                renewed = True
                other.drafts.renew(draft.id)
            return begin(database, durable=durable)

        monkeypatch.setattr(SqliteDatabase, "write", renewed_before)
        registry.collection.collect()
        assert renewed
        registry.versions.delete("vision", "bikes", [0], delete_aliases=True)
        other.drafts.seal(draft.id, SealRequest("bikes", content.root))
        assert [fetch(registry, "vision", key) for key in content.objects] == list(content.objects.values())


def test_what_versions_and_uploads_share_is_counted_once(registry: SqlRegistry, clock: Clock) -> None:
    shared = make(registry, b"shared", ttl_s=DAY_S)
    draft = registry.drafts.open("vision")
    registry.drafts.missing(draft.id, [shared.root_key])
    clock.advance_s(2 * DAY_S)
    plan = registry.collection.plan()
    assert plan.object_count == 3
    done = registry.collection.collect()
    assert (done.object_count, done.freed_bytes) == (plan.object_count, plan.freed_bytes)


def test_a_round_is_left_to_whoever_began_one(registry: SqlRegistry, clock: Clock) -> None:
    make(registry, b"1", ttl_s=DAY_S)
    clock.advance_s(2 * DAY_S)
    registry.collection.try_round(60, lambda: False)
    assert numbers(registry) == []
    make(registry, b"2", ttl_s=1)
    clock.advance_s(30)
    registry.collection.try_round(60, lambda: False)
    assert numbers(registry) == [1], "a round began 30 seconds ago"
    clock.advance_s(31)
    registry.collection.try_round(60, lambda: False)
    assert numbers(registry) == []


def test_a_clock_that_was_ahead_holds_no_round_up(registry: SqlRegistry, clock: Clock) -> None:
    clock.advance_s(10 * DAY_S)
    registry.collection.try_round(60, lambda: False)
    clock.advance_s(-9 * DAY_S)
    make(registry, b"1", ttl_s=1)
    clock.advance_s(2)
    registry.collection.try_round(60, lambda: False)
    assert numbers(registry) == []


def test_a_server_deletes_what_expired_by_itself(tmp_path: Path, clock: Clock) -> None:
    root = tmp_path / "registry"
    with closing(EmbeddedRegistry(root, clock=clock)) as own:
        token = admin_token(own)
    settings = ServerSettings(collect_every_s=0.05)
    with served(partial(EmbeddedRegistry, root, clock=clock), settings) as url:
        with closing(RemoteRegistry(url, token, spool=tmp_path / "spool")) as remote:
            remote.projects.create("vision")
            for number in range(2):
                commit(remote, "vision", "bikes", {"a": b"%d" % number})
            remote.versions.update("vision", "bikes", 0, VersionChange(ttl_s=DAY_S))
            clock.advance_s(2 * DAY_S)
            deadline_s = time.monotonic() + WAIT_S
            while len(remote.versions.list("vision", "bikes")) > 1:
                assert time.monotonic() < deadline_s
                time.sleep(0.02)
            with pytest.raises(VersionNotFound):
                remote.versions.resolve("vision", "bikes", "v0")


def test_a_repaired_registry_knows_when_its_versions_expire(tmp_path: Path, clock: Clock) -> None:
    from artfs.registry.repair import repair

    root = tmp_path / "registry"
    with closing(EmbeddedRegistry(root, clock=clock)) as registry:
        registry.projects.create("vision")
        expires_at_ns = make(registry, b"1", ttl_s=DAY_S).expires_at_ns
        database = registry.layout.database
    for path in database.parent.glob(f"{database.name}*"):
        path.unlink()
    repair(root)
    with closing(EmbeddedRegistry(root, clock=clock)) as registry:
        assert registry.versions.resolve("vision", "bikes", "v0").expires_at_ns == expires_at_ns
