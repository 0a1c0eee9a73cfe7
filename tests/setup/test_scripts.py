"""The scripts of a clone, run in a stand-in clone whose Python and tools are shell scripts that answer as they are told."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"

# Answers what scripts/setup asks of a Python, notes every call, and fails at the calls that match $FAIL_AT.
FAKE_PYTHON = """#!/bin/sh
echo "$*" >>"$CLONE/calls"
case "$*" in $FAIL_AT) exit 1 ;; esac
case "$*" in
    "-I -") echo 3.11 no none ;;
    *"-m pytest"*"not serial") echo "== parallel =="; exit "$PARALLEL" ;;
    *"-m pytest"*"serial") echo "== serial =="; exit "$SERIAL" ;;
esac
"""
FAKE_ARTFS = """#!/bin/sh
echo "artfs in $PWD:" "$@"
"""

FAKE_SERVICES = """#!/bin/sh
echo "services $1" >>"$CLONE/calls"
echo "ARTFS_TEST_POSTGRES=here" >"$2/env"
"""


@dataclass
class Clone:
    root: Path
    fail_at: str = "nothing"
    parallel_code: int = 0
    serial_code: int = 0

    def run(self, *command: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        told = {
            "CLONE": str(self.root),
            "FAIL_AT": self.fail_at,
            "PARALLEL": str(self.parallel_code),
            "SERIAL": str(self.serial_code),
        }
        return subprocess.run(
            command, cwd=cwd or self.root, env={**os.environ, **told}, capture_output=True, text=True, timeout=30
        )

    def artfs(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.run(self.root / "scripts/artfs", *arguments)

    def setup(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.run(self.root / "scripts/setup", *arguments)

    def calls(self) -> list[str]:
        calls = self.root / "calls"
        return calls.read_text().splitlines() if calls.exists() else []

    def installations(self) -> int:
        return sum("pip install" in call for call in self.calls())


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    root = tmp_path / "a clone"
    (root / ".venv/bin").mkdir(parents=True)
    shutil.copytree(SCRIPTS, root / "scripts")
    (root / "pyproject.toml").write_text("[project]\n")
    _program(root / ".venv/bin/python", FAKE_PYTHON)
    _program(root / ".venv/bin/pip", f"#!{root}/.venv/bin/python\n")
    _program(root / ".venv/bin/artfs", FAKE_ARTFS)
    _program(root / "scripts/services", FAKE_SERVICES)
    return Clone(root)


def _program(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def test_the_first_call_sets_up_and_then_runs(clone: Clone) -> None:
    first = clone.artfs("ls", "two words")
    assert first.returncode == 0
    assert first.stdout == f"artfs in {clone.root}: ls two words\n"
    assert f"artfs setup: making {clone.root} ready" in first.stderr
    assert clone.installations() == 1


def test_later_calls_start_no_python_and_say_nothing_of_set_up(clone: Clone) -> None:
    clone.artfs()
    before = clone.calls()
    again = clone.artfs("status")
    assert again.stdout == f"artfs in {clone.root}: status\n"
    assert again.stderr == ""
    assert clone.calls() == before


def test_a_changed_pyproject_sets_up_again(clone: Clone) -> None:
    clone.artfs()
    (clone.root / "pyproject.toml").write_text("[project]\nname = 'artfs'\n")
    assert clone.artfs().returncode == 0
    assert clone.installations() == 2


def test_artfs_runs_through_a_symlink_in_the_directory_of_the_caller(clone: Clone, tmp_path: Path) -> None:
    clone.artfs()
    link = tmp_path / "artfs"
    link.symlink_to(clone.root / "scripts/artfs")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    assert clone.run(link, "ls", cwd=elsewhere).stdout == f"artfs in {elsewhere}: ls\n"


def test_artfs_does_not_run_when_set_up_fails(clone: Clone) -> None:
    clone.fail_at = "*pip?install*"
    failed = clone.artfs("ls")
    assert failed.returncode == 1
    assert failed.stdout == ""
    assert "pip could not install the packages" in failed.stderr


def test_a_failed_set_up_is_repeated(clone: Clone) -> None:
    clone.fail_at = "*pip?install*"
    assert clone.setup().returncode == 1
    clone.fail_at = "nothing"
    assert clone.setup().returncode == 0
    assert clone.installations() == 2


def test_a_chunker_without_its_compiled_extension_is_refused(clone: Clone) -> None:
    clone.fail_at = "*pyfastcdc*"
    refused = clone.setup()
    assert refused.returncode == 1
    assert "without its compiled extension" in refused.stderr
    assert clone.setup().returncode == 1


def test_development_needs_its_own_set_up_and_serves_running_too(clone: Clone) -> None:
    clone.setup()
    clone.setup("--dev")
    assert clone.installations() == 2
    assert [call for call in clone.calls() if call.endswith("[server,dev]")]
    clone.setup()
    clone.setup("--dev")
    assert clone.installations() == 2


def test_two_set_ups_at_once_install_once(clone: Clone) -> None:
    both = clone.run("sh", "-c", "scripts/setup & scripts/setup; first=$?; wait $! && exit $first")
    assert both.returncode == 0, both.stderr
    assert clone.installations() == 1


def test_an_unknown_argument_is_refused(clone: Clone) -> None:
    refused = clone.setup("--devel")
    assert refused.returncode == 1
    assert "unknown argument --devel" in refused.stderr


@pytest.mark.parametrize(
    ("parallel_code", "serial_code", "code", "closing"),
    [
        (0, 0, 0, "serial"),
        (1, 0, 1, "parallel"),
        (0, 1, 1, "serial"),
        (2, 1, 1, "serial"),
        (5, 0, 0, "serial"),
        (0, 5, 0, "parallel"),
        (1, 5, 1, "parallel"),
        (5, 5, 5, "parallel"),
    ],
)
def test_the_tests_fail_if_either_part_fails_and_end_with_its_closing_line(
    clone: Clone, parallel_code: int, serial_code: int, code: int, closing: str
) -> None:
    clone.parallel_code, clone.serial_code = parallel_code, serial_code
    tests = clone.run(clone.root / "scripts/test")
    assert tests.returncode == code
    assert tests.stdout.endswith(f"== {closing} ==\n")


def test_the_selection_of_the_caller_holds_in_both_parts(clone: Clone) -> None:
    clone.run(clone.root / "scripts/test", "-m", "deep", "-k", "two words")
    parallel, serial = (call for call in clone.calls() if "-m pytest" in call)
    assert parallel.endswith("-k two words -m (deep) and not serial")
    assert serial.endswith("-k two words -n 0 -m (deep) and serial")


@pytest.mark.parametrize("code", [0, 1])
def test_services_run_while_the_tests_do(clone: Clone, code: int) -> None:
    clone.parallel_code = code
    clone.run(clone.root / "scripts/test")
    calls = [call.split(" -")[0] for call in clone.calls() if call.startswith(("services", "-m pytest"))]
    assert (calls[0], len(calls), calls[-1]) == ("services start", 4, "services stop")


def test_a_locked_set_up_installs_what_the_lock_file_says_and_nothing_else(clone: Clone) -> None:
    lock = clone.root / "requirements/dev.lock"
    lock.parent.mkdir()
    lock.write_text("one==1 --hash=sha256:0\n")
    clone.setup("--dev", "--locked")
    first, second = (call for call in clone.calls() if "pip install" in call)
    assert f"--require-hashes --requirement {lock}" in first
    assert f"--no-deps --editable {clone.root}" in second
    clone.setup("--dev", "--locked")
    clone.setup("--dev")
    assert clone.installations() == 2
    lock.write_text("one==2 --hash=sha256:1\n")
    clone.setup("--dev", "--locked")
    assert clone.installations() == 4


@pytest.mark.parametrize("arguments", [["--locked"], ["--locked", "--bench"]])
def test_only_the_development_environment_is_locked(clone: Clone, arguments: list[str]) -> None:
    refused = clone.setup(*arguments)
    assert refused.returncode == 1
    assert "--locked is for --dev" in refused.stderr


_GOOD = {"name": "good", "version": "1", "vulns": []}
_BAD = {"name": "bad", "version": "1", "vulns": [{"id": "PYSEC-1", "fix_versions": ["2"]}]}
_UNKNOWN = {"name": "unknown", "skip_reason": "not found"}


@pytest.mark.parametrize(
    ("packages", "code", "told"),
    [
        ([_GOOD], 0, "1 of 1 packages looked up, 0 known vulnerabilities"),
        ([_GOOD, _BAD], 1, "bad 1: PYSEC-1, mended in 2"),
        ([_GOOD, _UNKNOWN], 3, "no advisories could be reached for: unknown"),
        ([_BAD, _UNKNOWN], 1, "1 of 2 packages looked up, 1 known vulnerabilities"),
        ([], 3, "no advisories could be reached for: any of them"),
    ],
)
def test_an_audit_does_not_call_good_what_it_could_not_look_up(
    clone: Clone, packages: list[object], code: int, told: str
) -> None:
    tools = clone.root / ".venv-audit"
    (tools / "bin").mkdir(parents=True)
    (clone.root / "requirements").mkdir()
    for file in (clone.root / "requirements/audit.txt", clone.root / "requirements/dev.lock", tools / "installed"):
        file.touch()
    _program(tools / "bin/python", f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    _program(tools / "bin/pip-audit", f"#!/bin/sh\ncat <<'EOF'\n{json.dumps({'dependencies': packages})}\nEOF\n")
    done = clone.run(clone.root / "scripts/audit")
    assert done.returncode == code, done.stderr
    assert told in done.stdout
