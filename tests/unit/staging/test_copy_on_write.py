"""A draft over a version: nothing is copied before it changes, and what did not change is not sent again."""

from __future__ import annotations

import errno
import os

import pytest

from artfs.vfs.attributes import AttributeChange
from tests.unit.staging.driver import CALLER, Listing, Machine

pytestmark = [pytest.mark.falsifies("posix", "times")]

LARGE = os.urandom(3 << 20)
FILES: dict[str, bytes | None] = {
    "large": LARGE,
    "small": b"small",
    "sub/deep/x": b"x",
    "sub/y": b"y",
    "empty": None,
}


def data_files(machine: Machine, name: str = "next") -> int:
    return sum(len(files) for _, _, files in os.walk(machine.layout.root / "p/a" / name / "data"))


async def test_reading_and_listing_copies_nothing(machine: Machine) -> None:
    draft = machine.draft_of(machine.put(FILES))
    tree = await draft.walk()
    assert tree["large"] == LARGE
    assert tree["sub/deep/x"] == b"x"
    assert data_files(machine) == 0


async def test_attributes_and_names_change_without_copying(machine: Machine) -> None:
    draft = machine.draft_of(machine.put(FILES))
    await draft.chmod("large", 0o755)
    await draft.setattr("small", AttributeChange(mtime_ns=7, atime_ns=8))
    await draft.rename("sub", "moved")
    await draft.link("large", "linked")
    await draft.staging.xattrs.set(await draft.inode("small"), "user.label", b"v", CALLER)
    assert data_files(machine) == 0
    assert (await draft.stat("small")).mtime_ns == 7
    assert (await draft.stat("linked")).link_count == 2
    assert await draft.read("moved/deep/x") == b"x"
    assert await draft.read("linked") == LARGE


async def test_opening_for_writing_copies_one_file_and_truncating_copies_only_what_stays(machine: Machine) -> None:
    draft = machine.draft_of(machine.put(FILES))
    await draft.patch("large", 10, b"changed")
    assert await draft.read("large") == LARGE[:10] + b"changed" + LARGE[17:]
    await draft.truncate("small", 2)
    assert await draft.read("small") == b"sm"
    assert data_files(machine) == 2


async def test_a_reader_sees_what_a_later_writer_changes(machine: Machine) -> None:
    draft = machine.draft_of(machine.put(FILES))
    handle = await draft.open("small")
    await draft.patch("small", 0, b"SM")
    assert await draft.staging.handles.read(handle, 0, 10) == b"SMall"
    await draft.staging.handles.release(handle)


async def test_an_unlinked_file_of_the_version_is_read_until_it_is_closed(machine: Machine) -> None:
    draft = machine.draft_of(machine.put(FILES))
    inode = await draft.inode("small")
    handle = await draft.open("small")
    await draft.unlink("small")
    assert await draft.staging.handles.read(handle, 0, 10) == b"small"
    await draft.staging.handles.release(handle)
    draft.staging.nodes.forget(inode, 1)
    with pytest.raises(OSError, match="gone") as caught:
        await draft.staging.nodes.getattr(inode)
    assert caught.value.errno == errno.ESTALE


async def test_inode_numbers_stay_when_a_file_is_copied_up_and_when_the_draft_is_adopted_again(
    machine: Machine,
) -> None:
    draft = machine.draft_of(machine.put(FILES))
    before = {path: await draft.inode(path) & (1 << 40) - 1 for path in ("large", "sub", "sub/y")}
    await draft.patch("large", 0, b"x")
    await machine.staging.close()
    again = machine.found(staging=machine.area())
    assert {path: await again.inode(path) & (1 << 40) - 1 for path in before} == before
    await again.staging.close()


