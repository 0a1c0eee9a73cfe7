"""A registry that remembers, over a real one that fails on command: what is asked, what is told, what is never told."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from artfs.client.objects import ObjectReader
from artfs.client.remembered.answer_file import AnswerFile
from artfs.client.remembered.registry import RememberingRegistry
from artfs.errors import (
    AccessDenied,
    AliasNotFound,
    ArtifactNotFound,
    NotFound,
    ProjectNotFound,
    RegistryUnavailable,
    RunNotFound,
)
from artfs.registry.embedded import EmbeddedRegistry
from artfs.vfs.ports import NotRemembered
from artfs.wire.records import SealRequest, VersionChange
from artfs.wire.runs import NewRun
from tests.contract.uploading import commit, content_of, send
from tests.faults.faulty_registry import DEAD, DENYING, Faults, faulty

pytestmark = [pytest.mark.falsifies("no-hang", "one-version", "seen-soon")]

CURRENT_S = 30.0


class Seconds:
    """A monotonic clock that only tests move."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


class World:
    """A registry, the same one far away, and what is remembered of it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.registry = EmbeddedRegistry(directory / "registry")
        self.registry.projects.create("vision")
        self.faults = Faults(directory / "fault")
        self.clock = Seconds()
        self.far = self.open()
        self.position = 0

    def open(self) -> RememberingRegistry:
        """As another process of the same user has it."""
        file = AnswerFile(self.directory / "catalog" / "known.db")
        return RememberingRegistry(faulty(self.registry, self.faults), file, monotonic_s=self.clock)

    def put(self, *aliases: str, text: bytes = b"") -> int:
        """A version by somebody else."""
        data = text or str(self.registry.changes.position()).encode()
        return commit(self.registry, "vision", "bikes", {"f": data}, *aliases).version.number

    def follow(self) -> None:
        """What the mount's watcher does: hear of all changes so far."""
        changes = self.far.changes
        if not self.position:
            self.position = changes.position()
        newest = changes.wait(self.position, 0.0)
        changes.since(self.position)
        self.position = newest
        changes.wait(self.position, 0.0)

    def latest(self) -> int:
        return self.far.versions.resolve("vision", "bikes", "latest").number

    def asked(self) -> int:
        """Calls about the catalog so far."""
        return sum(n for call, n in self.faults.calls.items() if not call.startswith(("changes.", "drafts.")))


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    opened = World(tmp_path)
    opened.put("best")
    yield opened
    opened.far.close()
    opened.registry.close()


def test_what_did_not_change_is_asked_once_while_changes_are_followed(world: World) -> None:
    world.follow()
    for _ in range(3):
        assert world.latest() == 0
        assert world.far.aliases.list("vision", "bikes") == {"best": 0, "latest": 0}
        assert [p.name for p in world.far.projects.list()] == ["vision"]
    assert world.asked() == 3


def test_without_following_every_question_is_asked(world: World) -> None:
    assert [world.latest() for _ in range(3)] == [0, 0, 0]
    assert world.asked() == 3
    with pytest.raises(NotRemembered):
        world.far.known.version("vision", "bikes", "latest", None)


def test_a_change_by_somebody_else_is_told_once_it_was_heard_of(world: World) -> None:
    world.follow()
    assert world.latest() == 0
    world.put()
    world.follow()
    with pytest.raises(NotRemembered):
        world.far.known.version("vision", "bikes", "latest", None)
    assert world.latest() == 1


def test_a_change_that_was_announced_but_not_read_yet_makes_everything_be_asked(world: World) -> None:
    world.follow()
    assert world.latest() == 0
    world.put()
    world.far.changes.wait(world.position, 0.0)
    assert world.latest() == 1


def test_other_artifacts_stay_known_when_one_changes(world: World) -> None:
    commit(world.registry, "vision", "cars", {"f": b"x"})
    world.follow()
    world.far.versions.resolve("vision", "cars", "latest")
    asked = world.asked()
    world.put()
    world.follow()
    world.far.versions.resolve("vision", "cars", "latest")
    assert world.asked() == asked


def test_names_follow_from_lists_without_being_asked(world: World) -> None:
    world.follow()
    world.far.projects.list()
    world.far.artifacts.list("vision")
    world.far.versions.list("vision", "bikes")
    world.far.aliases.list("vision", "bikes")
    asked = world.asked()
    assert world.latest() == 0
    assert world.far.versions.resolve("vision", "bikes", "v0").number == 0
    assert world.far.artifacts.get("vision", "bikes").name == "bikes"
    assert world.far.projects.get("vision").name == "vision"
    with pytest.raises(AliasNotFound):
        world.far.versions.resolve("vision", "bikes", "worst")
    assert world.asked() == asked


