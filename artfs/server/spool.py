"""Files of packs that are being uploaded, beside the packs that the registry itself builds."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

UPLOAD_SUFFIX = ".upload"
UPLOAD_LIFE_S = 24 * 3600  # longer than one can take: an older file was left by a server that was killed


def clean_spool(spool: Path, now_s: float) -> None:
    """Remove what uploads left that no server lived to end."""
    for path in spool.glob(f"*{UPLOAD_SUFFIX}"):
        with suppress(OSError):
            if now_s - path.stat().st_mtime > UPLOAD_LIFE_S:
                path.unlink()
