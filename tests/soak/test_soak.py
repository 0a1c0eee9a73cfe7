"""A mount and a server under a mixed load for minutes or hours: what they hold does not grow.

scripts/soak runs it for an hour; ARTFS_TEST_SOAK_MINUTES says how long otherwise.
"""

from __future__ import annotations

import hashlib
import os
import random
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from artfs.client.remote.registry import RemoteRegistry
from tests.acceptance.team import Member, Server, Team
from tests.acceptance.user import wait_until
from tests.reliability.trials import tried
from tests.soak.load import BACK_S, CHANGING, Load, Steady, workers
from tests.soak.watching import Watched, Watching

MINUTES = float(os.environ.get("ARTFS_TEST_SOAK_MINUTES", "5"))
CACHE_BYTES = 48 << 20  # a third of the data
LARGE_BYTES, LARGE_FILES, SMALL_FILES = 16 << 20, 10, 400
RESTARTS = 3  # in the first half: what a server holds is compared within one life
AWAY_S = 3.0
CLEANED_S = 60.0

pytestmark = [
    pytest.mark.falsifies("bounded", "verified", "one-version", "cache-limit"),
    pytest.mark.deep,
    pytest.mark.fuse,
    pytest.mark.serial,
    pytest.mark.timeout(MINUTES * 60 + 600),
]


def _fill(source: Path) -> dict[str, str]:
    """Files, and their digests."""
    chance, digests = random.Random(1), {}
    source.mkdir()
    sizes = {f"large{i}": LARGE_BYTES for i in range(LARGE_FILES)}
    sizes |= {f"d{i % 20}/f{i}": chance.randrange(40_000) for i in range(SMALL_FILES)}
    for name, size in sizes.items():
        data = chance.randbytes(size)
        (source / name).parent.mkdir(exist_ok=True)
        (source / name).write_bytes(data)
        digests[name] = hashlib.sha256(data).hexdigest()
    return digests


@dataclass
class Running:
    """A server that is restarted on one port, and the watch over it."""

    team: Team
    server: Server
    watched: Watched
    stack: ExitStack

    def restart(self, load: Load) -> None:
        port = int(self.server.url.rpartition(":")[2])
        load.server_is_away(AWAY_S + BACK_S)
        self.server.kill()
        load.done.wait(AWAY_S)
        self.server = self.stack.enter_context(self.team.serving(port=port))
        load.server_is_away(BACK_S)
        self.watched.is_now(self.server.process.pid)


def _leftovers(member: Member, server: Member) -> list[str]:
    """Files and directories that are only there while something is under way."""
    spools = [member.home / ".local/share/artfs/spool", server.registry / "spool"]
    staging = member.home / ".local/share/artfs/staging"
    found = [path for spool in spools if spool.exists() for path in spool.iterdir()]
    found += staging.glob("*/*/*/*")  # registry, project, artifact, draft
    return [str(path) for path in found]


def _run(load: Load, running: Running, watched: list[Watched]) -> None:
    threads = workers(load)
    for thread in threads:
        thread.start()
    try:
        with Watching(watched):
            part_s = MINUTES * 30 / (RESTARTS + 1)
            for _ in range(RESTARTS):
                if not load.done.wait(part_s):
                    running.restart(load)
            load.done.wait(part_s + MINUTES * 30)
    finally:
        load.done.set()
        for thread in threads:
            thread.join(120)
    assert not any(thread.is_alive() for thread in threads)


def test_under_a_mixed_load_nothing_grows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    digests = _fill(tmp_path / "source")
    team = Team(tmp_path, {})
    with ExitStack() as stack:
        server = stack.enter_context(team.serving())
        ann = team.user("ann", server.url)
        ann.run("put", "-n", "vision/steady", tmp_path / "source")
        small = Member(ann.home, {**ann.settings, "ARTFS_CACHE_SIZE": str(CACHE_BYTES)})
        mount = stack.enter_context(small.mounted())
        pid = small.json("status")["mounts"][0]["pid"]
        token = team.token("ann").read_text().strip()
        api = stack.enter_context(closing(RemoteRegistry(server.url, token, spool=tmp_path / "api")))
        (mount / "vision" / CHANGING).mkdir()
        steady = Steady(mount / "vision/steady/v0", digests, tmp_path / "source")
        load = Load(mount / "vision", steady, api)
        watched = [Watched("mount", pid), Watched("server", server.process.pid)]
        running = Running(team, server, watched[1], stack)
        _run(load, running, watched)
        assert load.failures == []
        with capsys.disabled():
            print(f"\n{MINUTES:g} minutes: {dict(sorted(load.counts.items()))}")  # noqa: T201
            for one in watched:
                print(one.told())  # noqa: T201
        for what, number in load.counts.items():
            tried(f"soak: {what}", number)
        for draft in (mount / "vision" / CHANGING / ".staging").iterdir():
            draft.rename(mount / "vision" / CHANGING / "best")
        wait_until(lambda: not _leftovers(small, team.administrator), "what was under way is cleaned up", CLEANED_S)
        assert [growth for one in watched for growth in one.growth()] == []
        assert min(load.counts["commits"], load.counts["rounds of deletions"], load.counts["files read whole"]) > 0
