"""The filesystem's semantics, without a kernel."""

from __future__ import annotations

import errno
import os
import random

import pytest
import trio

from artfs.errors import Damaged
from artfs.vfs.attributes import FOREVER_S, ROOT_INODE, STAGED_BIT, AttributeChange
from tests.unit.vfs.conftest import NOBODY, Listing, World

pytestmark = [pytest.mark.falsifies("verified", "read-only", "lazy", "bounded")]

LARGE = random.Random(2).randbytes(6 << 20)


async def test_what_is_in_a_version_may_be_kept_for_ever_and_names_above_only_briefly(world: World) -> None:
    world.put("p/a", {"sub": {"file": b"x"}}, "best")
    for path in ("p", "p/a", "p/a/best", "p/a/v0"):
        assert (await world.walk(path)).entry_timeout_s <= 1
    for path in ("p/a/v0/sub", "p/a/v0/sub/file", "p/a/v0/nothing"):
        attributes = await world.walk(path)
        assert attributes.entry_timeout_s == attributes.attribute_timeout_s == FOREVER_S
    assert (await world.walk("p/a/v0/nothing")).inode == 0


async def test_names_above_versions_that_do_not_exist_are_not_kept(world: World) -> None:
    world.put("p/a", {})
    for path in ("x", "p/x", "p/a/x", "p/a/v7", "p/a/v01", "p/a/.hidden", "p/a/.staging", ".Trash", "p/a/ü"):
        with pytest.raises(FileNotFoundError):
            await world.walk(path)


async def test_inode_numbers_stay_clear_of_staging_and_are_the_same_after_a_remount(world: World) -> None:
    world.put("p/a", {"sub": {"file": b"x", "link": "file"}})
    paths = ("p", "p/a", "p/a/v0", "p/a/v0/sub", "p/a/v0/sub/file", "p/a/v0/sub/link")
    again = world.mount()
    for path in paths:
        inode = (await world.walk(path)).inode
        assert inode == (await world.walk(path, again)).inode
        assert inode < STAGED_BIT
    assert len({(await world.walk(path)).inode for path in paths}) == len(paths)


async def test_the_same_file_is_one_inode_and_another_never_is(world: World) -> None:
    world.put("p/a", {"x": b"same", "y": b"same", "z": b"other", "sub": {"x": b"same"}}, "best")
    world.put("q/a", {"x": b"same"})
    same = {(await world.walk(f"p/a/{path}")).inode for path in ("v0/x", "v0/y", "best/x", "latest/sub/x")}
    assert len(same) == 1
    assert (await world.walk("p/a/v0/z")).inode not in same
    assert (await world.walk("q/a/v0/x")).inode not in same, "projects share nothing"


async def test_listings_and_lookups_agree_whatever_fits_a_reply(world: World) -> None:
    world.put("p/a", {"d": {f"{i:05}": b"%d" % (i % 50) for i in range(5000)}})
    whole = await world.list("p/a/v0/d")
    assert [name for name, _, _ in whole] == [".", "..", *(f"{i:05}" for i in range(5000))]
    assert await world.list("p/a/v0/d", room=7) == whole
    for name, inode, _ in random.Random(1).sample(whole[2:], 50):
        assert (await world.walk(f"p/a/v0/d/{name}")).inode == inode
    assert whole[0][1] == (await world.walk("p/a/v0/d")).inode
    assert whole[1][1] == (await world.walk("p/a/v0")).inode


async def test_forgetting_all_that_was_looked_up_leaves_nothing(world: World) -> None:
    world.put("p/a", {"d": {str(i): b"%d" % i for i in range(300)}, "x": b"1"}, "best")
    looked_up: list[int] = []
    handle = await world.fs.handles.open_directory((await world.walk("p/a/best/d")).inode)
    listing = Listing(100)
    await world.fs.handles.fill_directory(handle, 0, listing)
    looked_up.extend(inode for name, inode, _ in listing.entries if name not in (".", ".."))
    parent = ROOT_INODE
    for name in ("p", "a", "best", "d"):
        parent = (await world.fs.names.lookup(parent, name)).inode
        looked_up.extend((parent, parent))  # once here, once by the walk above
    for inode in looked_up:
        world.fs.attributes.forget(inode, 1)
    assert world.fs.status()["inodes"] == {"entries": 0, "nodes": 1, "pages": 0}


async def test_looking_reads_no_content(world: World) -> None:
    world.put("p/a", {"d": {str(i): random.Random(i).randbytes(9000) for i in range(50)}, "large": LARGE})
    await world.list("p/a/v0")
    await world.list("p/a/v0/d")
    await world.walk("p/a/v0/large")
    assert world.packs.read_bytes < 50_000


async def test_ranges_of_small_and_large_files_read_right(world: World) -> None:
    small = LARGE[:3000]
    world.put("p/a", {"small": small, "large": LARGE, "empty": b""})
    for offset, size in ((0, 10), (2990, 100), (3000, 5), (9999, 1), (0, 0), (1, 1 << 20)):
        assert await world.read("p/a/v0/small", offset, size) == small[offset : offset + size]
    for offset, size in ((0, 1 << 30), (2 << 20, 1), ((1 << 20) - 5, 3 << 20), (len(LARGE) - 3, 10), (len(LARGE), 1)):
        assert await world.read("p/a/v0/large", offset, size) == LARGE[offset : offset + size]
    assert await world.read("p/a/v0/empty") == b""


