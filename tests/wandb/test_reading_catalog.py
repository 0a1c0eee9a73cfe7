"""A W&B server's projects, artifacts, versions and aliases as a registry: what `artfs serve --wandb` has, through its GraphQL."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from artfs.errors import (
    AccessDenied,
    ArtifactNotFound,
    InvalidValue,
    NotAuthenticated,
    NotFound,
    ProjectNotFound,
    RegistryUnavailable,
    VersionNotFound,
)
from artfs.model.access import Role, Scope
from artfs.vfs.catalog import AskedCatalog
from artfs.vfs.ports import Catalog, NotRemembered
from artfs.wandb_client.address import WandbAddress
from artfs.wandb_client.memory import FRESH_S, Memory
from artfs.wandb_client.registry import WandbRegistry
from artfs.wire.records import VersionChange, VersionRecord
from artfs.wire.service import Registry
from tests.acceptance.team import Member
from tests.contract.uploading import commit
from tests.wandb.client import WandbServer, api_key, wandb_server

pytestmark = pytest.mark.timeout(300)

PROJECT = "reading"
READER = "reader"


class Seconds:
    """A clock that only the test moves."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture(scope="module")
def key(server: WandbServer, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Of a user who may read `reading`, where `put` stored two versions of bikes and one of a model."""
    token = server.place.user("geoff", Scope.ADMIN)
    member = Member(tmp_path_factory.mktemp("geoff"), {"ARTFS_REGISTRY": server.server.url, "ARTFS_TOKEN": token})
    source = member.home / "source"
    (source / "sub").mkdir(parents=True)
    (source / "a.txt").write_text("a")
    (source / "sub/b.txt").write_text("bb")
    described = ("-d", "what it is", "--metadata", '{"n": [1, null]}', "-t", "dataset")
    member.run("put", "-n", f"{PROJECT}/bikes", *described, "-a", "first", source)
    (source / "a.txt").write_text("changed")
    member.run("put", "-n", f"{PROJECT}/bikes", "-t", "dataset", "-a", "best", source)
    member.run("put", "-n", f"{PROJECT}/net", "-t", "model", source)
    server.place.user("alice")
    server.place.project("hidden", alice=Role.ADMIN)
    return api_key(server.place.user("geoff", Scope.READ))


@pytest.fixture
def clock() -> Seconds:
    return Seconds()


@pytest.fixture
def registry(server: WandbServer, key: str, clock: Seconds) -> Iterator[WandbRegistry]:
    opened = WandbRegistry(WandbAddress(server.server.url, "geoff"), key, memory=Memory(clock=clock))
    yield opened
    opened.close()


def stored(server: WandbServer, artifact: str) -> list[VersionRecord]:
    """As the registry itself has them."""
    own = server.place.registry
    found = own.versions.list(PROJECT, artifact)
    own.close()
    return found


def same(found: VersionRecord, kept: VersionRecord) -> None:
    """All but the root, the second's fraction, and who made it."""
    told = ("project", "artifact", "number", "type", "description", "metadata", "size_bytes", "file_count")
    assert [getattr(found, name) for name in told] == [getattr(kept, name) for name in told]
    assert sorted(found.aliases) == sorted(kept.aliases)
    assert found.created_at_ns // 10**9 == kept.created_at_ns // 10**9


def test_it_is_a_registry_and_a_catalog(registry: WandbRegistry) -> None:
    as_registry: Registry = registry
    as_catalog: Catalog = registry.known
    assert len(as_registry.identity) == 32
    with pytest.raises(NotRemembered):
        as_catalog.projects()


def test_projects_are_those_that_the_key_may_read(registry: WandbRegistry, server: WandbServer) -> None:
    names = [project.name for project in registry.projects.list()]
    assert PROJECT in names
    assert "hidden" not in names
    assert names == sorted(names)
    found = registry.projects.get(PROJECT)
    own = server.place.registry
    assert found.created_at_ns // 10**9 == own.projects.get(PROJECT).created_at_ns // 10**9
    own.close()
    assert len(found.uid) == 16
    assert [project.name for project in registry.projects.list(after=PROJECT)] == names[names.index(PROJECT) + 1 :]
    assert [project.name for project in registry.projects.list(limit=1)] == names[:1]


def test_artifacts_of_all_types_are_listed(registry: WandbRegistry) -> None:
    found = {artifact.name: (artifact.type, artifact.version_count) for artifact in registry.artifacts.list(PROJECT)}
    assert found == {"bikes": ("dataset", 2), "net": ("model", 1)}
    assert registry.artifacts.get(PROJECT, "net") in registry.artifacts.list(PROJECT)
    assert [artifact.name for artifact in registry.artifacts.list(PROJECT, after="bikes", limit=5)] == ["net"]


def test_versions_are_those_that_were_stored(registry: WandbRegistry, server: WandbServer) -> None:
    found, kept = registry.versions.list(PROJECT, "bikes"), stored(server, "bikes")
    assert [version.name for version in found] == ["v0", "v1"]
    for one, other in zip(found, kept, strict=True):
        same(one, other)
    assert found[0].metadata == {"n": [1, None]}
    assert registry.versions.list(PROJECT, "bikes", after=0) == found[1:]
    assert registry.versions.list(PROJECT, "bikes", limit=1) == found[:1]


@pytest.mark.parametrize(("selector", "number"), [("v0", 0), ("first", 0), ("best", 1), ("latest", 1), ("v1", 1)])
def test_a_selector_means_a_version_listed_or_not(registry: WandbRegistry, selector: str, number: int) -> None:
    found = registry.versions.resolve(PROJECT, "bikes", selector)
    assert found == registry.versions.list(PROJECT, "bikes")[number]
    assert registry.versions.resolve(PROJECT, "bikes", selector) == found


def test_aliases_are_those_of_the_artifact(registry: WandbRegistry) -> None:
    assert registry.aliases.list(PROJECT, "bikes") == {"first": 0, "best": 1, "latest": 1}
    assert registry.aliases.list(PROJECT, "net") == {"latest": 0}


def test_what_is_not_there_is_not_found(registry: WandbRegistry) -> None:
    with pytest.raises(ProjectNotFound):
        registry.projects.get("nothing")
    with pytest.raises(ProjectNotFound):
        registry.artifacts.list("nothing")
    with pytest.raises(ProjectNotFound):
        registry.projects.get("hidden")
    with pytest.raises(ArtifactNotFound):
        registry.artifacts.get(PROJECT, "nothing")
    with pytest.raises(ArtifactNotFound):
        registry.versions.list(PROJECT, "nothing")
    for selector in ("v2", "worst", "v01"):
        with pytest.raises(NotFound):
            registry.versions.resolve(PROJECT, "bikes", selector)


def test_the_root_of_a_record_leads_to_the_version(registry: WandbRegistry) -> None:
    record = registry.versions.resolve(PROJECT, "bikes", "best")
    version = registry.version_of(record.root)
    assert version is not None
    assert version.root == record.root
    assert version[:4] == ("geoff", PROJECT, "bikes", 1)
    assert len({one.root for one in registry.versions.list(PROJECT, "bikes")}) == 2
    assert registry.version_of(stored_root(registry)) is None


def stored_root(registry: WandbRegistry) -> Any:
    root = registry.versions.resolve(PROJECT, "net", "latest").root
    return type(root).of(bytes(root))


def test_a_version_has_a_manifest_and_ids_have_times(registry: WandbRegistry) -> None:
    version = registry.version_of(registry.versions.resolve(PROJECT, "bikes", "first").root)
    assert version is not None
    manifest = json.loads(bytes(registry.manifest(version)))
    assert sorted(manifest["contents"]) == ["a.txt", "sub/b.txt"]
    newer = registry.version_of(registry.versions.list(PROJECT, "bikes")[1].root)
    assert newer is not None
    assert registry.created_at_ns(version, newer.id) == newer.created_at_ns
    assert registry.created_at_ns(version, "bm90aGluZw==") is None
    with pytest.raises(NotFound):
        registry.manifest(version._replace(id="bm90aGluZw=="))


def test_times_of_versions_that_were_not_met_are_asked_for(
    server: WandbServer, key: str, registry: WandbRegistry
) -> None:
    version = registry.version_of(registry.versions.resolve(PROJECT, "bikes", "v0").root)
    newer = registry.version_of(registry.versions.list(PROJECT, "bikes")[1].root)
    assert version is not None
    assert newer is not None
    fresh = WandbRegistry(WandbAddress(server.server.url, "geoff"), key)
    assert fresh.created_at_ns(version, newer.id) == newer.created_at_ns
    fresh.close()


def test_without_an_entity_it_is_the_keys_own(server: WandbServer, key: str, registry: WandbRegistry) -> None:
    own = WandbRegistry(WandbAddress(server.server.url, ""), key)
    assert own.identity == registry.identity
    assert own.projects.list() == registry.projects.list()
    own.close()
    other = WandbRegistry(WandbAddress(server.server.url, "team"), key)
    assert other.identity != registry.identity
    other.close()


def test_a_wrong_key_is_refused(server: WandbServer) -> None:
    wrong = WandbRegistry(WandbAddress(server.server.url, "geoff"), "0" * 40)
    with pytest.raises(NotAuthenticated):
        wrong.projects.list()
    wrong.close()


def test_a_path_is_asked_for_once_and_a_list_answers_for_what_is_in_it(registry: WandbRegistry, clock: Seconds) -> None:
    def requests() -> int:
        return registry.graphql.request_count

    registry.projects.get(PROJECT)
    registry.artifacts.get(PROJECT, "bikes")
    registry.versions.resolve(PROJECT, "bikes", "best")
    before = requests()
    for _ in range(3):
        registry.projects.get(PROJECT)
        registry.artifacts.get(PROJECT, "bikes")
        registry.versions.resolve(PROJECT, "bikes", "best")
    assert requests() == before
    registry.versions.list(PROJECT, "bikes")
    before = requests()
    registry.aliases.list(PROJECT, "bikes")
    for selector in ("v0", "v1", "first", "best", "latest"):
        registry.versions.resolve(PROJECT, "bikes", selector)
        registry.known.version(PROJECT, "bikes", selector, None)
    assert requests() == before
    clock.now_s += FRESH_S
    with pytest.raises(NotRemembered):
        registry.known.versions(PROJECT, "bikes")
    registry.versions.resolve(PROJECT, "bikes", "best")
    assert requests() == before + 1


def test_what_is_remembered_is_what_would_be_asked_for(registry: WandbRegistry) -> None:
    asked: Catalog = AskedCatalog(registry)
    known: Catalog = registry.known
    assert asked.projects() == known.projects()
    assert asked.project(PROJECT) == known.project(PROJECT)
    assert asked.artifacts(PROJECT) == known.artifacts(PROJECT)
    assert asked.artifact(PROJECT, "bikes") == known.artifact(PROJECT, "bikes")
    assert asked.versions(PROJECT, "bikes") == known.versions(PROJECT, "bikes")
    assert asked.aliases(PROJECT, "bikes", None) == known.aliases(PROJECT, "bikes", None)
    with pytest.raises(VersionNotFound):
        asked.version(PROJECT, "bikes", "worst", None)
    with pytest.raises(VersionNotFound):
        known.version(PROJECT, "bikes", "worst", None)


def test_a_change_is_seen_when_what_is_remembered_is_old(
    registry: WandbRegistry, server: WandbServer, clock: Seconds
) -> None:
    own = server.place.registry
    commit(own, PROJECT, "moving", {"a": b"0"}, "chosen")
    assert registry.versions.resolve(PROJECT, "moving", "chosen").number == 0
    commit(own, PROJECT, "moving", {"a": b"1"}, "chosen")
    own.versions.update(PROJECT, "moving", 0, VersionChange(description="older"))
    assert registry.versions.resolve(PROJECT, "moving", "chosen").number == 0
    clock.now_s += FRESH_S
    assert registry.versions.resolve(PROJECT, "moving", "chosen").number == 1
    assert registry.versions.resolve(PROJECT, "moving", "v0").description == "older"
    own.versions.delete(PROJECT, "moving", [0, 1], delete_aliases=True)
    own.artifacts.delete(PROJECT, "moving")
    own.close()
    clock.now_s += FRESH_S
    with pytest.raises(ArtifactNotFound):
        registry.versions.resolve(PROJECT, "moving", "chosen")


def test_what_would_change_something_is_refused(registry: WandbRegistry) -> None:
    def versions_and_aliases() -> Iterator[Any]:
        yield lambda: registry.versions.update(PROJECT, "bikes", 0, VersionChange(description="x"))
        yield lambda: registry.versions.delete(PROJECT, "bikes", [0], delete_aliases=True)
        yield lambda: registry.aliases.move(PROJECT, "bikes", "best", 0)
        yield lambda: registry.aliases.remove(PROJECT, "bikes", "best")
        yield lambda: registry.projects.create("other", exist_ok=True)
        yield lambda: registry.artifacts.delete(PROJECT, "bikes")
        yield lambda: registry.drafts.open(PROJECT)
        yield lambda: registry.shared_drafts.open(PROJECT, "bikes", "group")
        yield lambda: registry.spool

    for change in versions_and_aliases():
        with pytest.raises(InvalidValue, match="only read here") as raised:
            change()
        assert "wandb artifact put" in raised.value.hint


def test_what_is_not_read_is_refused(registry: WandbRegistry) -> None:
    for question in (
        lambda: registry.runs.list(PROJECT),
        lambda: registry.sweeps.get(PROJECT, "s"),
        lambda: registry.lineage.of_version(PROJECT, "bikes", 0),
        lambda: registry.access.users.me(),
        lambda: registry.versions.resolve(PROJECT, "bikes", "best", as_of=0),
        lambda: registry.aliases.list(PROJECT, "bikes", as_of=0),
    ):
        with pytest.raises(InvalidValue):
            question()


def test_nothing_tells_of_changes_and_waiting_ends(registry: WandbRegistry) -> None:
    assert registry.changes.position() == 0
    assert registry.changes.since(0) == []
    assert registry.changes.wait(0, 0.01) == 0
    assert registry.objects.locate(PROJECT, [registry.versions.list(PROJECT, "bikes")[0].root_key]) == [None]
    registry.close()
    began_s = time.monotonic()
    registry.changes.wait(0, 60)
    assert time.monotonic() - began_s < 30
    with pytest.raises(RegistryUnavailable):
        registry.projects.list()


def test_what_was_visited_stays_readable_while_the_server_is_down(tmp_path: Path) -> None:
    clock = Seconds()
    with wandb_server(tmp_path) as running:
        token = running.place.user("geoff")
        running.place.project(PROJECT, geoff=Role.ADMIN)
        own = running.place.registry
        commit(own, PROJECT, "bikes", {"a": b"a"}, "best")
        own.close()
        registry = WandbRegistry(WandbAddress(running.server.url, ""), api_key(token), memory=Memory(clock=clock))
        projects, versions = registry.projects.list(), registry.versions.list(PROJECT, "bikes")
    clock.now_s += 3600
    assert registry.projects.list() == projects
    assert registry.projects.get(PROJECT) == projects[0]
    assert registry.versions.list(PROJECT, "bikes") == versions
    assert registry.versions.resolve(PROJECT, "bikes", "best") == versions[0]
    with pytest.raises(RegistryUnavailable):
        registry.artifacts.list(PROJECT)
    with pytest.raises(RegistryUnavailable):
        registry.versions.resolve(PROJECT, "bikes", "worst")
    registry.close()


def test_a_project_that_is_not_shown_any_more_is_not_found(server: WandbServer, clock: Seconds) -> None:
    token = server.place.user(READER)
    server.place.project("shared-once", reader=Role.READER)
    registry = WandbRegistry(WandbAddress(server.server.url, READER), api_key(token), memory=Memory(clock=clock))
    assert registry.projects.get("shared-once").name == "shared-once"
    own = server.place.registry
    own.access.members.remove("shared-once", READER)
    own.close()
    clock.now_s += FRESH_S
    with pytest.raises((NotFound, AccessDenied)):
        registry.projects.get("shared-once")
    registry.close()
