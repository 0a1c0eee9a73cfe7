"""artfs: versioned, deduplicated datasets and models as directories.

The names that scripts use are imported when they are first asked for, so that `import artfs` costs nothing.
"""

from __future__ import annotations

import sys
from importlib import import_module

TYPE_CHECKING = False  # importing `typing` to be told so would take longer than all the rest
__version__ = "0.1.0"

if TYPE_CHECKING:
    from typing import Any

    from artfs import errors as errors
    from artfs.api import data_types as data_types
    from artfs.api.artifact import Artifact as Artifact
    from artfs.api.current import finish as finish
    from artfs.api.current import log as log
    from artfs.api.current import log_artifact as log_artifact
    from artfs.api.current import sweep as sweep
    from artfs.api.current import use_artifact as use_artifact
    from artfs.api.data_types import Table as Table
    from artfs.api.init import init as init
    from artfs.api.public import Api as Api
    from artfs.api.run import Run as Run
    from artfs.api.saved_mapping import SavedMapping

    run: Run | None
    config: SavedMapping
    summary: SavedMapping

_PLACES = {  # public name: the module that has it, and its name there; none for the module itself
    "Api": ("artfs.api.public", "Api"),
    "Artifact": ("artfs.api.artifact", "Artifact"),
    "Run": ("artfs.api.run", "Run"),
    "Table": ("artfs.api.data_types", "Table"),
    "data_types": ("artfs.api.data_types", ""),
    "errors": ("artfs.errors", ""),
    "finish": ("artfs.api.current", "finish"),
    "init": ("artfs.api.init", "init"),
    "log": ("artfs.api.current", "log"),
    "log_artifact": ("artfs.api.current", "log_artifact"),
    "sweep": ("artfs.api.current", "sweep"),
    "use_artifact": ("artfs.api.current", "use_artifact"),
}
__all__ = [
    "Api",
    "Artifact",
    "Run",
    "Table",
    "config",
    "data_types",
    "errors",
    "finish",
    "init",
    "log",
    "log_artifact",
    "run",
    "summary",
    "sweep",
    "use_artifact",
]


def __getattr__(name: str) -> Any:
    """Import a public name."""
    if name not in _PLACES:
        raise AttributeError(f"module 'artfs' has no attribute {name!r}")
    module, attribute = _PLACES[name]
    found = import_module(module)
    value = getattr(found, attribute) if attribute else found
    globals()[name] = value
    return value


class _Package(type(sys)):  # type: ignore[misc]  # ModuleType, without importing `types`
    """This package, with what changes with the current run, which is asked for anew each time."""

    @property
    def run(self) -> Run | None:
        """The run of this process that was begun last and has not ended; None if there is none."""
        run: Run | None = self._current("current_run")
        return run

    @property
    def config(self) -> SavedMapping:
        """The configuration of the current run. Raises UsageError when it is used while there is none."""
        config: SavedMapping = self._current("current_config")
        return config

    @config.setter
    def config(self, submodule: object) -> None:
        """The import system would put `artfs.config` here; all that import from it find it without that."""
        if not isinstance(submodule, type(sys)):
            raise AttributeError(
                "artfs.config is not replaced, but filled: artfs.init(config=...), artfs.config.update(...)"
            )

    @property
    def summary(self) -> SavedMapping:
        """The summary of the current run. Raises UsageError when it is used while there is none."""
        summary: SavedMapping = self._current("current_summary")
        return summary

    @staticmethod
    def _current(name: str) -> Any:
        return getattr(import_module("artfs.api.current"), name)()


sys.modules[__name__].__class__ = _Package


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
