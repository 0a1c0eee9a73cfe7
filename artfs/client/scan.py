"""Reading a source directory: what is in it, in the order of a tree, and what a version cannot hold.

Looks, and opens nothing. A directory's names are held while it is walked; everything else streams. Paths are plain strings
here: at a million files, `pathlib` costs more than the system calls.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from artfs.errors import FileChanged, InvalidName, StorageFailed, UnsupportedFile
from artfs.model.links import Names, TargetAt, no_links, way_out
from artfs.model.names import check_file_name
from artfs.model.tree import NO_XATTRS, Entry, Xattrs

PROBLEMS_NAMED_MAX = 20
USER_PREFIX = "user."
RESERVED_PREFIX = "user.artfs."

_KINDS = {
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a character device",
    stat.S_IFBLK: "a block device",
}
_NO_LINK = (errno.EINVAL, errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG)


class Source(NamedTuple):
    """One name in a source directory, as it was looked at. `target` is set for symbolic links."""

    name: str
    path: str
    mode: int
    size_bytes: int
    target: str | None

    @property
    def is_directory(self) -> bool:
        return stat.S_ISDIR(self.mode)

    @property
    def is_executable(self) -> bool:
        return bool(self.mode & 0o111)


class End(NamedTuple):
    """The walk leaves the directory that it entered last."""


class Ready(NamedTuple):
    """An entry that needs no reading; `data` is the chunk that it names."""

    entry: Entry
    data: bytes


Step = Source | End
AnyStep = Step | Ready


@dataclass(slots=True)
class Problems:
    """What a version cannot hold: how many, and the first of them in words."""

    count: int = 0
    named: list[str] = field(default_factory=list)

    def add(self, problem: str) -> None:
        self.count += 1
        if len(self.named) < PROBLEMS_NAMED_MAX:
            self.named.append(problem)

    def raise_any(self) -> None:
        """Raises UnsupportedFile if there were any."""
        if self.count:
            more = [f"and {self.count - len(self.named)} more"] if self.count > len(self.named) else []
            lines = "".join(f"\n  {line}" for line in (*self.named, *more))
            raise UnsupportedFile(f"a version cannot hold these:{lines}", hint="remove them, or put another directory")


@dataclass(frozen=True, slots=True)
class Totals:
    """What a scan found: files and symbolic links, and the bytes of the files."""

    file_count: int
    size_bytes: int


def walk(root: str, problems: Problems | None = None) -> Iterator[Step]:
    """Everything below `root` as a tree sorts it, what is in a directory between its Source and an End.

    What a version cannot hold goes to `problems`, or raises UnsupportedFile or InvalidName without it.
    Raises FileChanged, StorageFailed.
    """
    target_at = targets_below(root)
    names: list[str] = []
    stack = [_list(root, (), target_at, problems)]
    while stack:
        source = next(stack[-1], None)
        if source is None:
            stack.pop()
            if stack:
                names.pop()
                yield End()
            continue
        yield source
        if source.is_directory:
            names.append(source.name)
            stack.append(_list(source.path, tuple(names), target_at, problems))


def scan(root: str) -> Totals:
    """Walk everything below `root`, and raise UnsupportedFile naming what a version cannot hold."""
    problems = Problems()
    files = size_bytes = 0
    for step in walk(root, problems):
        if isinstance(step, Source) and not step.is_directory:
            files += 1
            size_bytes += step.size_bytes
    problems.raise_any()
    return Totals(files, size_bytes)


def look(path: str, name: str) -> Source:
    """One source, by what it is now, never following a link. Raises FileChanged, StorageFailed."""
    try:
        status = os.lstat(path)
        target = os.readlink(path) if stat.S_ISLNK(status.st_mode) else None
    except FileNotFoundError:
        raise FileChanged(f"{path} vanished while it was read", hint="try again when nobody changes it") from None
    except OSError as error:
        raise StorageFailed(f"cannot look at {path}: {error.strerror}", hint="check its permissions") from error
    return Source(name, path, status.st_mode, 0 if target is not None else status.st_size, target)


def user_xattrs(path: str) -> Xattrs:
    """The `user.*` attributes of a file or directory, without the prefix; none where the file system has none.

    Raises StorageFailed, UnsupportedFile for a name that is not UTF-8.
    """
    try:
        names = [name for name in os.listxattr(path, follow_symlinks=False) if name.startswith(USER_PREFIX)]
        kept = [name for name in names if not name.startswith(RESERVED_PREFIX)]
        if not kept:
            return NO_XATTRS
        found = {name.removeprefix(USER_PREFIX): os.getxattr(path, name, follow_symlinks=False) for name in kept}
    except OSError as error:
        if error.errno in (errno.ENOTSUP, errno.ENODATA):
            return NO_XATTRS
        raise StorageFailed(
            f"cannot read the attributes of {path}: {error.strerror}", hint="leave out --xattrs"
        ) from error
    for name in found:
        if not _is_utf8(name):
            raise UnsupportedFile(f"{path} has an attribute whose name is not UTF-8: {name!r}", hint="remove it")
    return found


def _list(path: str, names_above: Names, target_at: TargetAt, problems: Problems | None) -> Iterator[Source]:
    """What is in the directory `path`, which is `names_above` from the root."""
    try:
        names = sorted(os.listdir(path))
    except FileNotFoundError:
        raise FileChanged(f"{path} vanished while it was read", hint="try again when nobody changes it") from None
    except OSError as error:
        raise StorageFailed(f"cannot list {path}: {error.strerror}", hint="check its permissions") from error
    prefix = path if path.endswith("/") else path + "/"
    for name in names:
        try:
            check_file_name(name)
        except InvalidName as error:
            if problems is None:
                raise
            problems.add(f"in {path}: {error.message}")
            continue
        source = look(prefix + name, name)
        problem = find_problem(source, names_above, target_at)
        if problem is None:
            yield source
        elif problems is None:
            raise UnsupportedFile(f"a version cannot hold this: {problem}", hint="remove it")
        else:
            problems.add(problem)


def targets_below(root: str) -> TargetAt:
    """The symbolic links below a directory of this machine. Raises StorageFailed."""

    def target_at(names: Names) -> str | None:
        path = os.path.join(root, *names)
        try:
            return os.readlink(path)
        except OSError as error:
            if error.errno in _NO_LINK:
                return None
            raise StorageFailed(f"cannot look at {path}: {error.strerror}", hint="check its permissions") from error

    return target_at


def find_problem(source: Source, directory: Names = (), target_at: TargetAt = no_links) -> str | None:
    """Why a version that has `source` in `directory`, and the links of `target_at`, cannot hold it; None if it can."""
    kind = stat.S_IFMT(source.mode)
    if source.target is not None:
        if not _is_utf8(source.target):
            return f"{source.path} is a symbolic link to a name that is not UTF-8"
        return link_problem(source.path, directory, source.target, target_at)
    if kind == stat.S_IFREG:
        if source.mode & (stat.S_ISUID | stat.S_ISGID):
            return f"{source.path} is setuid or setgid"
    elif kind != stat.S_IFDIR:
        return f"{source.path} is {_KINDS.get(kind, 'of an unknown kind')}"
    return None


def link_problem(path: str, directory: Names, target: str, target_at: TargetAt) -> str | None:
    """Why a version cannot hold the symbolic link that is called `path`; None if it can."""
    leads_to = way_out(directory, target, target_at)
    if leads_to is None:
        return None
    told = f"{path} is a symbolic link that is absolute or leaves the version: {target!r}"
    return told if leads_to == target else f"{told}, which leads to {leads_to!r} from its root"


def _is_utf8(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
