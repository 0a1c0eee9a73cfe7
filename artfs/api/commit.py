"""From what an artifact holds to a version: by one writer, or by many who contribute to one draft."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from artfs.api.merge_parts import merge_aliases, merge_descriptions, merge_metadata, merge_trees
from artfs.api.version_edit import VersionEdit
from artfs.client.put import check_type, put_plan, store_plan, upload_session
from artfs.client.tree_links import check_links
from artfs.client.trees import TreeReader
from artfs.errors import Busy
from artfs.wire.records import NO_ROOT, SealRequest, VersionChange, VersionRecord
from artfs.wire.runs import Part

if TYPE_CHECKING:
    from artfs.api.draft_content import DraftContent
    from artfs.api.session import Session
    from artfs.model.digest import Digest
    from artfs.model.tree import Entry
    from artfs.wire.runs import SharedDraftRecord

GATHER_ATTEMPTS = 10

_log = logging.getLogger(__name__)


class Wanted(NamedTuple):
    """What is to become a version. `run` is `project/id`, empty for none; `aliases` are besides those of `edit`."""

    project: str
    artifact: str
    type: str
    edit: VersionEdit
    content: DraftContent
    run: str
    aliases: Sequence[str] = ()

    def request(self, created_by: str, aliases: Sequence[str] = ()) -> SealRequest:
        """Raises InvalidValue, InvalidName."""
        return SealRequest(
            artifact=self.artifact,
            root=NO_ROOT,
            aliases=list(dict.fromkeys([*self.edit.checked_aliases(), *self.aliases, *aliases])),
            type=self.type,
            description=self.edit.description or None,
            metadata=self.edit.checked_metadata() or None,
            created_by=created_by,
            run=self.run,
            ttl_s=self.edit.ttl_s,
        )


def commit(session: Session, wanted: Wanted) -> VersionRecord:
    """Store and seal. Content that equals the newest version's makes no new one: that one gets what is said here.

    It lives longer if that is asked for, never shorter: others rely on it.
    """
    wanted.content.check()
    request = wanted.request(session.creator)
    result = put_plan(session.client, wanted.project, wanted.content, request)
    version = result.version
    if result.created:
        return version
    change = VersionChange(description=request.description, set_metadata=request.metadata or {})
    if change == VersionChange():
        return version
    return session.registry.versions.update(version.project, version.artifact, version.number, change)


def contribute(session: Session, wanted: Wanted, group: str) -> SharedDraftRecord:
    """Store, and add it to the draft that is shared under the name `group`. Raises DraftClosed."""
    wanted.content.check()
    request = wanted.request(session.creator)
    shared_drafts, client = session.registry.shared_drafts, session.client
    session.registry.projects.create(wanted.project, exist_ok=True)
    check_type(client, wanted.project, request)
    shared = shared_drafts.open(wanted.project, wanted.artifact, group)
    with upload_session(client, wanted.project) as upload:
        root = store_plan(upload, wanted.content)
        part = Part(root, wanted.run, request.description, request.metadata or {}, request.aliases)
        upload.end(lambda draft: shared_drafts.add(shared.id, draft, part))
    return shared


def finish(session: Session, wanted: Wanted, group: str) -> VersionRecord:
    """Contribute, and seal the union of all parts. Raises PathConflict, Conflict, DraftClosed, and then seals nothing."""
    shared = contribute(session, wanted, group)
    for attempt in range(GATHER_ATTEMPTS):
        try:
            return _seal_union(session, wanted, shared)
        except Busy:  # somebody contributed meanwhile
            if attempt == GATHER_ATTEMPTS - 1:
                raise
    raise AssertionError("unreachable")


def _seal_union(session: Session, wanted: Wanted, shared: SharedDraftRecord) -> VersionRecord:
    shared_drafts = session.registry.shared_drafts
    parts = shared_drafts.parts(shared.id)
    if len(parts) == 1:
        _log.warning("nobody but this run has contributed to %s in the group %r", wanted.artifact, shared.group)
    request = SealRequest(
        artifact=wanted.artifact,
        root=NO_ROOT,
        aliases=merge_aliases(parts),
        type=wanted.type,
        description=merge_descriptions(parts),
        metadata=merge_metadata(parts) or None,
        created_by=session.creator,
        run=wanted.run,
        ttl_s=wanted.edit.ttl_s,
    )
    trees = TreeReader(session.client.objects, wanted.project)

    def entries_of(directory: Digest) -> Iterator[Entry]:
        return (found.entry for found in trees.list(directory))

    roots = sorted(part.root for part in parts)
    with upload_session(session.client, wanted.project) as upload:
        root = merge_trees(roots, entries_of, upload.store_page)
        if len(parts) > 1:
            upload.flush()
            check_links(trees, root)
        sealing = msgspec.structs.replace(request, root=root)
        return upload.end(lambda draft: shared_drafts.finish(shared.id, draft, sealing, roots)).version
