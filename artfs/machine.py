"""What this machine must have for artfs to run: looked at, not changed, each lack with its remedy.

Imports nothing that may be missing. Used by `artfs mount` before it begins and by `artfs doctor`.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import os
import resource
import shutil
import stat
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from artfs.errors import MachineNotReady

FUSE_DEVICE = Path("/dev/fuse")
FUSE_CONF = Path("/etc/fuse.conf")
SQLITE_VERSION_MIN = (3, 51, 3)
OPEN_FILES_MIN = 4096


_PR_SET_DUMPABLE = 4


def withhold_memory() -> None:
    """Keep this process's memory, which may hold a token, to itself: no core dump, and no debugger but root's.

    What it forks inherits that; what it executes does not. Nothing happens where the system has no such thing.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


class Level(Enum):
    OK = "ok"
    WARNING = "warning"
    FAILURE = "failure"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at. `remedy` says what to do unless the level is OK."""

    name: str
    level: Level
    found: str
    remedy: str = ""


def check_fuse() -> Iterator[Check]:
    """The device and the helper without which nothing can be mounted."""
    try:
        is_device = stat.S_ISCHR(FUSE_DEVICE.stat().st_mode)
    except OSError:
        is_device = False
    if not is_device:
        yield Check(
            "/dev/fuse",
            Level.FAILURE,
            "missing",
            "as root: modprobe fuse; in a container: start it with --device /dev/fuse --cap-add SYS_ADMIN",
        )
    elif not os.access(FUSE_DEVICE, os.R_OK | os.W_OK):
        yield Check("/dev/fuse", Level.FAILURE, "closed to this user", "as root: chmod 666 /dev/fuse, as udev does")
    else:
        yield Check("/dev/fuse", Level.OK, "present")
    helper = shutil.which("fusermount3")
    if helper is None:
        yield Check("fusermount3", Level.FAILURE, "missing", "as root: apt-get install fuse3")
    else:
        yield Check("fusermount3", Level.OK, helper)


def require_fuse() -> None:
    """Raise MachineNotReady, with the remedy, if nothing can be mounted here."""
    for check in check_fuse():
        if check.level is Level.FAILURE:
            raise MachineNotReady(f"{check.name} is {check.found}", hint=check.remedy)


def check_python() -> Iterator[Check]:
    """The interpreter and the compiled packages."""
    version = ".".join(map(str, sys.version_info[:3]))
    if (3, 11) <= sys.version_info[:2] <= (3, 13):
        yield Check("python", Level.OK, version)
    else:
        yield Check("python", Level.WARNING, version, "artfs is tested with Python 3.11 to 3.13")
    for module, remedy in (
        ("pyfuse3", "as root: apt-get install libfuse3-dev pkg-config gcc python3-dev; then reinstall pyfuse3"),
        ("pyfastcdc.cy", "reinstall pyfastcdc with a C compiler present: without its extension it is 200 times slower"),
        ("zstandard", "reinstall zstandard"),
        ("msgspec", "reinstall msgspec"),
    ):
        yield _check_module(module, remedy)
    yield _check_sqlite()


def check_limits() -> Iterator[Check]:
    """What the kernel grants this user."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < OPEN_FILES_MIN:
        yield Check("open files", Level.WARNING, f"at most {hard}", "raise the limit: ulimit -n 65536")
    else:
        yield Check("open files", Level.OK, f"{soft}, can be raised to {hard}")
    if os.geteuid() == 0 or _users_may_allow_other():
        yield Check("allow_other", Level.OK, "permitted")
    else:
        yield Check(
            "allow_other",
            Level.WARNING,
            "not permitted to users",
            f"only needed for `artfs mount --allow-other`: as root, add the line user_allow_other to {FUSE_CONF}",
        )


def check_directory(name: str, directory: Path) -> Check:
    """Whether `directory` exists or can be made, and can be written."""
    place = directory
    while not place.exists() and place != place.parent:
        place = place.parent
    if not place.is_dir():
        return Check(name, Level.FAILURE, f"{place} is not a directory", "move it away or configure another place")
    if not os.access(place, os.W_OK | os.X_OK):
        return Check(name, Level.FAILURE, f"{place} cannot be written", "mend its permissions or configure another")
    space = os.statvfs(place)
    free_bytes = space.f_bavail * space.f_frsize
    if free_bytes < 1 << 30:
        return Check(name, Level.WARNING, f"{directory}: {free_bytes >> 20} MiB free", "make room")
    return Check(name, Level.OK, f"{directory}: {free_bytes >> 30} GiB free")


def _check_module(module: str, remedy: str) -> Check:
    try:
        found = importlib.import_module(module)
    except ImportError as error:
        return Check(module, Level.FAILURE, str(error), remedy)
    return Check(module, Level.OK, getattr(found, "__version__", "present"))


def _check_sqlite() -> Check:
    try:
        import apsw
    except ImportError as error:
        return Check("sqlite", Level.FAILURE, str(error), "reinstall apsw")
    version = apsw.sqlite_lib_version()
    if tuple(map(int, version.split("."))) < SQLITE_VERSION_MIN:
        remedy = "reinstall apsw from a wheel: older SQLite can corrupt a database that several processes use"
        return Check("sqlite", Level.FAILURE, version, remedy)
    return Check("sqlite", Level.OK, version)


def _users_may_allow_other() -> bool:
    try:
        lines = FUSE_CONF.read_text(encoding="utf-8").splitlines()
    except OSError:
        return False
    return any(line.strip() == "user_allow_other" for line in lines)
