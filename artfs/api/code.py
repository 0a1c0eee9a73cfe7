"""Which script or notebook this process runs, and what artifacts of it are called.

A script is `__main__.__file__`. A notebook's kernel is told its file by those who start it: VS Code puts `__vsc_ipynb_file__`
among the user's names, jupyter_server (since 2.0) its path into JPY_SESSION_NAME; for others the user can set
ARTFS_NOTEBOOK_NAME. A kernel knows nothing of a file that was renamed since it started, and a notebook is what was last saved.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from artfs.api.paths import valid_name

NOTEBOOK_SETTING = "ARTFS_NOTEBOOK_NAME"

_JUPYTER = "JPY_SESSION_NAME"
_VSCODE = "__vsc_ipynb_file__"
_KERNELS = {"ipykernel_launcher.py", "colab_kernel_launcher.py"}  # programs that run a notebook's cells
_PACKAGE_MAIN = "__main__"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class MainProgram:
    """The file of the running script or notebook."""

    path: Path

    @property
    def name(self) -> str:
        """What it is called: `train.py`; for `python -m package` the package's name."""
        return f"{self.path.parent.name}.py" if self.path.stem == _PACKAGE_MAIN else self.path.name

    @property
    def is_notebook(self) -> bool:
        return self.path.suffix == ".ipynb"


def main_program(main: ModuleType | None = None, environment: Mapping[str, str] | None = None) -> MainProgram | None:
    """What this process runs; None, and a line in the log that says why, where there is no file of it.

    Args:
        main: the main module, by default that of this process.
        environment: by default that of this process.
    """
    main = main or sys.modules.get("__main__")
    environment = os.environ if environment is None else environment
    script = getattr(main, "__file__", None)
    if script and Path(script).name not in _KERNELS:
        return _there(Path(script), "the main script")
    told = environment.get(NOTEBOOK_SETTING) or getattr(main, _VSCODE, None) or environment.get(_JUPYTER)
    if told:
        return _notebook(Path(told))
    _log.warning("no script or notebook of this process is known; in a notebook set %s to its file", NOTEBOOK_SETTING)
    return None


def artifact_name(program: MainProgram) -> str:
    """What an artifact of type `code` is called that was given no name: `train` for train.py."""
    return valid_name(program.name.removesuffix(program.path.suffix))


def source_name(project: str, program: MainProgram) -> str:
    """What `save_code=True` calls the artifact, as W&B does: `source-PROJECT-train.py`."""
    return valid_name(f"source-{project}-{program.name}")


def _there(path: Path, what: str) -> MainProgram | None:
    if path.is_file():
        return MainProgram(path.absolute())
    _log.warning("%s is no file any more, or never was one: %s", what, path)
    return None


def _notebook(path: Path) -> MainProgram | None:
    """A kernel is started in the directory of its notebook, and older servers tell a path from their own root."""
    in_place = Path(path.name)
    return _there(in_place if not path.is_file() and in_place.is_file() else path, "the notebook")