def test_what_is_not_there_is_remembered_briefly(world: World) -> None:
    world.follow()
    for _ in range(2):
        with pytest.raises(ArtifactNotFound):
            world.far.artifacts.get("vision", "cars")
    assert world.asked() == 1
    world.clock.now_s += 6
    with pytest.raises(ArtifactNotFound):
        world.far.artifacts.get("vision", "cars")
    assert world.asked() == 2


def test_even_what_did_not_change_is_asked_again_in_time(world: World) -> None:
    world.follow()
    world.latest()
    for _ in range(7):
        world.clock.now_s += 10
        world.follow()
    world.latest()
    assert world.asked() == 2


def test_a_feed_that_fell_silent_is_not_believed(world: World) -> None:
    world.follow()
    world.latest()
    world.clock.now_s += CURRENT_S
    world.put()
    assert world.latest() == 1


def test_own_writes_are_seen_at_once(world: World) -> None:
    world.follow()
    assert world.latest() == 0
    assert world.far.versions.list("vision", "bikes")
    commit(world.far, "vision", "bikes", {"f": b"new"})
    assert world.latest() == 1
    assert [v.number for v in world.far.versions.list("vision", "bikes")] == [0, 1]
    world.far.aliases.move("vision", "bikes", "best", 1)
    assert world.far.versions.resolve("vision", "bikes", "best").number == 1
    world.far.aliases.remove("vision", "bikes", "best")
    with pytest.raises(NotFound):
        world.far.versions.resolve("vision", "bikes", "best")
    world.far.versions.update("vision", "bikes", 1, VersionChange(description="said"))
    assert world.far.versions.resolve("vision", "bikes", "v1").description == "said"


def test_a_version_that_was_finished_here_is_seen_at_once(world: World) -> None:
    world.follow()
    assert world.latest() == 0
    for opened_here in (True, False):
        opener = world.far if opened_here else world.registry
        shared = opener.shared_drafts.open("vision", "bikes", f"group-{opened_here}")
        content = content_of({"f": b"part %d" % opened_here})
        draft = world.far.drafts.open("vision")
        send(world.far, draft, content)
        world.far.shared_drafts.finish(shared.id, draft.id, SealRequest("bikes", content.root), [])
        assert world.latest() == (1 if opened_here else 2)


def test_runs_are_asked_for_each_time_and_what_fails_is_noticed(world: World) -> None:
    world.registry.runs.start("vision", NewRun("r1"))
    assert [run.id for run in world.far.runs.list("vision")] == ["r1"]
    world.registry.runs.delete("vision", "r1")
    with pytest.raises(RunNotFound):
        world.far.runs.get("vision", "r1")
    assert world.far.status()["reachable"]
    world.faults.set(DEAD)
    with pytest.raises(RegistryUnavailable):
        world.far.lineage.graph("vision", "bikes", 0)
    assert not world.far.status()["reachable"]


def test_after_an_own_write_nothing_older_is_told_even_out_of_reach(world: World) -> None:
    world.follow()
    assert world.latest() == 0
    commit(world.far, "vision", "bikes", {"f": b"new"})
    world.faults.set(DEAD)
    with pytest.raises(RegistryUnavailable):
        world.latest()
    with pytest.raises(RegistryUnavailable):
        world.open().versions.resolve("vision", "bikes", "latest")


def test_out_of_reach_what_was_told_before_is_told_again(world: World) -> None:
    world.latest()
    world.far.projects.list()
    world.faults.set(DEAD)
    assert world.latest() == 0
    assert [p.name for p in world.far.projects.list()] == ["vision"]
    with pytest.raises(RegistryUnavailable, match="connection refused"):
        world.far.artifacts.list("vision")
    status = world.far.status()
    assert (status["reachable"], status["last_error"]) == (False, "cannot reach the registry: connection refused")
    world.faults.set("")
    world.clock.now_s += 2
    assert [a.name for a in world.far.artifacts.list("vision")] == ["bikes"]
    assert world.far.status()["reachable"]


def test_a_later_process_knows_what_an_earlier_one_was_told(world: World) -> None:
    world.latest()
    world.far.aliases.list("vision", "bikes")
    identity = world.far.identity
    world.far.file.close()
    world.faults.set(DEAD)
    later = world.open()
    assert later.identity == identity
    assert later.versions.resolve("vision", "bikes", "latest").number == 0
    assert later.aliases.list("vision", "bikes") == {"best": 0, "latest": 0}
    later.file.close()