async def test_a_link_to_a_versions_file_is_a_new_inode_with_its_content_and_time(machine: Machine) -> None:
    version = machine.put(FILES)
    draft = await machine.draft()
    source = machine.version_file(version, "large")
    made = await draft.staging.nodes.link_version_file(source, await draft.inode(""), "linked", CALLER)
    assert (made.size_bytes, made.mtime_ns) == (len(LARGE), source.mtime_ns)
    assert data_files(machine) == 0
    await draft.patch("linked", 0, b"!")
    assert await draft.read("linked") == b"!" + LARGE[1:]
    foreign = source._replace(project="other")
    with pytest.raises(OSError, match="another project") as caught:
        await draft.staging.nodes.link_version_file(foreign, await draft.inode(""), "other", CALLER)
    assert caught.value.errno == errno.EXDEV


async def test_a_commit_without_changes_makes_no_version(machine: Machine) -> None:
    version = machine.put(FILES)
    draft = machine.draft_of(version)
    await draft.walk()
    result = await draft.commit("again")
    assert not result.created
    assert result.version.number == version.number


async def test_a_directory_of_many_entries_is_changed_page_by_page(machine: Machine) -> None:
    files: dict[str, bytes | None] = {f"{number:05}": b"%d" % (number % 7) for number in range(20_000)}
    version = machine.put(files)
    draft = machine.draft_of(version)
    for number in range(0, 20_000, 2_000):
        await draft.write(f"{number:05}", b"new")
    await draft.unlink("00001")
    await draft.write("00001", b"again")
    await draft.unlink("19999")
    await draft.rename("00003", "first")
    listed = await draft.list("", room=500)
    assert len(listed) == 19_999
    assert "00003" not in listed
    result = await draft.commit()
    assert result.version.file_count == 19_999
    after = machine.draft_of(result.version, "after")
    assert await after.read("02000") == b"new"
    assert await after.read("00001") == b"again"
    assert await after.read("first") == b"3"
    assert list(await after.list("", room=500)) == sorted(listed)


async def test_deleting_everything_and_moving_directories_up_is_committed(machine: Machine) -> None:
    draft = machine.draft_of(machine.put(FILES))
    await draft.rename("sub/deep", "up")
    await draft.unlink("sub/y")
    await draft.rmdir("sub")
    await draft.unlink("large")
    await draft.unlink("small")
    await draft.rmdir("empty")
    result = await draft.commit()
    assert machine.tree(result.version.digest) == {"up": None, "up/x": b"x"}


async def test_a_listing_shows_every_name_once_whatever_changes_meanwhile(machine: Machine) -> None:
    files: dict[str, bytes | None] = {f"{number:03}": b"x" for number in range(300)}
    draft = machine.draft_of(machine.put(files))
    handle = await draft.staging.handles.open_directory(await draft.inode(""))
    seen: list[str] = []
    offset = 0
    for number in range(300):
        listing = Listing(1)
        await draft.staging.handles.read_directory(handle, offset, listing)
        seen += listing.names
        offset = listing.last_id
        await draft.chmod(f"{299 - number:03}", 0o600)  # gets a row of its own, before or after it is listed
        if number % 10 == 0:
            await draft.write(f"new{number}", b"")
        if number == 150:
            await draft.unlink("149")
    while True:
        listing = Listing(50)
        await draft.staging.handles.read_directory(handle, offset, listing)
        if not listing.names:
            break
        seen += listing.names
        offset = listing.last_id
    assert len(seen) == len(set(seen))
    assert set(files) - {"149"} <= set(seen)


async def test_fsync_of_an_unchanged_file_and_directory_needs_no_log(machine: Machine) -> None:
    version = machine.put(FILES)
    machine.draft_of(version)
    draft = machine.found()
    handle = await draft.open("small")
    await draft.staging.handles.fsync(handle, data_only=False)
    await draft.staging.handles.release(handle)
    directory = await draft.staging.handles.open_directory(await draft.inode("sub"))
    await draft.staging.handles.fsync_directory(directory, data_only=False)
    await draft.staging.handles.release_directory(directory)
