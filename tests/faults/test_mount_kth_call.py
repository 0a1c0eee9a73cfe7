"""A running mount whose k-th call finds no space, descriptor, memory or thread, or fails: it goes on, and tells nothing wrong.

A program lists, reads, drafts and commits meanwhile. The call fails once, or all from it on until the fault is over. Afterwards
everything works, what was told to be done is done, and a commit that failed left the draft complete. The mount's process is
commanded while it runs (`injector.c`), so that one mount meets many faults, as it may in its life.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path

import pytest

from artfs.registry import fsck
from tests.acceptance.team import Team
from tests.acceptance.user import User
from tests.faults.drafting import Files
from tests.faults.injecting import FAULT_S, FOREVER
from tests.faults.struck_mount import Struck, put_files, some_files, struck_mount
from tests.reliability.trials import tried

pytestmark = [pytest.mark.fuse, pytest.mark.serial, pytest.mark.timeout(3600)]

EVERY = range(1, 201)
IN_CACHE = range(40)
FIRST = range(1, 21)
SOME = (17,)
FAILURES = (errno.ENOSPC, errno.EIO, errno.EMFILE)
ALL = (*FAILURES, errno.ENOMEM, errno.EAGAIN)
LARGE_BYTES = 16 << 10  # an allocation that fails; smaller ones are found in what the process has
WITHOUT_MEMORY_S = 1.5  # for requests wait in the kernel meanwhile


def work_through(struck: Struck, failure: int, at: int, times: int) -> int:
    """A program works while calls fail, and checks what came of it. Returns how many failed."""
    files, added = some_files(at), {"new": some_files(-at)["b"], "newer": some_files(-at)["large"]}
    version = struck.version(at)
    program = struck.program(failure)
    with struck.bounded("working while calls fail"):
        timeout_s = WITHOUT_MEMORY_S if failure == errno.ENOMEM else FAULT_S
        with struck.commanded.struck(failure, at, times, bytes_min=LARGE_BYTES, timeout_s=timeout_s):
            for _ in range(2):
                program.look(files, version)
            program.make_draft(files, version, added)
            struck.ask()
            program.commit()
        failed = len(struck.commanded.failed())
        struck.assert_lives()
        program.check()
        program.look(files, version)
    return failed


def work_through_all(struck: Struck, failure: int, points: Iterable[int], times: int) -> None:
    for at in points:
        try:
            failed = work_through(struck, failure, at, times)
        except AssertionError as error:
            error.add_note(f"call {at} with {errno.errorcode[failure]}: {struck.commanded.failed()[:3]}")
            raise
        tried(f"call that fails with {errno.errorcode[failure]} in a mount's process", failed)


def struck_everywhere(directory: Path, ways: Iterable[tuple[int, int]], points: Iterable[int]) -> None:
    user = User(directory / "home")
    user.home.mkdir()
    put_files(user.registry, points)
    with struck_mount(user, user.home, directory / "commanded") as struck:
        for failure, times in ways:
            work_through_all(struck, failure, points, times)
        # A copy of the catalog that could not be written is written with the next change.
        work_through(struck, errno.EIO, next(iter(points)), times=0)
    assert [str(finding) for finding in fsck.check(user.registry).findings] == []


@pytest.mark.falsifies("no-end", "draft-kept", "verified")
def test_some_failing_calls_end_no_mount(tmp_path: Path) -> None:
    struck_everywhere(tmp_path, product(ALL, (1, FOREVER)), SOME)


@pytest.mark.deep
@pytest.mark.falsifies("no-end", "draft-kept", "verified")
@pytest.mark.parametrize("failure", [pytest.param(number, id=errno.errorcode[number]) for number in ALL])
@pytest.mark.parametrize("times", [pytest.param(1, id="once"), pytest.param(FOREVER, id="from then on")])
def test_no_failing_call_ends_a_mount(tmp_path: Path, failure: int, times: int) -> None:
    struck_everywhere(tmp_path, [(failure, times)], EVERY if failure in FAILURES else FIRST)


@contextmanager
def far_user(directory: Path, cached: int, others: int) -> Iterator[User]:
    """Somebody whose registry is a server's, and whose cache holds the first versions of it."""
    team = Team(directory, {})
    put_files(team.administrator.registry, range(cached + others))
    with team.serving() as server:
        member = team.user("ann", server.url, admin=True)
        with member.mounted() as mount:
            for seed in range(cached):
                read_whole(mount / f"p/c{seed}/v0", some_files(seed))
        yield member


def read_whole(version: Path, files: Files) -> None:
    assert {path.name: path.read_bytes() for path in version.iterdir()} == files


@pytest.mark.deep
@pytest.mark.falsifies("no-end", "cache-limit", "verified")
def test_no_failing_call_in_the_cache_fails_a_reader(tmp_path: Path) -> None:
    points = len(IN_CACHE)
    ways = list(product(FAILURES, (1, FOREVER)))
    with far_user(tmp_path, points, points * len(ways)) as user:
        for i, (failure, times) in enumerate(ways, 1):
            with struck_mount(user, user.home / ".cache", tmp_path / "commanded") as struck:
                for at in IN_CACHE:
                    read_while_the_cache_fails(struck, failure, at + 1, times, (at, at + points * i))


def read_while_the_cache_fails(struck: Struck, failure: int, at: int, times: int, seeds: Iterable[int]) -> None:
    with struck.bounded("reading while calls fail"), struck.commanded.struck(failure, at, times, only_below=True):
        for seed in seeds:
            read_whole(struck.version(seed), some_files(seed))
    struck.assert_lives()
    tried(f"call on the cache that fails with {errno.errorcode[failure]}", len(struck.commanded.failed()))
