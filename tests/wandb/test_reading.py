"""A W&B server that artfs reads: `wandb+http://...` as a registry, for mounts and commands. It is `artfs serve --wandb`."""

from __future__ import annotations

import json
import os
import random
from hashlib import md5
from pathlib import Path

import pytest

from tests.acceptance.team import Member
from tests.acceptance.user import wait_until
from tests.faq.worlds import files_in
from tests.mount.fingerprint import fingerprint
from tests.wandb.client import WandbServer, WandbUser, api_key, wandb_server

pytestmark = pytest.mark.timeout(300)

FILES = {
    "train/0.png": b"zero",
    "train/ü n.png": b"one",
    "train/new\nline": b"two",
    "train/50%25?#&": b"three",
    "labels.csv": b"0,1\n",
    "empty": b"",
    "large": random.Random(1).randbytes(5_000_000),
}
CHANGED = FILES | {"labels.csv": b"1,0\n"}


@pytest.fixture(scope="module")
def token(server: WandbServer) -> str:
    return server.place.user("geoff")


@pytest.fixture(scope="module")
def writer(server: WandbServer, token: str, tmp_path_factory: pytest.TempPathFactory) -> Member:
    """Who stores with artfs' own protocol: `vision/bikes`, two versions."""
    member = Member(tmp_path_factory.mktemp("writer"), {"ARTFS_REGISTRY": server.server.url, "ARTFS_TOKEN": token})
    for files, alias in ((FILES, "first"), (CHANGED, "best")):
        member.run("put", "-n", "vision/bikes", "-t", "dataset", "-a", alias, written(member.home / alias, files))
    return member


@pytest.fixture
def reader(server: WandbServer, token: str, writer: Member, tmp_path: Path) -> Member:
    return reading(tmp_path, server.server.url, token)


def reading(home: Path, url: str, token: str) -> Member:
    """Who has a key as W&B's client has it, and nothing else."""
    return Member(home, {"ARTFS_REGISTRY": f"wandb+{url}/geoff", "WANDB_API_KEY": api_key(token)})


