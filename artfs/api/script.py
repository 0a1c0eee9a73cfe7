"""Which script or notebook this process runs."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from artfs.model.names import NAME_BYTES_MAX

UNNAMED = "code"


def script_path() -> Path | None:
    """The main script's file; None in a notebook or an interactive interpreter."""
    main = getattr(sys.modules.get("__main__"), "__file__", None)
    return Path(main) if main else None


def script_name() -> str:
    """What an artifact of its code is called: the name of the script without its suffix."""
    path = script_path()
    name = re.sub(r"[^A-Za-z0-9_.-]+", "-", path.stem if path else UNNAMED).lstrip(".-")
    return name[:NAME_BYTES_MAX] or UNNAMED
