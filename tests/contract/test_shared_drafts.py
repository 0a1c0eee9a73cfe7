"""Drafts that many writers contribute to, on every registry."""

from __future__ import annotations

import pytest

from artfs.errors import (
    Busy,
    DraftClosed,
    DraftNotFound,
    InvalidName,
    InvalidValue,
    NotEmpty,
    ObjectMissing,
    ProjectNotFound,
    RunNotFound,
)
from artfs.model.digest import Digest
from artfs.model.lineage import EdgeKind, RunRef, VersionRef
from artfs.wire.deletions import Removal
from artfs.wire.records import DraftRecord, SealRequest, SealResult
from artfs.wire.runs import NewRun, Part, SharedDraftRecord
from artfs.wire.service import ALIASES_MAX, Registry
from tests.contract.uploading import Clock, Content, Tree, commit, content_of, fetch, send

pytestmark = [pytest.mark.falsifies("whole", "deletion")]

DAY_S = 24 * 3600
ONE: Tree = {"a": b"one"}
TWO: Tree = {"b": {"c": b"two"}}
BOTH: Tree = {**ONE, **TWO}


def sent(registry: Registry, *trees: Tree | Content) -> DraftRecord:
    """An upload that has `trees`."""
    draft = registry.drafts.open("vision")
    for tree in trees:
        send(registry, draft, tree if isinstance(tree, Content) else content_of(tree))
    return draft


def root(tree: Tree) -> Digest:
    return content_of(tree).root


def contribute(registry: Registry, shared: SharedDraftRecord, tree: Tree, run: str = "") -> DraftRecord:
    draft = sent(registry, tree)
    registry.shared_drafts.add(shared.id, draft.id, Part(root(tree), run))
    return draft


def finish(registry: Registry, shared: SharedDraftRecord, whole: Tree, *parts: Tree) -> SealResult:
    draft = sent(registry, whole)
    request = SealRequest(shared.artifact, root(whole))
    return registry.shared_drafts.finish(shared.id, draft.id, request, [root(part) for part in parts])


def has_all(registry: Registry, content: Content) -> bool:
    return all(fetch(registry, "vision", key) == data for key, data in content.objects.items())


def has_none(registry: Registry, tree: Tree) -> bool:
    return all(place is None for place in registry.objects.locate("vision", list(content_of(tree).objects)))


def test_there_is_one_for_each_artifact_and_group(registry: Registry) -> None:
    shared = registry.shared_drafts.open("vision", "data", "night")
    assert (shared.project, shared.artifact, shared.group) == ("vision", "data", "night")
    assert registry.shared_drafts.open("vision", "data", "night").id == shared.id
    others = [registry.shared_drafts.open("vision", "data", "day"), registry.shared_drafts.open("vision", "x", "night")]
    assert len({shared.id, *(one.id for one in others)}) == 3
    assert registry.shared_drafts.parts(shared.id) == []


def test_what_cannot_be_opened_is_refused(registry: Registry) -> None:
    with pytest.raises(ProjectNotFound):
        registry.shared_drafts.open("nowhere", "data", "night")
    with pytest.raises(InvalidName):
        registry.shared_drafts.open("vision", "a b", "night")
    for group in ("", "a\nb", "x" * 129):
        with pytest.raises(InvalidValue):
            registry.shared_drafts.open("vision", "data", group)


def test_parts_are_told_in_an_order_of_their_own(registry: Registry) -> None:
    registry.runs.start("vision", NewRun("r1"))
    shared = registry.shared_drafts.open("vision", "data", "night")
    parts = [
        Part(root(TWO), "vision/r1", "text", {"k": [1, None]}, ["best", "good"]),
        Part(root(TWO)),
        Part(root(ONE)),
    ]
    for part, tree in zip(parts, (TWO, TWO, ONE), strict=True):
        registry.shared_drafts.add(shared.id, sent(registry, tree).id, part)
    assert registry.shared_drafts.parts(shared.id) == sorted(parts, key=lambda part: (part.root, part.run))


def test_a_contribution_ends_the_writers_draft_and_keeps_only_the_part(registry: Registry) -> None:
    shared = registry.shared_drafts.open("vision", "data", "night")
    draft = sent(registry, TWO, {"left": b"over"})
    registry.shared_drafts.add(shared.id, draft.id, Part(root(TWO)))
    with pytest.raises(DraftNotFound):
        registry.drafts.renew(draft.id)
    assert has_all(registry, content_of(TWO))
    assert has_none(registry, {"left": b"over"})


