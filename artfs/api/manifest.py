"""What is in a version: its files by path, each read or downloaded by itself."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from artfs.api.artifact_files import version_root
from artfs.client.get import Getter
from artfs.client.trees import Found, TreeReader
from artfs.errors import InvalidValue, PathNotFound
from artfs.model.content import FileContent
from artfs.model.names import split_path
from artfs.model.tree import EntryKind

if TYPE_CHECKING:
    from artfs.api.session import Session
    from artfs.model.reference import Reference
    from artfs.wire.records import VersionRecord

READ_AHEAD_BYTES = 1 << 20


class Manifest:
    """The files and symbolic links of a version. Safe to use from several threads."""

    def __init__(self, session: Session, version: VersionRecord) -> None:
        self._session = session
        self._version = version

    @cached_property
    def entries(self) -> Mapping[str, ManifestEntry]:
        """All of them by path, in the order of paths' components. Holds all of them in memory: `walk` does not."""
        return {entry.path: entry for entry in self.walk()}

    def walk(self, directory: str = "") -> Iterator[ManifestEntry]:
        """Those below a directory of the version, one after another. Raises PathNotFound."""
        found = self.find(directory) if directory else None
        if found is not None and found.entry.kind is not EntryKind.DIRECTORY:
            raise PathNotFound(f"{directory!r} is not a directory")
        prefix = "" if found is None else found.path + "/"
        for below in self._trees.walk(self._version.root if found is None else found.entry.digest, prefix):
            if below.entry.kind is not EntryKind.DIRECTORY:
                yield self._entry(below)

    def get_entry_by_path(self, path: str) -> ManifestEntry | None:
        """The file at `path`, None if there is none."""
        try:
            found = self.find(path)
        except PathNotFound:
            return None
        return None if found.entry.kind is EntryKind.DIRECTORY else self._entry(found)

    def find(self, path: str) -> Found:
        """What is at `path`, a directory as well. Raises PathNotFound."""
        return self._trees.lookup(self._version.root, split_path(path))

    def size(self) -> int:
        """The bytes of all files."""
        return self._version.size_bytes

    def __len__(self) -> int:
        return self._version.file_count

    @property
    def _trees(self) -> TreeReader:
        return TreeReader(self._session.client.objects, self._version.project)

    def _entry(self, found: Found) -> ManifestEntry:
        return ManifestEntry(self._session, self._version, found)


class ManifestEntry:
    """One file of a version.

    Attributes:
        path: where in the version.
        size: its bytes; of a symbolic link, those of its target.
    """

    def __init__(self, session: Session, version: VersionRecord, found: Found) -> None:
        self._session = session
        self._version = version
        self._found = found
        self.path = found.path
        self.size = found.entry.size_bytes

    @property
    def name(self) -> str:
        """The same as `path`."""
        return self.path

    @cached_property
    def digest(self) -> str:
        """`sha256:` and the hexadecimal SHA-256 of the file itself; the ETag of a reference that was added without checksum."""
        entry, reference = self._found.entry, self._reference
        if reference is not None:
            return reference.etag if reference.sha256 is None else reference.sha256.text
        if entry.kind is EntryKind.SYMLINK:
            return entry.digest.text
        return self._session.files(self._version.project).file_digest(FileContent.of(entry)).text

    @cached_property
    def ref(self) -> str | None:
        """The URI of a reference; None for what is stored."""
        reference = self._reference
        return None if reference is None else reference.uri

    def ref_target(self) -> str:
        """The URI of a reference. Raises InvalidValue for what is stored."""
        if self.ref is None:
            raise InvalidValue(f"{self.path!r} is a file, not a reference", hint="download() gives its content")
        return self.ref

    def download(self, root: str | Path | None = None) -> str:
        """Write it below `root` under its own path, unless it is there already; where it is then.

        Args:
            root: the default is the version's own, as of `Artifact.download`.
        """
        below = version_root(self._version, root)
        above = split_path(self.path)[:-1]
        Getter(self._session.client.objects, self._version.project).get_entry(self._found, below, above)
        return str(below / self.path)

    def open(self) -> BinaryIO:
        """Its content, for reading; nothing is written to disk. What is read is fetched as it is read.

        Raises InvalidValue for a symbolic link.
        """
        entry = self._found.entry
        if entry.kind is EntryKind.SYMLINK:
            raise InvalidValue(f"{self.path!r} is a symbolic link to {entry.target!r}", hint="open what it points to")
        content = _Content(self._session, self._version.project, FileContent.of(entry))
        return io.BufferedReader(content, READ_AHEAD_BYTES)

    @cached_property
    def _reference(self) -> Reference | None:
        entry = self._found.entry
        if entry.kind is not EntryKind.REFERENCE:
            return None
        objects = self._session.client.objects
        return objects.open_references(self._version.project, [(FileContent.of(entry), entry.name)])[0].reference

    def __repr__(self) -> str:
        return f"<ManifestEntry {self.path!r}>"


class VersionFiles:
    """A version's files for readers of tables and the like: `media.StoredFiles`."""

    def __init__(self, manifest: Manifest) -> None:
        self._manifest = manifest

    def open(self, path: str) -> BinaryIO:
        entry = self._manifest.get_entry_by_path(path)
        if entry is None:
            raise PathNotFound(f"{path!r} is not a file of this version")
        return entry.open()

    def paths(self, directory: str) -> list[str]:
        try:
            return sorted(entry.path for entry in self._manifest.walk(directory.strip("/")))
        except PathNotFound:
            return []


class _Content(io.RawIOBase):
    """A file's content, read by range."""

    def __init__(self, session: Session, project: str, content: FileContent) -> None:
        super().__init__()
        self._session = session
        self._project = project
        self._content = content
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._content.size_bytes}[whence]
        self._position = max(0, base + offset)
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: object) -> int:
        view = memoryview(cast(bytearray, buffer)).cast("B")
        data = self._session.files(self._project).read(self._content, self._position, len(view))
        view[: len(data)] = data
        self._position += len(data)
        return len(data)
