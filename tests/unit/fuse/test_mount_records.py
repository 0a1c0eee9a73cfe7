"""Records of mounts are those of living processes."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import msgspec
import pytest

from artfs.fuse.mount_records import MountRecord, MountRecords
from artfs.fuse.process_records import process_started_ticks

HERE = Path("/some/where")


@pytest.fixture
def records(tmp_path: Path) -> MountRecords:
    return MountRecords(tmp_path / "state", tmp_path / "run")


def record(pid: int | None = None, mountpoint: Path = HERE, ticks: int | None = None) -> MountRecord:
    pid = os.getpid() if pid is None else pid
    started = process_started_ticks(pid) if ticks is None else ticks
    return MountRecord(pid, started or 0, str(mountpoint), "/registry", 1, False, False, "/socket", "/log")


def test_a_record_is_found_until_it_is_removed(records: MountRecords) -> None:
    records.write(record())
    assert records.find(HERE) == record()
    assert records.list() == [record()]
    records.remove(HERE, os.getpid())
    assert records.find(HERE) is None


def test_a_record_of_a_process_that_is_gone_is_dropped(records: MountRecords, tmp_path: Path) -> None:
    records.write(record(pid=2**22 + 1))
    assert records.list() == []
    assert list((tmp_path / "state/mounts").iterdir()) == []


def test_a_reused_process_id_is_not_taken_for_the_mount(records: MountRecords) -> None:
    records.write(record(ticks=1))
    assert records.find(HERE) is None


def test_another_process_does_not_remove_a_record(records: MountRecords) -> None:
    records.write(record())
    records.remove(HERE, 1)
    assert records.find(HERE) == record()


def test_mounts_are_listed_by_mount_point(records: MountRecords) -> None:
    for place in ("/b", "/a"):
        records.write(record(mountpoint=Path(place)))
    assert [found.mountpoint for found in records.list()] == ["/a", "/b"]


def test_a_damaged_record_is_no_record(records: MountRecords, tmp_path: Path) -> None:
    records.write(record())
    (path,) = (tmp_path / "state/mounts").iterdir()
    path.write_bytes(msgspec.json.encode({"pid": 1}))
    assert records.list() == []


def test_sockets_are_in_a_directory_of_their_owner(records: MountRecords) -> None:
    assert stat.S_IMODE(records.socket_path(HERE).parent.stat().st_mode) == 0o700
    assert len(bytes(records.socket_path(HERE))) < 108