def test_repeating_a_contribution_changes_nothing(registry: Registry) -> None:
    shared = registry.shared_drafts.open("vision", "data", "night")
    draft = contribute(registry, shared, ONE)
    registry.shared_drafts.add(shared.id, draft.id, Part(root(ONE)))
    contribute(registry, shared, ONE)  # by another writer, of the same
    assert registry.shared_drafts.parts(shared.id) == [Part(root(ONE))]


def test_a_run_is_kept_by_its_name_however_it_is_written(registry: Registry) -> None:
    registry.runs.start("vision", NewRun("r1"))
    shared = registry.shared_drafts.open("vision", "data", "night")
    for run in ("vision/r1", "me/vision/r1", "/" * 20_000 + "vision/r1"):
        contribute(registry, shared, ONE, run)
    assert registry.shared_drafts.parts(shared.id) == [Part(root(ONE), "vision/r1")]


def test_what_cannot_be_contributed_is_refused_and_leaves_nothing(registry: Registry) -> None:
    shared = registry.shared_drafts.open("vision", "data", "night")
    draft = sent(registry, ONE)
    for part, error in (
        (Part(Digest(bytes(32))), ObjectMissing),
        (Part(root(TWO)), ObjectMissing),
        (Part(root(ONE), "vision/none"), RunNotFound),
        (Part(root(ONE), "nonsense"), InvalidName),
        (Part(root(ONE), aliases=["v3"]), InvalidName),
        (Part(root(ONE), aliases=[f"a{i}" for i in range(ALIASES_MAX + 1)]), InvalidValue),
    ):
        with pytest.raises(error):
            registry.shared_drafts.add(shared.id, draft.id, part)
    for unknown in (shared.id, "0" * 32):
        with pytest.raises(DraftNotFound):
            registry.shared_drafts.add(shared.id, unknown, Part(root(ONE)))
    with pytest.raises(DraftNotFound):
        registry.shared_drafts.add("0" * 32, draft.id, Part(root(ONE)))
    with pytest.raises(DraftNotFound):
        registry.shared_drafts.parts("0" * 32)
    assert registry.shared_drafts.parts(shared.id) == []
    registry.drafts.renew(draft.id)


def test_a_draft_of_another_project_cannot_contribute(registry: Registry) -> None:
    registry.projects.create("audio")
    commit(registry, "vision", "x", ONE)
    shared = registry.shared_drafts.open("vision", "data", "night")
    with pytest.raises(DraftNotFound):
        registry.shared_drafts.add(shared.id, registry.drafts.open("audio").id, Part(root(ONE)))


def test_finishing_makes_a_version_of_the_parts(registry: Registry) -> None:
    for id_ in ("r1", "r2"):
        registry.runs.start("vision", NewRun(id_))
    shared = registry.shared_drafts.open("vision", "data", "night")
    contribute(registry, shared, ONE, "vision/r2")
    contribute(registry, shared, TWO, "vision/r1")
    result = finish(registry, shared, BOTH, TWO, ONE)
    assert (result.version.name, result.version.root, result.created) == ("v0", root(BOTH), True)
    assert result.version.aliases == ["latest"]
    assert registry.lineage.of_version("vision", "data", 0).logged_by == [
        RunRef("vision", "r1"),
        RunRef("vision", "r2"),
    ]
    assert has_all(registry, content_of(BOTH))
    gone = [content_of(tree).root_key for tree in (ONE, TWO)]
    assert registry.objects.locate("vision", gone) == [None, None]


def test_what_was_finished_takes_nothing_more_and_says_why(registry: Registry) -> None:
    shared = registry.shared_drafts.open("vision", "data", "night")
    contribute(registry, shared, ONE)
    finish(registry, shared, ONE, ONE)
    draft = sent(registry, TWO)
    for call in (
        lambda: registry.shared_drafts.open("vision", "data", "night"),
        lambda: registry.shared_drafts.add(shared.id, draft.id, Part(root(TWO))),
        lambda: registry.shared_drafts.parts(shared.id),
    ):
        with pytest.raises(DraftClosed, match="vision/data:v0"):
            call()
    registry.shared_drafts.abandon(shared.id)
    with pytest.raises(DraftClosed):
        registry.shared_drafts.open("vision", "data", "night")


def test_repeating_a_finish_returns_the_same(registry: Registry, clock: Clock) -> None:
    shared = registry.shared_drafts.open("vision", "data", "night")
    contribute(registry, shared, ONE)
    draft = sent(registry, ONE)
    request = SealRequest("data", root(ONE), ["best"])
    first = registry.shared_drafts.finish(shared.id, draft.id, request, [root(ONE)])
    assert registry.shared_drafts.finish(shared.id, draft.id, request, [root(ONE)]) == first
    clock.advance_s(30 * DAY_S)  # by when drafts are forgotten
    registry.drafts.open("vision")
    assert registry.shared_drafts.finish(shared.id, draft.id, request, [root(ONE)]) == first
    assert len(registry.versions.list("vision", "data")) == 1


