"""References to files, where something else has taken the place of one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.falsifies("references", "hostile")]

TERMINAL = """
import os, sys
from artfs.client.references.file_source import FileSource
from artfs.errors import UnsupportedFile
try:
    FileSource().receive(sys.argv[1], (0, 1), "", 1, lambda told, pieces: list(pieces))
except UnsupportedFile:
    print("refused")
try:
    os.open("/dev/tty", os.O_RDWR)
except OSError:
    print("no terminal")
"""


def test_a_terminal_in_the_place_of_a_file_does_not_become_that_of_a_daemon(tmp_path: Path) -> None:
    here, there = os.openpty()
    try:
        uri = Path(os.ttyname(there)).as_uri()
        arguments = [sys.executable, "-c", TERMINAL, uri]
        done = subprocess.run(arguments, start_new_session=True, capture_output=True, text=True, timeout=60)
    finally:
        os.close(here)
        os.close(there)
    assert done.stdout.split("\n")[:2] == ["refused", "no terminal"], done.stderr
