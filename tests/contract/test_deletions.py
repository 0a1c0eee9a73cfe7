"""Deleting versions, artifacts and projects together, on every registry."""

from __future__ import annotations

import pytest

from artfs.errors import ArtifactNotFound, NotEmpty, ProjectNotFound, StillAliased, VersionNotFound
from artfs.wire.deletions import ArtifactRemoval, Removal
from artfs.wire.service import Registry
from tests.contract.uploading import commit, content_of, fetch

pytestmark = [pytest.mark.falsifies("deletion")]

MANY = 40  # more than go in one transaction


def test_what_two_artifacts_share_is_counted_when_both_go(registry: Registry) -> None:
    shared = content_of({"a": b"shared"})
    one = content_of({"a": b"shared", "b": b"one"})
    commit(registry, "vision", "bikes", shared)
    commit(registry, "vision", "cars", one)
    alone = registry.versions.plan_removal("vision", Removal({"bikes": [0]}))
    assert alone.object_count == 1  # its tree
    both = Removal({"bikes": [0], "cars": [0]}, delete_aliases=True)
    plan = registry.versions.plan_removal("vision", both)
    assert plan.object_count == len(set(shared.objects) | set(one.objects)) == 4
    assert plan.artifacts == [
        ArtifactRemoval("bikes", [0], ["latest"]),
        ArtifactRemoval("cars", [0], ["latest"]),
    ]
    assert registry.versions.remove("vision", both) == plan
    assert registry.objects.locate("vision", [*shared.objects, *one.objects]) == [None] * 5


def test_many_versions_free_what_was_planned_whatever_transactions_they_go_in(registry: Registry) -> None:
    contents = [
        content_of({"own": b"own %d" % i, "few": b"few %d" % (i // 7), "d": {"all": b"all"}}) for i in range(MANY + 1)
    ]
    for content in contents:
        commit(registry, "vision", "bikes", content)
    removal = Removal({"bikes": list(range(MANY))})
    plan = registry.versions.plan_removal("vision", removal)
    before = {key for content in contents for key in content.objects}
    assert plan.object_count == len(before - set(contents[-1].objects))
    assert registry.versions.remove("vision", removal) == plan
    assert [version.number for version in registry.versions.list("vision", "bikes")] == [MANY]
    gone = list(before - set(contents[-1].objects))
    assert registry.objects.locate("vision", gone) == [None] * len(gone)
    assert all(fetch(registry, "vision", key) is not None for key in contents[-1].objects)


def test_an_alias_on_any_of_many_versions_keeps_all_of_them(registry: Registry) -> None:
    for i in range(MANY):
        commit(registry, "vision", "bikes", {"a": b"%d" % i}, *(["best"] if i == 30 else []))
    with pytest.raises(StillAliased, match="best"):
        registry.versions.remove("vision", Removal({"bikes": list(range(MANY - 1))}))
    assert len(registry.versions.list("vision", "bikes")) == MANY
    with pytest.raises(VersionNotFound, match="v77"):
        registry.versions.remove("vision", Removal({"bikes": [*range(MANY), 77]}, delete_aliases=True))
    assert len(registry.versions.list("vision", "bikes")) == MANY
    done = registry.versions.remove("vision", Removal({"bikes": list(range(MANY))}, delete_aliases=True))
    assert done.artifacts == [ArtifactRemoval("bikes", list(range(MANY)), ["best", "latest"])]
    assert registry.aliases.list("vision", "bikes") == {}


def test_everybody_hears_of_versions_that_are_deleted(registry: Registry) -> None:
    for i in range(MANY):
        commit(registry, "vision", "bikes", {"a": b"%d" % i})
    heard = registry.changes.position()
    registry.versions.delete("vision", "bikes", [3, 5])
    told = [(change.kind, change.artifact, change.name) for change in registry.changes.since(heard)]
    assert told == [("version", "bikes", "v3"), ("version", "bikes", "v5")]
    heard = registry.changes.position()
    registry.versions.remove("vision", Removal({"bikes": list(range(20, MANY - 1))}))
    assert [change.name for change in registry.changes.since(heard)] == [f"v{i}" for i in range(20, MANY - 1)]


def test_an_artifact_goes_with_its_versions_and_aliases(registry: Registry) -> None:
    commit(registry, "vision", "bikes", {"a": b"1"}, "best")
    kept = content_of({"a": b"2"})
    commit(registry, "vision", "cars", kept)
    registry.artifacts.create("vision", "empty")
    removal = Removal(artifacts=["bikes", "empty"])
    plan = registry.versions.plan_removal("vision", removal)
    assert plan.artifacts == [
        ArtifactRemoval("bikes", [0], ["best", "latest"], is_whole=True),
        ArtifactRemoval("empty", [], [], is_whole=True),
    ]
    assert registry.versions.remove("vision", removal) == plan
    assert [artifact.name for artifact in registry.artifacts.list("vision")] == ["cars"]
    assert commit(registry, "vision", "bikes", {"a": b"1"}).version.number == 1, "numbers are never given twice"


def test_a_project_goes_with_everything(registry: Registry) -> None:
    commit(registry, "vision", "bikes", {"a": b"1"}, "best")
    commit(registry, "vision", "cars", {"a": b"1"})
    plan = registry.versions.plan_removal("vision", Removal(whole_project=True))
    assert (plan.version_count, plan.object_count, plan.whole_project) == (2, 2, True)
    assert registry.versions.remove("vision", Removal(whole_project=True)) == plan
    with pytest.raises(ProjectNotFound):
        registry.projects.get("vision")


def test_a_project_somebody_uploads_to_stays_whole(registry: Registry) -> None:
    commit(registry, "vision", "bikes", {"a": b"1"})
    draft = registry.drafts.open("vision")
    with pytest.raises(NotEmpty, match="upload"):
        registry.versions.remove("vision", Removal(whole_project=True))
    assert len(registry.versions.list("vision", "bikes")) == 1
    registry.drafts.abandon(draft.id)
    registry.versions.remove("vision", Removal(whole_project=True))


def test_bytes_are_gone_when_the_last_of_several_calls_returns(registry: Registry) -> None:
    contents = [content_of({"a": b"%d" % i}) for i in range(3)]
    for content in contents:
        commit(registry, "vision", "bikes", content)
    first = registry.versions.remove("vision", Removal({"bikes": [0]}), clean=False)
    last = registry.versions.remove("vision", Removal({"bikes": [1]}))
    assert (first.object_count, last.object_count) == (2, 2)
    assert fetch(registry, "vision", contents[2].root_key) is not None


def test_nothing_to_delete_is_nothing(registry: Registry) -> None:
    assert registry.versions.remove("vision", Removal()).artifacts == []
    with pytest.raises(ArtifactNotFound):
        registry.versions.plan_removal("vision", Removal({"nope": []}))
    with pytest.raises(ProjectNotFound):
        registry.versions.plan_removal("nope", Removal(whole_project=True))