def test_a_registry_that_is_down_is_tried_by_one_call_a_second(world: World) -> None:
    world.faults.set(DEAD)
    for _ in range(10):
        with pytest.raises(RegistryUnavailable):
            world.far.artifacts.list("vision")
    assert world.asked() == 1
    world.clock.now_s += 1.5
    with pytest.raises(RegistryUnavailable):
        world.far.artifacts.list("vision")
    assert world.asked() == 2


def test_after_an_outage_what_changed_meanwhile_is_seen(world: World) -> None:
    world.follow()
    assert world.latest() == 0
    world.faults.set(DEAD)
    with pytest.raises(RegistryUnavailable):
        world.far.changes.wait(world.position, 0.0)
    world.put()
    assert world.latest() == 0
    world.faults.set("")
    world.follow()
    assert world.latest() == 1


def test_what_was_denied_is_not_remembered_and_ends_what_was(world: World) -> None:
    assert world.latest() == 0
    world.faults.set(DENYING)
    with pytest.raises(AccessDenied):
        world.latest()
    world.faults.set(DEAD)
    with pytest.raises(RegistryUnavailable):
        world.latest()


def test_nothing_of_a_project_that_is_not_shown_any_more_is_told(world: World) -> None:
    assert world.latest() == 0
    world.registry.versions.delete("vision", "bikes", [0], delete_aliases=True)
    world.registry.artifacts.delete("vision", "bikes")
    world.registry.projects.delete("vision")
    with pytest.raises(ProjectNotFound):
        world.far.projects.get("vision")
    world.faults.set(DEAD)
    for far in (world.far, world.open()):
        with pytest.raises(RegistryUnavailable):
            far.versions.resolve("vision", "bikes", "latest")


def test_an_outage_is_told_once_in_the_log(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.latest()
    world.faults.set(DEAD)
    for _ in range(3):
        world.latest()
    assert [record.message for record in caplog.records] == [
        "cannot reach the registry: connection refused; telling what was there when it was last asked"
    ]


def test_memory_is_bounded(tmp_path: Path) -> None:
    world = World(tmp_path)
    file = AnswerFile(tmp_path / "known.db")
    far = RememberingRegistry(faulty(world.registry, world.faults), file, records_max=20, monotonic_s=world.clock)
    far.changes.position()
    for i in range(50):
        commit(world.registry, "vision", f"a{i}", {"f": b"%d" % i})
        far.versions.list("vision", f"a{i}")
    assert far.status()["remembered"] <= 10
    far.close()


@pytest.mark.parametrize("content", [b"", b"garbage" * 1000, b"SQLite format 3\0" + b"\xff" * 4000])
def test_a_damaged_file_costs_only_what_it_held(world: World, content: bytes) -> None:
    world.latest()
    world.far.file.close()
    for path in (world.directory / "catalog").iterdir():
        path.write_bytes(content)
    later = world.open()
    assert later.versions.resolve("vision", "bikes", "latest").number == 0
    world.faults.set(DEAD)
    assert later.versions.resolve("vision", "bikes", "latest").number == 0
    later.file.close()


def test_two_processes_share_the_file(world: World) -> None:
    other = world.open()

    def ask(far: RememberingRegistry) -> None:
        for _ in range(200):
            far.versions.resolve("vision", "bikes", "latest")
            far.aliases.list("vision", "bikes")

    with ThreadPoolExecutor(4) as threads:
        for done in [threads.submit(ask, far) for far in (world.far, other, world.far, other)]:
            done.result(60)
    other.file.close()


def test_times_of_pages_are_known_without_asking(world: World) -> None:
    version = world.registry.versions.resolve("vision", "bikes", "latest")
    told = ObjectReader(world.far, dates=world.far.file).page("vision", version.root)
    located = world.faults.calls["objects.locate"]
    again = world.far.file.dates("vision", version.root)
    assert again is not None
    assert again.created_at_ns == told.created_at_ns
    ObjectReader(world.far, dates=world.far.file).held_page("vision", version.root)
    assert world.faults.calls["objects.locate"] == located


def test_times_are_forgotten_with_the_project_that_had_them(world: World) -> None:
    world.far.projects.get("vision")
    version = world.registry.versions.resolve("vision", "bikes", "latest")
    ObjectReader(world.far, dates=world.far.file).page("vision", version.root)
    world.registry.versions.delete("vision", "bikes", [0], delete_aliases=True)
    world.registry.artifacts.delete("vision", "bikes")
    world.registry.projects.delete("vision")
    world.registry.projects.create("vision")
    world.far.projects.get("vision")
    assert world.far.file.dates("vision", version.root) is None
