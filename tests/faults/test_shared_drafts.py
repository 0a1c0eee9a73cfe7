"""Five processes that contribute to one version at once, one of them killed in the middle: the result is the same every time."""

from __future__ import annotations

import itertools
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from artfs.errors import Busy, DraftNotFound
from artfs.model.digest import Digest
from artfs.registry.embedded import EmbeddedRegistry
from artfs.registry.fsck import check
from artfs.registry.repair import repair
from artfs.registry.sql_registry import SqlRegistry
from artfs.wire.records import SealRequest
from artfs.wire.runs import Part
from tests.contract.uploading import Clock, Tree, commit, content_of, fetch, fetch_again, send
from tests.registries import OWN_REGISTRIES, migrated_database, open_postgres_registry

pytestmark = [pytest.mark.falsifies("whole", "once")]

ROOT = Path(__file__).parents[2]
WAIT_S = 100
WRITERS = 5
PARTS = 6  # of each writer
LATER_NS = 48 * 3600 * 10**9


def opened(url: str, root: Path, *, later_ns: int = 0) -> SqlRegistry:
    """The registry over PostgreSQL at `url`, or an embedded one if that is empty."""

    def clock() -> int:
        return time.time_ns() + later_ns

    return open_postgres_registry(url, root, clock=clock) if url else EmbeddedRegistry(root, clock=clock)


def tree_of(writer: int, part: int) -> Tree:
    """Files of its own, and some content that other writers have as well."""
    name = f"{writer}-{part}"
    return {
        f"{name}.txt": name.encode() * 50,
        "d": {name: b"content %d" % (part % 3) * 2000, f"{name}.x": b"%d" % part},
    }


def merged(trees: Iterator[Tree]) -> Tree:
    files: dict[str, bytes | str | Tree] = {}
    below: dict[str, bytes | str | Tree] = {}
    for tree in trees:
        inner = tree["d"]
        assert isinstance(inner, dict)
        below |= inner
        files |= {name: content for name, content in tree.items() if name != "d"}
    return {**files, "d": below}


def contribute(url: str, root: Path, writer: int) -> None:
    """Add all parts of a writer, in an order of its own, and say after each that it is there."""
    registry = opened(url, root)
    shared = registry.shared_drafts.open("vision", "data", "night")
    parts = list(range(PARTS))
    random.Random(os.getpid()).shuffle(parts)
    for part in parts:
        content = content_of(tree_of(writer, part))
        draft = registry.drafts.open("vision")
        for _ in range(20):
            try:
                send(registry, draft, content, now_ns=time.time_ns())
                break
            except Busy:  # a pack is on its way out
                continue
        registry.shared_drafts.add(shared.id, draft.id, Part(content.root))
        sys.stdout.write(f"{part}\n")
        sys.stdout.flush()
    registry.close()


def start(url: str, root: Path, writer: int) -> subprocess.Popen[str]:
    """A process of its own that contributes. The URL goes through its standard input."""
    code = (
        "import sys; from pathlib import Path; from tests.faults.test_shared_drafts import contribute;"
        "contribute(sys.stdin.readline().strip(), Path(sys.argv[1]), int(sys.argv[2]))"
    )
    command = [sys.executable, "-c", code, str(root), str(writer)]
    process = subprocess.Popen(command, cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    process.stdin.write(f"{url}\n")
    process.stdin.flush()
    return process


@pytest.fixture(params=OWN_REGISTRIES)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield ""
        return
    with migrated_database() as made:
        yield made


def run_writers(url: str, root: Path, victim: int, said_before: int) -> set[int]:
    """All writers at once, `victim` killed when it has said so much; what it said was there."""
    with ExitStack() as stack:
        writers = [stack.enter_context(start(url, root, writer)) for writer in range(WRITERS)]
        for writer in writers:
            stack.callback(writer.kill)  # before it is waited for
        stdout = writers[victim].stdout
        assert stdout is not None
        said = [stdout.readline() for _ in range(said_before)]
        writers[victim].kill()
        said += stdout.readlines()
        for number, writer in enumerate(writers):
            code = writer.wait(WAIT_S)
            assert code == 0 or number == victim
        return {int(line) for line in said if line.endswith("\n")}


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.deep)])
@pytest.mark.timeout(300)
def test_parts_are_whole_or_absent_and_the_version_is_the_same_every_time(tmp_path: Path, url: str, seed: int) -> None:
    root = tmp_path / "registry"
    chance = random.Random(seed)
    victim = chance.randrange(WRITERS)
    all_of = {(w, p): content_of(tree_of(w, p)) for w, p in itertools.product(range(WRITERS), range(PARTS))}
    with closing(opened(url, root)) as registry:
        registry.projects.create("vision")
        told = run_writers(url, root, victim, chance.randrange(PARTS))
        shared = registry.shared_drafts.open("vision", "data", "night")
        there = {part.root for part in registry.shared_drafts.parts(shared.id)}
        certain = {(w, p) for w, p in all_of if w != victim or p in told}
        assert {all_of[key].root for key in certain} <= there <= {content.root for content in all_of.values()}
        for content in all_of.values():
            if content.root in there:
                assert all(fetch_again(registry, "vision", key) == data for key, data in content.objects.items())
        with start(url, root, victim) as again:  # by somebody who saw it die
            assert again.wait(WAIT_S) == 0
        parts = [part.root for part in registry.shared_drafts.parts(shared.id)]
        assert parts == sorted(content.root for content in all_of.values())
        result = finish(registry, shared.id, parts)
        assert result == content_of(merged(tree_of(w, p) for w, p in all_of)).root
    assert_nothing_is_left(url, root)


