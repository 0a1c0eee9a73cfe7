"""Uploads over a network that fails: what was sent is not sent again, and what was done is not done twice."""

from __future__ import annotations

import random
import signal
import time
from pathlib import Path

import pytest

from artfs.client.client import Client
from artfs.client.put import put
from artfs.client.remote.packs import HttpPacks
from artfs.client.remote.registry import RemoteRegistry
from artfs.errors import RegistryUnavailable
from artfs.model.digest import Digest, ObjectKey, ObjectKind
from artfs.wire.records import NO_ROOT, SealRequest
from tests.acceptance.team import Team
from tests.contract.uploading import commit
from tests.network.proxy import Proxy

pytestmark = [pytest.mark.falsifies("once", "bounded")]

WAIT_S = 60.0
FILES = 120
FILE_BYTES = 1 << 20


def make_files(root: Path, count: int, size_bytes: int) -> int:
    """Files that neither compress nor repeat. Returns their bytes."""
    root.mkdir()
    rnd = random.Random(1)
    for i in range(count):
        (root / f"f{i:04}").write_bytes(rnd.randbytes(size_bytes))
    return count * size_bytes


def test_a_killed_put_is_taken_up_where_it_was(tmp_path: Path) -> None:
    total_bytes = make_files(tmp_path / "source", FILES, FILE_BYTES)
    team = Team(tmp_path, {})
    with team.serving() as server, Proxy.to(server.url, latency_s=0.005) as way:
        ann = team.user("ann", way.url)
        way.reset_counts()
        first = ann.start("put", "-n", "vision/bikes", tmp_path / "source", "--quiet")
        _wait_until_stored(team, total_bytes // 4)
        first.send_signal(signal.SIGKILL)
        first.communicate(timeout=WAIT_S)
        assert first.returncode == -signal.SIGKILL
        spool = ann.home / ".local/share/artfs/spool"
        assert list(spool.iterdir())
        stored_bytes = team.administrator.stored_bytes()
        way.reset_counts()
        ann.run("put", "-n", "vision/bikes", tmp_path / "source", "--quiet")
        assert list(spool.iterdir()) == []
        assert way.counts().bytes_to_server < total_bytes - stored_bytes + 2 * FILE_BYTES
        assert stored_bytes >= total_bytes // 4
        assert team.administrator.stored_bytes() < total_bytes + 2 * FILE_BYTES
        ann.run("get", "vision/bikes", "--root", tmp_path / "got")
        assert all((tmp_path / "got" / f.name).read_bytes() == f.read_bytes() for f in (tmp_path / "source").iterdir())


def test_a_put_that_lost_the_server_is_taken_up_too(tmp_path: Path, remote: RemoteRegistry, proxy: Proxy) -> None:
    total_bytes = make_files(tmp_path / "source", 80, FILE_BYTES)
    client = Client(remote, packs=HttpPacks(remote.transport))
    proxy.reset(match="/seal")
    with pytest.raises(RegistryUnavailable):
        put(client, "vision", tmp_path / "source", SealRequest("bikes", NO_ROOT))
    assert proxy.counts().bytes_to_server > total_bytes
    proxy.heal()
    proxy.reset_counts()
    _wait_until_back(remote)
    result = put(client, "vision", tmp_path / "source", SealRequest("bikes", NO_ROOT))
    assert result.created
    assert proxy.counts().bytes_to_server < FILE_BYTES


@pytest.mark.parametrize("match", ["/projects/vision/drafts", "/missing", "/packs/", "/seal", "/v1/drafts"])
def test_an_upload_whose_answers_are_lost_is_made_once(remote: RemoteRegistry, proxy: Proxy, match: str) -> None:
    proxy.lose_answers(match=match, times=2)
    result = commit(remote, "vision", "bikes", {"a": b"1" * 5000, "d": {"b": b"2"}}, "best")
    assert (result.created, result.version.number) == (True, 0)
    assert [version.number for version in remote.versions.list("vision", "bikes")] == [0]
    assert remote.aliases.list("vision", "bikes") == {"best": 0, "latest": 0}


def test_a_moved_alias_whose_answer_is_lost_has_moved(remote: RemoteRegistry, proxy: Proxy) -> None:
    commit(remote, "vision", "bikes", {"a": b"1"})
    proxy.lose_answers(match="PUT ", times=1)
    remote.aliases.move("vision", "bikes", "best", 0)
    assert remote.aliases.list("vision", "bikes")["best"] == 0


def test_what_must_not_happen_twice_is_told_as_uncertain_and_not_repeated(remote: RemoteRegistry, proxy: Proxy) -> None:
    proxy.lose_answers(match="POST /v1/users", times=1)
    with pytest.raises(RegistryUnavailable):
        remote.access.users.create("bob")
    _wait_until_back(remote)
    assert "bob" in {user.name for user in remote.access.users.list()}
    assert proxy.counts().with_path("POST /v1/users") == 1


def test_uploads_go_through_a_gateway_that_fails_now_and_then(remote: RemoteRegistry, proxy: Proxy) -> None:
    proxy.answer(502, match="/v1/drafts", times=3)
    assert commit(remote, "vision", "bikes", {"a": b"1"}).created


def test_a_pack_that_was_cut_on_its_way_is_read_again(tmp_path: Path, remote: RemoteRegistry, proxy: Proxy) -> None:
    data = random.Random(2).randbytes(300_000)
    make_one(tmp_path / "source", data)
    client = Client(remote, packs=HttpPacks(remote.transport))
    put(client, "vision", tmp_path / "source", SealRequest("bikes", NO_ROOT))
    key = ObjectKey(ObjectKind.CHUNK, Digest.of(data))
    proxy.cut(100_000, match="GET /v1/projects/vision/packs", times=2)
    assert bytes(client.objects.read("vision", key)) == data
    proxy.flip(50_000, match="GET /v1/projects/vision/packs", times=1)
    again = Client(remote, packs=HttpPacks(remote.transport))
    assert bytes(again.objects.read("vision", key)) == data


def make_one(root: Path, data: bytes) -> None:
    root.mkdir()
    (root / "file").write_bytes(data)


def _wait_until_stored(team: Team, size_bytes: int) -> None:
    deadline_s = time.monotonic() + WAIT_S
    while team.administrator.stored_bytes() < size_bytes:
        assert time.monotonic() < deadline_s
        time.sleep(0.005)


def _wait_until_back(remote: RemoteRegistry) -> None:
    """Until the client asks the server again."""
    deadline_s = time.monotonic() + WAIT_S
    while True:
        try:
            remote.changes.position()
            return
        except RegistryUnavailable:
            assert time.monotonic() < deadline_s
            time.sleep(0.05)
