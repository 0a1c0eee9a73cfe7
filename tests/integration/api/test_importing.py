"""`import artfs` is quick and brings along no file system and no server; its names are there, typed and documented."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from typing import Any

import pytest

import artfs

IMPORT_MS_MAX = 100
HEAVY = (
    "pyfuse3",
    "trio",
    "starlette",
    "uvicorn",
    "obstore",
    "psycopg",
    "artfs.server",
    "artfs.vfs.filesystem",
    "numpy",
)
USING = "import sys; {}; print(*sorted(m for m in sys.modules if m.startswith({!r})))"


def _run(code: str, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *options, "-c", code], capture_output=True, text=True, timeout=60, check=True, env=os.environ
    )


def _import_ms(code: str) -> float:
    """Milliseconds of processor time that `code` takes, so that other work on the machine does not count: the best of five."""
    clocked = f"import time; t = time.process_time(); {code}; print((time.process_time() - t) * 1000)"
    return min(float(_run(clocked).stdout) for _ in range(5))


def test_importing_takes_a_few_milliseconds() -> None:
    assert _import_ms("import artfs") < IMPORT_MS_MAX / 5  # about 2
    assert _import_ms("import artfs; artfs.Api, artfs.Artifact") < 3 * IMPORT_MS_MAX  # about 80 on a quiet machine


@pytest.mark.parametrize("code", ["import artfs", "import artfs; [getattr(artfs, name) for name in artfs.__all__]"])
def test_neither_file_system_nor_server_is_imported(code: str) -> None:
    assert _run(USING.format(code, HEAVY)).stdout.split() == []


def test_every_public_name_is_there_and_documented() -> None:
    assert set(artfs.__all__) <= set(dir(artfs))
    for name in artfs.__all__:
        found: Any = getattr(artfs, name)
        if inspect.isclass(found) or inspect.isfunction(found):
            assert inspect.getdoc(found), name
    with pytest.raises(AttributeError, match="nothing"):
        artfs.nothing  # noqa: B018


def test_what_would_be_lost_in_place_of_the_configuration_is_refused() -> None:
    with pytest.raises(AttributeError, match=r"artfs\.init\(config="):
        artfs.config = {"lr": 0.1}  # type: ignore[assignment]  # as scripts for another library do
    reloaded = _run(
        "import artfs, artfs.config, importlib; importlib.reload(artfs); print(artfs.run, artfs.Api.__name__)"
    )
    assert reloaded.stdout.split() == ["None", "Api"]


def test_the_package_is_run_as_the_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "artfs", "--version"], capture_output=True, text=True, timeout=60, check=True
    )
    assert artfs.__version__ in done.stdout