def finish(registry: SqlRegistry, shared: str, parts: list[Digest]) -> Digest:
    whole = content_of(merged(tree_of(w, p) for w in range(WRITERS) for p in range(PARTS)))
    draft = registry.drafts.open("vision")
    send(registry, draft, whole, now_ns=time.time_ns())
    version = registry.shared_drafts.finish(shared, draft.id, SealRequest("data", whole.root), parts).version
    assert all(fetch_again(registry, "vision", key) == data for key, data in whole.objects.items())
    return version.root


def assert_nothing_is_left(url: str, root: Path) -> None:
    """Once the killed writer's upload has expired, only what the version holds is stored."""
    with closing(opened(url, root, later_ns=LATER_NS)) as later:
        for _ in range(20):  # each opening cleans a bounded part
            later.drafts.abandon(later.drafts.open("vision").id)
        with later.resources.database.read() as tx:
            (held,) = tx.rows("SELECT count(*) FROM objects")
        whole = content_of(merged(tree_of(w, p) for w in range(WRITERS) for p in range(PARTS)))
        assert held == (len(whole.objects),)
    if not url:
        assert check(root).findings == []


def test_fsck_has_nothing_to_say_of_one_that_is_open_or_finished(tmp_path: Path) -> None:
    root = tmp_path / "registry"
    with closing(EmbeddedRegistry(root)) as registry:
        registry.projects.create("vision")
        shared = registry.shared_drafts.open("vision", "data", "night")
        content = content_of(tree_of(0, 0))
        draft = registry.drafts.open("vision")
        send(registry, draft, content)
        registry.shared_drafts.add(shared.id, draft.id, Part(content.root))
        assert check(root, deep=True).findings == []
        draft = registry.drafts.open("vision")
        send(registry, draft, content)
        registry.shared_drafts.finish(shared.id, draft.id, SealRequest("data", content.root), [content.root])
    assert check(root, deep=True).findings == []


def test_a_repair_ends_it_and_the_next_to_open_it_starts_afresh(tmp_path: Path) -> None:
    root, clock = tmp_path / "registry", Clock()
    content = content_of(tree_of(0, 0))
    with closing(EmbeddedRegistry(root, clock=clock)) as registry:
        registry.projects.create("vision")
        kept = commit(registry, "vision", "kept", {"a": b"kept"}).version
        shared = registry.shared_drafts.open("vision", "data", "night")
        draft = registry.drafts.open("vision")
        send(registry, draft, content)
        registry.shared_drafts.add(shared.id, draft.id, Part(content.root))
    repair(root, clock=clock)
    assert check(root, deep=True, clock=clock).findings == []
    with closing(EmbeddedRegistry(root, clock=clock)) as registry:
        with pytest.raises(DraftNotFound):
            registry.shared_drafts.parts(shared.id)
        again = registry.shared_drafts.open("vision", "data", "night")
        assert registry.shared_drafts.parts(again.id) == []
        assert fetch(registry, "vision", content.root_key) is None
        assert fetch(registry, "vision", kept.root_key) is not None
