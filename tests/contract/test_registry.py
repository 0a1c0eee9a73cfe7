"""What every registry promises its clients, whatever it is made of."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from artfs.errors import (
    AliasNotFound,
    AlreadyExists,
    ArtfsError,
    ArtifactNotFound,
    DraftClosed,
    DraftNotFound,
    InvalidName,
    InvalidValue,
    NotEmpty,
    ObjectMissing,
    ProjectNotFound,
    StillAliased,
    TypeMismatch,
    VersionNotFound,
)
from artfs.model.digest import Digest, ObjectKey, ObjectKind
from artfs.model.tree import encode_leaf
from artfs.wire.records import SealRequest, VersionChange
from artfs.wire.service import KEYS_MAX, Registry
from artfs.wire.times import PageTimes
from tests.contract.uploading import START_NS, Clock, commit, content_of, fetch, send, write_pack

pytestmark = [pytest.mark.falsifies("whole", "deletion", "times")]

DRAFT_LIFE_S = 24 * 3600
LARGE = bytes(range(256)) * 12_000  # about 3 MB: a recipe of several chunks


def test_projects_are_created_once_listed_and_deleted_when_empty(registry: Registry) -> None:
    made = registry.projects.create("audio")
    assert registry.projects.create("audio", exist_ok=True) == made
    with pytest.raises(AlreadyExists):
        registry.projects.create("audio")
    assert [p.name for p in registry.projects.list()] == ["audio", "vision"]
    assert registry.projects.get("audio").uid == made.uid
    registry.projects.delete("audio")
    with pytest.raises(ProjectNotFound):
        registry.projects.get("audio")
    assert registry.projects.create("audio").uid != made.uid


@pytest.mark.parametrize("name", ["", ".hidden", "a/b", "a b", "-x", "x" * 129, "ü"])
def test_names_that_cannot_be_directories_everywhere_are_refused(registry: Registry, name: str) -> None:
    with pytest.raises(InvalidName):
        registry.projects.create(name)
    with pytest.raises(InvalidName):
        registry.artifacts.create("vision", name)


def test_a_project_with_artifacts_or_open_uploads_is_not_deleted(registry: Registry) -> None:
    registry.artifacts.create("vision", "bikes")
    with pytest.raises(NotEmpty):
        registry.projects.delete("vision")
    registry.artifacts.delete("vision", "bikes")
    draft = registry.drafts.open("vision")
    with pytest.raises(NotEmpty):
        registry.projects.delete("vision")
    registry.drafts.abandon(draft.id)
    registry.projects.delete("vision")
    assert registry.projects.list() == []


def test_an_artifact_takes_the_type_of_its_first_version(registry: Registry) -> None:
    assert registry.artifacts.create("vision", "bikes").type is None
    commit(registry, "vision", "bikes", {"a": b"1"})
    assert registry.artifacts.get("vision", "bikes").type == "dataset"
    assert registry.artifacts.get("vision", "bikes").version_count == 1
    with pytest.raises(TypeMismatch):
        registry.artifacts.update("vision", "bikes", type="model")
    assert registry.artifacts.update("vision", "bikes", description="two wheels").description == "two wheels"


def test_a_seal_of_another_type_is_refused_and_changes_nothing(registry: Registry) -> None:
    commit(registry, "vision", "bikes", {"a": b"1"})
    position = registry.changes.position()
    draft = registry.drafts.open("vision")
    content = content_of({"a": b"2"})
    send(registry, draft, content)
    with pytest.raises(TypeMismatch):
        registry.drafts.seal(draft.id, SealRequest("bikes", content.root, type="model"))
    assert registry.changes.position() == position
    assert [v.number for v in registry.versions.list("vision", "bikes")] == [0]


def test_a_version_tells_what_was_sealed(registry: Registry) -> None:
    content = content_of({"a": b"12345", "d": {"b": b"67", "link": "../a"}, "big": LARGE})
    draft = registry.drafts.open("vision")
    send(registry, draft, content)
    request = SealRequest(
        "bikes", content.root, ["best"], type="images", description="d", metadata={"k": [1, "x"]}, created_by="me"
    )
    result = registry.drafts.seal(draft.id, request)
    version = result.version
    assert result.created
    assert (version.name, version.digest, version.type) == ("v0", content.root, "images")
    assert (version.description, version.metadata) == ("d", {"k": [1, "x"]})
    assert version.created_by in ("me", "admin")  # a server says itself who it was
    assert (version.size_bytes, version.file_count) == (5 + 2 + len("../a") + len(LARGE), 4)
    assert version.aliases == ["best", "latest"]
    for selector in ("v0", "best", "latest"):
        assert registry.versions.resolve("vision", "bikes", selector) == version
    assert registry.versions.list("vision", "bikes") == [version]


def test_identical_content_only_moves_aliases(registry: Registry) -> None:
    commit(registry, "vision", "bikes", {"a": b"1"})
    commit(registry, "vision", "bikes", {"a": b"2"})
    registry.aliases.move("vision", "bikes", "latest", 0)
    again = commit(registry, "vision", "bikes", {"a": b"2"}, "best")
    assert not again.created
    assert registry.aliases.list("vision", "bikes") == {"best": 1, "latest": 1}
    older = commit(registry, "vision", "bikes", {"a": b"1"})
    assert older.created
    assert older.version.number == 2


def test_identical_content_becomes_a_version_when_asked_for(registry: Registry) -> None:
    first = commit(registry, "vision", "bikes", {"a": b"1"})
    draft = registry.drafts.open("vision")
    assert send(registry, draft, content_of({"a": b"1"})) == []
    result = registry.drafts.seal(draft.id, SealRequest("bikes", first.version.root, keep_identical=False))
    assert (result.created, result.version.number) == (True, 1)


def test_sealing_again_gives_the_same_answer(registry: Registry) -> None:
    content = content_of({"a": b"1"})
    draft = registry.drafts.open("vision")
    send(registry, draft, content)
    request = SealRequest("bikes", content.root, ["best"])
    assert registry.drafts.seal(draft.id, request) == registry.drafts.seal(draft.id, request)
    assert len(registry.versions.list("vision", "bikes")) == 1
    for refused in (
        lambda: registry.drafts.renew(draft.id),
        lambda: registry.drafts.missing(draft.id, [content.root_key]),
    ):
        with pytest.raises(DraftClosed):
            refused()
    registry.drafts.abandon(draft.id)
    assert fetch(registry, "vision", content.root_key) is not None


def test_a_seal_needs_its_root(registry: Registry) -> None:
    draft = registry.drafts.open("vision")
    with pytest.raises(ObjectMissing):
        registry.drafts.seal(draft.id, SealRequest("bikes", Digest.of(b"nothing")))
    with pytest.raises(InvalidValue):
        registry.drafts.seal(draft.id, SealRequest("bikes", Digest(b"short")))
    assert registry.artifacts.list("vision") == []


def test_a_chunk_does_not_serve_as_a_tree(registry: Registry) -> None:
    page = encode_leaf([])
    draft = registry.drafts.open("vision")
    key = ObjectKey(ObjectKind.CHUNK, Digest.of(page))
    registry.drafts.put_pack(draft.id, write_pack(registry, draft.project_uid, [(key, page)]))
    with pytest.raises(ObjectMissing):
        registry.drafts.seal(draft.id, SealRequest("bikes", key.digest))


def test_times_are_those_of_the_first_appearance(registry: Registry, clock: Clock) -> None:
    commit(registry, "vision", "bikes", {"b": b"old", "a": b"stays"}, now_ns=START_NS + 5)
    second = content_of({"b": b"new", "a": b"stays", "link": "a"})
    commit(registry, "vision", "bikes", second, now_ns=START_NS + 9)
    (location,) = registry.objects.locate("vision", [second.root_key])
    assert location is not None
    times = PageTimes(location.times, location.created_at_ns)
    assert [times[i] - START_NS for i in range(3)] == [5, 9, 9]
    assert location.created_at_ns == START_NS + 9


def test_times_stay_when_a_pack_is_rewritten(registry: Registry, clock: Clock) -> None:
    kept = content_of({"a": b"1"})
    commit(registry, "vision", "both", {"a": b"1", "b": b"2"})
    commit(registry, "vision", "kept", kept)

    def places() -> list[tuple[str, int]]:
        found = registry.objects.locate("vision", list(kept.objects))
        return [(place.url, place.created_at_ns) for place in found if place is not None]

    before = places()
    clock.advance_s(1000)
    registry.versions.delete("vision", "both", [0], delete_aliases=True)
    assert [time_ns for _, time_ns in places()] == [time_ns for _, time_ns in before]
    assert [url for url, _ in places()] != [url for url, _ in before]


def test_a_time_in_the_future_becomes_now(registry: Registry, clock: Clock) -> None:
    content = content_of({"a": b"1"})
    commit(registry, "vision", "bikes", content, now_ns=START_NS + 10**15)
    (location,) = registry.objects.locate("vision", [content.root_key])
    assert location is not None
    assert location.created_at_ns <= clock.now_ns


def test_aliases_move_and_go(registry: Registry) -> None:
    commit(registry, "vision", "bikes", {"a": b"1"})
    commit(registry, "vision", "bikes", {"a": b"2"})
    registry.aliases.move("vision", "bikes", "best", 0)
    assert registry.versions.resolve("vision", "bikes", "best").number == 0
    registry.aliases.move("vision", "bikes", "best", 1)
    assert registry.aliases.list("vision", "bikes") == {"best": 1, "latest": 1}
    registry.aliases.remove("vision", "bikes", "latest")
    with pytest.raises(AliasNotFound):
        registry.versions.resolve("vision", "bikes", "latest")
    with pytest.raises(AliasNotFound):
        registry.aliases.remove("vision", "bikes", "latest")
    with pytest.raises(VersionNotFound):
        registry.aliases.move("vision", "bikes", "best", 7)
    for name in ("v7", "v007", ".x"):
        with pytest.raises(InvalidName):
            registry.aliases.move("vision", "bikes", name, 0)


def test_an_earlier_change_shows_what_aliases_meant_then(registry: Registry) -> None:
    commit(registry, "vision", "bikes", {"a": b"1"}, "best")
    then = registry.changes.position()
    commit(registry, "vision", "bikes", {"a": b"2"}, "best")
    registry.aliases.remove("vision", "bikes", "latest")
    assert registry.versions.resolve("vision", "bikes", "best", as_of=then).number == 0
    assert registry.aliases.list("vision", "bikes", as_of=then) == {"best": 0, "latest": 0}
    with pytest.raises(VersionNotFound):
        registry.versions.resolve("vision", "bikes", "v1", as_of=then)
    with pytest.raises(AliasNotFound):
        registry.versions.resolve("vision", "bikes", "best", as_of=0)


def test_a_versions_words_can_be_changed_its_content_cannot(registry: Registry) -> None:
    made = commit(registry, "vision", "bikes", {"a": b"1"}).version
    changed = registry.versions.update("vision", "bikes", 0, VersionChange(description="new", metadata={"a": 1}))
    assert (changed.description, changed.metadata, changed.root) == ("new", {"a": 1}, made.root)
    assert registry.versions.update("vision", "bikes", 0, VersionChange(description="newer")).metadata == {"a": 1}
    with pytest.raises(InvalidValue):
        registry.versions.update("vision", "bikes", 0, VersionChange(metadata={"a": object()}))
    with pytest.raises(InvalidValue):
        registry.versions.update("vision", "bikes", 0, VersionChange(description="\udc80 is no text"))
    assert registry.versions.resolve("vision", "bikes", "v0").description == "newer"


def test_deleting_a_version_frees_what_it_alone_held(registry: Registry) -> None:
    first = content_of({"shared": b"both", "only": b"first"})
    second = content_of({"shared": b"both", "other": b"second"})
    commit(registry, "vision", "bikes", first)
    commit(registry, "vision", "bikes", second)
    plan = registry.versions.plan_delete("vision", "bikes", [0])
    assert (plan.object_count, plan.aliases) == (2, [])
    assert registry.versions.delete("vision", "bikes", [0]) == plan
    kept = {key for key in first.objects if fetch(registry, "vision", key) is not None}
    assert {first.objects[key] for key in kept} == {b"both"}
    assert all(fetch(registry, "vision", key) is not None for key in second.objects)
    with pytest.raises(VersionNotFound):
        registry.versions.resolve("vision", "bikes", "v0")


def test_a_version_with_aliases_is_deleted_only_along_with_them(registry: Registry) -> None:
    commit(registry, "vision", "bikes", {"a": b"1"}, "best")
    with pytest.raises(StillAliased):
        registry.versions.delete("vision", "bikes", [0])
    assert registry.versions.delete("vision", "bikes", [0], delete_aliases=True).aliases == ["best", "latest"]
    assert registry.aliases.list("vision", "bikes") == {}


def test_version_numbers_are_never_given_twice(registry: Registry) -> None:
    commit(registry, "vision", "bikes", {"a": b"1"})
    registry.versions.delete("vision", "bikes", [0], delete_aliases=True)
    assert commit(registry, "vision", "bikes", {"a": b"1"}).version.number == 1
    registry.versions.delete("vision", "bikes", [1], delete_aliases=True)
    registry.artifacts.delete("vision", "bikes")
    assert commit(registry, "vision", "bikes", {"a": b"1"}).version.number == 2


def test_an_artifact_with_versions_is_not_deleted(registry: Registry) -> None:
    commit(registry, "vision", "bikes", {"a": b"1"})
    with pytest.raises(NotEmpty):
        registry.artifacts.delete("vision", "bikes")


def test_deletion_spares_what_an_upload_was_told_is_there(registry: Registry) -> None:
    content = content_of({"a": b"1"})
    commit(registry, "vision", "bikes", content)
    draft = registry.drafts.open("vision")
    assert send(registry, draft, content) == []
    assert registry.versions.delete("vision", "bikes", [0], delete_aliases=True).object_count == 0
    assert registry.drafts.seal(draft.id, SealRequest("bikes", content.root)).version.number == 1


def test_deletion_spares_what_an_upload_sent_though_it_was_there(registry: Registry) -> None:
    content = content_of({"a": b"1"})
    commit(registry, "vision", "bikes", content)
    draft = registry.drafts.open("vision")
    registry.drafts.put_pack(draft.id, write_pack(registry, draft.project_uid, content.objects.items()))
    assert registry.versions.delete("vision", "bikes", [0], delete_aliases=True).object_count == 0
    registry.drafts.seal(draft.id, SealRequest("bikes", content.root))
    assert [fetch(registry, "vision", key) for key in content.objects] == list(content.objects.values())


def test_deletion_spares_what_an_upload_sent_and_another_made_a_version_of(registry: Registry) -> None:
    content = content_of({"a": b"1", "d": {"b": b"2"}})
    draft = registry.drafts.open("vision")
    send(registry, draft, content)
    commit(registry, "vision", "cars", content)
    registry.versions.delete("vision", "cars", [0], delete_aliases=True)
    assert registry.drafts.seal(draft.id, SealRequest("bikes", content.root)).created
    assert all(fetch(registry, "vision", key) == data for key, data in content.objects.items())


def test_deletion_spares_what_an_upload_sent_in_a_pack_that_was_rewritten_since(registry: Registry) -> None:
    commit(registry, "vision", "old", {"a": b"1"})
    content = content_of({"a": b"1", "b": b"2"})
    draft = registry.drafts.open("vision")
    registry.drafts.put_pack(draft.id, write_pack(registry, draft.project_uid, content.objects.items()))  # "a" twice
    commit(registry, "vision", "cars", content)
    for artifact in ("cars", "old"):
        registry.versions.delete("vision", artifact, [0], delete_aliases=True)
    registry.drafts.seal(draft.id, SealRequest("bikes", content.root))
    assert [fetch(registry, "vision", key) for key in content.objects] == list(content.objects.values())


def test_deletion_does_not_wait_for_an_upload_that_has_expired_to_be_swept(registry: Registry, clock: Clock) -> None:
    content = content_of({"a": b"1", "d": {"b": b"2"}})
    commit(registry, "vision", "cars", content)
    draft = registry.drafts.open("vision")
    assert registry.drafts.missing(draft.id, list(content.objects)) == []
    clock.advance_s(DRAFT_LIFE_S + 1)
    registry.versions.delete("vision", "cars", [0], delete_aliases=True)
    assert registry.objects.locate("vision", list(content.objects)) == [None] * len(content.objects)


def test_an_upload_that_is_renewed_holds_what_it_held(registry: Registry, clock: Clock) -> None:
    content = content_of({"a": b"1", "d": {"b": b"2"}})
    draft = registry.drafts.open("vision")
    send(registry, draft, content)
    for _ in range(3):
        clock.advance_s(DRAFT_LIFE_S - 60)
        registry.drafts.renew(draft.id)
    registry.drafts.open("vision")  # which sweeps what has expired
    assert registry.drafts.seal(draft.id, SealRequest("cars", content.root)).created


def test_an_abandoned_upload_leaves_nothing(registry: Registry) -> None:
    content = content_of({"a": b"1", "d": {"b": b"2"}})
    draft = registry.drafts.open("vision")
    send(registry, draft, content)
    registry.drafts.abandon(draft.id)
    registry.drafts.abandon(draft.id)
    registry.drafts.abandon("never-was")
    assert registry.objects.locate("vision", list(content.objects)) == [None] * len(content.objects)
    with pytest.raises(DraftNotFound):
        registry.drafts.seal(draft.id, SealRequest("bikes", content.root))


def test_a_seal_drops_what_the_version_does_not_use(registry: Registry) -> None:
    used, unused = content_of({"a": b"1"}), content_of({"a": b"2"})
    draft = registry.drafts.open("vision")
    send(registry, draft, unused)
    send(registry, draft, used)
    registry.drafts.seal(draft.id, SealRequest("bikes", used.root))
    assert registry.objects.locate("vision", list(unused.objects)) == [None, None]
    assert all(fetch(registry, "vision", key) is not None for key in used.objects)


def test_an_expired_upload_is_refused_and_swept(registry: Registry, clock: Clock) -> None:
    content = content_of({"a": b"1"})
    draft = registry.drafts.open("vision")
    send(registry, draft, content)
    clock.advance_s(23 * 3600)
    assert registry.drafts.renew(draft.id).expires_at_ns > draft.expires_at_ns
    clock.advance_s(25 * 3600)
    with pytest.raises(DraftNotFound):
        registry.drafts.renew(draft.id)
    with pytest.raises(DraftNotFound):
        registry.drafts.seal(draft.id, SealRequest("bikes", content.root))
    registry.drafts.open("vision")
    assert registry.objects.locate("vision", list(content.objects)) == [None, None]


def test_changes_are_numbered_in_order_and_position_follows(registry: Registry) -> None:
    start = registry.changes.position()
    commit(registry, "vision", "bikes", {"a": b"1"}, "best")
    registry.aliases.remove("vision", "bikes", "best")
    changes = registry.changes.since(start)
    assert [(c.kind, c.name) for c in changes] == [
        ("artifact", ""),
        ("version", "v0"),
        ("alias", "latest"),
        ("alias", "best"),
        ("alias", "best"),
    ]
    assert registry.changes.position() == changes[-1].seq
    assert registry.changes.since(start, limit=2) == changes[:2]
    assert [c.seq for c in changes] == sorted({c.seq for c in changes})


def test_batches_are_bounded(registry: Registry) -> None:
    key = ObjectKey(ObjectKind.CHUNK, Digest.of(b"x"))
    draft = registry.drafts.open("vision")
    with pytest.raises(InvalidValue):
        registry.objects.locate("vision", [key] * (KEYS_MAX + 1))
    with pytest.raises(InvalidValue):
        registry.drafts.missing(draft.id, [key] * (KEYS_MAX + 1))


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda r: r.artifacts.list("nope"), ProjectNotFound),
        (lambda r: r.artifacts.get("vision", "nope"), ArtifactNotFound),
        (lambda r: r.artifacts.update("vision", "nope", description="x"), ArtifactNotFound),
        (lambda r: r.artifacts.delete("vision", "nope"), ArtifactNotFound),
        (lambda r: r.versions.list("vision", "nope"), ArtifactNotFound),
        (lambda r: r.versions.resolve("nope", "x", "v0"), ProjectNotFound),
        (lambda r: r.versions.plan_delete("vision", "nope", [0]), ArtifactNotFound),
        (lambda r: r.aliases.list("vision", "nope"), ArtifactNotFound),
        (lambda r: r.drafts.open("nope"), ProjectNotFound),
        (lambda r: r.drafts.renew("nope"), DraftNotFound),
        (lambda r: r.drafts.missing("nope", []), DraftNotFound),
        (lambda r: r.objects.locate("nope", []), ProjectNotFound),
    ],
)
def test_what_is_absent_is_named(
    registry: Registry, call: Callable[[Registry], object], error: type[ArtfsError]
) -> None:
    with pytest.raises(error) as raised:
        call(registry)
    assert raised.value.message
