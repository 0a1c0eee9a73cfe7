"""Readers in order are given batches, others exactly what they ask for."""

from __future__ import annotations

import random

from artfs.model.digest import Digest
from artfs.vfs.attributes import ROOT_INODE
from artfs.vfs.page_numbers import PageKey
from artfs.vfs.read_order import BATCH_MAX, ReadOrder
from tests.unit.vfs.conftest import NOBODY, World

PAGE, NEXT_PAGE = (PageKey("p", Digest(bytes([n]) * 32)) for n in (1, 2))


def test_batches_grow_while_files_are_read_in_order() -> None:
    order, position, batches = ReadOrder(), 0, []
    while position < 200:
        batches.append(order.batch(PAGE, position))
        position += batches[-1]
    assert batches[:5] == [1, 8, 16, 32, 64]
    assert max(batches) == BATCH_MAX


def test_a_random_reader_is_given_one_file_at_a_time() -> None:
    order, choose = ReadOrder(), random.Random(1)
    positions = [choose.randrange(10_000) for _ in range(500)]
    assert {order.batch(PAGE, position) for position in positions} == {1}


def test_a_walk_goes_on_in_the_next_directory_with_a_batch() -> None:
    order = ReadOrder()
    order.batch(PAGE, 0)
    order.batch(PAGE, 1)
    assert order.batch(NEXT_PAGE, 0) > 1


def test_going_back_ends_the_order() -> None:
    order = ReadOrder()
    order.batch(PAGE, 10)
    order.batch(PAGE, 11)
    assert order.batch(PAGE, 3) == 1


async def test_files_in_order_take_few_requests_and_one_file_takes_only_its_own_bytes(world: World) -> None:
    contents = {f"{i:03}": random.Random(i).randbytes(5000) for i in range(200)}
    world.put("p/a", contents)
    root = (await world.walk("p/a/v0")).inode
    await world.fs.names.lookup(root, "077")
    before = world.packs.read_bytes
    assert await world.read("p/a/v0/077") == contents["077"]
    assert world.packs.read_bytes - before == 5000
    before = world.packs.read_count
    for name, content in contents.items():
        handle = await world.fs.handles.open((await world.fs.names.lookup(root, name)).inode, 0, NOBODY)
        assert bytes(await world.fs.handles.read(handle, 0, 1 << 20)) == content
    assert world.packs.read_count - before < 15
    assert root != ROOT_INODE


async def test_a_batch_passes_over_directories_links_and_large_files(world: World) -> None:
    large = random.Random(1).randbytes(3 << 20)
    tree = {f"{i}": random.Random(i).randbytes(100) for i in range(10)}
    world.put("p/a", {**tree, "00": {"x": b"1"}, "11": "0", "22": large})
    for name, content in tree.items():
        assert await world.read(f"p/a/v0/{name}") == content
    assert world.packs.read_bytes < 100_000
