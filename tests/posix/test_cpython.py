"""CPython's own tests of files, run in a draft: what they find that a directory of ext4 has and a draft has not is listed here.

The tests come with Python (`python -m test`); a distribution may have put them into a package of their own.
"""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.falsifies("posix"), pytest.mark.fuse, pytest.mark.timeout(300)]

NOT_UTF8 = "a name that is not UTF-8 is refused with EILSEQ"
NO_FIFO = "FIFOs are refused with EPERM"
NO_SETUID = "setuid and setgid bits are refused with EPERM"
DIFFERENCES = {
    "test_os.Pep383Tests.test_listdir": NOT_UTF8,
    "test_os.Pep383Tests.test_open": NOT_UTF8,
    "test_os.Pep383Tests.test_stat": NOT_UTF8,
    "test_os.Pep383Tests.test_statvfs": NOT_UTF8,
    "test_sqlite3.test_dbapi.OpenTests.test_open_undecodable_uri": NOT_UTF8,
    "test_sqlite3.test_dbapi.OpenTests.test_open_with_undecodable_path": NOT_UTF8,
    "test_tarfile.TestExtractionFilters.test_pipe": NO_FIFO,
    "test_tarfile.TestExtractionFilters.test_modes": NO_SETUID,
}
BRIEF = ("test_dbm", "test_fileio", "test_mmap", "test_sqlite3", "test_tempfile")
LONG = ("test_glob", "test_largefile", "test_os", "test_pathlib", "test_shutil", "test_tarfile", "test_zipfile")
RUN_S = 240
_FAILED = re.compile(r"^(?:FAIL|ERROR): \S+ \(test\.(\S+)\)$", re.MULTILINE)
_RAN = re.compile(r"^Ran (\d+) tests? in", re.MULTILINE)


@pytest.mark.parametrize("name", [*BRIEF, *(pytest.param(name, marks=pytest.mark.deep) for name in LONG)])
def test_a_draft_is_a_directory_to_the_tests_of_cpython(draft: Path, tmp_path: Path, name: str) -> None:
    if importlib.util.find_spec("test") is None or importlib.util.find_spec(f"test.{name}") is None:
        pytest.skip(f"this Python came without its test.{name}")
    failed, output = _failures(name, draft)
    expected = {test for test in DIFFERENCES if test.startswith(f"{name}.")}
    assert failed <= expected, output[-8000:]
    there, _ = _failures(name, tmp_path)
    assert expected - failed <= there | _skipped_here(output, expected), "a difference is gone: strike it from the list"
    assert not failed & there, "this fails on the machine's own file system as well"


def _failures(name: str, place: Path) -> tuple[set[str], str]:
    """Which tests of a module fail when `place` is where they work."""
    command = [sys.executable, "-m", "test", "-v", "--tempdir", str(place), name]
    environment = {**os.environ, "TMPDIR": str(place), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=RUN_S, cwd=place, env=environment, check=False
    )
    output = done.stdout + done.stderr
    assert sum(map(int, _RAN.findall(output))) > 0, output[-2000:]
    return set(_FAILED.findall(output)), output


def _skipped_here(output: str, tests: set[str]) -> set[str]:
    """Those that did not run, as on another version of Python or of a library."""
    return {test for test in tests if f"(test.{test}) ... ok" not in output}
