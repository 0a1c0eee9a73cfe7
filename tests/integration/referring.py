"""References in a project, without a version."""

from __future__ import annotations

from artfs.client.client import Client
from artfs.client.references.references import store_reference
from artfs.model.tree import Entry


def add_references(
    client: Client, project: str, uri: str, name: str | None = None, *, checksum: bool = True, max_objects: int = 100
) -> dict[str, Entry]:
    """What `uri` stands for, by path; the descriptors are stored, and kept for a day."""
    session = client.uploads.open(project)
    try:
        resolved = client.references.resolve(uri, name, checksum=checksum, max_objects=max_objects)
        entries = {path: store_reference(session, path, reference) for path, reference in resolved}
        session.flush()
        return entries
    finally:
        session.close()
