"""Versions that several processes make together: complete, identical whatever the order, all or nothing."""

from __future__ import annotations

import signal
import subprocess
import sys
from itertools import permutations
from pathlib import Path

import pytest

import artfs
from artfs.errors import Conflict, DraftClosed, InvalidValue, NotFound, PathConflict, UnsupportedFile, UsageError

pytestmark = [pytest.mark.falsifies("whole"), pytest.mark.usefixtures("place")]
WRITERS = 5
PROCESS_S = 90


def _part(files: dict[str, str], **says: object) -> artfs.Artifact:
    artifact = artfs.Artifact("together", "dataset", **says)  # type: ignore[arg-type]  # of whichever names a test gives
    for path, content in files.items():
        with artifact.new_file(path) as file:
            file.write(content)
    return artifact


def _upsert(group: str, files: dict[str, str], **says: object) -> None:
    with artfs.init(group=group) as run:
        assert run.upsert_artifact(_part(files, **says)).is_draft()


def _finish(group: str, files: dict[str, str] | None = None, **says: object) -> artfs.Artifact:
    with artfs.init(group=group) as run:
        return run.finish_artifact(_part(files or {}, **says))


def _contents(artifact: artfs.Artifact) -> dict[str, str]:
    return {path: entry.open().read().decode() for path, entry in artifact.manifest.entries.items()}


def test_parts_become_one_version_that_all_runs_have_logged() -> None:
    _upsert("g", {"parts/1": "one", "same": "s"})
    _upsert("g", {"parts/2": "two", "same": "s", "own/deep/x": "x"})
    assert artfs.Api().runs(filters={"group": "g"})[0].logged_artifacts()[:] == []
    version = _finish("g", {"top": "t"}, metadata={"n": 2})
    assert _contents(version) == {"own/deep/x": "x", "parts/1": "one", "parts/2": "two", "same": "s", "top": "t"}
    assert (version.name, version.metadata, version.aliases) == ("together:v0", {"n": 2}, ["latest"])
    for run in artfs.Api().runs(filters={"group": "g"}):
        assert [found.name for found in run.logged_artifacts()] == ["together:v0"]
    producer = version.logged_by()
    assert producer is not None
    assert producer.group == "g"


def test_after_it_was_finished_nothing_is_taken() -> None:
    _upsert("g", {"a": "a"})
    _finish("g")
    with pytest.raises(DraftClosed):
        _upsert("g", {"b": "b"})
    with pytest.raises(DraftClosed):
        _finish("g")
    _upsert("other", {"c": "c"})
    assert _contents(_finish("other")) == {"c": "c"}
    assert len(artfs.Api().artifact_versions("dataset", "together")) == 2


def test_the_result_does_not_depend_on_the_order() -> None:
    parts = [{"a/1": "1", "x": "x"}, {"a/2": "2", "x": "x"}, {"a/b/3": "3", "d/4": "4"}]
    digests = set()
    for number, order in enumerate(permutations(range(3))):
        for i in order:
            _upsert(f"g{number}", parts[i], metadata={f"key{i}": i}, description="same")
        version = _finish(f"g{number}")
        assert (version.metadata, version.description) == ({"key0": 0, "key1": 1, "key2": 2}, "same")
        digests.add(version.digest)
    assert len(digests) == 1
    once = artfs.log_artifact(_part({path: content for part in parts for path, content in part.items()}))
    artfs.finish()
    assert {once.digest} == digests


@pytest.mark.parametrize(
    ("first", "second", "named"),
    [
        ({"a/x": "1", "b": "1"}, {"a/x": "2", "b": "1"}, "a/x"),
        ({"a": "file"}, {"a/below": "file"}, "a"),
    ],
)
def test_writers_that_disagree_make_no_version(first: dict[str, str], second: dict[str, str], named: str) -> None:
    _upsert("g", first)
    _upsert("g", second)
    with pytest.raises(PathConflict) as raised:
        _finish("g")
    assert [line.strip() for line in raised.value.message.splitlines()[1:]] == [named]
    with pytest.raises(artfs.errors.ArtifactNotFound):
        artfs.Api().artifact("together:latest")


