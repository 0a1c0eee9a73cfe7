"""What an artifact that is being made refers to: looked at when it is added, kept as descriptors when it is logged."""

from __future__ import annotations

from collections.abc import Iterator

from artfs.api.session import session
from artfs.client.scan import Ready


def resolve_references(
    uri: str, name: str | None, *, checksum: bool, max_objects: int | None
) -> Iterator[tuple[str, Ready]]:
    """What `uri` stands for, by path in the artifact. See `Artifact.add_reference`."""
    from artfs.client.references.references import referring
    from artfs.client.references.source import OBJECTS_MAX

    references = session().client.references
    limit = OBJECTS_MAX if max_objects is None else max_objects
    for path, reference in references.resolve(uri, name, checksum=checksum, max_objects=limit):
        yield path, referring(path, reference)
