"""The examples of docs/python.md run as they are written there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.api.conftest import write_files

GUIDE = Path(__file__).parents[3] / "docs/python.md"
EXAMPLES_MIN = 7


@pytest.mark.usefixtures("place")
def test_the_examples_of_the_guide_run_one_after_another() -> None:
    examples = re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    assert len(examples) >= EXAMPLES_MIN
    write_files(Path(), {"photos/1.png": "one", "photos/2.png": "two", "weights.pt": "w"})
    Path("guide.py").write_text("\n".join(examples).replace("vision", os.environ["ARTFS_PROJECT"]))
    done = subprocess.run([sys.executable, "guide.py"], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    assert "artifacts/rates-net:v1" in done.stdout
