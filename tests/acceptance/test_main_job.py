"""The main job on real input: what a user does first, with the sizes that users have (bounded unless `deep`)."""

from __future__ import annotations

import filecmp
import os
import random
import shutil
import subprocess
import sysconfig
import threading
import time
from pathlib import Path

import pytest

from tests.acceptance.user import User, wait_until

pytestmark = [
    pytest.mark.falsifies("whole", "draft-kept"),
    pytest.mark.fuse,
    pytest.mark.serial,
    pytest.mark.timeout(1800),
]

MIB = 1 << 20


@pytest.fixture(scope="module")
def standard_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of this Python's standard library: thousands of real files."""
    source = Path(sysconfig.get_path("stdlib"))
    copy = tmp_path_factory.mktemp("library") / "lib"
    shutil.copytree(source, copy, symlinks=True, ignore=shutil.ignore_patterns("site-packages", "__pycache__"))
    return copy


def assert_identical(source: Path, mounted: Path) -> None:
    subprocess.run(["diff", "-r", source, mounted], check=True, timeout=300)
    command = ["rsync", "-nrclpE", "--delete", "--itemize-changes", f"{source}/", f"{mounted}/"]
    done = subprocess.run([*command, "--chmod=D555,F444,Fa+X"], check=True, timeout=300, capture_output=True, text=True)
    changed = [line for line in done.stdout.splitlines() if not line.startswith((".d", ".L"))]
    assert [line for line in changed if line[:2] in (">f", "cL", "cd", "*d") and line[2:4] != ".."] == []