async def test_sixteen_readers_of_one_cold_chunk_read_it_once(world: World) -> None:
    world.put("p/a", {"x": LARGE[: 1 << 20]})
    handle = await world.fs.handles.open((await world.walk("p/a/v0/x")).inode, 0, NOBODY)
    before = world.packs.read_bytes

    async def read() -> None:
        assert bytes(await world.fs.handles.read(handle, 0, 1 << 20)) == LARGE[: 1 << 20]

    async with trio.open_nursery() as nursery:
        for _ in range(16):
            nursery.start_soon(read)
    assert world.packs.read_bytes - before < 1.1 * (1 << 20)


async def test_nothing_in_a_version_can_be_changed(world: World) -> None:
    world.put("p/a", {"file": b"x", "sub": {}})
    root = (await world.walk("p/a/v0")).inode
    sub = (await world.walk("p/a/v0/sub")).inode
    file = (await world.walk("p/a/v0/file")).inode
    names, handles = world.fs.names, world.fs.handles
    for parent in (root, sub):
        for attempt in (
            names.make_directory(parent, "x", 0o755, NOBODY),
            names.make_node(parent, "x", 0o644, NOBODY),
            names.make_symlink(parent, "x", "y", NOBODY),
            names.link(file, parent, "x", NOBODY),
            names.unlink(parent, "x"),
            names.remove_directory(parent, "x"),
            names.rename(parent, "x", root, "y", 0, NOBODY),
            names.rename(ROOT_INODE, "p", parent, "y", 0, NOBODY),
            handles.create(parent, "x", 0o644, os.O_RDWR, NOBODY),
            world.fs.attributes.change(parent, AttributeChange(mode=0o777), None, NOBODY),
        ):
            with pytest.raises(OSError, match="never change") as caught:
                await attempt
            assert caught.value.errno == errno.EROFS
    for flags in (os.O_WRONLY, os.O_RDWR, os.O_RDONLY | os.O_TRUNC, os.O_WRONLY | os.O_APPEND):
        with pytest.raises(OSError, match="never change"):
            await handles.open(file, flags, NOBODY)


async def test_a_read_only_mount_has_no_staging_and_refuses_changes(world: World) -> None:
    world.put("p/a", {})
    fs = world.mount(read_only=True)
    with pytest.raises(FileNotFoundError):
        await world.walk("p/a/.staging", fs)
    for attempt in (
        fs.names.make_directory(ROOT_INODE, "q", 0o755, NOBODY),
        fs.names.remove_directory(ROOT_INODE, "p"),
        fs.xattrs.set((await world.walk("p/a/v0", fs)).inode, "user.artfs.description", b"x", NOBODY),
    ):
        with pytest.raises(OSError, match="read-only") as caught:
            await attempt
        assert caught.value.errno == errno.EROFS


async def test_an_inode_outlives_the_version_it_was_found_in(world: World) -> None:
    """The page that the inode was found in goes with v0; a fresh lookup through v1 points it elsewhere."""
    world.put("p/a", {"kept": b"k", "gone": b"g"})
    world.put("p/a", {"kept": b"k"})
    kept = (await world.walk("p/a/v0/kept")).inode
    gone = (await world.walk("p/a/v0/gone")).inode
    root = (await world.walk("p/a/v0")).inode
    world.registry.versions.delete("p", "a", [0])
    fresh = world.mount()  # nothing in memory
    assert (await world.walk("p/a/v1/kept", fresh)).inode == kept
    world.fs.attributes.forget(gone, 1)
    await world.walk("p/a/v1/kept")
    handle = await world.fs.handles.open(kept, 0, NOBODY)
    assert bytes(await world.fs.handles.read(handle, 0, 10)) == b"k"
    with pytest.raises(FileNotFoundError):
        await world.walk("p/a/v0")
    assert root != (await world.walk("p/a/v1")).inode


def flip_a_bit(world: World, content: bytes) -> None:
    """Damage `content` wherever a pack holds it."""
    for pack in world.registry.layout.packs.rglob("*"):
        if pack.is_file():
            data = bytearray(pack.read_bytes())
            at = data.find(content)
            if at >= 0:
                data[at + len(content) // 2] ^= 1
                pack.chmod(0o600)
                pack.write_bytes(data)


async def test_damage_is_an_error_and_never_wrong_bytes(world: World) -> None:
    content = random.Random(3).randbytes(50_000)
    world.put("p/a", {"x": content})
    flip_a_bit(world, content)
    with pytest.raises(Damaged):
        await world.read("p/a/v0/x")


async def test_a_damaged_file_does_not_keep_its_neighbours_from_being_read(world: World) -> None:
    contents = {f"{i:02}": random.Random(i).randbytes(500) for i in range(30)}
    world.put("p/a", contents)
    flip_a_bit(world, contents["20"])
    for name, content in contents.items():
        if name == "20":
            with pytest.raises(Damaged):
                await world.read(f"p/a/v0/{name}")
        else:
            assert await world.read(f"p/a/v0/{name}") == content


async def test_the_kernel_is_told_of_moves_made_elsewhere(world: World) -> None:
    world.put("p/a", {"x": b"0"}, "best")
    world.put("p/a", {"x": b"1"})
    artifact = (await world.walk("p/a")).inode
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.fs.background_tasks()["following changes"])
        with trio.fail_after(10):
            while (artifact, "best") not in world.kernel.entries:
                world.registry.aliases.move("p", "a", "best", 1)
                world.registry.aliases.move("p", "a", "best", 0)
                await trio.sleep(0.05)
            while (ROOT_INODE, "q") not in world.kernel.entries:
                world.registry.projects.create("q", exist_ok=True)
                await trio.sleep(0.05)
        nursery.cancel_scope.cancel()
    assert artifact in world.kernel.attributes