def test_a_contribution_that_is_repeated_after_the_finish_is_known_to_be_in_it(
    registry: Registry, clock: Clock
) -> None:
    """Its answer was lost, and somebody finished before it was asked for again."""
    shared = registry.shared_drafts.open("vision", "data", "night")
    draft = contribute(registry, shared, ONE)
    finish(registry, shared, ONE, ONE)
    clock.advance_s(DAY_S)
    registry.drafts.open("vision")  # sweeps in passing
    registry.shared_drafts.add(shared.id, draft.id, Part(root(ONE)))
    for late, part in ((draft.id, Part(root(TWO))), (sent(registry, ONE).id, Part(root(ONE)))):
        with pytest.raises(DraftClosed):
            registry.shared_drafts.add(shared.id, late, part)
    assert len(registry.versions.list("vision", "data")) == 1


def test_who_finishes_second_gets_the_firsts_version_and_leaves_nothing(registry: Registry) -> None:
    shared = registry.shared_drafts.open("vision", "data", "night")
    contribute(registry, shared, ONE)
    late = sent(registry, TWO)
    first = finish(registry, shared, ONE, ONE)
    request = SealRequest("data", root(TWO))
    assert registry.shared_drafts.finish(shared.id, late.id, request, [root(ONE)]) == first
    assert has_none(registry, TWO)
    with pytest.raises(DraftNotFound):
        registry.drafts.renew(late.id)


def test_a_part_that_came_meanwhile_is_not_lost(registry: Registry) -> None:
    shared = registry.shared_drafts.open("vision", "data", "night")
    contribute(registry, shared, ONE)
    contribute(registry, shared, TWO)
    with pytest.raises(Busy):
        finish(registry, shared, ONE, ONE)
    assert registry.artifacts.list("vision") == []
    assert finish(registry, shared, BOTH, ONE, TWO).created


def test_what_cannot_be_finished_is_refused_and_stays_open(registry: Registry) -> None:
    shared = registry.shared_drafts.open("vision", "data", "night")
    contribute(registry, shared, ONE)
    draft = sent(registry, ONE)
    for request, error in (
        (SealRequest("other", root(ONE)), InvalidValue),
        (SealRequest("data", Digest(bytes(32))), ObjectMissing),
        (SealRequest("data", root(ONE), run="vision/none"), RunNotFound),
        (SealRequest("data", root(ONE), ["v1"]), InvalidName),
        (SealRequest("data", root(ONE), [f"a{i}" for i in range(ALIASES_MAX + 1)]), InvalidValue),
    ):
        with pytest.raises(error):
            registry.shared_drafts.finish(shared.id, draft.id, request, [root(ONE)])
    with pytest.raises(DraftNotFound):
        registry.shared_drafts.finish(shared.id, "0" * 32, SealRequest("data", root(ONE)), [root(ONE)])
    assert registry.shared_drafts.parts(shared.id) == [Part(root(ONE))]
    assert registry.shared_drafts.finish(shared.id, draft.id, SealRequest("data", root(ONE)), [root(ONE)]).created


def test_identical_content_makes_no_version_and_notes_the_writers(registry: Registry) -> None:
    registry.runs.start("vision", NewRun("r1"))
    registry.runs.start("vision", NewRun("user"))
    commit(registry, "vision", "data", ONE)
    registry.lineage.record("vision", "user", EdgeKind.USED, [VersionRef("vision", "data", 0)])
    shared = registry.shared_drafts.open("vision", "data", "night")
    contribute(registry, shared, ONE, "vision/r1")
    contribute(registry, shared, ONE, "vision/user")
    result = finish(registry, shared, ONE, ONE, ONE)
    assert (result.version.name, result.created) == ("v0", False)
    assert registry.lineage.of_version("vision", "data", 0).logged_by == [RunRef("vision", "r1")]


def test_a_writer_whose_run_is_deleted_keeps_nobody_from_finishing(registry: Registry) -> None:
    registry.runs.start("vision", NewRun("r1"))
    shared = registry.shared_drafts.open("vision", "data", "night")
    contribute(registry, shared, ONE, "vision/r1")
    registry.runs.delete("vision", "r1")
    assert finish(registry, shared, ONE, ONE).created
    assert registry.lineage.of_version("vision", "data", 0).logged_by == []


