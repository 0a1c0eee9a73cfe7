"""Deleting many versions while others commit: quick, exact to the byte, and nothing that anybody holds is lost.

What must be there afterwards is decided by brute force: everything that can be reached from the contents of the versions that
remain. What must be gone is weighed in the pack files themselves.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import pytest

from artfs.errors import StillAliased
from artfs.model.digest import ObjectKey
from artfs.model.pack import HEADER_BYTES, encode_tail
from artfs.registry.deletion import AT_ONCE, Deletions
from artfs.registry.fsck import check_registry
from artfs.registry.maintenance import Maintenance
from artfs.registry.sql_registry import SqlRegistry
from artfs.store.pack_file import PackReader
from artfs.wire.deletions import Removal
from artfs.wire.records import SealRequest
from tests.contract.uploading import Content, children_of, commit, content_of, fetch, fetch_again, send
from tests.registries import OWN_REGISTRIES, own_registry

pytestmark = [pytest.mark.falsifies("deletion")]

_log = logging.getLogger(__name__)

COMMITTERS = 2
DEEP_S_MAX = 60.0
COMMIT_S_MAX = 2.0


def doomed_content(number: int) -> Content:
    """With a file of its own, one that some neighbours share, one that committers want too, and one that all have."""
    return content_of(
        {
            "own": b"own %d " % number * 40,
            "few": b"few %d " % (number // 7) * 60,
            "wanted": b"wanted %d " % number * 30,
            "d": {"all": b"all" * 100},
        }
    )


@dataclass
class Committer:
    """Commits until it is stopped, over and over what the doomed versions hold too."""

    registry: SqlRegistry
    which: int
    doomed: int
    contents: list[Content] = field(default_factory=list)
    stored_bytes: int = 0
    seconds: list[float] = field(default_factory=list)

    def run(self, stop: threading.Event) -> None:
        number = self.which
        while not stop.is_set():
            self.commit(number % self.doomed, len(self.contents))
            number += COMMITTERS * 37

    def commit(self, wanted: int, number: int) -> None:
        own = b"%d of %d " % (number, self.which) * 30
        content = content_of({"own": own, "wanted": b"wanted %d " % wanted * 30})
        began_s = time.monotonic()
        draft = self.registry.drafts.open("vision")
        sent = send(self.registry, draft, content)
        self.registry.drafts.seal(draft.id, SealRequest(f"busy-{self.which}", content.root))
        self.seconds.append(time.monotonic() - began_s)
        self.contents.append(content)
        located = self.registry.objects.locate("vision", sent)
        self.stored_bytes += sum(one.stored_bytes for one in located if one is not None)
        assert None not in located


class Weighed(NamedTuple):
    """What is in the pack directory: objects, the bytes they occupy, and the bytes of the files."""

    keys: set[ObjectKey]
    object_bytes: int
    file_bytes: int


def weigh(root: Path) -> Weighed:
    """Also that no pack holds an object twice, or bytes of none."""
    keys: list[ObjectKey] = []
    object_bytes = file_bytes = 0
    for path in (root / "packs").rglob("*.pack"):
        with PackReader(path) as reader:
            keys += [placed.key for placed in reader.objects]
            stored_bytes = sum(placed.stored_bytes for placed in reader.objects)
            assert reader.size_bytes == HEADER_BYTES + stored_bytes + len(encode_tail(reader.header, reader.objects))
            object_bytes += stored_bytes
            file_bytes += path.stat().st_size
    assert len(keys) == len(set(keys))
    return Weighed(set(keys), object_bytes, file_bytes)


def reachable(contents: list[Content]) -> set[ObjectKey]:
    found: set[ObjectKey] = set()
    for content in contents:
        pending = [content.root_key]
        while pending:
            key = pending.pop()
            if key not in found:
                found.add(key)
                pending += children_of(key, content.objects[key])
    return found


@pytest.fixture(params=OWN_REGISTRIES)
def registry(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SqlRegistry]:
    with own_registry(request.param, tmp_path / "registry") as opened:
        opened.projects.create("vision")
        yield opened


def stock(registry: SqlRegistry, count: int) -> list[Content]:
    """Versions 0 to `count`, the last of which keeps `latest` and stays."""
    contents = [doomed_content(number) for number in range(count + 1)]
    for content in contents:
        draft = registry.drafts.open("vision")
        send(registry, draft, content)
        registry.drafts.seal(draft.id, SealRequest("doomed", content.root))
    return contents


def delete_beside_commits(registry: SqlRegistry, root: Path, count: int) -> tuple[float, float]:
    """How long deleting `count` versions took, and the longest commit meanwhile, both in seconds."""
    kept = stock(registry, count)[-1]
    before = weigh(root)
    committers = [Committer(registry, which, count) for which in range(COMMITTERS)]
    stop = threading.Event()
    with ThreadPoolExecutor(COMMITTERS) as threads:
        running = [threads.submit(committer.run, stop) for committer in committers]
        try:
            position, began_s = registry.changes.position(), time.monotonic()
            done = registry.versions.remove("vision", Removal({"doomed": list(range(count))}))
            elapsed_s = time.monotonic() - began_s
        finally:
            stop.set()
        for thread in running:
            thread.result(60)
    after = weigh(root)
    committed = [content for committer in committers for content in committer.contents]
    assert done.version_count == count
    assert after.keys == reachable([kept, *committed])
    stored_bytes = sum(committer.stored_bytes for committer in committers)
    assert after.object_bytes == before.object_bytes + stored_bytes - done.freed_bytes
    assert after.file_bytes < before.file_bytes
    for content in committed:
        assert all(fetch_again(registry, "vision", key) == data for key, data in content.objects.items())
    assert commits_in_between(registry, position) > 0
    assert check_registry(registry.resources).findings == []
    return elapsed_s, max(second for committer in committers for second in committer.seconds)


def commits_in_between(registry: SqlRegistry, position: int) -> int:
    """How many versions were committed between the first and the last that was deleted."""
    changes = []
    while page := registry.changes.since(position, 10_000):
        changes += page
        position = page[-1].seq
    deleted = [change.seq for change in changes if (change.kind, change.artifact) == ("version", "doomed")]
    made = [change.seq for change in changes if change.kind == "version" and change.artifact.startswith("busy")]
    return sum(deleted[0] < seq < deleted[-1] for seq in made)


def test_many_versions_are_deleted_exactly_while_others_commit(registry: SqlRegistry, tmp_path: Path) -> None:
    delete_beside_commits(registry, tmp_path / "registry", 300)


def test_one_version_after_another_is_deleted_as_exactly(registry: SqlRegistry, tmp_path: Path) -> None:
    kept = stock(registry, 50)[-1]
    before = weigh(tmp_path / "registry")
    freed = sum(registry.versions.delete("vision", "doomed", [number]).freed_bytes for number in range(50))
    after = weigh(tmp_path / "registry")
    assert after.keys == reachable([kept])
    assert before.object_bytes - after.object_bytes == freed


@pytest.mark.deep
@pytest.mark.serial
@pytest.mark.timeout(1800)
def test_ten_thousand_versions_are_deleted_within_a_minute(registry: SqlRegistry, tmp_path: Path) -> None:
    elapsed_s, commit_s = delete_beside_commits(registry, tmp_path / "registry", 10_000)
    _log.info("10,000 versions in %.1f s, the longest commit meanwhile took %.2f s", elapsed_s, commit_s)
    assert elapsed_s < DEEP_S_MAX
    assert commit_s < COMMIT_S_MAX


def test_a_version_that_gets_a_name_while_others_are_deleted_stays(tmp_path: Path) -> None:
    with own_registry("sqlite", tmp_path / "registry") as registry:
        registry.projects.create("vision")
        contents = [content_of({"a": b"%d" % i}) for i in range(3 * AT_ONCE)]
        for content in contents:
            commit(registry, "vision", "bikes", content)
        last = 2 * AT_ONCE + 1

        def name_it(_: float) -> None:
            registry.aliases.move("vision", "bikes", "rescued", last)

        deletions = Deletions(
            registry.resources, Maintenance(registry.resources), registry.projects, now_s=lambda: 0.0, pause=name_it
        )
        with pytest.raises(StillAliased, match="rescued"):
            deletions.delete("vision", Removal({"bikes": list(range(len(contents) - 1))}))
        assert registry.versions.resolve("vision", "bikes", "rescued").number == last
        assert all(fetch(registry, "vision", key) == data for key, data in contents[last].objects.items())
