"""Telling versions apart, and noting which of them runs used, without a kernel."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from artfs.client.objects import ObjectReader
from artfs.model.lineage import RunRef, VersionRef
from artfs.vfs.attributes import ROOT_INODE, Caller
from artfs.vfs.door import Door
from artfs.vfs.filesystem import Filesystem
from artfs.vfs.uses import SETTLE_S
from artfs.vfs.view import View
from tests.unit.vfs.conftest import Listing, World

pytestmark = [pytest.mark.falsifies("lineage")]

RUN = RunRef("p", "r")
IN_RUN, OUTSIDE = Caller(1000, 1000, 7), Caller(1000, 1000, 8)
V0, V1 = VersionRef("p", "a", 0), VersionRef("p", "a", 1)


class OneProcess:
    """Process 7 belongs to the run."""

    def run_of(self, pid: int) -> RunRef | None:
        return RUN if pid == IN_RUN.pid else None


@pytest.fixture
def fs(world: World) -> Filesystem:
    world.put("p/a", {"x": b"same", "sub": {"y": b"same"}, "z": b"0"}, "best")
    world.put("p/a", {"x": b"same", "sub": {"y": b"same"}, "z": b"1"})
    source = ObjectReader(world.registry, packs=world.packs)
    view = View(1000, 1000, 5)
    return Filesystem(world.registry, source, view, door=Door(), processes=OneProcess())


async def open_file(world: World, fs: Filesystem, path: str, caller: Caller = IN_RUN) -> None:
    await fs.handles.open((await world.walk(path, fs)).inode, 0, caller)


async def test_before_a_run_begins_files_are_shared_and_nothing_is_noted(world: World, fs: Filesystem) -> None:
    assert (await world.walk("p/a/v0/x", fs)).inode == (await world.walk("p/a/v1/x", fs)).inode
    await open_file(world, fs, "p/a/v0/x")
    assert fs.uses.of(RUN).used == {}


async def test_an_open_tells_its_version_once_versions_are_told_apart(world: World, fs: Filesystem) -> None:
    await fs.uses.begin(fresh=True)
    inodes = {path: (await world.walk(f"p/a/{path}", fs)).inode for path in ("v0/x", "best/x", "v1/x", "v0/sub/y")}
    assert inodes["v0/x"] == inodes["best/x"] == inodes["v0/sub/y"] != inodes["v1/x"]
    await open_file(world, fs, "p/a/best/sub/y")
    assert list(fs.uses.of(RUN).used) == [V0]
    await open_file(world, fs, "p/a/v1/x", OUTSIDE)
    assert list(fs.uses.of(RUN).used) == [V0]
    await open_file(world, fs, "p/a/v1/x")
    assert list(fs.uses.of(RUN).used) == [V0, V1]


async def test_listings_agree_with_lookups(world: World, fs: Filesystem) -> None:
    await fs.uses.begin(fresh=True)
    for version in ("v0", "v1", "best"):
        root = (await world.walk(f"p/a/{version}", fs)).inode
        handle = await fs.handles.open_directory(root)
        listing = Listing()
        await fs.handles.fill_directory(handle, 0, listing)
        for name, inode, _ in listing.entries[2:]:
            assert (await fs.names.lookup(root, name)).inode == inode


async def test_who_stands_in_a_directory_of_before_is_still_told_apart_by_where_it_stands(
    world: World, fs: Filesystem
) -> None:
    before = (await world.walk("p/a/v1/sub", fs)).inode
    await fs.uses.begin(fresh=True)
    assert (await world.walk("p/a/v1/sub", fs)).inode != before
    await fs.handles.open((await fs.names.lookup(before, "y")).inode, 0, IN_RUN)
    assert list(fs.uses.of(RUN).used) == [V1]


async def test_a_file_of_which_the_version_is_not_known_is_counted(world: World, fs: Filesystem) -> None:
    before = (await world.walk("p/a/v1/x", fs)).inode
    await fs.uses.begin(fresh=True)
    await fs.handles.open(before, 0, IN_RUN)
    assert (fs.uses.of(RUN).used, fs.uses.of(RUN).unknown_count) == ({}, 1)


async def test_beginning_waits_until_every_old_name_has_timed_out(
    fs: Filesystem, autojump_clock: trio.testing.MockClock
) -> None:
    began_s = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(fs.uses.begin)
        nursery.start_soon(fs.uses.begin)
    assert trio.current_time() - began_s == pytest.approx(SETTLE_S)
    await fs.uses.begin()
    assert trio.current_time() - began_s == pytest.approx(SETTLE_S)


async def test_forgetting_all_leaves_nothing_of_either_kind(world: World, fs: Filesystem) -> None:
    looked_up: list[int] = []

    async def walk(path: str) -> None:
        inode = ROOT_INODE
        for name in path.split("/"):
            inode = (await fs.names.lookup(inode, name)).inode
            looked_up.append(inode)

    for _ in range(2):
        await walk("p/a/v0/sub/y")
        await walk("p/a/best/x")
        await fs.uses.begin(fresh=True)
    for inode in looked_up:
        fs.attributes.forget(inode, 1)
    assert fs.status()["inodes"] == {"entries": 0, "nodes": 1, "pages": 0}


async def test_what_runs_that_ended_did_is_forgotten(world: World, fs: Filesystem) -> None:
    await fs.uses.begin(fresh=True)
    await open_file(world, fs, "p/a/v0/x")
    fs.uses.keep_only({RUN})
    assert list(fs.uses.of(RUN).used) == [V0]
    fs.uses.keep_only(set())
    assert fs.uses.of(RUN).used == {}