@pytest.mark.parametrize(
    ("one", "other"),
    [({"metadata": {"k": 1}}, {"metadata": {"k": 2}}), ({"description": "a"}, {"description": "b"})],
)
def test_metadata_and_descriptions_must_agree(one: dict[str, object], other: dict[str, object]) -> None:
    _upsert("g", {"a": "a"}, **one)
    with pytest.raises(Conflict):
        _finish("g", {"b": "b"}, **other)


def test_a_group_is_needed_or_a_name_instead() -> None:
    with artfs.init() as run:
        with pytest.raises(UsageError):
            run.upsert_artifact(_part({"a": "a"}))
        run.upsert_artifact(_part({"a": "a"}), distributed_id="mine")
    with artfs.init(group="other") as run:
        assert _contents(run.finish_artifact(_part({"b": "b"}), distributed_id="mine")) == {"a": "a", "b": "b"}
        with pytest.raises(UsageError, match="takes nothing more"):
            run.upsert_artifact(artfs.Api().artifact("together:latest"))
        with pytest.raises(InvalidValue):
            run.upsert_artifact(_part({"a": "a"}), aliases="best")


WRITER = """
import artfs, sys
number, group, mode = int(sys.argv[1]), sys.argv[2], sys.argv[3]
run = artfs.init(group=group)
artifact = artfs.Artifact("parallel", "dataset")
for i in range(50):
    with artifact.new_file(f"parts/{i % 5}/{number}-{i}") as file:
        file.write(f"{number} {i} " * 2000)
with artifact.new_file("shared") as file:
    file.write("shared")
if mode == "killed":
    import artfs.client.upload, os, signal
    store = artfs.client.upload.UploadSession.store_page
    def store_and_die(session, data):  # everything is sent but the last pages
        os.kill(os.getpid(), signal.SIGKILL)
    artfs.client.upload.UploadSession.store_page = store_and_die
run.upsert_artifact(artifact)
run.finish()
"""


def _writers(group: str, killed: int) -> None:
    """Five processes at once, one of which is killed in the middle and begun again."""

    def begin(number: int, mode: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-c", WRITER, str(number), group, mode])

    processes = [begin(i, "killed" if i == killed else "whole") for i in range(WRITERS)]
    try:
        for i, process in enumerate(processes):
            assert process.wait(PROCESS_S) == (-signal.SIGKILL if i == killed else 0)
    finally:
        for process in processes:
            if process.poll() is None:
                process.kill()
                process.wait(PROCESS_S)
    again = begin(killed, "whole")
    assert again.wait(PROCESS_S) == 0


def _repeated(times: int) -> None:
    digests = set()
    for repetition in range(times):
        _writers(f"g{repetition}", repetition % WRITERS)
        with artfs.init(group=f"g{repetition}") as run:
            version = run.finish_artifact(artfs.Artifact("parallel", "dataset"))
        assert version.file_count == WRITERS * 50 + 1
        digests.add(version.digest)
        assert (
            len([run for run in artfs.Api().runs(filters={"group": f"g{repetition}"}) if run.logged_artifacts()]) == 6
        )
    assert len(digests) == 1
    content = _contents(version)
    assert content["parts/3/2-8"] == "2 8 " * 2000
    assert len(content) == WRITERS * 50 + 1


@pytest.mark.timeout(300)
def test_five_processes_of_which_one_is_killed_make_the_same_every_time() -> None:
    _repeated(3)


@pytest.mark.deep
@pytest.mark.timeout(900)
def test_five_processes_of_which_one_is_killed_make_the_same_every_time_of_twenty() -> None:
    _repeated(20)


def test_links_that_only_leave_the_version_together_are_refused() -> None:
    Path("one").mkdir()
    Path("one/here").symlink_to(".")
    Path("two").mkdir()
    Path("two/out").symlink_to("here/../x")
    for directory in ("one", "two"):
        with artfs.init(group="g") as run:
            part = _part({})
            part.add_dir(directory)
            run.upsert_artifact(part)
    with pytest.raises(UnsupportedFile, match=r"out is a symbolic link that .*'here/\.\./x'.* leads to '\.\./x'"):
        _finish("g")
    with pytest.raises(NotFound):
        artfs.Api().artifact("together:latest")
