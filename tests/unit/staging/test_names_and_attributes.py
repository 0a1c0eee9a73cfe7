"""What a draft's names and attributes become, in the draft and in the version that is made of it."""

from __future__ import annotations

import errno
import stat

import pytest

from tests.unit.staging.driver import CALLER, Drive, Machine

pytestmark = [pytest.mark.falsifies("posix", "draft-kept", "whole")]

EXCHANGE = 2
LABEL, VALUE = "user.label", b"cat"


async def labelled(machine: Machine) -> Drive:
    """A draft of a version whose files, directory and link are in a directory, one of the files with an attribute."""
    draft = await machine.draft("first")
    await draft.mkdir("sub")
    await draft.write("sub/f", b"f")
    await draft.write("sub/g", b"g")
    await draft.mkdir("other")
    await draft.write("other/x", b"x")
    await draft.staging.xattrs.set(await draft.inode("sub/f"), LABEL, VALUE, CALLER)
    return machine.draft_of((await draft.commit()).version)


async def committed(machine: Machine, draft: Drive) -> Drive:
    """A draft of the version that the draft becomes."""
    return machine.draft_of((await draft.commit()).version, f"after-{draft.place.name}")


async def test_exchanged_files_are_each_under_the_name_of_the_other(machine: Machine) -> None:
    draft = await labelled(machine)
    await draft.rename("sub/f", "other/x", EXCHANGE)
    expected = {**await draft.walk(), "sub/f": b"x", "other/x": b"f"}
    assert await draft.walk() == expected
    after = await committed(machine, draft)
    assert await after.walk() == expected
    assert await after.staging.xattrs.get(await after.inode("other/x"), LABEL) == VALUE


async def test_an_exchanged_directory_is_where_it_is_and_what_changes_in_it_later_is_committed(
    machine: Machine,
) -> None:
    draft = await labelled(machine)
    await draft.rename("sub/f", "other", EXCHANGE)
    assert await draft.read("sub/f/x") == b"x"
    assert await draft.read("other") == b"f"
    assert [(await draft.stat(path)).link_count for path in ("", "sub", "sub/f")] == [3, 3, 2]
    with pytest.raises(OSError, match="into itself"):
        await draft.rename("sub", "sub/f/inside")
    await draft.symlink("sub/f/link", "../../other")  # leads out of the version from one level up
    middle = await committed(machine, draft)
    await middle.mkdir("new")
    await middle.write("new/f", b"new")
    await middle.rename("sub/f", "new/f", EXCHANGE)
    await middle.write("new/f/x", b"changed")
    await middle.unlink("new/f/link")
    after = await committed(machine, middle)
    assert await after.walk() == {
        "new": None,
        "new/f": None,
        "new/f/x": b"changed",
        "other": b"f",
        "sub": None,
        "sub/f": b"new",
        "sub/g": b"g",
    }


async def test_an_exchange_counts_as_a_change_of_both_directories(machine: Machine) -> None:
    draft = await labelled(machine)
    before = [(await draft.stat(path)).mtime_ns for path in ("sub", "other")]
    await draft.rename("sub/f", "other/x", EXCHANGE)
    now = [(await draft.stat(path)).mtime_ns for path in ("sub", "other")]
    assert all(new > old for new, old in zip(now, before, strict=True))


async def test_a_changed_mode_leaves_the_attributes_that_the_version_has(machine: Machine) -> None:
    draft = await labelled(machine)
    await draft.chmod("sub/f", 0o755)
    assert await draft.staging.xattrs.get(await draft.inode("sub/f"), LABEL) == VALUE
    after = await committed(machine, draft)
    assert await after.staging.xattrs.get(await after.inode("sub/f"), LABEL) == VALUE


async def test_a_link_to_a_versions_file_has_its_attributes(machine: Machine) -> None:
    first = await machine.draft("first")
    await first.write("f", b"f")
    await first.staging.xattrs.set(await first.inode("f"), LABEL, VALUE, CALLER)
    version = (await first.commit()).version
    draft = await machine.draft()
    source = machine.version_file(version, "f")
    await draft.staging.nodes.link_version_file(source, await draft.inode(""), "linked", CALLER)
    assert await draft.staging.xattrs.get(await draft.inode("linked"), LABEL) == VALUE
    after = await committed(machine, draft)
    assert await after.staging.xattrs.get(await after.inode("linked"), LABEL) == VALUE


async def test_a_link_within_a_draft_shares_attributes_and_both_names_are_committed_with_them(machine: Machine) -> None:
    draft = await labelled(machine)
    await draft.link("sub/f", "other/linked")  # all that changes there
    assert await draft.staging.xattrs.get(await draft.inode("other/linked"), LABEL) == VALUE
    after = await committed(machine, draft)
    for path in ("sub/f", "other/linked"):
        assert await after.read(path) == b"f"
        assert await after.staging.xattrs.get(await after.inode(path), LABEL) == VALUE


@pytest.mark.parametrize("path", ["sub/g", "sub"])
async def test_an_attribute_that_is_set_or_removed_and_nothing_else_is_a_change(machine: Machine, path: str) -> None:
    draft = await labelled(machine)
    await draft.staging.xattrs.set(await draft.inode(path), LABEL, b"new", CALLER)
    after = await committed(machine, draft)
    assert await after.staging.xattrs.get(await after.inode(path), LABEL) == b"new"
    await after.staging.xattrs.remove(await after.inode(path), LABEL)
    last = await committed(machine, after)
    assert list(await last.staging.xattrs.list(await last.inode(path))) == []


@pytest.mark.parametrize(("mode", "executable"), [(0o744, True), (0o654, True), (0o645, True), (0o666, False)])
async def test_a_file_is_executable_in_the_version_if_anybody_may_execute_it(
    machine: Machine, mode: int, *, executable: bool
) -> None:
    draft = await labelled(machine)
    await draft.chmod("sub/g", mode)
    after = await committed(machine, draft)
    assert stat.S_IMODE((await after.stat("sub/g")).mode) == (0o755 if executable else 0o644)


async def test_what_changes_far_below_and_nothing_else_is_committed(machine: Machine) -> None:
    draft = machine.draft_of(machine.put({"a/b/c/f": b"old", "a/beside": b"beside", "top": b"top"}))
    await draft.write("a/b/c/f", b"new")
    after = await committed(machine, draft)
    assert await after.read("a/b/c/f") == b"new"
    assert await after.read("a/beside") == b"beside"


async def test_a_file_opened_for_writing_and_not_written_keeps_its_time(machine: Machine) -> None:
    draft = machine.draft_of(machine.put({"f": b"f"}))
    before = (await draft.stat("f")).mtime_ns
    await draft.patch("f", 0, b"")
    assert (await draft.stat("f")).mtime_ns == before


@pytest.mark.parametrize("flags", [0, EXCHANGE])
async def test_a_directory_is_not_moved_into_itself(machine: Machine, flags: int) -> None:
    draft = await labelled(machine)
    await draft.mkdir("sub/below")
    before = await draft.walk()
    with pytest.raises(OSError, match="into itself") as caught:
        await draft.rename("sub", "sub/below", flags)
    assert caught.value.errno == errno.EINVAL
    with pytest.raises(OSError, match=r"into itself|holds what") as caught:
        await draft.rename("sub/below", "sub", flags)
    assert caught.value.errno == (errno.EINVAL if flags else errno.ENOTEMPTY)
    assert await draft.walk() == before
