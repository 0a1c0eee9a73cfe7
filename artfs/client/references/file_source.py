"""References by file:, to files of this machine. Which state of a file is read is told by its length and mtime."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote, unquote, urlsplit

from artfs.client.references.source import Located, Told, too_many
from artfs.errors import InvalidValue, ReferenceChanged, ReferenceUnavailable, UnsupportedFile
from artfs.model.names import check_file_name
from artfs.vfs.ports import Bytes

PIECE_BYTES = 1 << 20
_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY

_T = TypeVar("_T")


class FileSource:
    """Implements `Source`."""

    is_local = True

    def close(self) -> None:
        pass

    def whole_md5(self, uri: str) -> bytes | None:
        return None

    def locate(self, uri: str, objects_max: int) -> list[Located]:
        """A file, or every file below a directory; a symbolic link in it means what it points to, if that is a file."""
        path = path_of(uri)
        try:
            if path.is_dir():
                return _below(path, uri, objects_max)
            return [Located(check_file_name(path.name), uri_of(path), _told(os.stat(path), path))]
        except OSError as error:
            raise _unreadable(path, error) from None

    def receive(
        self,
        uri: str,
        span: tuple[int, int] | None,
        etag: str,
        expected_bytes: int,
        take: Callable[[Told, Iterator[Bytes]], _T],
    ) -> _T:
        path = path_of(uri)
        try:
            _told(os.stat(path), path)  # to open a device or a pipe is to do something to it
            fd = os.open(path, _FLAGS)
        except OSError as error:
            raise _unreadable(path, error) from None
        try:
            before = _told(os.fstat(fd), path)
            offset, length = span or (0, before.size_bytes or 0)
            found = take(before._replace(start=offset, is_whole=span is None), _pieces(fd, path, offset, length))
            if _told(os.fstat(fd), path) != before:
                raise ReferenceChanged(
                    f"{path} changed while it was read", hint="read it again when nobody writes to it"
                )
            return found
        finally:
            os.close(fd)


def path_of(uri: str) -> Path:
    """The absolute path that a file: URI names. Raises InvalidValue."""
    try:
        parts = urlsplit(uri)
    except ValueError:
        raise InvalidValue(f"{uri!r} is not a URI", hint="write file:///ABSOLUTE/PATH") from None
    path = unquote(parts.path)
    if parts.netloc not in ("", "localhost") or not path.startswith("/") or parts.query or parts.fragment:
        raise InvalidValue(f"{uri!r} is not a file of this machine", hint="write file:///ABSOLUTE/PATH, with %3F for ?")
    if "\0" in path:
        raise InvalidValue(f"{uri!r} has a NUL in its path")
    return Path(path)


def uri_of(path: Path) -> str:
    """Raises UnsupportedFile for a name that is not UTF-8."""
    try:
        return "file://" + quote(str(path).encode("utf-8"))
    except UnicodeEncodeError:
        raise UnsupportedFile(f"{str(path)!r} is not UTF-8", hint="rename it") from None


def _below(root: Path, uri: str, objects_max: int) -> list[Located]:
    found: list[Located] = []
    waiting = [root]
    while waiting:
        directory = waiting.pop()
        for entry in sorted(os.scandir(directory), key=lambda entry: entry.name):
            if entry.is_dir(follow_symlinks=False):
                waiting.append(Path(entry.path))
                continue
            if len(found) >= objects_max:
                raise too_many(uri, objects_max)
            check_file_name(entry.name)
            path = Path(entry.path)
            told = _told(entry.stat(), path)
            found.append(Located(str(path.relative_to(root)), uri_of(path), told, is_below=True))
    return sorted(found)


def _told(status: os.stat_result, path: Path) -> Told:
    if not stat.S_ISREG(status.st_mode):
        raise UnsupportedFile(f"{path} is not a regular file", hint="refer to files, or to a directory of files")
    state = f"{status.st_size}-{status.st_mtime_ns}"
    return Told(status.st_size, state, state)


def _pieces(fd: int, path: Path, offset: int, length: int) -> Iterator[bytes]:
    end = offset + length
    while offset < end:
        try:
            piece = os.pread(fd, min(PIECE_BYTES, end - offset), offset)
        except OSError as error:
            raise _unreadable(path, error) from None
        if not piece:
            raise ReferenceChanged(f"{path} is shorter than it was", hint="add the reference again")
        offset += len(piece)
        yield piece


def _unreadable(path: Path, error: OSError) -> ReferenceUnavailable:
    return ReferenceUnavailable(
        f"cannot read {path}: {error.strerror}", hint="check that it is there, and its permissions"
    )
