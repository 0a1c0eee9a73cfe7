"""`artfs run` as a parent of processes: what it inherits, and what it hands on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.acceptance.user import ARTFS, User

IGNORING = """
import os, signal, sys
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
os.execv(sys.argv[1], sys.argv[1:])
"""
COMMAND_S = 60


@pytest.fixture
def user(tmp_path: Path) -> User:
    (tmp_path / "home").mkdir()
    return User(tmp_path / "home")


def test_the_end_of_the_command_is_noticed_where_ends_of_children_are_ignored(user: User) -> None:
    arguments = [sys.executable, "-c", IGNORING, str(ARTFS), "run", "-q", "--id", "it", "--", "sh", "-c", "exit 5"]
    with subprocess.Popen(arguments, env=user.environment()) as process:
        try:
            assert process.wait(COMMAND_S) == 5
        finally:
            process.kill()
    assert [run["exit_code"] for run in user.json("runs", "uncategorized")] == [5]


def test_a_registry_by_a_relative_path_is_the_same_for_a_command_that_goes_elsewhere(
    user: User, tmp_path: Path
) -> None:
    (tmp_path / "elsewhere").mkdir()
    registry = tmp_path / "registry"
    relative = f"./{registry.name}"
    script = f"cd elsewhere && echo 1 > x && {ARTFS} put -q -n p/it x"
    arguments = [str(ARTFS), "--registry", relative, "run", "-q", "-p", "p", "--", "sh", "-c", script]
    subprocess.run(arguments, env=user.environment(), cwd=tmp_path, timeout=COMMAND_S, check=True)
    assert [p.name for p in (tmp_path / "elsewhere").iterdir()] == ["x"]
    assert user.json("--registry", str(registry), "log", "p/it")
