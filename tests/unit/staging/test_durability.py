"""What is on disk, and not only in memory, when a call says so: fsync in a draft, and the making, moving and end of one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from artfs.vfs.staging_port import DraftPlace
from tests.synced import Synced
from tests.unit.staging.driver import ARTIFACT, CALLER, PROJECT, Drive, Machine

pytestmark = [pytest.mark.falsifies("fsync", "draft-kept")]


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> Synced:
    return Synced(monkeypatch)


def data_files(directory: Path) -> set[str]:
    return {str(path) for path in (directory / "data").rglob("*") if path.is_file()}


def names_and_log(directory: Path, files: set[str]) -> set[str]:
    """What holds the names of these data files, and the changes that were made to the draft's own."""
    return {str(directory / "data"), *(os.path.dirname(file) for file in files), str(directory / "index.db-wal")}


async def fsync(draft: Drive, path: str, *, data_only: bool = False) -> None:
    handle = await draft.open(path, os.O_RDWR)
    await draft.staging.handles.fsync(handle, data_only)
    await draft.staging.handles.release(handle)


@pytest.mark.parametrize("data_only", [False, True])
async def test_fsync_of_a_new_file_has_its_bytes_its_names_and_the_drafts_log_on_disk(
    machine: Machine, synced: Synced, *, data_only: bool
) -> None:
    draft = await machine.draft()
    directory = machine.layout.directory(draft.place)
    await draft.write("f", b"new")
    synced.forget()
    await fsync(draft, "f", data_only=data_only)
    files = data_files(directory)
    assert len(files) == 1
    assert synced.taken() >= files | names_and_log(directory, files)


async def test_fsync_of_a_file_of_the_version_has_the_name_of_its_copy_on_disk(
    machine: Machine, synced: Synced
) -> None:
    draft = machine.draft_of(machine.put({"f": b"old"}))
    directory = machine.layout.directory(draft.place)
    await draft.patch("f", 0, b"new")
    synced.forget()
    await fsync(draft, "f")
    files = data_files(directory)
    assert len(files) == 1
    assert synced.taken() >= files | names_and_log(directory, files)


async def test_fsync_of_a_directory_has_its_names_and_their_files_names_on_disk(
    machine: Machine, synced: Synced
) -> None:
    draft = await machine.draft()
    directory = machine.layout.directory(draft.place)
    await draft.write("f", b"new")
    synced.forget()
    handle = await draft.staging.handles.open_directory(await draft.inode(""))
    await draft.staging.handles.fsync_directory(handle, False)
    await draft.staging.handles.release_directory(handle)
    assert synced.taken() >= names_and_log(directory, data_files(directory))


async def test_fsync_after_a_draft_was_renamed_has_names_on_disk_that_were_made_before(
    machine: Machine, synced: Synced
) -> None:
    draft = await machine.draft()
    await draft.write("f", b"new")
    place = DraftPlace(PROJECT, ARTIFACT, "renamed")
    await draft.staging.drafts.rename(draft.place, place, 0)
    renamed = machine.found("renamed")
    await renamed.mkdir("after")  # so that there is a log again
    directory = machine.layout.directory(place)
    synced.forget()
    await fsync(renamed, "f")
    files = data_files(directory)
    assert synced.taken() >= files | names_and_log(directory, files)


async def test_a_draft_that_was_made_renamed_or_ended_is_so_on_disk(machine: Machine, synced: Synced) -> None:
    drafts = machine.layout.directory(DraftPlace(PROJECT, ARTIFACT, "x")).parent
    draft = await machine.draft()
    assert str(drafts) in synced.taken()
    await draft.staging.drafts.rename(draft.place, DraftPlace(PROJECT, ARTIFACT, "renamed"), 0)
    assert str(drafts) in synced.taken()
    await machine.found("renamed").commit()
    assert str(drafts) in synced.taken()
    other = DraftPlace(PROJECT, ARTIFACT, "other")
    await machine.staging.drafts.make(other, 0o755, CALLER)
    synced.forget()
    await machine.staging.drafts.remove(other)
    assert str(drafts) in synced.taken()
