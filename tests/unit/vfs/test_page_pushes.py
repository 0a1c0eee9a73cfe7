"""When a file's content is sent to the kernel with its open."""

from __future__ import annotations

from artfs.vfs.page_pushes import PROBE_EVERY, PUSHED_BYTES_MAX, PagePushes
from tests.unit.vfs.conftest import NOBODY, World


def pushed_of(pushes: PagePushes, opens: int) -> int:
    pushed = 0
    for inode in range(100, 100 + opens):
        pushed += pushes.opened(inode, 1000)
        pushes.released(inode)
    return pushed


def test_content_is_sent_except_now_and_then() -> None:
    assert pushed_of(PagePushes(), 10 * PROBE_EVERY) == 10 * (PROBE_EVERY - 1)


def test_nothing_is_sent_while_the_inode_is_open() -> None:
    pushes = PagePushes()
    assert pushes.opened(1, 1000)
    assert not pushes.opened(1, 1000)
    pushes.released(1)
    assert not pushes.opened(1, 1000)
    pushes.released(1)
    pushes.released(1)
    assert pushes.opened(1, 1000)


def test_only_small_files_are_sent() -> None:
    pushes = PagePushes()
    sizes = (0, 1, PUSHED_BYTES_MAX, PUSHED_BYTES_MAX + 1)
    assert [pushes.opened(inode, size) for inode, size in enumerate(sizes)] == [False, True, True, False]


def test_what_the_kernel_holds_is_not_sent_until_it_is_missing_again() -> None:
    pushes = PagePushes()
    for _ in range(30):
        pushes.learned(missing=False)
    assert pushed_of(pushes, 100) == 0
    for _ in range(30):
        pushes.learned(missing=True)
    assert pushed_of(pushes, 100) > 90


async def test_an_open_stores_what_is_at_hand_and_fetches_nothing(world: World) -> None:
    world.put("p/a", {"seen": b"x" * 5000, "unseen": b"y" * 5000, "link": "seen"})
    seen, unseen = (await world.walk("p/a/v0/seen")).inode, (await world.walk("p/a/v0/unseen")).inode
    await world.read("p/a/v0/seen")
    reads = world.packs.read_count
    first = await world.fs.handles.open(seen, 0, NOBODY)
    second = await world.fs.handles.open(seen, 0, NOBODY)
    other = await world.fs.handles.open(unseen, 0, NOBODY)
    assert world.kernel.stored == [(seen, b"x" * 5000)]
    assert world.packs.read_count == reads
    for handle in (first, second, other):
        await world.fs.handles.release(handle)
    assert world.fs.handles.status()["files"] == 0


async def test_opens_that_are_never_followed_by_reads_store_nothing_any_more(world: World) -> None:
    world.put("p/a", {"a": b"x" * 5000})
    inode = (await world.walk("p/a/v0/a")).inode
    for _ in range(100):  # not in memory: not stored, and not read
        await world.fs.handles.release(await world.fs.handles.open(inode, 0, NOBODY))
    await world.read("p/a/v0/a")
    await world.fs.handles.release(await world.fs.handles.open(inode, 0, NOBODY))
    assert world.kernel.stored == []
