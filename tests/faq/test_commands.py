"""How do I log an artifact without launching a run, download one outside of a run, and clean up my local cache?"""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path

import pytest

import artfs
from artfs.api.session import close_sessions
from tests.faq.worlds import World, files_in

MNIST = {"train/0.png": b"zero", "train/1.png": b"one", "labels.csv": b"0,1\n"}
ARTIFACT_BYTES = 3_000_000
KEPT_BYTES = 5_000_000
LARGE_BYTES = 450_000_000
PIECE_BYTES = 1_000_000


def test_the_command_line_logs_an_artifact_without_a_run(world: World) -> None:
    world.write(MNIST, "mnist")
    world.sample("put.sh")
    artifact = artfs.Api().artifact("project/artifact:latest")
    assert artifact.type == "dataset"
    assert sorted(file.name for file in artifact.files()) == sorted(MNIST)
    assert artifact.logged_by() is None
    assert list(artfs.Api().runs("project")) == []


@pytest.fixture
def stored(world: World) -> World:
    """`project/artifact:alias`, and a newer version that it does not mean."""
    world.write(MNIST, "mnist")
    world.artfs("artifact", "put", "-n", "project/artifact", "-a", "alias", "-t", "dataset", "mnist/")
    world.write({"newer": b"newer"}, "mnist")
    world.sample("put.sh")
    world.write({}, "mnist")
    return world


def test_the_command_line_downloads_an_artifact_to_a_directory(stored: World) -> None:
    stored.sample("get.sh")
    assert files_in(stored.directory / "mnist") == MNIST


def test_a_script_checks_an_artifact_out(stored: World) -> None:
    directory = Path(stored.sample("checkout.py", then="print(artifact_dir)").strip())
    assert files_in(stored.directory / directory) == MNIST


def test_a_checked_out_directory_becomes_exactly_the_version(stored: World) -> None:
    artifact = artfs.Api().artifact("project/artifact:alias")
    stored.write({"left over": b"x", "labels.csv": b"changed"}, "out")
    artifact.checkout(str(stored.directory / "out"))
    assert files_in(stored.directory / "out") == MNIST


@pytest.fixture
def caching(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setenv("ARTFS_CACHE", "always")  # a registry in a directory is read in place otherwise
    return world


def fill_cache(world: World, artifact_bytes: int) -> None:
    """Read three artifacts, the first of them again at last."""
    for name in ("one", "two", "three"):
        artifact = artfs.Artifact(name, type="dataset")
        with artifact.new_file("data", mode="wb") as file:
            file.write(content(name, artifact_bytes))
        with artfs.init(project="project") as run:
            run.log_artifact(artifact)
    close_sessions()
    for name in ("one", "two", "three", "one"):
        read(world, name, artifact_bytes)
    assert info(world)["size_bytes"] > 3 * artifact_bytes


def content(name: str, size_bytes: int) -> bytes:
    """Not compressible, and the same for the same name."""
    source = random.Random(name)
    return b"".join(source.randbytes(PIECE_BYTES) for _ in range(size_bytes // PIECE_BYTES))


def read(world: World, name: str, artifact_bytes: int) -> None:
    copy = world.directory / "copy"
    artfs.Api().artifact(f"project/{name}:latest").download(copy)
    assert files_in(copy) == {"data": content(name, artifact_bytes)}
    shutil.rmtree(copy)
    close_sessions()  # the cache's counts are kept then


def info(world: World) -> dict[str, int]:
    found: dict[str, int] = json.loads(world.artfs("cache", "info", "--json", ARTFS_CACHE="always"))
    return found


def test_the_cache_is_limited_to_a_size_by_when_files_were_last_accessed(caching: World) -> None:
    fill_cache(caching, ARTIFACT_BYTES)
    before = info(caching)
    caching.sample("clean_cache.sh", ARTFS_CACHE="always")
    assert info(caching)["size_bytes"] == before["size_bytes"]  # it is less than 1 GB

    caching.artfs("artifact", "cache", "cleanup", str(KEPT_BYTES), ARTFS_CACHE="always")
    check_that_the_last_used_is_kept(caching, ARTIFACT_BYTES, KEPT_BYTES)


@pytest.mark.deep
@pytest.mark.timeout(1200)
def test_the_sample_keeps_the_most_recently_used_gigabyte(caching: World) -> None:
    fill_cache(caching, LARGE_BYTES)
    caching.sample("clean_cache.sh", ARTFS_CACHE="always")
    check_that_the_last_used_is_kept(caching, LARGE_BYTES, 10**9)


def check_that_the_last_used_is_kept(world: World, artifact_bytes: int, kept_bytes: int) -> None:
    after = info(world)
    assert artifact_bytes <= after["size_bytes"] <= kept_bytes
    read(world, "one", artifact_bytes)
    assert info(world)["misses"] == after["misses"]
    read(world, "two", artifact_bytes)
    assert info(world)["misses"] > after["misses"]
