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
def cached(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """Three artifacts that were read through the cache, the first of them again at last."""
    monkeypatch.setenv("ARTFS_CACHE", "always")  # a registry in a directory is read in place otherwise
    for name in ("one", "two", "three"):
        artifact = artfs.Artifact(name, type="dataset")
        with artifact.new_file("data", mode="wb") as file:
            file.write(random.Random(name).randbytes(ARTIFACT_BYTES))
        with artfs.init(project="project") as run:
            run.log_artifact(artifact)
    close_sessions()
    for name in ("one", "two", "three", "one"):
        read(world, name)
    assert info(world)["size_bytes"] > 3 * ARTIFACT_BYTES
    return world


def read(world: World, name: str) -> None:
    copy = world.directory / "copy"
    artfs.Api().artifact(f"project/{name}:latest").download(copy)
    assert files_in(copy) == {"data": random.Random(name).randbytes(ARTIFACT_BYTES)}
    shutil.rmtree(copy)
    close_sessions()  # the cache's counts are kept then


def info(world: World) -> dict[str, int]:
    found: dict[str, int] = json.loads(world.artfs("cache", "info", "--json", ARTFS_CACHE="always"))
    return found


def test_the_cache_is_limited_to_a_size_by_when_files_were_last_accessed(cached: World) -> None:
    before = info(cached)
    cached.sample("clean_cache.sh", ARTFS_CACHE="always")
    assert info(cached)["size_bytes"] == before["size_bytes"]  # it is less than 1 GB

    cached.artfs("artifact", "cache", "cleanup", str(KEPT_BYTES), ARTFS_CACHE="always")
    after = info(cached)
    assert ARTIFACT_BYTES <= after["size_bytes"] <= KEPT_BYTES
    read(cached, "one")
    assert info(cached)["misses"] == after["misses"]
    read(cached, "two")
    assert info(cached)["misses"] > after["misses"]
