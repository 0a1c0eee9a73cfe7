"""Artifacts: made by a script and logged, or read from the registry as versions. One class for both, as in the W&B library."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal, Self

from artfs.api.adding_progress import Adding, Progress
from artfs.api.adding_references import resolve_references
from artfs.api.artifact_facts import Sealed
from artfs.api.artifact_files import ArtifactFiles
from artfs.api.draft_content import DraftContent, HeldFile, HeldLink, Leaf, check_path, stamp_of
from artfs.api.scratch import Scratch
from artfs.api.version_edit import VersionEdit
from artfs.client.scan import Source, find_problem, look, targets_below
from artfs.errors import InvalidValue, PathNotFound, RunNotFound, UnsupportedFile, UsageError
from artfs.model.links import way_out
from artfs.store.durable import reported

if TYPE_CHECKING:
    from artfs.api.manifest import ManifestEntry
    from artfs.api.media import Storable
    from artfs.api.recorded_run import RecordedRun
    from artfs.model.lineage import RunRef
    from artfs.wire.runs import VersionEdges

CODE_TYPE = "code"

Policy = Literal["mutable", "immutable"]


class Artifact(ArtifactFiles):
    """A set of files with a name, a type, and what is said about it.

    Fill a new one by the methods that begin with `add`, then log it: `run.log_artifact(artifact)`. Then it is a version, like
    those that `Api.artifact` gives, and never changes; what is said about it may, see `save`.

    Args:
        name: of the artifact that it becomes a version of. One of type `code` is named after the running script.
        type: such as `dataset` or `model`: the same for all versions of an artifact.
        description: what the version is, in words.
        metadata: a JSON object.
        ttl: how long the version lives after it was logged, unless an alias other than `latest` means it; None for ever.

    Raises InvalidName, InvalidValue.
    """

    def __init__(
        self,
        name: str | None = None,
        type: str = "",
        description: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        *,
        ttl: timedelta | None = None,
    ) -> None:
        if not type:
            raise InvalidValue("an artifact needs a type", hint="such as artfs.Artifact(name, type='dataset')")
        if name is None and type != CODE_TYPE:
            raise InvalidValue("an artifact needs a name", hint="such as artfs.Artifact('bikes', type='dataset')")
        super().__init__(_code_name() if name is None else name, type)
        self.description = description or ""
        self.metadata = metadata
        if ttl is not None:
            self.ttl = ttl
        self._content = DraftContent()
        self._scratch = Scratch()

    @classmethod
    def _of(cls, sealed: Sealed) -> Self:
        """The artifact that is a `sealed` version of the registry."""
        artifact = cls.__new__(cls)
        ArtifactFiles.__init__(artifact, sealed.version.artifact, sealed.version.type, sealed)
        return artifact

    def add_file(
        self,
        local_path: str | os.PathLike[str],
        name: str | None = None,
        *,
        policy: Policy = "mutable",
        overwrite: bool = False,
    ) -> str:
        """Add a file as it is now, and return its path in the artifact.

        Args:
            local_path: where the file is.
            name: that path; the default is the file's name.
            policy: `mutable` takes a copy, so that the file may change or go afterwards. `immutable` takes none: good for what is
                large; the file must stay as it is until it is logged, else logging raises FileChanged.
            overwrite: replace what was added at that path before.

        Raises PathNotFound, UnsupportedFile, AlreadyExists, InvalidName, FileChanged, StorageFailed, StorageFull.
        """
        self._check_open()
        source = os.path.realpath(_existing(local_path))
        path = name or os.path.basename(os.path.normpath(os.fspath(local_path)))
        self._content.put(path, self._held(look(source, path), policy, Adding(None)), overwrite=overwrite)
        return path

    def add_dir(
        self,
        local_path: str | os.PathLike[str],
        name: str | None = None,
        *,
        policy: Policy = "mutable",
        overwrite: bool = False,
        progress: Progress | None = None,
    ) -> None:
        """Add all that is in a directory, empty directories too, under `name` (the default is the artifact's root).

        Symbolic links that stay in the directory are kept, others are followed.

        Args:
            local_path: where the directory is.
            name: the path of the directory in the artifact.
            policy: as for `add_file`.
            overwrite: as for `add_file`.
            progress: called with how many files and links, and how many bytes, are added so far; also while a large file is
                copied.

        Raises what `add_file` raises, UnsupportedFile for a link to a directory outside, and InvalidValue for a file.
        """
        self._check_open()
        root = os.path.realpath(_existing(local_path))
        if not os.path.isdir(root):
            raise InvalidValue(f"{os.fspath(local_path)!r} is not a directory", hint="add_file adds a file")
        above = f"{name.strip('/')}/" if name and name.strip("/") else ""
        self._content.directory(above)
        adding = Adding(progress)
        for path, source in _below(root):
            if source.is_directory:
                self._content.directory(above + path)
            else:
                leaf = self._held_below(root, path, source, policy, adding)
                self._content.put(above + path, leaf, overwrite=overwrite)
                adding.added(leaf)

    def add_reference(
        self,
        uri: str,
        name: str | None = None,
        checksum: bool = True,
        max_objects: int | None = None,
        *,
        overwrite: bool = False,
    ) -> list[str]:
        """Refer to what is at a URI (`https://`, `s3://`, `file://`) without copying it, and return the paths that it gets.

        Args:
            uri: one thing, or a directory or prefix: then to everything below it.
            name: the path of the one thing, or the directory for all; the default is the last part of the URI, or the root.
            checksum: note digests of all bytes, so that what was changed is noticed for certain. That reads them, unless the
                source tells a strong ETag. Without it, length and ETag (of a file: its time) are noted.
            max_objects: raise InvalidValue if there are more than these.
            overwrite: replace what was added at those paths before.

        Raises ReferenceForbidden for what configuration does not allow, ReferenceUnavailable, ReferenceChanged, InvalidValue.
        """
        self._check_open()
        paths = []
        for path, entry in resolve_references(uri, name, checksum=checksum, max_objects=max_objects):
            self._content.put(path, entry, overwrite=overwrite)
            paths.append(path)
        return paths

    @contextmanager
    def new_file(
        self, name: str, mode: Literal["w", "wb", "x", "xb"] = "w", encoding: str | None = None
    ) -> Iterator[IO[Any]]:
        """A file to write, which is added as `name` when the block ends, unless it ends with an exception.

        Args:
            name: its path in the artifact.
            mode: as of `open`; `w` replaces what was added at that path before, `x` does not.
            encoding: of text; the default is UTF-8.

        Raises AlreadyExists, InvalidName.
        """
        self._check_open()
        check_path(name)
        path = self._scratch.new_path()
        is_text = "b" not in mode
        with path.open(mode.replace("x", "w"), encoding=(encoding or "utf-8") if is_text else None) as file:
            yield file
        self._content.put(name, HeldFile(str(path), executable=False), overwrite=mode.startswith("w"))

    def add(self, obj: Storable, name: str, *, overwrite: bool = False) -> str:
        """Add an object such as a table, which `get(name)` gives back, and return the path of its file.

        Args:
            obj: an `artfs.Table`, an `artfs.data_types.PartitionedTable`, or what else has `file_name` and `write`.
            name: the path in the artifact, without the suffix that tells the format.
            overwrite: as for `add_file`.

        Raises AlreadyExists, InvalidName.
        """
        self._check_open()
        held = self._scratch.new_path()
        with held.open("wb") as file:
            obj.write(file)
        path = obj.file_name(name)
        self._content.put(path, HeldFile(str(held), executable=False), overwrite=overwrite)
        return path

    def remove(self, item: str | os.PathLike[str] | ManifestEntry) -> None:
        """Take away a file, or a directory with all that is below, before it is logged.

        Args:
            item: its path in the artifact.

        Raises PathNotFound.
        """
        self._check_open()
        self._content.remove(os.fspath(item) if isinstance(item, str | os.PathLike) else item.path)

    def logged_by(self) -> RecordedRun | None:
        """The run that made the version; None if there is none, or none that the caller may read."""
        return next(iter(self._runs_of(self._edges().logged_by)), None)

    def used_by(self) -> list[RecordedRun]:
        """The runs that used the version, in the order in which they did."""
        return list(self._runs_of(self._edges().used_by))

    def _edges(self) -> VersionEdges:
        session, version = self._need_sealed()
        return session.registry.lineage.of_version(version.project, version.artifact, version.number)

    def _runs_of(self, refs: list[RunRef]) -> Iterator[RecordedRun]:
        from artfs.api.recorded_run import RecordedRun

        session = self._need_sealed().session
        for ref in refs:
            try:
                yield RecordedRun(session, session.registry.runs.get(ref.project, ref.id))
            except RunNotFound:  # deleted since
                continue

    def _check_open(self) -> None:
        if self._sealed is not None:
            raise UsageError(f"{self.name} is logged and never changes", hint="make a new artfs.Artifact of that name")

    def _held(self, source: Source, policy: Policy, adding: Adding) -> HeldFile:
        if source.is_directory:
            raise UnsupportedFile(f"{source.path} is a directory", hint="add_dir adds a directory")
        problem = find_problem(source)
        if problem is not None:
            raise UnsupportedFile(f"a version cannot hold this: {problem}", hint="leave it out")
        if policy == "immutable":
            return HeldFile(source.path, source.is_executable, stamp_of(source.path))
        return HeldFile(str(self._scratch.copy(source.path, adding.copied)), source.is_executable)

    def _held_below(self, root: str, path: str, source: Source, policy: Policy, adding: Adding) -> Leaf:
        if source.target is None:
            return self._held(source, policy, adding)
        if way_out(tuple(path.split("/")[:-1]), source.target, targets_below(root)) is None:
            return HeldLink(source.target)
        if not os.path.exists(source.path):
            raise UnsupportedFile(f"{source.path} is a link to nothing: {source.target!r}", hint="remove it")
        return self._held(look(os.path.realpath(source.path), source.name), policy, adding)

    def _log_by_itself(self) -> None:
        from artfs.api.current import current_run
        from artfs.api.init import init

        run = current_run()
        if run is not None:
            run.log_artifact(self)
            return
        with init(job_type="auto") as own:
            own.log_artifact(self)

    def _become(self, sealed: Sealed) -> None:
        """It was logged."""
        self._sealed = sealed
        self._edit = VersionEdit(sealed.version)
        left = self._scratch
        del self._content, self._scratch
        left.remove()


def _code_name() -> str:
    """Raises InvalidValue where no script is known."""
    from artfs.api.code import artifact_name, main_program

    program = main_program()
    if program is None:
        raise InvalidValue(
            "this process runs no script that a name could be taken from", hint="give the artifact a name"
        )
    return artifact_name(program)


def _existing(path: str | os.PathLike[str]) -> str:
    if not os.path.exists(path):
        raise PathNotFound(f"there is no {os.fspath(path)!r}", hint="check the path and the working directory")
    return os.fspath(path)


def _below(root: str) -> Iterator[tuple[str, Source]]:
    """Everything in a directory, by path below it, each directory before what is in it."""
    stack = [""]
    while stack:
        prefix = stack.pop()
        directory = os.path.join(root, prefix)
        with reported("list", Path(directory)):
            names = sorted(os.listdir(directory))
        for name in names:
            source = look(os.path.join(directory, name), name)
            yield prefix + name, source
            if source.is_directory:
                stack.append(f"{prefix}{name}/")
