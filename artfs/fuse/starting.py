"""What a mount process tells, once and through a pipe, to who started it: that the mount is usable, or why it is not.

Must not import pyfuse3 or trio.
"""

from __future__ import annotations

import logging
import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from artfs.errors import ArtfsError, MachineNotReady, Unavailable, error_class
from artfs.fuse.mount_request import Began, MountRequest, Run

if TYPE_CHECKING:
    from artfs.fuse.backend import OpenBackend

_log = logging.getLogger(__name__)


class Report(msgspec.Struct, frozen=True, omit_defaults=True):
    """The mount began, or an error.

    Attributes:
        modules: what the process has imported, for a supervisor: with it there the next one is usable sooner.
    """

    device: str = ""
    pinned_at: int | None = None
    modules: list[str] = []
    code: str = ""
    message: str = ""
    hint: str = ""


def run_and_report(run: Run, request: MountRequest, open_backend: OpenBackend, pipe: int) -> int:
    """Run a mount in this process, telling through `pipe` what came of its beginning; the exit code of the process."""

    def tell(report: Report) -> None:
        nonlocal pipe
        if pipe >= 0:
            data, mine, pipe = msgspec.json.encode(report), pipe, -1
            with suppress(BrokenPipeError), os.fdopen(mine, "wb") as file:  # who asked for the mount may be gone
                file.write(data + b"\n")

    def ready(began: Began) -> None:
        tell(Report(device=began.device, pinned_at=began.pinned_at, modules=list(sys.modules)))

    try:
        run(request, open_backend, ready)
    except ArtfsError as error:
        _log.error("%s", error)
        tell(Report(code=error.code, message=error.message, hint=error.hint))
        return 1
    except ImportError as error:
        _log.exception("the mount process cannot start")
        tell(Report(code=MachineNotReady.code, message=f"cannot load pyfuse3: {error}", hint="artfs doctor"))
        return 1
    return 0


class ReportPipe:
    """The reading end, which does not block."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe()
        os.set_blocking(self.reader, False)
        self._data = bytearray()

    def read(self) -> bool:
        """Take what is there. Whether all has been said, or nobody is left to say it."""
        while not self._data.endswith(b"\n"):
            try:
                part = os.read(self.reader, 1 << 16)
            except BlockingIOError:
                return False
            if not part:
                return True
            self._data += part
        return True

    def report(self, log: str) -> Report:
        """What was told. Raises the error that was told, or Unavailable if there is nothing."""
        if not self._data.endswith(b"\n"):
            raise Unavailable("the mount process ended before it was ready", hint=f"see {log}" if log else "")
        report = msgspec.json.decode(self._data, type=Report)
        if report.code:
            raise error_class(report.code)(report.message, hint=report.hint)
        return report

    def close_writer(self) -> None:
        """The other process has it; this one must not hold it open."""
        os.close(self.writer)

    def close(self) -> None:
        os.close(self.reader)
