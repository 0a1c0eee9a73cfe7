"""The content of an artifact that is a version: listing, downloading, checking, and where a mount shows it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from artfs.api.artifact_properties import ArtifactProperties
from artfs.api.listing import PAGE_ITEMS, Listing
from artfs.api.media import candidates, load
from artfs.errors import DirectoryDiffers, PathNotFound
from artfs.model.names import split_path
from artfs.model.tree import EntryKind

if TYPE_CHECKING:
    from artfs.api.manifest import Manifest, ManifestEntry
    from artfs.wire.records import VersionRecord

DIFFERING_NAMED_MAX = 20
DIFFERING_TOLD_MAX = 10_000


class ArtifactFiles(ArtifactProperties):
    """Methods about content. They raise UsageError while the artifact is not logged."""

    @property
    def manifest(self) -> Manifest:
        """What is in it, by path."""
        from artfs.api.manifest import Manifest

        session, version = self._need_sealed()
        return Manifest(session, version)

    @property
    def file_count(self) -> int:
        """Files and symbolic links."""
        return self._version.file_count

    def files(self, names: list[str] | None = None) -> Listing[ManifestEntry]:
        """The files.

        Args:
            names: paths, of which those that are there are given; by default all.
        """
        manifest = self.manifest
        if names is None:
            return Listing(_pages(manifest.walk()))
        entries = (manifest.get_entry_by_path(name) for name in names)
        return Listing([entry for entry in entries if entry is not None] for _ in range(1))

    def download(self, root: str | Path | None = None, *, path_prefix: str | None = None) -> str:
        """Write the version to a directory, what is missing or different there, and return the directory.

        Args:
            root: the default is `artifacts/NAME:vN` in the working directory. Other files there stay.
            path_prefix: only this directory or file of the version.
        """
        from artfs.client.get import Getter

        session, version = self._need_sealed()
        target = version_root(version, root)
        getter = Getter(session.client.objects, version.project)
        if not path_prefix or not path_prefix.strip("/"):
            getter.get_tree(version.root, target)
            return str(target)
        found = self.manifest.find(path_prefix)
        if found.entry.kind is EntryKind.DIRECTORY:
            getter.get_tree(found.entry.digest, target, split_path(found.path))
        else:
            getter.get_entry(found, target, split_path(found.path)[:-1])
        return str(target)

    def checkout(self, root: str | Path | None = None) -> str:
        """Make a directory exactly the version: what else is in it is removed. Returns the directory.

        Args:
            root: the default is that of `download`.

        Raises InvalidValue for the home directory and what is above it.
        """
        from artfs.client.checkout import check_root, find_foreign, remove_foreign
        from artfs.client.get import Getter

        session, version = self._need_sealed()
        target = version_root(version, root)
        check_root(target, Path.home())
        source = session.client.objects
        remove_foreign(target, list(find_foreign(source, version.project, version.root, target)))
        Getter(source, version.project).get_tree(version.root, target)
        return str(target)

    def verify(self, root: str | Path | None = None) -> None:
        """Raises DirectoryDiffers naming what is missing, changed or extra in a directory, as it is without `root` downloaded."""
        target = version_root(self._version, root)
        differing = tuple(islice(self._differing(target), DIFFERING_TOLD_MAX))
        if not differing:
            return
        more = len(differing) - DIFFERING_NAMED_MAX
        named = [*differing[:DIFFERING_NAMED_MAX], *([f"and {more} more"] if more > 0 else [])]
        lines = "".join(f"\n  {line}" for line in named)
        raise DirectoryDiffers(
            f"{target} is not {self.name}:{lines}", hint="artifact.checkout(root) makes it so", differing=differing
        )

    def get_entry(self, path: str) -> ManifestEntry:
        """The file at `path`. Raises PathNotFound."""
        entry = self.manifest.get_entry_by_path(path)
        if entry is None:
            raise PathNotFound(f"{path!r} is not a file of {self.name}", hint="artifact.manifest.entries has all paths")
        return entry

    def get_path(self, path: str) -> ManifestEntry:
        """The same as `get_entry`: the file at `path`. Raises PathNotFound."""
        return self.get_entry(path)

    def get(self, name: str) -> Any:
        """The object that was added as `name`, such as a table; None if there is none."""
        from artfs.api.manifest import VersionFiles

        manifest = self.manifest
        for path in candidates(name):
            if manifest.get_entry_by_path(path) is not None:
                return load(path, VersionFiles(manifest))
        return None

    def mount_path(self) -> str | None:
        """The directory in which a running mount of this registry shows the version; None if there is none."""
        from artfs.assemble import mount_records

        session, version = self._need_sealed()
        for record in mount_records(session.config).list():
            path = os.path.join(record.mountpoint, version.project, version.artifact, version.name)
            if _place(record.registry) == _place(session.config.registry) and os.path.isdir(path):
                return path
        return None

    def _differing(self, target: Path) -> Iterator[str]:
        from artfs.client.checkout import find_foreign
        from artfs.client.compare import verify

        session, version = self._need_sealed()
        source = session.client.objects
        for path, what in verify(source, version.project, version.root, target):
            yield f"{path} {what}"
        for foreign in find_foreign(source, version.project, version.root, target):
            if not foreign.in_the_way:
                yield f"{foreign.path} is extra"


def version_root(version: VersionRecord, root: str | Path | None) -> Path:
    """Where a version is downloaded to: `root`, or what is meant where nobody says."""
    from artfs.client.get import default_root

    return default_root(version) if root is None else Path(root)


def _place(registry: str) -> str:
    """A registry as it is compared: a directory may be written in several ways."""
    if "://" in registry and not registry.startswith("file://"):
        return registry.rstrip("/")
    return os.path.realpath(os.path.expanduser(registry.removeprefix("file://")))


def _pages(entries: Iterator[ManifestEntry]) -> Iterator[list[ManifestEntry]]:
    while page := list(islice(entries, PAGE_ITEMS)):
        yield page
