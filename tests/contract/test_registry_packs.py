"""Which packs a registry takes, and which it refuses as a whole."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from artfs.errors import DamagedPack, ObjectMissing
from artfs.model.digest import Digest, ObjectKey, ObjectKind
from artfs.model.tree import Entry, EntryKind, PageSummary, decode_page, encode_index, encode_leaf
from artfs.wire.records import SealRequest
from artfs.wire.service import Registry
from tests.contract.uploading import commit, content_of, fetch, send, write_pack

pytestmark = [pytest.mark.falsifies("hostile", "access")]


def test_what_was_stored_need_not_be_sent_again(registry: Registry) -> None:
    commit(registry, "vision", "bikes", {"a": b"1", "d": {"b": b"2"}})
    draft = registry.drafts.open("vision")
    content = content_of({"a": b"1", "d": {"b": b"2"}, "new": b"3"})
    sent = send(registry, draft, content)
    assert {content.objects[key] for key in sent if key.kind is ObjectKind.CHUNK} == {b"3"}
    assert [key for key in sent if key.kind is ObjectKind.TREE] == [content.root_key]


def test_projects_share_nothing(registry: Registry) -> None:
    registry.projects.create("audio")
    content = content_of({"a": b"1"})
    commit(registry, "vision", "bikes", content)
    draft = registry.drafts.open("audio")
    assert registry.drafts.missing(draft.id, list(content.objects)) == list(content.objects)
    assert registry.objects.locate("audio", list(content.objects)) == [None, None]
    with pytest.raises(ObjectMissing):
        registry.drafts.seal(draft.id, SealRequest("bikes", content.root))


def test_a_pack_of_another_project_is_refused(registry: Registry) -> None:
    other = registry.projects.create("audio")
    draft = registry.drafts.open("vision")
    pack = write_pack(registry, other.uid, content_of({"a": b"1"}).objects.items())
    with pytest.raises(DamagedPack):
        registry.drafts.put_pack(draft.id, pack)
    assert pack.exists()


def test_repeating_a_pack_changes_nothing(registry: Registry) -> None:
    content = content_of({"a": b"1"})
    draft = registry.drafts.open("vision")
    pack = write_pack(registry, draft.project_uid, content.objects.items())
    data = pack.read_bytes()
    registry.drafts.put_pack(draft.id, pack)
    assert not pack.exists()
    before = registry.objects.locate("vision", list(content.objects))
    pack.write_bytes(data)
    registry.drafts.put_pack(draft.id, pack)
    assert registry.objects.locate("vision", list(content.objects)) == before
    assert not pack.exists()


def test_a_pack_with_objects_that_are_stored_already_is_taken(registry: Registry) -> None:
    commit(registry, "vision", "bikes", {"a": b"1"})
    draft = registry.drafts.open("vision")
    content = content_of({"a": b"1", "b": b"2"})
    registry.drafts.put_pack(draft.id, write_pack(registry, draft.project_uid, content.objects.items()))
    registry.drafts.seal(draft.id, SealRequest("bikes", content.root))
    assert [fetch(registry, "vision", key) for key in content.objects] == list(content.objects.values())


def test_a_parent_without_its_child_is_refused_with_its_whole_pack(registry: Registry) -> None:
    content = content_of({"a": b"1", "b": b"2"})
    lacking = {key: data for key, data in content.objects.items() if data != b"2"}
    draft = registry.drafts.open("vision")
    pack = write_pack(registry, draft.project_uid, lacking.items())
    with pytest.raises(ObjectMissing):
        registry.drafts.put_pack(draft.id, pack)
    assert pack.exists()
    assert registry.objects.locate("vision", list(content.objects)) == [None] * 3


def test_a_parent_before_its_child_is_refused(registry: Registry) -> None:
    content = content_of({"a": b"1"})
    draft = registry.drafts.open("vision")
    pack = write_pack(registry, draft.project_uid, reversed(content.objects.items()))
    with pytest.raises(ObjectMissing):
        registry.drafts.put_pack(draft.id, pack)


def _chunk(data: bytes) -> tuple[ObjectKey, bytes]:
    return ObjectKey(ObjectKind.CHUNK, Digest.of(data)), data


def _tree(page: bytes) -> tuple[ObjectKey, bytes]:
    return ObjectKey(ObjectKind.TREE, Digest.of(page)), page


def _wrong_size() -> list[tuple[ObjectKey, bytes]]:
    chunk = _chunk(b"12345")
    return [chunk, _tree(encode_leaf([Entry("a", EntryKind.FILE, chunk[0].digest, 4)]))]


def _wrong_directory_size() -> list[tuple[ObjectKey, bytes]]:
    empty = _tree(encode_leaf([]))
    return [empty, _tree(encode_leaf([Entry("d", EntryKind.DIRECTORY, empty[0].digest, 1, file_count=0)]))]


def _wrong_file_count() -> list[tuple[ObjectKey, bytes]]:
    empty = _tree(encode_leaf([]))
    return [empty, _tree(encode_leaf([Entry("d", EntryKind.DIRECTORY, empty[0].digest, 0, file_count=3)]))]


def _pages(*names: str) -> list[tuple[ObjectKey, bytes]]:
    chunk = _chunk(b"x")
    return [chunk, *(_tree(encode_leaf([Entry(name, EntryKind.FILE, chunk[0].digest, 1)])) for name in names)]


def _index(level: int, firsts: list[str], names: list[str]) -> list[tuple[ObjectKey, bytes]]:
    objects = _pages(*names)
    return [*objects, _tree(encode_index(level, firsts, [PageSummary(k.digest, 1, 1, 1) for k, _ in objects[1:]]))]


def _overlap() -> list[tuple[ObjectKey, bytes]]:
    chunk = _chunk(b"x")
    first, second = (
        _tree(encode_leaf([Entry(name, EntryKind.FILE, chunk[0].digest, 1) for name in names])) for names in ("ac", "b")
    )
    pages = [PageSummary(first[0].digest, 2, 2, 2), PageSummary(second[0].digest, 1, 1, 1)]
    return [chunk, first, second, _tree(encode_index(1, ["a", "b"], pages))]


def _bad_digest() -> list[tuple[ObjectKey, bytes]]:
    return [(ObjectKey(ObjectKind.TREE, Digest.of(b"other")), encode_leaf([]))]


def _not_a_tree() -> list[tuple[ObjectKey, bytes]]:
    return [_tree(b"not a tree")]


@pytest.mark.parametrize(
    "objects",
    [
        _wrong_size,
        _wrong_directory_size,
        _wrong_file_count,
        lambda: _index(2, ["a", "b"], ["a", "b"]),
        lambda: _index(1, ["a", "b"], ["a", "c"]),
        lambda: _index(1, ["a", "b"], ["b", "a"]),
        _overlap,
        _bad_digest,
        _not_a_tree,
    ],
    ids=["size", "dir-size", "dir-files", "level", "first-name", "order", "overlap", "digest", "encoding"],
)
def test_a_parent_that_lies_is_refused(
    registry: Registry, objects: Callable[[], list[tuple[ObjectKey, bytes]]]
) -> None:
    draft = registry.drafts.open("vision")
    pack = write_pack(registry, draft.project_uid, objects())
    with pytest.raises(DamagedPack):
        registry.drafts.put_pack(draft.id, pack)
    assert registry.objects.locate("vision", [key for key, _ in objects()]) == [None] * len(objects())


def test_pages_under_an_index_are_taken(registry: Registry) -> None:
    content = content_of({f"{i:06}": b"%d" % (i % 7) for i in range(10_000)})
    version = commit(registry, "vision", "bikes", content).version
    assert version.file_count == 10_000
    page = decode_page(content.objects[content.root_key])
    assert page.level >= 1
