"""From the files and the manifest that a client sent to a version: what they are stored as, its tree, and its seal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from hashlib import md5
from pathlib import Path
from typing import Any

import msgspec

from artfs.client.files import FileReader
from artfs.client.source_file import read_small
from artfs.client.upload import UploadSession
from artfs.errors import FileChanged, InvalidValue, LineageCycle, NotFound, PathConflict, StorageFailed, VersionNotFound
from artfs.model.access import Operation
from artfs.model.chunking import WHOLE_FILE_BYTES_MAX
from artfs.model.content import FileContent
from artfs.model.digest import Digest
from artfs.model.lineage import EdgeKind, RunRef, VersionRef
from artfs.model.names import LATEST
from artfs.model.reference import Reference, encode_reference
from artfs.model.tree import NO_XATTRS, Entry, EntryKind, PageSummary
from artfs.model.tree_build import DirectoryBuilder
from artfs.wandb_server import ids
from artfs.wandb_server.contents import ARTIFACT_SCHEME, DIGEST, EXTRA, REF, File
from artfs.wandb_server.service import Caller
from artfs.wandb_server.tags import set_tags
from artfs.wandb_server.uploads import Upload, committing
from artfs.wire.records import ProjectRecord, SealRequest, VersionChange, VersionRecord
from artfs.wire.wandb_manifests import ManifestEntry, artifact_digest

BATCH = 1000
_Directory = dict[str, Any]  # of names to entries and directories


def version_of(caller: Caller, ref: VersionRef) -> VersionRecord:
    """Raises VersionNotFound and the like for what the caller may not read."""
    return caller.registry.versions.resolve(ref.project, ref.artifact, f"v{ref.number}")


def find_version(caller: Caller, artifact_id: str) -> VersionRecord:
    """The version that an id means. Raises NotFound."""
    found = ids.decode_artifact(artifact_id)
    ref = found if isinstance(found, VersionRef) else caller.service.uploads.version(found)
    if ref is None:
        raise VersionNotFound("this artifact is not committed yet", hint="wait until it is")
    return version_of(caller, ref)


def newest_version(caller: Caller, project: str, artifact: str) -> VersionRecord | None:
    """Whatever aliases mean it; None if there is none."""
    found: VersionRecord | None = None
    with suppress(NotFound):
        found = caller.registry.versions.resolve(project, artifact, LATEST)
    with suppress(NotFound):
        while page := caller.registry.versions.list(
            project, artifact, after=found.number if found else -1, limit=BATCH
        ):
            found = page[-1]
    return found


def identical_version(caller: Caller, upload: Upload) -> VersionRecord | None:
    """The newest version of the artifact, if it has the digest that the client computed and that is known at once."""
    newest = newest_version(caller, upload.project, upload.artifact)
    if newest is None:
        return None
    known = caller.service.contents.known_digest(caller.registry.projects.get(upload.project), newest.root)
    return newest if known and known == upload.request.digest else None


def take_identical(caller: Caller, upload: Upload, run: str, version: VersionRecord) -> None:
    """What a commit of identical content does: aliases and lineage, and no version."""
    aliases = upload.request.aliases
    if aliases:
        change = VersionChange(added_aliases=aliases)
        caller.registry.versions.update(version.project, version.artifact, version.number, change)
    _note_writers(caller, [run] if run else [], VersionRef(version.project, version.artifact, version.number))


def commit(caller: Caller, upload_id: str) -> VersionRef:
    """Turn an upload into a version. Repeating it gives the same one.

    Raises InvalidValue for files that are missing or not what the manifest says, PathConflict, and what a seal raises.
    """
    uploads = caller.service.uploads
    upload = uploads.find(caller.registry, upload_id)
    if upload.version is not None:
        return upload.version
    with committing(uploads.place(upload.id)):
        upload = uploads.find(caller.registry, upload_id)
        if upload.version is not None:  # another request was faster
            return upload.version
        version = _Commit(caller, upload).run()
        ref = VersionRef(version.project, version.artifact, version.number)
        runs = uploads.runs(upload)
        set_tags(caller.service.state, ref, upload.request.tags)
        _note_writers(caller, runs, ref)
        uploads.finish(upload, version.number)
    return ref


@contextmanager
def _abandoned_unless_sealed(session: UploadSession) -> Iterator[None]:
    try:
        yield
    except BaseException:
        session.abandon()
        raise


def _note_writers(caller: Caller, runs: Iterable[str], ref: VersionRef) -> None:
    for run in map(RunRef.parse, runs):
        with suppress(LineageCycle, NotFound):  # it used this very version, or is gone
            caller.registry.lineage.record(run.project, run.id, EdgeKind.LOGGED, [ref])


class _Commit:
    def __init__(self, caller: Caller, upload: Upload) -> None:
        self._caller = caller
        self._service = caller.service
        self._upload = upload
        self._project: ProjectRecord = caller.registry.projects.get(upload.project)
        self._place = self._service.uploads.place(upload.id)
        self._stored: dict[str, FileContent] = {}  # by MD5
        self._tree: _Directory = {}

    def run(self) -> VersionRecord:
        contents, base = self._service.uploads.contents(self._upload)
        told: dict[str, str] = {}
        session = self._service.session(self._caller.registry, self._upload.project)
        with _abandoned_unless_sealed(session):
            if base:
                for file in self._base_files(base):
                    if file.path not in contents:
                        self._add(file.path, file.entry)
                        told[file.path] = file.digest
            self._hold_known(session, contents)
            for path in sorted(contents):
                self._add(path, self._entry(session, path, contents[path]))
                told[path] = contents[path].digest
            root = _store(self._tree, session)
            version = session.seal(self._seal_request(root.digest)).version
        self._service.contents.note(self._project, [(content, digest) for digest, content in self._stored.items()])
        self._note_digest(root.digest, told)
        return version

    def _seal_request(self, root: Digest) -> SealRequest:
        request = self._upload.request
        runs = self._service.uploads.runs(self._upload)
        return SealRequest(
            artifact=self._upload.artifact,
            root=root,
            aliases=[alias for alias in request.aliases if alias != LATEST],
            type=request.type,
            description=request.description,
            metadata=request.metadata,
            run=runs[0] if runs else "",
            ttl_s=request.ttl_s,
        )

    def _note_digest(self, root: Digest, told: Mapping[str, str]) -> None:
        digest = artifact_digest(sorted(told.items()))
        with self._service.state.write() as tx:
            tx.run("INSERT OR REPLACE INTO roots VALUES (?, ?, ?)", (self._project.uid, bytes(root), digest))

    def _base_files(self, base: str) -> list[File]:
        version = find_version(self._caller, base)
        if version.project != self._upload.project:
            raise InvalidValue("an artifact adds to one of its own project", hint="log all of it")
        return self._service.contents.files(self._project, version.root)

    def _hold_known(self, session: UploadSession, contents: Mapping[str, ManifestEntry]) -> None:
        """Hold what was not sent because it is stored. Raises InvalidValue for what is neither."""
        wanted = {entry.md5: path for path, entry in contents.items() if not entry.ref}
        not_sent = {digest: path for digest, path in wanted.items() if not (self._place / digest).exists()}
        known = self._service.contents.by_md5(self._project, list(not_sent))
        gone = session.ensure(list(known.values()))
        for digest, path in not_sent.items():
            if digest not in known or known[digest] in gone:
                raise InvalidValue(f"{path!r} was not sent", hint="log the artifact again")
            self._stored[digest] = known[digest]

    def _entry(self, session: UploadSession, path: str, told: ManifestEntry) -> Entry:
        if told.ref and not told.ref.startswith(ARTIFACT_SCHEME):
            return _reference(session, told.ref, told)
        content = self._referred(session, told) if told.ref else self._content(session, told.md5)
        if content.size_bytes != told.size and not told.ref:  # of another artifact's file a client does not tell it
            raise InvalidValue(
                f"{path!r} has {content.size_bytes} bytes, not {told.size} as its manifest says", hint="log it again"
            )
        xattrs = _attributes(told) if told.ref else NO_XATTRS
        return Entry(_name(path), content.kind, content.digest, content.size_bytes, xattrs=xattrs)

    def _content(self, session: UploadSession, digest: str) -> FileContent:
        content = self._stored.get(digest)
        if content is None:
            content = self._stored[digest] = add_file(session, self._place / digest, digest)
        return content

    def _referred(self, session: UploadSession, told: ManifestEntry) -> FileContent:
        """What a reference to another artifact means now: it is in this version too."""
        there, _, path = (told.ref or "").removeprefix(ARTIFACT_SCHEME).strip("/").partition("/")
        version = find_version(self._caller, ids.from_hex(there))
        project = self._caller.registry.projects.get(version.project)
        found = [file for file in self._service.contents.files(project, version.root) if file.path == path]
        if not found or found[0].entry.kind is EntryKind.REFERENCE:
            raise InvalidValue(f"there is no file {told.ref!r}", hint="refer to a file of a committed artifact")
        content = found[0].content
        if not session.ensure([content]):
            return content
        self._caller.registry.guard.require(Operation.READ, project.name)
        temporary = self._place / "copied"
        with temporary.open("wb") as file:
            for piece in FileReader(self._service.client.objects, project.name).stream(content):
                file.write(piece)
        try:
            return session.add_file(temporary)
        finally:
            temporary.unlink()

    def _add(self, path: str, entry: Entry) -> None:
        *above, name = path.split("/")
        directory = self._tree
        for one in above:
            directory = directory.setdefault(one, {})
            if not isinstance(directory, dict):
                raise PathConflict(f"{path!r} is below a file", hint="rename one of them")
        if name in directory:
            raise PathConflict(f"{path!r} is a file and a directory", hint="rename one of them")
        directory[name] = _named(entry, name)


def _named(entry: Entry, name: str) -> Entry:
    """The entry under that name, as a file: what a link was told as keeps its content only."""
    return Entry(name, entry.kind, entry.digest, entry.size_bytes, entry.executable, xattrs=entry.xattrs)


def add_file(session: UploadSession, path: Path, digest: str) -> FileContent:
    """Store a file that was sent. Raises InvalidValue when it is not what it was: the machine may have failed since."""
    try:
        if path.stat().st_size > WHOLE_FILE_BYTES_MAX:
            return session.add_file(path)
        small = read_small(path)
    except (FileNotFoundError, FileChanged, StorageFailed):
        raise InvalidValue("a file was not sent", hint="log the artifact again") from None
    if md5(small[1], usedforsecurity=False).hexdigest() != digest:
        raise InvalidValue("a file that was sent is damaged", hint="log the artifact again")
    return session.add_small(*small)


def _reference(session: UploadSession, uri: str, told: ManifestEntry) -> Entry:
    size_bytes = told.size or 0
    data = encode_reference(Reference(uri, size_bytes, told.etag))
    digest = session.add_small(Digest.of(data), data).digest
    return Entry("", EntryKind.REFERENCE, digest, size_bytes, xattrs=_attributes(told))


def _attributes(told: ManifestEntry) -> dict[str, bytes]:
    found = {REF: (told.ref or "").encode(), DIGEST: told.digest.encode()}
    if told.extra:
        found[EXTRA] = msgspec.json.encode(told.extra, order="deterministic")
    return found


def _store(directory: _Directory, session: UploadSession) -> PageSummary:
    builder = DirectoryBuilder(session.store_page)
    for name in sorted(directory):
        below = directory[name]
        if isinstance(below, dict):
            found = _store(below, session)
            below = Entry(name, EntryKind.DIRECTORY, found.digest, found.size_bytes, file_count=found.file_count)
        builder.add(below)
    return builder.finish()


def _name(path: str) -> str:
    return path.rpartition("/")[2]
