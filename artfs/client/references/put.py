"""A version made of references alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from artfs.client.client import Client
from artfs.client.put import PutResult, check_names, store
from artfs.client.references.references import store_reference
from artfs.client.references.source import OBJECTS_MAX
from artfs.client.upload import UploadSession
from artfs.client.version_tree import build_tree
from artfs.model.digest import Digest
from artfs.model.reference import Reference
from artfs.wire.records import SealRequest


class Referred(NamedTuple):
    """A URI, and what it is called in the version; None for its own name."""

    uri: str
    path: str | None = None


def put_references(
    client: Client,
    project: str,
    referred: Sequence[Referred],
    request: SealRequest,
    *,
    checksum: bool = True,
    max_objects: int = OBJECTS_MAX,
) -> PutResult:
    """Make a version that refers to `referred`. See `References.resolve`; raises PathConflict for two of one path."""
    check_names(project, request)
    resolved: list[tuple[str, Reference]] = []
    for uri, path in referred:
        resolved += client.references.resolve(uri, path, checksum=checksum, max_objects=max_objects)

    def fill(session: UploadSession) -> Digest:
        entries = ((path, store_reference(session, path, reference)) for path, reference in resolved)
        root = build_tree(entries, session.store_page)
        session.flush()
        return root

    return store(client, project, request, fill)