def random_file(path: Path, size_bytes: int, seed: int) -> bytes:
    generator = random.Random(seed)
    pieces = [MIB] * (size_bytes // MIB) + [size_bytes % MIB]
    data = b"".join(generator.randbytes(piece) for piece in pieces)
    path.write_bytes(data)
    return data


def test_a_real_tree_goes_in_and_comes_out_identical(user: User, standard_library: Path) -> None:
    user.run("put", "-n", "python/library", "-t", "dataset", standard_library)
    with user.mounted() as root:
        assert_identical(standard_library, root / "python/library/latest")
        user.run("get", "python/library:v0", "--root", user.home / "copy")
        assert_identical(standard_library, user.home / "copy")


def test_a_second_version_stores_only_the_changed_chunk_and_the_trees_above(
    user: User, standard_library: Path, tmp_path: Path
) -> None:
    changed = tmp_path / "changed"
    shutil.copytree(standard_library, changed, symlinks=True)
    user.run("put", "-n", "python/library", standard_library)
    before = user.stored_bytes()
    (changed / "json/decoder.py").write_text("# changed\n")
    user.run("put", "-n", "python/library", changed)
    assert [v["version"] for v in user.json("log", "python/library")] == ["v1", "v0"]
    assert 0 < user.stored_bytes() - before < 64 << 10


@pytest.mark.parametrize("size_bytes", [128 * MIB, pytest.param(1024 * MIB, marks=pytest.mark.deep)])
def test_an_insertion_into_a_large_file_stores_at_most_4_mib(user: User, tmp_path: Path, size_bytes: int) -> None:
    data = random_file(tmp_path / "big", size_bytes, seed=1)
    user.run("put", "-n", "p/big", tmp_path / "big")
    before = user.stored_bytes()
    middle = size_bytes // 2
    inserted = random.Random(2).randbytes(1000)
    (tmp_path / "big").write_bytes(data[:middle] + inserted + data[middle:])
    user.run("put", "-n", "p/big", tmp_path / "big")
    assert user.stored_bytes() - before <= 4 * MIB
    with user.mounted() as root:
        assert filecmp.cmp(tmp_path / "big", root / "p/big/latest/big", shallow=False)
        assert filecmp.cmp(tmp_path / "big", root / "p/big/v1/big", shallow=False)
        with (root / "p/big/v0/big").open("rb") as file:
            assert file.read() == data


def test_copying_into_staging_and_renaming_commits(user: User, standard_library: Path) -> None:
    with user.mounted() as root, user.mounted("second") as second:
        staging = root / "python/library/.staging"
        staging.parent.parent.mkdir()
        staging.parent.mkdir()
        subprocess.run(["cp", "-r", standard_library, staging / "x"], check=True, timeout=300)
        subprocess.run(["mv", staging / "x", staging.parent / "best"], check=True, timeout=120)
        assert sorted(os.listdir(staging)) == []
        assert_identical(standard_library, root / "python/library/best")
        wait_until((second / "python/library/best").is_dir, "the second mount sees the commit", 2)
        assert_identical(standard_library, second / "python/library/best")
        assert_identical(standard_library, second / "python/library/v0")


def test_mv_t_and_os_replace_repoint_an_alias(user: User) -> None:
    with user.mounted() as root:
        artifact = root / "p/a"
        artifact.parent.mkdir()
        artifact.mkdir()
        for number, text in enumerate(("one", "two", "three")):
            draft = artifact / ".staging" / "next"
            draft.mkdir()
            (draft / "file").write_text(text)
            if number == 1:
                subprocess.run(["mv", "-T", draft, artifact / "best"], check=True, timeout=60)
            else:
                os.replace(draft, artifact / "best")
            assert (artifact / "best/file").read_text() == text
            assert (artifact / "latest/file").read_text() == text
        assert [(artifact / f"v{n}/file").read_text() for n in range(3)] == ["one", "two", "three"]
        assert sorted(os.listdir(artifact)) == [".staging", "best", "latest", "v0", "v1", "v2"]


def test_identical_content_makes_no_new_version(user: User) -> None:
    with user.mounted() as root:
        artifact = root / "p/a"
        artifact.parent.mkdir()
        artifact.mkdir()
        for alias in ("one", "two"):
            draft = artifact / ".staging" / "next"
            draft.mkdir()
            (draft / "file").write_text("same")
            draft.rename(artifact / alias)
        assert sorted(os.listdir(artifact)) == [".staging", "latest", "one", "two", "v0"]


@pytest.mark.parametrize("count", [10_000, pytest.param(1_000_000, marks=pytest.mark.deep)])
def test_a_huge_directory_is_listed_looked_up_and_changed(user: User, tmp_path: Path, count: int) -> None:
    source = tmp_path / "huge"
    source.mkdir()
    for i in range(count):
        (source / f"sample-{i:07d}.txt").write_text(f"sample {i}\n")
    user.run("put", "-n", "p/huge", source)
    before = user.stored_bytes()
    with user.mounted() as root:
        version = root / "p/huge/v0"
        found = subprocess.run(["find", version, "-type", "f"], check=True, timeout=600, capture_output=True, text=True)
        assert found.stdout.count("\n") == count
        for i in random.Random(3).sample(range(count), 200):
            assert (version / f"sample-{i:07d}.txt").read_text() == f"sample {i}\n"
        assert not (version / "sample-x").exists()
        assert resident_bytes(user, root) < 400 * MIB
        user.run("stage", "p/huge:v0", "next")
        draft = root / "p/huge/.staging/next"
        for i in range(0, count, count // 10):
            (draft / f"sample-{i:07d}.txt").write_text("changed\n")
        began = time.monotonic()
        draft.rename(root / "p/huge/best")
        assert time.monotonic() - began < 10
        assert (root / f"p/huge/best/sample-{count // 10:07d}.txt").read_text() == "changed\n"
        assert (root / "p/huge/best/sample-0000001.txt").read_text() == "sample 1\n"
        assert resident_bytes(user, root) < 400 * MIB
    assert user.stored_bytes() - before < 5 * MIB


def resident_bytes(user: User, root: Path) -> int:
    (mount,) = [m for m in user.json("status")["mounts"] if m["mountpoint"] == str(root)]
    status = Path(f"/proc/{mount['pid']}/status").read_text()
    (line,) = [line for line in status.splitlines() if line.startswith("VmRSS:")]
    return int(line.split()[1]) * 1024


@pytest.mark.parametrize("size_bytes", [256 * MIB, pytest.param(1024 * MIB, marks=pytest.mark.deep)])
def test_a_long_commit_does_not_slow_other_artifacts(user: User, tmp_path: Path, size_bytes: int) -> None:
    (tmp_path / "small").mkdir()
    for i in range(50):
        random_file(tmp_path / f"small/{i}", 10_000, seed=i)
    user.run("put", "-n", "p/other", tmp_path / "small")
    with user.mounted() as root:
        (root / "p/big").mkdir()
        draft = root / "p/big/.staging/x"
        draft.mkdir()
        random_file(draft / "file", size_bytes, seed=9)
        committed = threading.Event()

        def commit() -> None:
            os.rename(draft, root / "p/big/best")
            committed.set()

        thread = threading.Thread(target=commit)
        thread.start()
        slowest_s = 0.0
        try:
            while not committed.is_set():
                began = time.monotonic()
                names = os.listdir(root / "p/other/v0")
                for name in names[:5]:
                    assert len((root / "p/other/v0" / name).read_bytes()) == 10_000
                os.listdir(root / "p")
                slowest_s = max(slowest_s, time.monotonic() - began)
                time.sleep(0.01)
        finally:
            thread.join(timeout=300)
        assert not thread.is_alive()
        assert slowest_s < 1.0
        assert (root / "p/big/best/file").stat().st_size == size_bytes


@pytest.mark.parametrize(
    "delay_s", [pytest.param(0.05, marks=pytest.mark.deep), 0.3, pytest.param(0.8, marks=pytest.mark.deep)]
)
def test_a_mount_killed_while_it_commits_loses_nothing(user: User, delay_s: float) -> None:
    with user.mounted() as root:
        (root / "p").mkdir()
        (root / "p/a").mkdir()
        draft = root / "p/a/.staging/x"
        draft.mkdir()
        data = random_file(draft / "file", 192 * MIB, seed=4)
        (draft / "sub").mkdir()
        (draft / "sub/small").write_text("small")
        (mount,) = user.json("status")["mounts"]
        command = ["mv", str(draft), str(root / "p/a/best")]
        mover = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        time.sleep(delay_s)
        os.kill(mount["pid"], 9)
        mover.wait(timeout=60)
        user.run("mount", root)  # replaces the dead mount point
        committed = (root / "p/a/best").is_dir()
        place = root / "p/a/best" if committed else draft
        assert committed != draft.is_dir()
        assert (place / "file").read_bytes() == data
        assert (place / "sub/small").read_text() == "small"
        if not committed:
            draft.rename(root / "p/a/best")
            assert (root / "p/a/best/file").read_bytes() == data
    user.run("fsck")