def written(root: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return root


def refused(member: Member, *command: str | Path) -> str:
    """What the command says, which fails."""
    done = member.run(*command, code=None)
    assert done.returncode not in (0, 1), done
    return done.stderr


def content_reads(server: WandbServer) -> int:
    return sum(line["method"] == "GET" and "/content/" in line["path"] for line in server.server.access_lines)


def test_a_mount_shows_projects_artifacts_aliases_and_versions(reader: Member) -> None:
    with reader.mounted() as mounted:
        assert "vision" in os.listdir(mounted)
        assert os.listdir(mounted / "vision") == ["bikes"]
        assert sorted(os.listdir(mounted / "vision/bikes")) == ["best", "first", "latest", "v0", "v1"]
        assert files_in(mounted / "vision/bikes/best") == CHANGED
        assert files_in(mounted / "vision/bikes/v0") == FILES


@pytest.mark.falsifies("verified")
def test_what_is_mounted_is_the_source_in_every_respect(reader: Member, writer: Member) -> None:
    with reader.mounted() as mounted:
        shown = fingerprint(mounted / "vision/bikes/best")
    assert shown == fingerprint(writer.home / "best", modes_of_versions=True)


@pytest.mark.falsifies("times")
def test_what_did_not_change_keeps_its_time(reader: Member) -> None:
    with reader.mounted() as mounted:
        times = {
            (version, name): (mounted / "vision/bikes" / version / name).stat().st_mtime_ns
            for version in ("v0", "v1")
            for name in ("labels.csv", "large")
        }
    assert times["v0", "large"] == times["v1", "large"]
    assert times["v0", "labels.csv"] < times["v1", "labels.csv"]


def test_a_few_bytes_of_a_large_file_do_not_fetch_all_of_it(server: WandbServer, reader: Member) -> None:
    with reader.mounted() as mounted, (mounted / "vision/bikes/v0/large").open("rb", buffering=0) as file:
        assert os.pread(file.fileno(), 100, 2_500_000) == FILES["large"][2_500_000:2_500_100]
        (shown,) = reader.json("status")["mounts"]
        assert 0 < shown["cache"]["references"]["fetched_bytes"] <= 2 << 20


def test_what_was_read_once_is_read_from_the_cache_later(server: WandbServer, reader: Member) -> None:
    with reader.mounted() as mounted:
        assert files_in(mounted / "vision/bikes/best") == CHANGED
    before = content_reads(server)
    with reader.mounted() as mounted:
        assert files_in(mounted / "vision/bikes/best") == CHANGED
        assert files_in(mounted / "vision/bikes/latest") == CHANGED
    assert content_reads(server) == before


def test_commands_read_too(reader: Member, writer: Member) -> None:
    assert [project["project"] for project in reader.json("ls")] == ["vision"]
    entries = reader.json("ls", "-R", "vision/bikes:best")
    listed = {one["path"]: one for one in entries if one["kind"] != "directory"}
    assert {path: (one["kind"], one["size_bytes"], one["digest"]) for path, one in listed.items()} == {
        name: ("file", len(content), f"md5:{md5(content, usedforsecurity=False).hexdigest()}")
        for name, content in CHANGED.items()
    }
    assert [version["version"] for version in reader.json("log", "vision/bikes")] == ["v1", "v0"]
    differing = reader.run("diff", "--json", "vision/bikes:v0", "vision/bikes:v1", code=1)
    assert [change["path"] for change in json.loads(differing.stdout)] == ["labels.csv"]
    reader.run("get", "vision/bikes:first", "--root", reader.home / "got")
    assert files_in(reader.home / "got") == FILES
    assert "vision/bikes:v1" in reader.run("prefetch", "vision/bikes:best").stdout


@pytest.mark.falsifies("read-only")
def test_nothing_is_written(server: WandbServer, reader: Member, writer: Member) -> None:
    with reader.mounted() as mounted:
        for change in (
            lambda: (mounted / "vision/new").mkdir(),
            lambda: (mounted / "vision/bikes/best/new").write_bytes(b""),
            lambda: (mounted / "vision/bikes/best").rename(mounted / "vision/bikes/worst"),
        ):
            with pytest.raises(OSError, match="Read-only file system"):
                change()
        assert ".staging" not in os.listdir(mounted / "vision/bikes")
    for command in (
        ("put", "-n", "vision/bikes", writer.home / "best"),
        ("alias", "vision/bikes:v0", "worst"),
        ("rm", "--yes", "vision/bikes:v0"),
        ("stage", "vision/bikes:v0", "fix"),
        ("gc",),
    ):
        said = refused(reader, *command)
        assert "W&B server" in said
        assert "wandb" in said.partition("hint:")[2]
    assert sorted(alias for one in writer.json("log", "vision/bikes") for alias in one["aliases"]) == [
        "best",
        "first",
        "latest",
    ]


def test_a_moved_alias_is_seen_within_seconds(reader: Member, writer: Member) -> None:
    labels = "vision/bikes/moving/labels.csv"
    writer.run("alias", "vision/bikes:v0", "moving")
    with reader.mounted() as mounted:
        assert (mounted / labels).read_bytes() == FILES["labels.csv"]
        writer.run("alias", "vision/bikes:v1", "moving")
        wait_until(lambda: (mounted / labels).read_bytes() == CHANGED["labels.csv"], "the alias moved", 15)
    writer.run("alias", "--remove", "vision/bikes", "moving")


@pytest.mark.falsifies("no-hang")
def test_what_was_visited_stays_readable_without_the_server(tmp_path: Path) -> None:
    with wandb_server(tmp_path / "server") as running:
        token = running.place.user("geoff")
        source = written(tmp_path / "source", FILES)
        writer = Member(tmp_path / "writer", {"ARTFS_REGISTRY": running.server.url, "ARTFS_TOKEN": token})
        writer.home.mkdir()
        writer.run("put", "-n", "vision/bikes", source)
        home = tmp_path / "reader"
        home.mkdir()
        with reading(home, running.server.url, token).mounted() as mounted:
            assert files_in(mounted / "vision/bikes/latest") == FILES
            running.server.process.kill()
            assert files_in(mounted / "vision/bikes/latest") == FILES


@pytest.mark.falsifies("access")
def test_a_wrong_key_is_said_to_be_one(server: WandbServer, tmp_path: Path) -> None:
    member = Member(tmp_path, {"ARTFS_REGISTRY": f"wandb+{server.server.url}/geoff", "WANDB_API_KEY": "x" * 40})
    said = refused(member, "ls")
    assert "key" in said
    assert "x" * 40 not in said
    assert "key" in refused(member, "mount", tmp_path / "mounted")
    without = Member(tmp_path, {"ARTFS_REGISTRY": f"wandb+{server.server.url}/geoff"})
    assert "WANDB_API_KEY" in refused(without, "ls")


def test_the_key_may_be_in_the_netrc_file(server: WandbServer, token: str, writer: Member, tmp_path: Path) -> None:
    netrc = tmp_path / ".netrc"
    netrc.touch(mode=0o600)
    netrc.write_text(f"machine 127.0.0.1 login user password {api_key(token)}\n")
    member = Member(tmp_path, {"ARTFS_REGISTRY": f"wandb+{server.server.url}/geoff"})
    assert [project["project"] for project in member.json("ls")] == ["vision"]


@pytest.mark.falsifies("access")
def test_projects_of_others_do_not_exist(server: WandbServer, writer: Member, tmp_path: Path) -> None:
    stranger = reading(tmp_path, server.server.url, server.place.user("eve"))
    assert stranger.json("ls") == []
    assert "no project 'vision'" in refused(stranger, "ls", "vision")


@pytest.mark.deep
def test_every_way_to_read_gives_the_same_bytes(server: WandbServer, geoff: WandbUser, tmp_path: Path) -> None:
    files = {name: content for name, content in FILES.items() if "\n" not in name}
    geoff.write(files, "put")
    geoff.wandb("artifact", "put", "-n", "vision/everywhere", "-t", "dataset", "put/")
    geoff.forget()
    geoff.wandb("artifact", "get", "vision/everywhere:latest", "--root", "by-wandb")
    by_artfs = Member(geoff.home, {"ARTFS_REGISTRY": geoff.url, "ARTFS_TOKEN": geoff.token})
    by_artfs.run("get", "vision/everywhere:latest", "--root", tmp_path / "by-artfs")
    read = {"wandb artifact get": geoff.directory / "by-wandb", "artfs get": tmp_path / "by-artfs"}
    found = {how: files_in(root) for how, root in read.items()}
    with by_artfs.mounted() as mounted:
        found["artfs mount"] = files_in(mounted / "vision/everywhere/latest")
    reader = reading(tmp_path, geoff.url, geoff.token)
    reader.run("get", "vision/everywhere:latest", "--root", tmp_path / "by-key")
    found["artfs get, wandb+http"] = files_in(tmp_path / "by-key")
    with reader.mounted() as mounted:
        found["artfs mount, wandb+http"] = files_in(mounted / "vision/everywhere/latest")
    assert {how: content == files for how, content in found.items()} == dict.fromkeys(found, True)
