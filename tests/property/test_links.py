"""Where links lead and which of them leave: as the kernel says, over real directories, and as a commit decides over drafts."""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from stat import S_ISDIR
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import trio
from hypothesis import event, given, settings
from hypothesis import strategies as st

from artfs.client.scan import scan, targets_below
from artfs.errors import UnsupportedFile
from artfs.model.links import Names, Outside, follow, way_out
from artfs.wire.records import VersionRecord
from tests.unit.staging.driver import Drive, machine_at

pytestmark = [pytest.mark.falsifies("refused")]

OPENAT2 = 437  # the same number on every architecture
RESOLVE_BENEATH = 0x08

NODES = st.sampled_from(["a", "b", "c"])
PATHS = st.lists(NODES, min_size=1, max_size=3).map(tuple)
PARTS = st.sampled_from(["a", "b", "c", "..", "..", ".", "", "gone"])
TARGETS = st.lists(PARTS, min_size=1, max_size=6).map("/".join).filter(bool)
NOTHING_BUT = st.sampled_from([None, b""])  # a directory, a file
TREES = st.dictionaries(PATHS, st.one_of(TARGETS, TARGETS, NOTHING_BUT), min_size=1, max_size=9)

Tree = dict[Names, "str | bytes | None"]


def plant(root: Path, wanted: Tree) -> dict[Names, str]:
    """Make what can be made of it, in order of paths; the links that are there then."""
    links: dict[Names, str] = {}
    for names, what in sorted(wanted.items()):
        if any(names[:i] in links or root.joinpath(*names[:i]).is_file() for i in range(len(names))):
            continue
        path = root.joinpath(*names)
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(what, str):
            path.symlink_to(what)
            links[names] = what
        elif what is None:
            path.mkdir()
        else:
            path.write_bytes(what)
    return links


@contextmanager
def opened(root: Path) -> Iterator[int]:
    fd = os.open(root, os.O_PATH | os.O_DIRECTORY)
    try:
        yield fd
    finally:
        os.close(fd)


def kernel_says(root: Path, names: Names) -> Names | int:
    """Where the kernel comes out that may not leave `root`, or why it does not."""
    how = struct.pack("QQQ", os.O_PATH | os.O_CLOEXEC, 0, RESOLVE_BENEATH)
    with opened(root) as fd:
        libc = ctypes.CDLL(None, use_errno=True)
        found = libc.syscall(OPENAT2, fd, os.fsencode("/".join(names)), how, len(how))
        if found < 0:
            return ctypes.get_errno()
        try:
            return Path(os.readlink(f"/proc/self/fd/{found}")).relative_to(root).parts
        finally:
            os.close(found)


def check(root: Path, names: Names, leads_to: Names | Outside | None) -> None:
    kernel = kernel_says(root, names)
    event(str(kernel) if isinstance(kernel, int) else "there")
    if isinstance(kernel, tuple):
        assert leads_to == kernel
    elif kernel == errno.EXDEV:
        assert isinstance(leads_to, Outside)
    elif kernel == errno.ELOOP:
        assert leads_to is None
    else:  # nothing is there: names go on as they are written
        assert kernel in (errno.ENOENT, errno.ENOTDIR)
        place = Path(os.path.realpath(root.joinpath(*names)))
        if isinstance(leads_to, Outside):
            assert root not in place.parents
            assert place != root
        elif leads_to is not None:
            assert place.relative_to(root).parts == leads_to


@given(TREES)
@settings(max_examples=300)
def test_links_lead_where_the_kernel_goes(wanted: Tree) -> None:
    with TemporaryDirectory() as place:
        root = Path(os.path.realpath(place)) / "root"
        root.mkdir()
        links = plant(root, wanted)
        target_at = targets_below(str(root))
        outside, leaving = set(), set()
        for names, target in links.items():
            leads_to = follow(names[:-1], target, target_at)
            check(root, names, leads_to)
            if isinstance(leads_to, Outside):
                outside.add(names)
            if way_out(names[:-1], target, target_at) is not None:
                leaving.add(names)
        assert leaving <= outside
        assert bool(leaving) == bool(outside)
        if not leaving:
            scan(str(root))
            return
        with pytest.raises(UnsupportedFile) as caught:
            scan(str(root))
        assert caught.value.message.count("symbolic link") == len(leaving)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("mkdir"), PATHS),
        st.tuples(st.just("write"), PATHS),
        st.tuples(st.just("remove"), PATHS),
        st.tuples(st.just("rename"), PATHS, PATHS),
        st.tuples(st.just("symlink"), PATHS, TARGETS),
        st.tuples(st.just("symlink"), PATHS, TARGETS),
    ),
    max_size=6,
)


async def take(draft: Drive, step: tuple[Any, ...]) -> None:
    """One change, unless the draft refuses it."""
    call, names, *more = step
    path = "/".join(names)
    with suppress(OSError):
        if call == "mkdir":
            await draft.mkdir(path)
        elif call == "write":
            await draft.write(path, b"x")
        elif call == "rename":
            await draft.rename(path, "/".join(more[0]))
        elif call == "symlink":
            await draft.symlink(path, more[0])
        else:
            await remove(draft, path)


async def remove(draft: Drive, path: str) -> None:
    if not S_ISDIR((await draft.stat(path)).mode):
        await draft.unlink(path)
        return
    for name in await draft.list(path):
        await remove(draft, f"{path}/{name}")
    await draft.rmdir(path)


async def leaving(draft: Drive) -> list[str]:
    """Every link that leaves, with no thought of what was there before."""
    links = {tuple(path.split("/")): what for path, what in (await draft.walk()).items() if isinstance(what, str)}
    return ["/".join(names) for names, target in links.items() if way_out(names[:-1], target, links.get) is not None]


async def commit(draft: Drive) -> VersionRecord | None:
    expected = await leaving(draft)
    if not expected:
        return (await draft.commit()).version
    with pytest.raises(UnsupportedFile) as caught:
        await draft.commit()
    assert all(f"{path} -> " in caught.value.message for path in expected)
    assert caught.value.message.count(" -> ") == len(expected)
    return None


@given(TREES, st.lists(STEPS, min_size=1, max_size=3))
@settings(max_examples=40, deadline=None)
def test_a_draft_of_a_version_is_refused_for_exactly_the_links_that_leave(first: Tree, rounds: list[Any]) -> None:
    trio.run(_drafts, first, rounds)


async def _drafts(first: Tree, rounds: list[Any]) -> None:
    with TemporaryDirectory() as place:
        async with machine_at(Path(place)) as machine:
            draft = await machine.draft("v0")
            for names, what in sorted(first.items()):
                for i in range(1, len(names)):
                    await take(draft, ("mkdir", names[:i]))
                step = (
                    ("symlink", names, what) if isinstance(what, str) else ("mkdir" if what is None else "write", names)
                )
                await take(draft, step)
            for number, steps in enumerate(rounds):
                version = await commit(draft)
                event("committed" if version else "refused")
                if version is None:
                    return
                draft = machine.draft_of(version, f"v{number + 1}")
                for step in steps:
                    await take(draft, step)
            await commit(draft)
