"""Where drafts are on disk: `ROOT/PROJECT/ARTIFACT/NAME/`, each with `index.db`, `data/` and `lock`.

A draft appears and disappears by one rename, so a crash leaves it whole or leaves a directory with a leading dot, which the
next start sweeps. Whoever works in a draft holds `lock` (flock), so the mark of a dead process vanishes with it. Knows nothing
of what is in the database. No method waits on another process.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from artfs.errors import InvalidName
from artfs.model.names import check_file_name
from artfs.store.durable import DIRECTORY_MODE, FILE_MODE, make_private, sync_directory
from artfs.vfs.staging_port import DraftPlace

_NEW = ".new-"
_DEAD = ".dead-"
NEW_ATTEMPTS = 100  # a sweep is once at the start of a process

_log = logging.getLogger(__name__)


class DraftLock:
    """The right to work in a draft, for as long as it is held. Owner: the draft."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    @classmethod
    def take(cls, directory: Path) -> DraftLock | None:
        """None if another process holds it. Raises OSError if there is no such draft."""
        fd = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return None
        return cls(fd)

    def is_of(self, directory: Path) -> bool:
        """Whether the file that is locked is the directory's still."""
        try:
            return os.path.samestat(os.fstat(self._fd), os.stat(directory / "lock"))
        except FileNotFoundError:
            return False

    def release(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class StagingRoot:
    """The directory that holds all drafts on this machine of one registry."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def directory(self, place: DraftPlace) -> Path:
        return self.root / place.project / place.artifact / place.name

    def exists(self, place: DraftPlace) -> bool:
        return not place.name.startswith(".") and self.directory(place).is_dir()

    def names(self, project: str, artifact: str) -> list[str]:
        """The artifact's drafts, sorted."""
        try:
            found = os.listdir(self.root / project / artifact)
        except (FileNotFoundError, NotADirectoryError):
            return []
        return sorted(name for name in found if not name.startswith("."))

    def all(self) -> Iterator[DraftPlace]:
        """Every draft of every project."""
        for project in _directories(self.root):
            for artifact in _directories(project):
                for name in self.names(project.name, artifact.name):
                    yield DraftPlace(project.name, artifact.name, name)

    def create(self, place: DraftPlace, fill: Callable[[Path], None]) -> None:
        """Make the draft durably, with what `fill` writes into its directory.

        Raises OSError EINVAL for a name that cannot be a draft's, EEXIST if there is one.
        """
        check_draft_name(place.name)
        if self.exists(place):
            raise OSError(errno.EEXIST, f"{place.name} exists")
        parent = self._parent(place)
        temporary, lock = _begun(parent)
        try:
            (temporary / "data").mkdir(mode=DIRECTORY_MODE)
            fill(temporary)
            sync_directory(temporary)
            _rename_new(temporary, self.directory(place))
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        finally:
            lock.release()
        sync_directory(parent)

    def rename(self, old: DraftPlace, new: DraftPlace) -> None:
        """Raises OSError EEXIST, EINVAL."""
        check_draft_name(new.name)
        parent = self._parent(new)
        _rename_new(self.directory(old), self.directory(new))
        _sync_done(parent)
        _sync_done(self.directory(old).parent)

    def bury(self, place: DraftPlace) -> Path:
        """Take the draft away at once; return what `sweep` or `delete_buried` is to delete.

        Durably, if the disk lets it: a draft that a power cut brings back was committed, or empty, and can be again.
        """
        source = self.directory(place)
        grave = source.parent / f"{_DEAD}{os.getpid()}-{os.urandom(6).hex()}"
        source.rename(grave)
        _sync_done(source.parent)
        return grave

    def sweep(self) -> None:
        """Delete what crashed processes left half made or half deleted."""
        for project in _directories(self.root):
            for artifact in _directories(project):
                for path in _directories(artifact):
                    if path.name.startswith(_DEAD):
                        delete_buried(path)
                    elif path.name.startswith(_NEW):
                        _delete_abandoned(path)

    def _parent(self, place: DraftPlace) -> Path:
        parent = self.directory(place).parent
        if not parent.is_dir():
            for directory in (self.root, parent.parent, parent):
                make_private(directory)
                sync_directory(directory.parent)
        return parent


def check_draft_name(name: str) -> None:
    """Raises OSError EINVAL, ENAMETOOLONG: a draft is named like any file, but not with a leading dot."""
    if len(name.encode("utf-8", "surrogateescape")) > 255:
        raise OSError(errno.ENAMETOOLONG, "the name is too long")
    try:
        check_file_name(name)
    except InvalidName as error:
        raise OSError(errno.EINVAL, error.message) from None
    if name.startswith("."):
        raise OSError(errno.EINVAL, f"{name!r}: a staging directory's name does not begin with a dot")


def delete_buried(grave: Path) -> None:
    """Delete a directory that `bury` returned; what cannot be deleted now is swept at the next start."""
    shutil.rmtree(grave, ignore_errors=True)


def _sync_done(directory: Path) -> None:
    """Make a rename durable that is done: to say that it failed would be wrong."""
    try:
        sync_directory(directory)
    except OSError as error:
        _log.warning("cannot sync %s: %s", directory, error)


def _rename_new(source: Path, target: Path) -> None:
    # A draft is never an empty directory, so rename(2) cannot replace one silently.
    try:
        source.rename(target)
    except OSError as error:
        if error.errno == errno.ENOTEMPTY:
            raise OSError(errno.EEXIST, f"{target.name} exists") from None
        raise


def _begun(parent: Path) -> tuple[Path, DraftLock]:
    """A new directory and its lock. One that a sweep met before it was locked is given up for another."""
    for _ in range(NEW_ATTEMPTS):
        temporary = parent / f"{_NEW}{os.getpid()}-{os.urandom(6).hex()}"
        temporary.mkdir(mode=DIRECTORY_MODE)
        with suppress(FileNotFoundError):
            lock = DraftLock.take(temporary)
            if lock is not None and lock.is_of(temporary):
                return temporary, lock
            if lock is not None:
                lock.release()
    raise OSError(errno.EBUSY, "other processes keep sweeping")


def _delete_abandoned(directory: Path) -> None:
    """Unless the process that makes it lives. Locked meanwhile, so that it is not used while it goes."""
    lock = None
    with suppress(OSError):
        lock = DraftLock.take(directory)
    if lock is not None:
        delete_buried(directory)
        lock.release()


def _directories(path: Path) -> list[Path]:
    with suppress(FileNotFoundError, NotADirectoryError):
        return sorted(child for child in path.iterdir() if child.is_dir())
    return []
