"""Manifests on local disk: found again, never damaged ones, and not too many."""

from __future__ import annotations

import os
import random
import stat
from pathlib import Path

import pytest

from artfs.model.digest import Digest
from artfs.wandb_client.manifest_files import ManifestFiles

ROOT = Digest.of(b"root")
DATA = b'{"contents": {}}'


def test_what_was_kept_is_found(tmp_path: Path) -> None:
    files = ManifestFiles(tmp_path / "new", 10_000)
    assert files.find(ROOT) is None
    files.keep(ROOT, DATA)
    assert files.find(ROOT) == DATA
    assert files.find(Digest.of(b"other")) is None
    (path,) = (tmp_path / "new").iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_no_damage_goes_unnoticed(tmp_path: Path) -> None:
    files = ManifestFiles(tmp_path, 10_000)
    files.keep(ROOT, DATA * 20)
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    for i in range(len(whole)):
        for damaged in (whole[:i] + bytes([whole[i] ^ 1]) + whole[i + 1 :], whole[:i]):
            path.write_bytes(damaged)
            assert files.find(ROOT) in (None, DATA * 20)  # a bit of the frame's header may mean nothing
            assert damaged[:32] != whole[:32] or path.exists() is (files.find(ROOT) is not None)
            path.write_bytes(whole)
    assert files.find(ROOT) == DATA * 20


def test_those_used_least_lately_go(tmp_path: Path) -> None:
    choose = random.Random(1)
    files = ManifestFiles(tmp_path, 5000)
    roots = [Digest.of(b"%d" % i) for i in range(8)]
    for i, root in enumerate(roots):
        files.keep(root, choose.randbytes(1000))
        os.utime(tmp_path / f"{root.hex()}.manifest", (i, i))
        assert files.find(roots[0]) is not None  # and is the newest now
    assert [root in (roots[0], *roots[5:]) for root in roots] == [files.find(root) is not None for root in roots]
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 5000


def test_one_that_is_too_large_is_not_kept(tmp_path: Path) -> None:
    files = ManifestFiles(tmp_path, 500)
    files.keep(ROOT, random.Random(1).randbytes(1000))
    assert files.find(ROOT) is None


def test_a_disk_that_fails_only_costs_asking_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_bytes(b"")
    files = ManifestFiles(tmp_path / "file/below", 10_000)
    files.keep(ROOT, DATA)
    assert files.find(ROOT) is None
    assert "not kept" in caplog.text
