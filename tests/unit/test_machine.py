"""What this machine lacks is named, with the remedy."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from artfs import machine
from artfs.errors import MachineNotReady
from artfs.machine import Level


def test_a_missing_device_says_how_to_get_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(machine, "FUSE_DEVICE", tmp_path / "fuse")
    with pytest.raises(MachineNotReady, match="modprobe fuse"):
        machine.require_fuse()


def test_a_plain_file_is_no_device(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "fuse").write_text("")
    monkeypatch.setattr(machine, "FUSE_DEVICE", tmp_path / "fuse")
    with pytest.raises(MachineNotReady, match="missing"):
        machine.require_fuse()


def test_a_closed_device_says_how_to_open_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "FUSE_DEVICE", Path("/dev/null"))
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(MachineNotReady, match="chmod 666"):
        machine.require_fuse()


def test_a_missing_helper_names_its_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(machine, "FUSE_DEVICE", Path("/dev/null"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MachineNotReady, match="apt-get install fuse3"):
        machine.require_fuse()


def test_this_machines_packages_are_all_there() -> None:
    assert [check for check in machine.check_python() if check.level is not Level.OK] == []


def test_a_directory_that_cannot_be_made_is_a_failure(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert machine.check_directory("cache_dir", tmp_path / "file" / "below").level is Level.FAILURE
    assert machine.check_directory("cache_dir", tmp_path / "new" / "below").level is not Level.FAILURE
