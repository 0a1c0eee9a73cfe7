"""`wandb artifact put` and `get`, and that their versions are the same ones that artfs has."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.acceptance.team import Member
from tests.faq.worlds import files_in
from tests.wandb.client import VERSION, WandbServer, WandbUser, wandb_server

pytestmark = [pytest.mark.timeout(900), pytest.mark.serial]

FILES = {
    "train/0.png": b"zero",
    "train/ü n.png": b"one",
    "labels.csv": b"0,1\n",
    "empty": b"",
    "large": random.Random(1).randbytes(3_000_000),
}
MANY = 2000


def by_artfs(user: WandbUser) -> Member:
    """The same user with artfs' own command line."""
    return Member(user.home, {"ARTFS_REGISTRY": user.url, "ARTFS_TOKEN": user.token})


def put(user: WandbUser, files: dict[str, bytes], name: str) -> None:
    user.write(files, name)
    user.wandb("artifact", "put", "-n", f"vision/{name}", "-t", "dataset", f"{name}/")


def got(user: WandbUser, name: str, to: str) -> dict[str, bytes]:
    user.forget()
    user.wandb("artifact", "get", f"vision/{name}", "--root", to)
    return files_in(user.directory / to)


def test_what_one_client_stores_the_other_reads(server: WandbServer, geoff: WandbUser) -> None:
    put(geoff, FILES, "bikes")
    changed = FILES | {"labels.csv": b"1,0\n", "large": FILES["large"][:1_500_000] + b"x" + FILES["large"][1_500_000:]}
    source = geoff.write(changed, "changed")
    by_artfs(geoff).run("put", "-n", "vision/bikes", "-t", "dataset", "-a", "best", source)
    assert versions(server, "bikes") == [0, 1]
    assert got(geoff, "bikes:best", "best") == changed
    with by_artfs(geoff).mounted() as mounted:
        assert files_in(mounted / "vision/bikes/v0") == FILES
    assert stored_bytes(server) < 2 * len(FILES["large"]), "chunks are shared"


@pytest.mark.deep
def test_identical_content_is_not_sent_and_makes_no_version(server: WandbServer, geoff: WandbUser) -> None:
    put(geoff, FILES, "same")
    lines = len(server.server.access_lines)
    put(geoff, FILES, "same")
    assert server.sent_files(lines) == []
    assert versions(server, "same") == [0]


@pytest.mark.deep
def test_both_clients_fetch_the_same_bytes(geoff: WandbUser) -> None:
    put(geoff, FILES, "again")
    assert got(geoff, "again:latest", "by-wandb") == FILES
    by_artfs(geoff).run("get", "vision/again:v0", "--root", geoff.home / "by-artfs")
    assert files_in(geoff.home / "by-artfs") == FILES


@pytest.mark.deep
def test_of_many_files_only_the_changed_one_is_sent(server: WandbServer, geoff: WandbUser) -> None:
    files = {f"{i % 20}/{i}.txt": f"file {i}".encode() for i in range(MANY)}
    put(geoff, files, "many")
    assert len(server.sent_files()) >= MANY
    lines = len(server.server.access_lines)
    put(geoff, files | {"7/7.txt": b"changed"}, "many")
    assert server.sent_files(lines) == ["7.txt"]
    assert got(geoff, "many:v1", "many-back") == files | {"7/7.txt": b"changed"}


@pytest.mark.deep
def test_several_workers_share_what_is_on_its_way(tmp_path: Path) -> None:
    files = {f"{i}.txt": f"file {i}".encode() for i in range(300)} | {"large": FILES["large"]}
    with wandb_server(tmp_path, "--workers", "3") as running:
        user = running.user("geoff")
        put(user, files, "shared")
        assert got(user, "shared:v0", "back") == files
        put(user, files | {"0.txt": b"changed"}, "shared")
        assert got(user, "shared:v1", "back again") == files | {"0.txt": b"changed"}
        assert len(running.sent_files()) == len(files) + 1
        assert running.failures() == []


@pytest.mark.deep
@pytest.mark.parametrize("version", ["0.22.3", "0.19.11"])
def test_older_clients_put_and_get(server: WandbServer, version: str) -> None:
    user = server.user("geoff", version=version)
    name = f"by-{version}"
    put(user, FILES, name)
    assert got(user, f"{name}:v0", "back") == FILES
    put(user, FILES | {"empty": b"not any more"}, name)
    assert got(server.user("geoff", version=VERSION), f"{name}:latest", f"{name}-back") == FILES | {
        "empty": b"not any more"
    }


def stored_bytes(server: WandbServer) -> int:
    packs = (server.place.directory / "registry/packs").rglob("*")
    return sum(path.stat().st_size for path in packs if path.is_file())


def versions(server: WandbServer, artifact: str) -> list[int]:
    registry = server.place.registry
    found = registry.versions.list("vision", artifact)
    registry.close()
    return [version.number for version in found]
