"""`artifact.mount_path()`: where a running mount of the same registry shows a version."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import artfs
from artfs.api.session import close_sessions

pytestmark = pytest.mark.serial
COMMAND_S = 60


def _command(*arguments: str | Path) -> None:
    code = "from artfs.cli.main import main; main()"
    subprocess.run([sys.executable, "-c", code, *map(str, arguments)], check=True, timeout=COMMAND_S)


@pytest.fixture
def logged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[artfs.Artifact]:
    for name in ("registry", "data", "state", "cache"):
        variable = "ARTFS_REGISTRY" if name == "registry" else f"ARTFS_{name.upper()}_DIR"
        monkeypatch.setenv(variable, str(tmp_path / name))
    monkeypatch.chdir(tmp_path)
    artifact = artfs.Artifact("bikes", "dataset")
    with artifact.new_file("deep/a") as file:
        file.write("content")
    with artfs.init(project="vision") as run:
        run.log_artifact(artifact)
    yield artifact
    close_sessions()


def test_a_mount_of_the_registry_shows_the_version(
    logged: artfs.Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert logged.mount_path() is None
    _command("--registry", tmp_path / "other", "mount", tmp_path / "of another")
    try:
        assert logged.mount_path() is None
        _command("mount", tmp_path / "m")
        try:
            path = logged.mount_path()
            assert path == str(tmp_path / "m/vision/bikes/v0")
            assert Path(path, "deep/a").read_text() == "content"
            monkeypatch.setenv("ARTFS_REGISTRY", os.path.relpath(tmp_path / "registry"))
            assert artfs.Api().artifact("vision/bikes:latest").mount_path() == path
        finally:
            _command("umount", tmp_path / "m")
        assert logged.mount_path() is None
    finally:
        _command("umount", tmp_path / "of another")
