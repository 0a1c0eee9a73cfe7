"""One command with all that it leaves behind: started in this process's group, told of signals, and outlived.

This process is a subreaper meanwhile, so that orphans stay below it. A signal from the terminal reaches the command by itself,
since it is in the same group; one that was sent to this process alone is passed on.
"""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)
_LOOK_S = 0.5
_PR_SET_CHILD_SUBREAPER = 36
_SENT_BY_KERNEL = 0  # a si_code above: the kernel's own signals, such as the terminal's


@contextmanager
def supervision() -> Iterator[Callable[[Sequence[str], Mapping[str, str]], int]]:
    """What runs a command with an environment and returns its exit code as a shell would: 128+n after signal n.

    It raises OSError if the command cannot be started.
    Threads that begin within leave the signals to the supervisor. For the main thread; what the command's descendants leave
    behind until the context ends are this process's children.
    """
    watched = {*PASSED_ON, signal.SIGCHLD}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, watched)
    inherited = signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # where it is ignored nobody learns how a child ended
    _subreap(True)
    try:
        yield lambda command, environ: _supervise(command, environ, before)
    finally:
        _subreap(False)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # the terminal may go: what is left to do is short
        while signal.sigtimedwait(watched, 0) is not None:
            pass  # what was for the command
        signal.signal(signal.SIGCHLD, inherited)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _supervise(command: Sequence[str], environ: Mapping[str, str], mask: set[signal.Signals | int]) -> int:
    defaults = (signal.SIGPIPE, signal.SIGXFSZ)  # Python ignores them
    child = os.posix_spawnp(command[0], list(command), environ, setsigmask=mask, setsigdef=defaults)
    while True:
        status = _reap(child)
        if status is not None:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code
        told = signal.sigtimedwait({*PASSED_ON, signal.SIGCHLD}, _LOOK_S)
        if told is not None and told.si_signo != signal.SIGCHLD and told.si_code <= _SENT_BY_KERNEL:
            with suppress(ProcessLookupError):
                os.kill(child, told.si_signo)


def _reap(child: int) -> int | None:
    """Bury all that ended; the wait status of `child` if it is among them."""
    found = None
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return found
        if pid == 0:
            return found
        if pid == child:
            found = status


def _subreap(on: bool) -> None:
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, int(on), 0, 0, 0)
