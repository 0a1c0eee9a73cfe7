"""Messages that are changed or mixed up on their way, and packs that are read wrongly once: noticed, and nothing lost."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import requests

from artfs.client.remote.packs import HttpPacks
from artfs.client.remote.registry import RemoteRegistry
from artfs.client.remote.transport import Outside
from artfs.errors import RegistryUnavailable
from artfs.model.digest import Digest, ObjectKey, ObjectKind
from artfs.registry.embedded import EmbeddedRegistry
from artfs.wire.http import Hello
from artfs.wire.integrity import CONTENT_DIGEST, content_digest, is_intact
from artfs.wire.records import SealRequest
from tests.contract.uploading import commit, content_of, fetch
from tests.network.proxy import Proxy
from tests.network.scripted import answer, record, scripted
from tests.network.served import admin_token, served

pytestmark = [pytest.mark.falsifies("verified")]

HELLO = b'{"identity": "abc", "version": "1", "api": 1}'
RIGHT = answer(200, HELLO, content_digest=content_digest(HELLO))
CHANGED = answer(200, HELLO.replace(b"abc", b"abd"), content_digest=content_digest(HELLO))
REQUEST_S = 10.0
DIGEST = Digest.of(b"")
PROJECT = {"name": "other", "uid": "MDEyMzQ1Njc4OTAxMjM0NQ==", "created_at_ns": 1}
ARTIFACT = {
    "project": "vision",
    "name": "other",
    "type": "dataset",
    "description": "",
    "created_at_ns": 1,
    "version_count": 1,
}
VERSION = {
    "project": "vision",
    "artifact": "bikes",
    "number": 1,
    "root": f"sha256:{DIGEST.hex()}",
    "type": "dataset",
    "description": "",
    "metadata": {},
    "size_bytes": 0,
    "file_count": 0,
    "created_at_ns": 1,
    "created_by": "x",
    "aliases": ["latest"],
}
DRAFT = {"id": "a" * 32, "project": "other", "project_uid": "MDEyMzQ1Njc4OTAxMjM0NQ==", "expires_at_ns": 1}
KEY = ObjectKey(ObjectKind.CHUNK, DIGEST)


def remote_at(url: str, spool: Path) -> RemoteRegistry:
    return RemoteRegistry(url, "artfs_ab12_verysecretpart", spool=spool, outside=Outside(sleep=lambda _: None))


def test_an_answer_that_was_changed_is_asked_for_again_and_never_believed(tmp_path: Path) -> None:
    with scripted(CHANGED, RIGHT) as server:
        assert remote_at(server.url, tmp_path).identity == "abc"
        assert len(server.seen) == 2
    with scripted(CHANGED) as server:
        with pytest.raises(RegistryUnavailable, match="changed on the way"):
            remote_at(server.url, tmp_path).transport.get("/v1", Hello)


def test_an_answer_that_is_cut_is_asked_for_again(tmp_path: Path) -> None:
    cut = answer(200, HELLO[:-5], content_length=str(len(HELLO)))  # of a server that tells no digest
    with scripted(lambda connection: connection.sendall(cut), answer(200, HELLO)) as server:
        assert remote_at(server.url, tmp_path).identity == "abc"
        assert len(server.seen) == 2


def test_more_than_the_end_that_was_asked_for_is_not_content(tmp_path: Path) -> None:
    with scripted(answer(200, bytes(100), "x/y")) as server:
        with pytest.raises(RegistryUnavailable):
            HttpPacks(remote_at(server.url, tmp_path).transport).read_end("/pack", 30)


@pytest.mark.parametrize("told", ["", "sha-512=:abc:", content_digest(b"x")])
def test_a_digest_that_is_not_told_or_not_known_says_nothing(told: str) -> None:
    assert is_intact(b"x", told)
    assert is_intact(b"y", told) == (told != content_digest(b"x"))


def test_a_request_that_was_changed_is_refused_and_nothing_is_done(tmp_path: Path) -> None:
    with served(lambda: EmbeddedRegistry(tmp_path / "registry")) as url:
        own = EmbeddedRegistry(tmp_path / "registry")
        token = admin_token(own)
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        for told, status in ((content_digest(b"something else"), 503), (content_digest(b'{"name": "x"}'), 200)):
            headers[CONTENT_DIGEST] = told
            done = requests.post(f"{url}/v1/projects", b'{"name": "x"}', headers=headers, timeout=REQUEST_S)
            assert (done.status_code, len(own.projects.list())) == (status, status == 200)
            assert is_intact(done.content, done.headers[CONTENT_DIGEST])
        own.close()


ANSWERED_ANOTHER: dict[str, tuple[object, Callable[[RemoteRegistry], object]]] = {
    "a project": (PROJECT, lambda r: r.projects.get("vision")),
    "an artifact": (ARTIFACT, lambda r: r.artifacts.get("vision", "bikes")),
    "artifacts": ({"items": [ARTIFACT]}, lambda r: r.artifacts.list("speech")),
    "a version by number": (VERSION, lambda r: r.versions.resolve("vision", "bikes", "v0")),
    "a version by alias": (VERSION, lambda r: r.versions.resolve("vision", "cars", "latest")),
    "versions": ({"items": [VERSION]}, lambda r: r.versions.list("vision", "cars")),
    "aliases": (
        {"items": [{"alias": "best", "number": 1, "project": "vision", "artifact": "bikes"}]},
        lambda r: r.aliases.list("vision", "cars"),
    ),
    "a draft": (DRAFT, lambda r: r.drafts.open("vision")),
    "what is missing": (
        {"keys": [str(ObjectKey(ObjectKind.TREE, DIGEST))]},
        lambda r: r.drafts.missing("a" * 32, [KEY]),
    ),
    "a sealed version": (
        {"version": VERSION, "created": True},
        lambda r: r.drafts.seal("a" * 32, SealRequest("bikes", Digest.of(b"1"))),
    ),
    "a deletion": (
        {"project": "vision", "artifact": "cars", "numbers": [0], "aliases": [], "object_count": 0, "freed_bytes": 0},
        lambda r: r.versions.delete("vision", "bikes", [0]),
    ),
}


@pytest.mark.parametrize("what", ANSWERED_ANOTHER)
def test_an_answer_to_another_question_is_refused(tmp_path: Path, what: str) -> None:
    told, ask = ANSWERED_ANOTHER[what]
    with scripted(record(told)) as server:
        with pytest.raises(RegistryUnavailable, match="something else than was asked"):
            ask(remote_at(server.url, tmp_path))


def test_a_pack_that_is_read_wrongly_is_not_replaced_by_what_was_read(tmp_path: Path) -> None:
    registry = EmbeddedRegistry(tmp_path / "registry")
    registry.projects.create("vision")
    kept = content_of({"kept": bytes(range(256)) * 9})
    commit(registry, "vision", "bikes", {"kept": bytes(range(256)) * 9, "gone": b"gone"})
    (pack,) = (tmp_path / "registry/packs").rglob("*.pack")
    commit(registry, "vision", "bikes", kept)
    right = pack.read_bytes()
    (chunk,) = (key for key in kept.objects if key.kind is ObjectKind.CHUNK)
    (place,) = registry.objects.locate("vision", [chunk])
    assert place is not None
    assert place.url.endswith(pack.name)
    pack.chmod(0o600)
    pack.write_bytes(right[: place.offset] + bytes(place.stored_bytes) + right[place.offset + place.stored_bytes :])
    registry.versions.delete("vision", "bikes", [0])
    assert pack.exists()
    pack.write_bytes(right)
    registry.collection.collect(wait=True)
    assert not pack.exists(), "it is rewritten when it can be"
    assert all(fetch(registry, "vision", key) == data for key, data in kept.objects.items())
    registry.close()


def test_a_flipped_bit_in_what_is_said_of_a_registry_is_noticed(remote: RemoteRegistry, proxy: Proxy) -> None:
    for name in ("a", "b", "c"):
        commit(remote, "vision", name, {"f": b"x"})
    right = remote.artifacts.list("vision")
    for at_byte in range(0, 300, 25):
        proxy.flip(at_byte, match="/artifacts", times=1)
        assert remote.artifacts.list("vision") == right
