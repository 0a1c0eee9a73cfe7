"""Trees that are made of manifests: what they show, what they share, what is made again, and what is refused."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from hashlib import md5
from typing import Any

import msgspec
import pytest

from artfs.client.references.policy import Policy
from artfs.client.references.reader import ReferenceReader
from artfs.client.references.references import References
from artfs.client.references.source import Source
from artfs.client.trees import TreeReader
from artfs.errors import DamagedObject, InvalidValue, ObjectMissing, ReferenceForbidden
from artfs.model.content import FileContent
from artfs.model.digest import Digest
from artfs.model.tree import EntryKind
from artfs.wandb_client import trees as module
from artfs.wandb_client.births import Births
from artfs.wandb_client.manifests import Manifests
from artfs.wandb_client.objects import WandbObjects
from artfs.wandb_client.trees import Trees
from artfs.wandb_client.versions import WandbVersion
from artfs.wire.wandb_manifests import artifact_digest

PROJECT = "vision"
S = 10**9


def told(content: bytes, birth: str = "born", **more: Any) -> dict[str, Any]:
    digest = base64.b64encode(md5(content, usedforsecurity=False).digest()).decode()
    return {"digest": digest, "size": len(content), "birthArtifactID": birth, **more}


def no_source(scheme: str) -> Source:
    raise ReferenceForbidden(scheme)


class Server:
    """Manifests by version, and how often each was asked for."""

    def __init__(self, source: Callable[[str], Source] = no_source) -> None:
        self.versions: dict[Digest, WandbVersion] = {}
        self.manifests: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.births = Births()
        self.trees = Trees(self.births, self.versions.get, Manifests(self._ask, None).read, self._created)
        self.objects = WandbObjects(self.trees, self.births, ReferenceReader(source))

    def add(self, contents: Mapping[str, Any], policy: Mapping[str, str | None] | None = None) -> WandbVersion:
        number = len(self.versions)
        digest = artifact_digest((path, contents[path]["digest"]) for path in sorted(contents))
        version = WandbVersion("geoff", PROJECT, "bikes", number, f"id{number}", digest, (number + 1) * S)
        config = {"storageLayout": "V2"} if policy is None else policy
        self.manifests[version.id] = msgspec.json.encode({"contents": contents, "storagePolicyConfig": config})
        self.versions[version.root] = version
        return version

    def shown(self, version: WandbVersion) -> dict[str, tuple[EntryKind, int, int]]:
        found = TreeReader(self.objects, PROJECT).walk(version.root)
        return {one.path: (one.entry.kind, one.entry.size_bytes, one.time_ns) for one in found}

    def content(self, version: WandbVersion, path: str) -> FileContent:
        return FileContent.of(TreeReader(self.objects, PROJECT).lookup(version.root, tuple(path.split("/"))).entry)

    def uri(self, version: WandbVersion, path: str) -> str:
        content = self.content(version, path)
        return self.objects.open_references(PROJECT, [(content, path.rpartition("/")[2])])[0].reference.uri

    def _ask(self, version: WandbVersion) -> bytes:
        self.asked.append(version.id)
        return self.manifests[version.id]

    def _created(self, version: WandbVersion, artifact_id: str) -> int | None:
        return next((one.created_at_ns for one in self.versions.values() if one.id == artifact_id), None)


@pytest.fixture
def server() -> Server:
    return Server()


def test_a_manifest_becomes_directories(server: Server) -> None:
    version = server.add({"b/c/x": told(b"one"), "a": told(b""), "b/y": told(b"three")})
    assert server.shown(version) == {
        "a": (EntryKind.REFERENCE, 0, S),
        "b": (EntryKind.DIRECTORY, 8, S),
        "b/c": (EntryKind.DIRECTORY, 3, S),
        "b/c/x": (EntryKind.REFERENCE, 3, S),
        "b/y": (EntryKind.REFERENCE, 5, S),
    }
    assert server.asked == ["id0"]


def test_an_empty_version_is_an_empty_directory(server: Server) -> None:
    assert server.shown(server.add({})) == {}


def test_files_have_the_time_of_the_version_with_which_they_came(server: Server) -> None:
    server.add({"kept": told(b"one", "id0")})
    second = server.add({"kept": told(b"one", "id0"), "new": told(b"two", "id1"), "unknown": told(b"x", "elsewhere")})
    times = {path: time_ns for path, (_, _, time_ns) in server.shown(second).items()}
    assert times == {"kept": S, "new": 2 * S, "unknown": 2 * S}


@pytest.mark.parametrize("layout", ["V1", "V2"])
def test_times_do_not_depend_on_what_else_was_read(server: Server, layout: str) -> None:
    old, unknown = told(b"one", "id0"), told(b"x", "")
    first = server.add({"old": old, "unknown": unknown}, {"storageLayout": layout})
    second = server.add({"old": old, "new": told(b"two", "id1"), "unknown": unknown}, {"storageLayout": layout})
    for _ in range(2):
        shown = [{path: time_ns for path, (_, _, time_ns) in server.shown(one).items()} for one in (first, second)]
        assert shown == [{"old": S, "unknown": S}, {"old": S, "new": 2 * S, "unknown": 2 * S}]
    assert [change.path for change in TreeReader(server.objects, PROJECT).diff(first.root, second.root)] == ["new"]


def test_what_did_not_change_is_the_same_in_both_trees(server: Server) -> None:
    many = {f"same/{i:05}": told(b"%d" % i, "id0") for i in range(3000)}
    first, second = server.add(many | {"x": told(b"1", "id0")}), server.add(many | {"x": told(b"2", "id1")})
    differing = TreeReader(server.objects, PROJECT).diff(first.root, second.root)
    assert [change.path for change in differing] == ["x"]
    assert server.content(first, "same/00007") == server.content(second, "same/00007")


@pytest.mark.parametrize(
    ("policy", "place"),
    [
        ({"storageLayout": "V2"}, "artifactsV2/default/geoff/QXJ0%3D%2F"),
        ({"storageLayout": "V2", "storageRegion": "gcp-us"}, "artifactsV2/gcp-us/geoff/QXJ0%3D%2F"),
        ({"storageLayout": "V1"}, "artifacts/geoff"),
        ({}, "artifacts/geoff"),
        ({"storageLayout": None, "storageRegion": None}, "artifacts/geoff"),
    ],
)
def test_a_file_is_where_its_manifests_policy_says(server: Server, policy: dict[str, str | None], place: str) -> None:
    version = server.add({"a/ü 1%.png": told(b"one", "QXJ0=/")}, policy)
    digest = md5(b"one", usedforsecurity=False).hexdigest()
    assert server.uri(version, "a/ü 1%.png") == f"wandb:/{place}/{digest}/%C3%BC%201%25.png"


def test_a_reference_to_elsewhere_is_one(server: Server) -> None:
    ref = {"digest": "abc", "size": 7, "ref": "https://example.org/x", "extra": {"etag": "abc"}}
    version = server.add({"x": ref})
    reference = server.objects.open_references(PROJECT, [(server.content(version, "x"), "")])[0].reference
    assert (reference.uri, reference.size_bytes, reference.etag) == ("https://example.org/x", 7, '"abc"')
    assert server.uri(version, "x") == "https://example.org/x"


@pytest.mark.parametrize("ref", ["no scheme", "https://a\n", "wandb-artifact://0a1b/x", "x://" + "y" * 9000])
def test_a_reference_that_artfs_has_no_words_for_is_shown_and_cannot_be_read(ref: str) -> None:
    server = Server(References(Policy(), environ={}).source)
    version = server.add({"x": told(b"seven b", ref=ref), "y": told(b"")})
    assert {path: size for path, (_, size, _) in server.shown(version).items()} == {"x": 7, "y": 0}
    opened = server.objects.open_references(PROJECT, [(server.content(version, "x"), "x")])[0]
    with pytest.raises(InvalidValue, match="unknown"):
        opened.read(0, 7)


def test_a_reference_whose_length_nobody_told_has_none(server: Server) -> None:
    assert server.shown(server.add({"x": told(b"", ref="https://example.org/x", size=None)})) == {
        "x": (EntryKind.REFERENCE, 0, S)
    }


def test_what_was_dropped_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HELD_BYTES", 4000)
    monkeypatch.setattr(module, "PAGE_ENTRIES_MAX", 40)
    server = Server()
    versions = [server.add({f"{n}/{i}": told(b"%d %d" % (n, i)) for i in range(20)}) for n in range(10)]
    for _ in range(2):
        for n, version in enumerate(versions):
            assert len(server.shown(version)) == 21, n
    assert server.trees.status()["bytes"] <= 4000
    assert len(server.asked) == 20


def test_a_page_of_no_version_that_was_read_is_missing(server: Server) -> None:
    with pytest.raises(ObjectMissing):
        server.trees.page(Digest.of(b"something"))
    version = server.add({"a/b": told(b"")})
    below = TreeReader(server.objects, PROJECT).lookup(version.root, ("a",)).entry.digest
    del server.versions[version.root]
    server.trees._trees.clear()
    server.trees._pages.clear()
    with pytest.raises(ObjectMissing):
        server.trees.page(below)


@pytest.mark.falsifies("hostile")
@pytest.mark.parametrize(
    "contents",
    [
        {"a": told(b""), "a/b": told(b"")},
        {"../a": told(b"")},
        {"a/./b": told(b"")},
        {"a\0b": told(b"")},
        {"/".join("d" * 600): told(b"")},
        {"a": told(b"x", size=-1)},
        {"a": told(b"x", size=None)},
        {"a": told(b"x", size=2**63)},
        {"a": told(b"x", digest="not an MD5")},
        {"a": told(b"x", ref="https://example.org/x", size=2**63)},
    ],
)
def test_manifests_that_no_tree_can_be_made_of_are_damage(server: Server, contents: dict[str, Any]) -> None:
    version = server.add(contents)
    with pytest.raises(DamagedObject, match="bikes:v0"):
        server.shown(version)


@pytest.mark.falsifies("hostile")
@pytest.mark.parametrize("data", [b"", b"{}", b"<html>", b'{"contents": {"a": []}}', b"[" * 100_000])
def test_what_is_no_manifest_is_damage(server: Server, data: bytes) -> None:
    version = server.add({})
    server.manifests[version.id] = data
    with pytest.raises(DamagedObject, match="bikes:v0"):
        server.shown(version)
