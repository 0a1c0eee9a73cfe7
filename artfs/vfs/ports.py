"""What the filesystem needs from below, as protocols; `artfs.assemble` plugs the client in.

Everything here is synchronous and safe from any thread. Methods named `peek*` never block and may be called on the event
loop; all others go through `door.Door`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from artfs.model.content import FileContent
from artfs.model.digest import Digest, ObjectKey
from artfs.model.reference import Reference
from artfs.model.tree import TreePage
from artfs.wire.records import ArtifactRecord, ProjectRecord, SealRequest, SealResult, VersionRecord
from artfs.wire.times import PageTimes

Bytes = bytes | memoryview
Part = tuple[int, int]
"""An offset in a file, and so many bytes from there."""


class NotRemembered(Exception):
    """It is not known without asking the registry."""


class Catalog(Protocol):
    """What is in a registry. One that asks raises what the registry raises; one that remembers, NotRemembered and NotFound."""

    def projects(self) -> list[ProjectRecord]: ...
    def project(self, project: str) -> ProjectRecord: ...
    def artifacts(self, project: str) -> list[ArtifactRecord]: ...
    def artifact(self, project: str, artifact: str) -> ArtifactRecord: ...
    def versions(self, project: str, artifact: str) -> list[VersionRecord]: ...
    def version(self, project: str, artifact: str, selector: str, as_of: int | None) -> VersionRecord: ...
    def aliases(self, project: str, artifact: str, as_of: int | None) -> dict[str, int]: ...


class DatedPage(NamedTuple):
    """A tree page with the times its entries entered the project; `created_at_ns` is the page's own."""

    page: TreePage
    times: PageTimes
    created_at_ns: int


class OpenReference(Protocol):
    """What a reference refers to, as one open file sees it: one state of it, never a mix. Fewer bytes only at its end."""

    @property
    def reference(self) -> Reference: ...
    def peek(self, offset: int, length: int) -> Bytes | None:
        """The bytes if they are in memory."""

    def held(self, offset: int, length: int) -> Bytes | None:
        """The bytes if they are on this machine. Never waits for the source."""

    def read(self, offset: int, length: int) -> Bytes:
        """Raises ReferenceChanged, ReferenceUnavailable, ReferenceForbidden or DamagedObject."""

    def stream(self) -> Iterator[Bytes]:
        """All of it in order, as `read` reads it."""


class ObjectSource(Protocol):
    """Verified objects by digest. Raises ObjectMissing, DamagedObject, StorageFailed or RegistryUnavailable."""

    def read(self, project: str, key: ObjectKey, *, part: Part | None = None) -> Bytes:
        """One object. Of a recipe, the chunks of that part of its file may come into memory with it."""

    def read_many(self, project: str, keys: Sequence[ObjectKey], *, beside: bool = True, ahead: int = 0) -> list[Bytes]:
        """Several objects with as few requests as possible, in the order of `keys`.

        Args:
            beside: whether what is stored beside them may be fetched with them.
            ahead: how many of them, the last ones, nobody has asked for yet. They may be missing from the answer, if
                something better is known of what will be asked for next.
        """

    def peek(self, project: str, key: ObjectKey) -> Bytes | None:
        """The object if it is in memory, or small and on this machine where no disk has to be waited for."""

    @property
    def has_cache(self) -> bool:
        """Whether asking for what is `held` can be worth a thread: else only memory holds anything."""

    def held(self, project: str, keys: Sequence[ObjectKey], *, ahead: int = 0) -> list[Bytes]:
        """The objects at the beginning of `keys`, up to the first that is not on this machine. Never waits for a registry.

        Args:
            ahead: how many of them, the last ones, nobody has asked for yet.
        """

    def held_page(self, project: str, digest: Digest) -> DatedPage | None:
        """The page if it, and the times of what is in it, are on this machine."""

    def page(self, project: str, digest: Digest) -> DatedPage: ...
    def peek_page(self, project: str, digest: Digest) -> DatedPage | None: ...
    def prepare(self, project: str, keys: Sequence[ObjectKey]) -> None:
        """Learn where `keys` are stored: they are about to be read."""

    def open_references(self, project: str, files: Sequence[tuple[FileContent, str]]) -> Sequence[OpenReference]:
        """What REFERENCEs refer to; their descriptors are read, and nothing else is asked for. Raises ReferenceForbidden too.

        Args:
            files: each with its name in its directory, which some servers are told; empty where it is not known.
        """


class UploadSession(Protocol):
    """An upload into one draft of the registry: content goes in as it appears, `seal` makes a version of it.

    An expired lease is renewed or the draft reopened inside; contents that the registry lost meanwhile are reported by
    `ensure`.
    """

    def add_file(self, source: Path) -> FileContent:
        """Hash, chunk and send a file. Raises FileChanged if it changed meanwhile."""

    def ensure(self, contents: Sequence[FileContent]) -> list[FileContent]:
        """Lease contents that were added before (perhaps by an earlier process) and return those that must be added
        again because the registry does not hold them, or not all of their chunks."""

    def hold_tree(self, root: Digest) -> bool:
        """Lease a tree and all below it; False if the registry does not hold it."""

    def store_page(self, data: bytes) -> Digest:
        """Send a tree page; its children were sent before."""

    def flush(self) -> None:
        """Return when everything added is stored durably in the registry."""

    def seal(self, request: SealRequest) -> SealResult:
        """Flush and seal."""

    def renew(self) -> None:
        """Keep the draft's leases alive."""

    def close(self) -> None:
        """End the session without sealing; what was stored stays until the draft's leases run out."""

    def abandon(self) -> None:
        """End the session and its draft; what only it held is deleted."""


class Uploads(Protocol):
    def open(self, project: str) -> UploadSession: ...
