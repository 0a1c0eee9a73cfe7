"""What the filesystem needs of `.staging`, as a protocol; `artfs.vfs.staging` implements it.

The dispatcher (`filesystem.Filesystem`) owns `.staging` directories themselves: their inode, listing and permissions. It asks
here for the drafts in them, and passes every call on an inode or handle with STAGED_BIT through unchanged. Inside, bits
40..61 of such an inode number are the draft's slot, bits 0..39 the inode within the draft.

Errors: OSError with the errno the caller is to see, or an ArtfsError, which the edge translates. Every `Attributes` answered by
lookup, make_*, link, symlink and create counts as one lookup that `forget` later takes back; so does each entry listed by
`read_directory` except "." and "..". A draft's root has entry_timeout_s 0, so that the path walk after a commit asks again.
On a read-only mount the dispatcher refuses every mutation before it gets here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from artfs.model.lineage import RunRef, VersionRef
from artfs.model.tree import Entry
from artfs.vfs.attributes import AttributeChange, Attributes, Caller
from artfs.vfs.kernel import DirectoryBuffer
from artfs.wire.records import SealResult


class DraftPlace(NamedTuple):
    """Where a draft is: ARTIFACT/.staging/NAME."""

    project: str
    artifact: str
    name: str


class VersionFile(NamedTuple):
    """A file or symbolic link of a version, as the source of a hard link into a draft."""

    project: str
    entry: Entry
    mtime_ns: int


class Drafts(Protocol):
    """The drafts of this mount, by place."""

    async def list(self, project: str, artifact: str) -> Sequence[tuple[str, Attributes]]:
        """All drafts in one `.staging`, sorted by name; attributes as `lookup` gives them, not counted as lookups."""

    async def lookup(self, place: DraftPlace) -> Attributes:
        """Raises FileNotFoundError."""

    def listed(self, inode: int) -> None:
        """Count one lookup of a draft's root that a listing of `.staging` answered."""

    async def make(self, place: DraftPlace, mode: int, caller: Caller) -> Attributes:
        """An empty draft. Raises FileExistsError."""

    async def remove(self, place: DraftPlace) -> None:
        """Remove an empty draft (rmdir). Raises OSError ENOTEMPTY."""

    async def rename(self, old: DraftPlace, new: DraftPlace, flags: int) -> None:
        """Give a draft another name, or another artifact of the same project."""

    async def commit(self, place: DraftPlace, artifact: str, alias: str, run: RunRef | None = None) -> SealResult:
        """Seal the draft as a version of `artifact` of its project and move `alias`; the draft is gone afterwards.

        `run` is noted as having logged the version.

        When it raises, the draft is still there, complete.
        """


class StagedInodes(Protocol):
    """What directories and files inside drafts are, by inode."""

    def forget(self, inode: int, count: int) -> None: ...
    async def getattr(self, inode: int) -> Attributes: ...
    async def setattr(self, inode: int, change: AttributeChange, handle: int | None, caller: Caller) -> Attributes: ...
    async def readlink(self, inode: int) -> str: ...


class StagedNames(Protocol):
    """Names inside drafts, by directory."""

    async def lookup(self, parent: int, name: str) -> Attributes: ...
    async def mkdir(self, parent: int, name: str, mode: int, caller: Caller) -> Attributes: ...
    async def mknod(self, parent: int, name: str, mode: int, caller: Caller) -> Attributes:
        """A regular file; raises PermissionError for every other kind."""

    async def symlink(self, parent: int, name: str, target: str, caller: Caller) -> Attributes: ...
    async def link(self, inode: int, parent: int, name: str, caller: Caller) -> Attributes:
        """A hard link to a staged file. Raises OSError EXDEV between drafts."""

    async def link_version_file(self, source: VersionFile, parent: int, name: str, caller: Caller) -> Attributes:
        """A copy-on-write file with a version's content. Raises OSError EXDEV for another project's."""

    async def unlink(self, parent: int, name: str) -> None: ...
    async def rmdir(self, parent: int, name: str) -> None: ...
    async def rename(self, parent: int, name: str, new_parent: int, new_name: str, flags: int) -> None:
        """Between directories inside drafts. Raises OSError EXDEV between two drafts."""


class StagedNodes(StagedInodes, StagedNames, Protocol):
    """Directories and files inside drafts."""


class StagedXattrs(Protocol):
    """Extended attributes of drafts and what is in them; names are whole (`user.x`). Absent: OSError ENODATA."""

    async def get(self, inode: int, name: str) -> bytes: ...
    async def set(self, inode: int, name: str, value: bytes, caller: Caller) -> None: ...
    async def list(self, inode: int) -> Sequence[str]: ...
    async def remove(self, inode: int, name: str) -> None: ...


class StagedHandles(Protocol):
    """Open files and directories inside drafts; handles carry STAGED_BIT."""

    async def origin(self, inode: int) -> VersionRef | None:
        """The version that the draft was made of, if the file still has a version's content."""

    async def open(self, inode: int, flags: int, caller: Caller) -> int: ...
    async def create(self, parent: int, name: str, mode: int, flags: int, caller: Caller) -> tuple[int, Attributes]: ...
    async def read(self, handle: int, offset: int, size_bytes: int) -> bytes | memoryview: ...
    async def write(self, handle: int, offset: int, data: bytes) -> int: ...
    async def fsync(self, handle: int, data_only: bool) -> None: ...
    async def release(self, handle: int) -> None: ...
    async def open_directory(self, inode: int) -> int: ...
    async def read_directory(self, handle: int, start_id: int, buffer: DirectoryBuffer) -> None:
        """Entries behind `start_id` (0 at first), "." and ".." included."""

    async def release_directory(self, handle: int) -> None: ...
    async def fsync_directory(self, handle: int, data_only: bool) -> None: ...


class StagingArea(Protocol):
    """All of staging, as the dispatcher sees it."""

    @property
    def drafts(self) -> Drafts: ...
    @property
    def nodes(self) -> StagedNodes: ...
    @property
    def xattrs(self) -> StagedXattrs: ...
    @property
    def handles(self) -> StagedHandles: ...

    async def run(self) -> None:
        """Background work (hashing, uploads, renewing leases) until cancelled; started once, beside the mount's loop."""

    async def close(self) -> None:
        """After the last request: make everything durable and give the drafts back. Bounded in time."""

    def status(self) -> Mapping[str, Any]:
        """Drafts, their uploads and errors, for `artfs status`; JSON-encodable."""