def test_abandoning_deletes_what_was_contributed(registry: Registry) -> None:
    kept = commit(registry, "vision", "kept", {"x": ONE})
    shared = registry.shared_drafts.open("vision", "data", "night")
    contribute(registry, shared, TWO)
    contribute(registry, shared, ONE)
    registry.shared_drafts.abandon(shared.id)
    assert has_none(registry, TWO)
    assert has_all(registry, content_of({"x": ONE}))
    assert kept.version == registry.versions.resolve("vision", "kept", "latest")
    registry.shared_drafts.abandon(shared.id)
    registry.shared_drafts.abandon("0" * 32)
    with pytest.raises(DraftNotFound):
        registry.shared_drafts.parts(shared.id)
    again = registry.shared_drafts.open("vision", "data", "night")
    assert again.id != shared.id
    assert registry.shared_drafts.parts(again.id) == []


def test_contributions_keep_each_other_alive(registry: Registry, clock: Clock) -> None:
    shared = registry.shared_drafts.open("vision", "data", "night")
    trees: list[Tree] = [{f"f{i}": b"%d" % i} for i in range(4)]
    for tree in trees:
        contribute(registry, shared, tree)
        clock.advance_s(0.9 * DAY_S)
    registry.drafts.open("vision")  # sweeps in passing
    assert len(registry.shared_drafts.parts(shared.id)) == 4
    whole = {name: content for tree in trees for name, content in tree.items()}
    assert finish(registry, shared, whole, *trees).created


def test_one_that_expired_is_gone_with_its_parts_and_begins_afresh(registry: Registry, clock: Clock) -> None:
    shared = registry.shared_drafts.open("vision", "data", "night")
    contribute(registry, shared, ONE)
    clock.advance_s(DAY_S + 1)
    with pytest.raises(DraftNotFound):
        registry.shared_drafts.parts(shared.id)
    draft = sent(registry, TWO)
    with pytest.raises(DraftNotFound):
        registry.shared_drafts.add(shared.id, draft.id, Part(root(TWO)))
    with pytest.raises(DraftNotFound):
        registry.shared_drafts.finish(shared.id, draft.id, SealRequest("data", root(TWO)), [root(ONE)])
    assert has_none(registry, ONE)
    again = registry.shared_drafts.open("vision", "data", "night")
    assert registry.shared_drafts.parts(again.id) == []
    assert finish(registry, again, TWO).created


def test_a_group_is_free_again_when_its_version_is_deleted(registry: Registry) -> None:
    shared = registry.shared_drafts.open("vision", "data", "night")
    contribute(registry, shared, ONE)
    finish(registry, shared, ONE, ONE)
    registry.versions.delete("vision", "data", [0], delete_aliases=True)
    registry.artifacts.delete("vision", "data")
    again = registry.shared_drafts.open("vision", "data", "night")
    contribute(registry, again, TWO)
    assert finish(registry, again, TWO, TWO).version.name == "v1"


def test_an_artifact_that_is_deleted_whole_leaves_open_ones_open_and_finished_ones_free(registry: Registry) -> None:
    registry.runs.start("vision", NewRun("r1"))
    done, begun = (registry.shared_drafts.open("vision", "data", group) for group in ("done", "begun"))
    contribute(registry, done, ONE, "vision/r1")
    finish(registry, done, ONE, ONE)
    contribute(registry, begun, TWO)
    registry.versions.remove("vision", Removal(artifacts=["data"]))
    assert registry.lineage.of_run("vision", "r1").logged == []
    assert registry.shared_drafts.open("vision", "data", "done").id != done.id
    assert has_all(registry, content_of(TWO))
    assert finish(registry, begun, TWO, TWO).version.name == "v1"


def test_a_whole_project_goes_with_its_runs_once_none_is_open(registry: Registry) -> None:
    registry.runs.start("vision", NewRun("r1"))
    shared = registry.shared_drafts.open("vision", "data", "night")
    contribute(registry, shared, ONE, "vision/r1")
    with pytest.raises(NotEmpty):
        registry.versions.remove("vision", Removal(whole_project=True))
    finish(registry, shared, ONE, ONE)
    registry.versions.remove("vision", Removal(whole_project=True))
    registry.projects.create("vision")
    assert registry.runs.list("vision") == []
    assert registry.shared_drafts.open("vision", "data", "night").id != shared.id


def test_a_project_with_one_open_is_not_empty(registry: Registry) -> None:
    shared = registry.shared_drafts.open("vision", "data", "night")
    contribute(registry, shared, ONE)
    with pytest.raises(NotEmpty):
        registry.projects.delete("vision")
    registry.shared_drafts.abandon(shared.id)
    done = registry.shared_drafts.open("vision", "data", "day")
    contribute(registry, done, ONE)
    finish(registry, done, ONE, ONE)
    registry.versions.delete("vision", "data", [0], delete_aliases=True)
    registry.artifacts.delete("vision", "data")
    registry.projects.delete("vision")
    assert registry.projects.list() == []
