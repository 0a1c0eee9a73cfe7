"""The time of day jumps, by hours and by years, forward and back, under a mount and under its server.

What has no date goes on living; a draft on local disk is committed whatever became of its upload; nobody waits for a time that
does not come. A version with a time to live goes when the server's clock says so, and not because a client's does.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.team import Member, Team
from tests.faults.drafting import Program
from tests.faults.injecting import Commanded
from tests.faults.struck_mount import WORK, Struck, put_files, some_files, struck_mount
from tests.reliability.trials import tried

pytestmark = [
    pytest.mark.falsifies("no-end", "draft-kept"),
    pytest.mark.deep,
    pytest.mark.fuse,
    pytest.mark.serial,
    pytest.mark.timeout(900),
]

HOUR_S = 3600
YEAR_S = 365 * 24 * HOUR_S
JUMPS_S = (HOUR_S, -HOUR_S, 30 * HOUR_S, -30 * HOUR_S, YEAR_S, -YEAR_S, 20 * YEAR_S, -20 * YEAR_S)
STEP_S = 30.0  # for a program's work in all


class World:
    """A server and a mount of it, with a clock each."""

    def __init__(self, server: Commanded, struck: Struck, member: Member) -> None:
        self.server = server
        self.struck = struck
        self.member = member

    def jump(self, who: str, seconds: int) -> None:
        (self.server if who == "server" else self.struck.commanded).jump(seconds)

    def heal(self) -> None:
        self.server.heal()
        self.struck.commanded.heal()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    server = Commanded(tmp_path / "nothing", tmp_path / "server-clock")
    team = Team(tmp_path, server.environment())
    put_files(Team(tmp_path, {}).administrator.registry, range(1))
    with team.serving() as serving:
        member = Team(tmp_path, {}).user("ann", serving.url, admin=True)
        with struck_mount(member, tmp_path / "nothing", tmp_path / "mount-clock") as struck:
            yield World(server, struck, member)


def begin(world: World, seed: int) -> Program:
    """A draft with files that are on their way."""
    program = Program(world.struck.path / WORK, frozenset())
    program.make_draft(some_files(0), world.struck.version(0), {"new": some_files(seed)["large"]})
    return program


def see_that_all_works(world: World, program: Program) -> None:
    version = world.struck.version(0)
    program.look(some_files(0), version)
    program.commit()
    assert program.is_committed
    program.check()
    program.look(some_files(0), version)
    world.struck.assert_lives()


@pytest.mark.parametrize("who", ["mount", "server"])
def test_a_clock_that_jumps_ends_nothing_and_loses_nothing(world: World, who: str) -> None:
    for i, seconds in enumerate(JUMPS_S):
        for comes_back in (False, True):
            with world.struck.bounded(f"working while the clock of the {who} jumps by {seconds} s", STEP_S):
                program = begin(world, 100 + 2 * i + comes_back)
                world.jump(who, seconds)
                if comes_back:
                    program.look(some_files(0), world.struck.version(0))
                    world.heal()
                see_that_all_works(world, program)
                world.heal()
            tried(f"jump of the {who}'s clock")


def test_only_the_servers_clock_ends_versions(world: World, tmp_path: Path) -> None:
    """An hour ahead nothing goes that lives for a day; a client whose clock is years ahead takes nothing away."""
    (tmp_path / "source").mkdir()
    (tmp_path / "source/f").write_bytes(b"for a day")
    world.member.run("put", "-q", "-n", "p/short", "--ttl", "1d", tmp_path / "source")
    path = world.struck.path / "p/short/v0/f"
    for who, seconds in (("mount", 20 * YEAR_S), ("mount", -20 * YEAR_S), ("server", HOUR_S), ("server", -YEAR_S)):
        world.jump(who, seconds)
        time.sleep(1.1)  # for which the kernel keeps names
        assert path.read_bytes() == b"for a day", f"{who} {seconds}"
        assert os.getxattr(path.parent, "user.artfs.expires_at").decode() != "never"
        world.heal()
    tried("jump of a clock beside a version that expires", 4)
