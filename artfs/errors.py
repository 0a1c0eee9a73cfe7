"""Every error artfs raises on purpose, as one tree.

The class is the cause, the attributes are the facts, `code` is the stable name that scripts may rely on. What an error
becomes for its reader (an errno, an exit code, an HTTP status) is decided at the edges, each in one table.

    ArtfsError
    ├── UsageError            what was asked for cannot be meant
    │   ├── InvalidName
    │   ├── InvalidValue
    │   ├── TooLarge          a request over a server's limits
    │   └── UnsupportedFile   a version cannot hold this kind of file
    ├── NotFound
    │   ├── ProjectNotFound  ArtifactNotFound  VersionNotFound  AliasNotFound  PathNotFound  DraftNotFound
    │   └── UserNotFound  TokenNotFound  RunNotFound  SweepNotFound
    ├── Conflict              the registry's state does not allow it
    │   ├── AlreadyExists  NotEmpty  TypeMismatch  StillAliased  DraftClosed  Busy  FileChanged
    │   └── PathConflict  LineageCycle  ReferenceChanged  DirectoryDiffers
    ├── AccessDenied
    │   ├── NotAuthenticated  no token, or one that is not valid
    │   └── ReferenceForbidden  configuration does not let it be followed
    ├── Damaged               bytes are not what their digest or format says
    │   ├── DamagedObject  DamagedPack  DamagedDatabase
    │   └── ObjectMissing
    ├── NewerFormat           written by a later artfs
    ├── Unavailable           try again later
    │   ├── StorageFull  StorageFailed  RegistryUnavailable
    │   └── TooManyRequests  ReferenceUnavailable
    └── MachineNotReady       something is missing on this machine
"""

from __future__ import annotations

from typing import ClassVar


class ArtfsError(Exception):
    """Base of all deliberate errors.

    Args:
        message: what happened and to which thing, in one sentence.
        hint: what to do next; may be empty.
    """

    code: ClassVar[str] = "error"

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class UsageError(ArtfsError):
    code = "usage"


class InvalidName(UsageError):
    """A project, artifact, alias, file name or reference that breaks the naming rules."""

    code = "invalid-name"


class InvalidValue(UsageError):
    """A value (size, JSON, digest, option) that cannot be read as what it must be."""

    code = "invalid-value"


class UnsupportedFile(UsageError):
    """A file that a version cannot hold: a device, a socket, a FIFO, an escaping symbolic link, a non-UTF-8 name."""

    code = "unsupported-file"


class TooLarge(UsageError):
    """A request larger than a server's limits allow."""

    code = "too-large"


class NotFound(ArtfsError):
    code = "not-found"


class ProjectNotFound(NotFound):
    code = "project-not-found"


class ArtifactNotFound(NotFound):
    code = "artifact-not-found"


class VersionNotFound(NotFound):
    code = "version-not-found"


class AliasNotFound(NotFound):
    code = "alias-not-found"


class PathNotFound(NotFound):
    code = "path-not-found"


class DraftNotFound(NotFound):
    """A draft that never was, was abandoned, or expired."""

    code = "draft-not-found"


class UserNotFound(NotFound):
    code = "user-not-found"


class TokenNotFound(NotFound):
    code = "token-not-found"


class RunNotFound(NotFound):
    code = "run-not-found"


class SweepNotFound(NotFound):
    code = "sweep-not-found"


class Conflict(ArtfsError):
    code = "conflict"


class AlreadyExists(Conflict):
    code = "already-exists"


class NotEmpty(Conflict):
    code = "not-empty"


class TypeMismatch(Conflict):
    """A version's type differs from its artifact's."""

    code = "type-mismatch"


class StillAliased(Conflict):
    """A version that is to be deleted still has aliases."""

    code = "still-aliased"


class DraftClosed(Conflict):
    """A draft that is already sealed takes nothing more."""

    code = "draft-closed"


class Busy(Conflict):
    """A file still open for writing, a staging directory held by another mount, a mount point in use."""

    code = "busy"


class FileChanged(Conflict):
    """A source file changed while it was read."""

    code = "file-changed"


class PathConflict(Conflict):
    """Two writers contributed different contents for one path."""

    code = "path-conflict"


class LineageCycle(Conflict):
    """A version would follow from itself."""

    code = "lineage-cycle"


class ReferenceChanged(Conflict):
    """What a reference points to is not what it was when the reference was added."""

    code = "reference-changed"


class DirectoryDiffers(Conflict):
    """A directory is not what a version says: paths of it are missing, changed or extra there.

    Args:
        differing: a sentence for each path, the first of them if there are very many.
    """

    code = "directory-differs"

    def __init__(self, message: str, *, hint: str = "", differing: tuple[str, ...] = ()) -> None:
        super().__init__(message, hint=hint)
        self.differing = differing


class AccessDenied(ArtfsError):
    code = "access-denied"


class NotAuthenticated(AccessDenied):
    """No token was given, or one that is unknown, expired or revoked: the answer is the same."""

    code = "not-authenticated"


class ReferenceForbidden(AccessDenied):
    """Configuration does not let this machine follow a reference to that scheme or host."""

    code = "reference-forbidden"


class Damaged(ArtfsError):
    code = "damaged"


class DamagedObject(Damaged):
    """An object's bytes do not match its digest, or do not decode."""

    code = "damaged-object"


class DamagedPack(Damaged):
    """A pack's header, index or footer is not what it must be, or the file is short."""

    code = "damaged-pack"


class DamagedDatabase(Damaged):
    """The registry's database is unreadable or contradicts itself."""

    code = "damaged-database"


class ObjectMissing(Damaged):
    """An object that something refers to is not stored."""

    code = "object-missing"


class NewerFormat(ArtfsError):
    """Data written by a later artfs; this one does not guess at it."""

    code = "newer-format"


class Unavailable(ArtfsError):
    code = "unavailable"


class StorageFull(Unavailable):
    code = "storage-full"


class StorageFailed(Unavailable):
    """Reading or writing storage failed for a reason other than space."""

    code = "storage-failed"


class RegistryUnavailable(Unavailable):
    code = "registry-unavailable"


class TooManyRequests(Unavailable):
    """A server asks to slow down.

    Args:
        retry_after_s: when to try again.
    """

    code = "too-many-requests"

    def __init__(self, message: str, *, hint: str = "", retry_after_s: float = 1.0) -> None:
        super().__init__(message, hint=hint)
        self.retry_after_s = retry_after_s


class ReferenceUnavailable(Unavailable):
    """What a reference points to cannot be reached now.

    Args:
        status: what its web server answered, if that is why; else 0.
    """

    code = "reference-unavailable"

    def __init__(self, message: str, *, hint: str = "", status: int = 0) -> None:
        super().__init__(message, hint=hint)
        self.status = status


class MachineNotReady(ArtfsError):
    """/dev/fuse, fusermount3 or a needed extension module is missing."""

    code = "machine-not-ready"


def error_class(code: str) -> type[ArtfsError]:
    """The class of this tree with that code, for errors that were told by another process; ArtfsError for an unknown one."""
    classes = [ArtfsError]
    for found in classes:
        if found.code == code:
            return found
        classes.extend(found.__subclasses__())
    return ArtfsError
