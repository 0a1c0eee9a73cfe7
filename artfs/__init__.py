"""artfs: versioned, deduplicated datasets and models as directories.

The names that scripts use are imported when they are first asked for, so that `import artfs` costs nothing.
"""

from __future__ import annotations

from importlib import import_module

TYPE_CHECKING = False  # importing `typing` to be told so would take longer than all the rest
__version__ = "0.1.0"

if TYPE_CHECKING:
    from typing import Any

    from artfs import errors as errors
    from artfs.api.artifact import Artifact as Artifact
    from artfs.api.public import Api as Api

_PLACES = {  # public name: the module that has it, and its name there if it is not the module itself
    "Api": ("artfs.api.public", "Api"),
    "Artifact": ("artfs.api.artifact", "Artifact"),
    "errors": ("artfs.errors", ""),
}

__all__ = ["Api", "Artifact", "__version__", "errors"]


def __getattr__(name: str) -> Any:
    """Import a public name. What a process may change, such as `artfs.run`, is asked for anew each time."""
    if name not in _PLACES:
        raise AttributeError(f"module 'artfs' has no attribute {name!r}")
    module, attribute = _PLACES[name]
    found = import_module(module)
    if not attribute:
        return found
    value = getattr(found, attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_PLACES})
