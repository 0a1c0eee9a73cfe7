"""How this process ends: the exit code that its runs are told, known before the interpreter closes down.

An uncaught exception passes `sys.excepthook`; leaving by `sys.exit`, `exit` or `quit` passes replacements of these that
raise a SystemExit which tells when it was caught after all. A bare `raise SystemExit(1)` passes neither, and counts as 0.
"""

from __future__ import annotations

import builtins
import sys
import threading
from types import TracebackType
from typing import Any, NoReturn

UNCAUGHT = 1
INTERRUPTED = 130

_watch: ExitWatch | None = None


class ExitWatch:
    """The exit code as far as it is known: 0 until something says otherwise."""

    def __init__(self) -> None:
        self.exit_code = 0
        self._hook = sys.excepthook
        sys.excepthook = self._uncaught
        sys.exit = self._exit
        for name in ("exit", "quit"):
            if type(getattr(builtins, name, None)).__name__ == "Quitter":
                setattr(builtins, name, self._exit)

    def _uncaught(self, kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        self.exit_code = exit_code_after(error)
        self._hook(kind, error, trace)

    def _exit(self, status: Any = None, /) -> NoReturn:
        raise _Exit(status, self)


class _Exit(SystemExit):
    """Leaves the process, if nobody catches it in the main thread."""

    def __init__(self, status: Any, watch: ExitWatch) -> None:
        self._counts = False
        super().__init__(status)
        self._watch = watch
        self._counts = threading.current_thread() is threading.main_thread()
        if self._counts:
            watch.exit_code = exit_code_of(status)

    def __reduce__(self) -> tuple[Any, ...]:
        """What goes to another process is an ordinary one."""
        return SystemExit, self.args

    def __del__(self) -> None:
        """It is over: below a running frame it was caught, at the end of the process there is none."""
        if not self._counts:
            return
        try:
            sys._getframe(1)
        except ValueError:
            return
        self._watch.exit_code = 0


def exit_code_after(error: BaseException) -> int:
    """What the process's exit code is, or a shell says that it is, when `error` ends it."""
    if isinstance(error, SystemExit):
        return exit_code_of(error.code)
    return INTERRUPTED if isinstance(error, KeyboardInterrupt) else UNCAUGHT


def exit_code_of(status: Any) -> int:
    """What `sys.exit(status)` makes the process's exit code."""
    if status is None:
        return 0
    return status if isinstance(status, int) else UNCAUGHT


def watch_exit() -> ExitWatch:
    """The watch of this process, begun by the first to ask."""
    global _watch
    if _watch is None:
        _watch = ExitWatch()
    return _watch
