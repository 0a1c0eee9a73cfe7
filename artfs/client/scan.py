"""Reading a source directory: what is in it, in the order of a tree, and what a version cannot hold.

Looks, and opens nothing. A directory's names are held while it is walked; everything else streams.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from artfs.errors import FileChanged, InvalidName, StorageFailed, UnsupportedFile
from artfs.model.links import leaves_version
from artfs.model.names import check_file_name
from artfs.model.tree import NO_XATTRS, Xattrs

PROBLEMS_NAMED_MAX = 20
USER_PREFIX = "user."
RESERVED_PREFIX = "user.artfs."

_KINDS = {
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a character device",
    stat.S_IFBLK: "a block device",
}


class Source(NamedTuple):
    """One name in a source directory. `target` is set for symbolic links."""

    name: str
    path: Path
    status: os.stat_result
    target: str | None

    @property
    def is_directory(self) -> bool:
        return stat.S_ISDIR(self.status.st_mode)

    @property
    def is_executable(self) -> bool:
        return bool(self.status.st_mode & 0o111)


@dataclass(frozen=True, slots=True)
class Totals:
    """What a scan found."""

    file_count: int
    size_bytes: int


def list_directory(path: Path, problems: list[str] | None = None) -> Iterator[Source]:
    """The names in `path`, sorted as a tree sorts them.

    Names that a version cannot hold go to `problems`, or raise InvalidName without it. Raises StorageFailed, FileChanged.
    """
    try:
        names = sorted(os.listdir(path))
    except FileNotFoundError:
        raise FileChanged(f"{path} vanished while it was read", hint="try again when nobody changes it") from None
    except OSError as error:
        raise StorageFailed(f"cannot list {path}: {error.strerror}", hint="check its permissions") from error
    for name in names:
        try:
            check_file_name(name)
        except InvalidName as error:
            if problems is None:
                raise
            problems.append(f"{str(path)!r}: {error.message}")
            continue
        yield look(path / name, name)


def look(path: Path, name: str) -> Source:
    """One source, by what it is now, never following a link."""
    try:
        status = path.lstat()
        target = os.readlink(path) if stat.S_ISLNK(status.st_mode) else None
    except FileNotFoundError:
        raise FileChanged(f"{path} vanished while it was read", hint="try again when nobody changes it") from None
    except OSError as error:
        raise StorageFailed(f"cannot look at {path}: {error.strerror}", hint="check its permissions") from error
    return Source(name, path, status, target)


def check_source(root: Path) -> Totals:
    """Walk everything below `root`, and raise UnsupportedFile naming what a version cannot hold (at most twenty)."""
    problems: list[str] = []
    files = size_bytes = 0
    for depth, source in _walk(root, 0, problems):
        problem = _problem(source, depth)
        if problem is not None:
            problems.append(problem)
        if not source.is_directory:
            files += 1
            size_bytes += source.status.st_size if source.target is None else 0
    if problems:
        named = "".join(f"\n  {problem}" for problem in problems[:PROBLEMS_NAMED_MAX])
        more = f"\n  and {len(problems) - PROBLEMS_NAMED_MAX} more" if len(problems) > PROBLEMS_NAMED_MAX else ""
        raise UnsupportedFile(
            f"a version cannot hold these:{named}{more}", hint="remove them, or put another directory"
        )
    return Totals(files, size_bytes)


def _walk(directory: Path, depth: int, problems: list[str]) -> Iterator[tuple[int, Source]]:
    for source in list_directory(directory, problems):
        yield depth, source
        if source.is_directory:
            yield from _walk(source.path, depth + 1, problems)


def _problem(source: Source, depth: int) -> str | None:
    mode = source.status.st_mode
    if source.target is not None:
        return _link_problem(source.path, source.target, depth)
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        return f"{source.path} is {_KINDS.get(stat.S_IFMT(mode), 'of an unknown kind')}"
    if stat.S_ISREG(mode) and mode & (stat.S_ISUID | stat.S_ISGID):
        return f"{source.path} is setuid or setgid"
    return None


def _link_problem(path: Path, target: str, depth: int) -> str | None:
    """Why a symbolic link `depth` directories below the root cannot be kept, or None."""
    try:
        target.encode("utf-8")
    except UnicodeEncodeError:
        return f"{path} is a symbolic link to a name that is not UTF-8"
    if leaves_version(depth, target):
        return f"{path} is a symbolic link that is absolute or leaves the version: {target!r}"
    return None


def user_xattrs(path: Path) -> Xattrs:
    """The `user.*` attributes of a file or directory, without the prefix; none where the file system has none."""
    try:
        names = os.listxattr(path, follow_symlinks=False)
        kept = [name for name in names if name.startswith(USER_PREFIX) and not name.startswith(RESERVED_PREFIX)]
        if not kept:
            return NO_XATTRS
        return {name.removeprefix(USER_PREFIX): os.getxattr(path, name, follow_symlinks=False) for name in kept}
    except OSError:
        return NO_XATTRS
