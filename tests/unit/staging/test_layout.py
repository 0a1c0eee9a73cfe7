"""Drafts on disk while another process begins, and sweeps what crashed ones left."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from artfs.vfs.staging.layout import DraftLock, StagingRoot
from artfs.vfs.staging_port import DraftPlace

PLACE = DraftPlace("vision", "bikes", "fix")


def fill(directory: Path) -> None:
    (directory / "index.db").write_bytes(b"")


@pytest.mark.parametrize("when", ["before it is locked", "while it is locked by the sweep"])
def test_a_draft_is_made_though_a_sweep_takes_its_beginning_for_a_crash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    root = StagingRoot(tmp_path)
    take = DraftLock.take
    met: list[Path] = []

    def interrupted(directory: Path) -> DraftLock | None:
        if met:
            return take(directory)
        met.append(directory)
        if when == "before it is locked":
            monkeypatch.setattr(DraftLock, "take", take)
            StagingRoot(tmp_path).sweep()
            monkeypatch.setattr(DraftLock, "take", interrupted)
            return take(directory)
        held = take(directory)
        assert held is not None
        assert take(directory) is None
        held.release()
        return None

    monkeypatch.setattr(DraftLock, "take", interrupted)
    root.create(PLACE, fill)
    assert met
    assert root.names("vision", "bikes") == ["fix"]
    assert sorted(os.listdir(root.directory(PLACE))) == ["data", "index.db", "lock"]


def test_a_sweep_deletes_what_nobody_makes_any_more_and_nothing_else(tmp_path: Path) -> None:
    root = StagingRoot(tmp_path)
    root.create(PLACE, fill)
    parent = root.directory(PLACE).parent
    for name in (".new-1-left", ".new-2-alive", ".dead-3-left"):
        (parent / name / "data").mkdir(parents=True)
    alive = DraftLock.take(parent / ".new-2-alive")
    assert alive is not None
    root.sweep()
    assert sorted(os.listdir(parent)) == [".new-2-alive", "fix"]
    alive.release()
    root.sweep()
    assert os.listdir(parent) == ["fix"]
