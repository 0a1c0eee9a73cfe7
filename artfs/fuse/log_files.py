"""Logging to the file of a mount, to which two processes write if the mount is supervised: the one that serves rotates it."""

from __future__ import annotations

import logging
from logging.handlers import RotatingFileHandler, WatchedFileHandler
from pathlib import Path

LOG_BYTES_MAX = 5 << 20
LOG_FILES_KEPT = 3


def log_to_file(log: Path) -> None:
    """Send this process's log to a file that it rotates."""
    _log_to(RotatingFileHandler(log, maxBytes=LOG_BYTES_MAX, backupCount=LOG_FILES_KEPT, encoding="utf-8"))


def log_beside(log: Path) -> None:
    """Send this process's log to a file that another process rotates."""
    _log_to(WatchedFileHandler(log, encoding="utf-8"))


def _log_to(handler: logging.Handler) -> None:
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(process)d %(name)s: %(message)s"))
    logging.getLogger().handlers[:] = [handler]
