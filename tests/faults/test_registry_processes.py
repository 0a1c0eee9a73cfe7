"""Several processes on one registry at once, and processes that die at any moment: nothing is lost, nothing is left."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from artfs.errors import StillAliased, VersionNotFound
from artfs.registry.embedded import EmbeddedRegistry
from artfs.registry.fsck import check
from artfs.wire.records import SealRequest
from tests.contract.uploading import Tree, commit, content_of, fetch, fetch_again, send
from tests.reliability.trials import tried

pytestmark = [pytest.mark.falsifies("once", "durable")]

ROOT = Path(__file__).parents[2]
WAIT_S = 100


def random_tree(chance: random.Random) -> Tree:
    """Small and of few contents, so that processes meet at the same objects."""
    files = {f"f{chance.randrange(6)}": b"content %d" % chance.randrange(8) * 40 for _ in range(3)}
    return {**files, "d": {"x": b"content %d" % chance.randrange(8) * 40}}


def work(root: Path, seed: int, rounds: int) -> None:
    """Commit, abandon and delete at random; verify every version right after its seal."""
    chance = random.Random(seed)
    registry = EmbeddedRegistry(root)
    artifact = f"artifact{seed % 2}"
    for _ in range(rounds):
        content = content_of(random_tree(chance))
        draft = registry.drafts.open("vision")
        send(registry, draft, content, now_ns=time.time_ns())
        if chance.random() < 0.3:
            registry.drafts.abandon(draft.id)
            continue
        version = registry.drafts.seal(draft.id, SealRequest(artifact, content.root, [f"mine{seed}"])).version
        for key, data in content.objects.items():
            assert fetch_again(registry, "vision", key) == data
        registry.aliases.remove("vision", artifact, f"mine{seed}")
        free = [
            v.number for v in registry.versions.list("vision", artifact) if not v.aliases and v.number < version.number
        ]
        if free and chance.random() < 0.5:
            try_delete(registry, artifact, chance.sample(free, 1))
    registry.close()


def try_delete(registry: EmbeddedRegistry, artifact: str, numbers: list[int]) -> None:
    with suppress(StillAliased, VersionNotFound):  # another process was faster
        registry.versions.delete("vision", artifact, numbers)


def start(root: Path, seed: int, rounds: int) -> subprocess.Popen[bytes]:
    code = (
        "import sys; from pathlib import Path; from tests.faults.test_registry_processes import work;"
        "work(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))"
    )
    return subprocess.Popen([sys.executable, "-c", code, str(root), str(seed), str(rounds)], cwd=ROOT)


def assert_sound(root: Path) -> None:
    """No damage, and on disk exactly the objects that versions hold."""
    EmbeddedRegistry(root).close()
    assert [(f.code, f.subject, f.detail) for f in check(root).findings if f.code != "draft-expired"] == []


def test_processes_that_commit_and_delete_at_once_leave_a_sound_registry(tmp_path: Path) -> None:
    root = tmp_path / "registry"
    registry = EmbeddedRegistry(root)
    registry.projects.create("vision")
    registry.close()
    workers = [start(root, seed, 12) for seed in range(4)]
    try:
        assert [worker.wait(WAIT_S) for worker in workers] == [0] * 4
        tried("rounds of processes that commit and delete at once", 4 * 12)
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
    assert_sound(root)


def test_threads_share_one_registry(tmp_path: Path) -> None:
    registry = EmbeddedRegistry(tmp_path / "registry")
    registry.projects.create("vision")
    failures: list[BaseException] = []

    def run(seed: int) -> None:
        try:
            for i in range(5):
                commit(registry, "vision", f"a{seed % 2}", {"same": b"x" * 500, "own": b"%d %d" % (seed, i)})
        except BaseException as error:  # noqa: BLE001  # handed to the test's thread
            failures.append(error)

    threads = [threading.Thread(target=run, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_S)
    assert failures == []
    assert sum(a.version_count for a in registry.artifacts.list("vision")) == 20
    registry.close()
    assert_sound(tmp_path / "registry")


@pytest.mark.parametrize("seed", [0, 1, pytest.param(2, marks=pytest.mark.deep)])
def test_a_process_killed_at_any_moment_loses_nothing_that_was_sealed(tmp_path: Path, seed: int) -> None:
    root = tmp_path / "registry"
    registry = EmbeddedRegistry(root)
    registry.projects.create("vision")
    kept = content_of({"kept": b"for ever" * 100})
    commit(registry, "vision", "kept", kept)
    chance = random.Random(seed)
    for round_ in range(4):
        worker = start(root, seed * 10 + round_, 10_000)
        try:
            target = registry.changes.position() + chance.randrange(3, 25)
            deadline_s = time.monotonic() + WAIT_S
            while registry.changes.position() < target and time.monotonic() < deadline_s:
                assert worker.poll() is None
            worker.send_signal(signal.SIGKILL)
            tried("a registry's process killed at a random moment")
        finally:
            worker.kill()
            worker.wait()
    registry.close()
    codes = {finding.code for finding in check(root).findings}
    assert codes <= {"cleaning-due", "record-stale"}
    later = EmbeddedRegistry(root, clock=lambda: time.time_ns() + 48 * 3600 * 10**9)
    for _ in range(20):  # what the dead left is cleaned a bounded part at a time
        later.drafts.abandon(later.drafts.open("vision").id)
    for version in (v for a in later.artifacts.list("vision") for v in later.versions.list("vision", a.name)):
        assert fetch(later, "vision", version.root_key) is not None
    assert all(fetch(later, "vision", key) == data for key, data in kept.objects.items())
    later.close()
    assert check(root).findings == []


def test_a_forked_child_uses_its_own_connections(tmp_path: Path) -> None:
    registry = EmbeddedRegistry(tmp_path / "registry")
    registry.projects.create("vision")
    registry.changes.position()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            commit(registry, "vision", "bikes", {"a": b"child"})
            status = 0
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    commit(registry, "vision", "bikes", {"a": b"parent"})
    assert [v.number for v in registry.versions.list("vision", "bikes")] == [0, 1]
    registry.close()
    assert_sound(tmp_path / "registry")
