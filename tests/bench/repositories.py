"""Where a directory can be committed to, a version after another: artfs in two ways, restic, borg, DVC, a copy into JuiceFS.

Each is new and empty for each measurement. A commit counts as done when what it wrote is on the disk (`syncfs` for all alike),
and each proves afterwards that it gives the directory back.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

from tests.acceptance.user import ARTFS, User
from tests.bench import peers
from tests.bench.measure import require, run, timed, tree_bytes

ARTIFACT = "bench/data"


@dataclass(frozen=True)
class Repository:
    """An open repository.

    Attributes:
        commit: store a directory as the version with this number.
        restore: the directory of a version, made or shown at a new place.
        stored: what it keeps all versions in.
        prepare: bring a directory to where the next commit takes it from, which is not timed, and return that.
    """

    commit: Callable[[Path, int], object]
    restore: Callable[[int, Path], Path]
    stored: Path
    prepare: Callable[[Path, int], Path] = lambda source, _number: source

    def timed_commit(self, source: Path, number: int) -> float:
        def durably() -> None:
            self.commit(source, number)
            _sync(self.stored)

        return timed(durably)

    def stored_bytes(self) -> int:
        return tree_bytes(self.stored)

    def check(self, source: Path, number: int, place: Path) -> None:
        """Raises CheckFailed unless the version is the directory, byte for byte."""
        same_trees(source, self.restore(number, place / f"restored{number}"))


def same_trees(source: Path, found: Path) -> None:
    expected, others = source_digests(source), tree_digests(found)
    require(expected.keys() == others.keys(), f"{found} has other files than {source}")
    wrong = [name for name, digest in expected.items() if others[name] != digest]
    require(not wrong, f"{found} has other bytes than {source} in {wrong[:3]}")


@cache
def source_digests(source: Path) -> dict[str, bytes]:
    """Of a directory that nobody changes: read once for all rounds."""
    return tree_digests(source)


def tree_digests(root: Path) -> dict[str, bytes]:
    """SHA-256 of every file, by its path, on all cores."""
    paths = [path for path in root.rglob("*") if path.is_file()]
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        return dict(zip((str(path.relative_to(root)) for path in paths), threads.map(_digest, paths), strict=True))


def _digest(path: Path) -> bytes:
    with path.open("rb", buffering=0) as file:
        return hashlib.file_digest(file, "sha256").digest()


def read_through(root: Path) -> None:
    """Bring a directory into the page cache."""
    for path in root.rglob("*"):
        if path.is_file():
            with path.open("rb", buffering=0) as file:
                while file.read(1 << 20):
                    pass


def _sync(path: Path) -> None:
    subprocess.run(["sync", "-f", str(path)], check=True, timeout=600)


@contextmanager
def artfs_put(place: Path) -> Iterator[Repository]:
    user = _user(place)

    def commit(source: Path, number: int) -> None:
        run_artfs(user, "put", "-q", "-n", ARTIFACT, source)

    yield Repository(commit, partial(_get, user), user.registry)


@contextmanager
def artfs_mount(place: Path) -> Iterator[Repository]:
    """As people copy: `cp -r` into a staging directory, `mv` to an alias."""
    user = _user(place)
    with user.mounted() as mount:

        def commit(source: Path, number: int) -> None:
            staging = mount / ARTIFACT / ".staging"
            staging.parent.mkdir(parents=True, exist_ok=True)
            run("cp", "-r", source, staging / f"new{number}")
            os.rename(staging / f"new{number}", mount / ARTIFACT / f"done{number}")

        yield Repository(commit, partial(_get, user), user.registry)


def _user(place: Path) -> User:
    home = place / "artfs-home"
    home.mkdir()
    return User(home)


def run_artfs(user: User, *arguments: str | Path) -> str:
    """As `user.run`, with a failure that refuses a number instead of ending the run."""
    return run(ARTFS, *arguments, env=user.environment())


def _get(user: User, number: int, target: Path) -> Path:
    run_artfs(user, "get", "-q", f"{ARTIFACT}:v{number}", "--root", target)
    return target


@contextmanager
def restic(place: Path) -> Iterator[Repository]:
    repository = place / "restic"
    environment = {**os.environ, "RESTIC_PASSWORD": "bench", "HOME": str(place), "RESTIC_REPOSITORY": str(repository)}
    command = partial(run, peers.RESTIC.command, "-q", env=environment)
    command("init")

    def commit(source: Path, number: int) -> None:
        command("backup", "--tag", f"v{number}", ".", cwd=source)

    def restore(number: int, target: Path) -> Path:
        command("restore", "latest", "--tag", f"v{number}", "--target", target)
        return target

    yield Repository(commit, restore, repository)


@contextmanager
def borg(place: Path) -> Iterator[Repository]:
    repository = place / "borg"
    moved = {"BORG_BASE_DIR": str(place), "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes"}
    environment = {**os.environ, **moved, "BORG_RELOCATED_REPO_ACCESS_IS_OK": "yes", "BORG_REPO": str(repository)}
    command = partial(run, peers.BORG.command, env=environment)
    command("init", "--encryption", "none", repository)

    def commit(source: Path, number: int) -> None:
        command("create", f"::v{number}", ".", cwd=source)

    def restore(number: int, target: Path) -> Path:
        target.mkdir()
        command("extract", f"::v{number}", cwd=target)
        return target

    yield Repository(commit, restore, repository)


@contextmanager
def dvc(place: Path) -> Iterator[Repository]:
    """`dvc add` of a directory in a work tree, where DVC wants the data to be."""
    work = place / "dvc"
    work.mkdir()
    environment = {**os.environ, "HOME": str(place), "DVC_NO_ANALYTICS": "1"}
    command = partial(run, peers.DVC.command, cwd=work, env=environment)
    command("init", "-q", "--no-scm")

    def commit(source: Path, number: int) -> None:
        command("add", "-q", f"v{number}")

    def restore(number: int, target: Path) -> Path:
        shutil.rmtree(work / f"v{number}")
        command("checkout", "-q", f"v{number}.dvc")
        return work / f"v{number}"

    def prepare(source: Path, number: int) -> Path:
        shutil.copytree(source, work / f"v{number}")
        return work / f"v{number}"

    yield Repository(commit, restore, work / ".dvc", prepare)


@contextmanager
def juicefs(place: Path) -> Iterator[Repository]:
    """`cp -r` into a mounted volume; JuiceFS uploads files as they are closed."""
    objects = place / "juicefs-objects"
    objects.mkdir()
    volume = peers.juicefs_volume(place, "file", f"{objects}/")
    with volume.mounted(place) as mount:

        def commit(source: Path, number: int) -> None:
            run("cp", "-r", source, mount / f"v{number}")

        yield Repository(commit, lambda number, _target: mount / f"v{number}", objects)


REPOSITORIES = {
    "artfs": artfs_put,
    "artfs, cp -r and mv": artfs_mount,
    "restic": restic,
    "borg": borg,
    "DVC": dvc,
    "JuiceFS, cp -r": juicefs,
}
