"""What an artifact that is being made refers to: looked at when it is added, kept as descriptors when it is logged."""

from __future__ import annotations

from collections.abc import Iterator

from artfs.api.session import session
from artfs.client.scan import Ready
from artfs.errors import InvalidValue
from artfs.model.digest import Digest
from artfs.model.names import split_path
from artfs.model.tree import Entry, EntryKind


def resolve_references(
    uri: str, name: str | None, *, checksum: bool, max_objects: int | None
) -> Iterator[tuple[str, Ready]]:
    """What `uri` stands for, by path in the artifact. See `Artifact.add_reference`."""
    from artfs.client.references.source import OBJECTS_MAX
    from artfs.model.reference import encode_reference

    references = session().client.references
    limit = OBJECTS_MAX if max_objects is None else max_objects
    for path, reference in references.resolve(uri, checksum=checksum, max_objects=limit):
        whole = _path(name, path, is_one=reference.uri == uri)
        if not whole:
            raise InvalidValue(f"{uri} has no name of its own", hint="give the name that it has in the artifact")
        data = encode_reference(reference)
        entry = Entry(whole.rpartition("/")[2], EntryKind.REFERENCE, Digest.of(data), reference.size_bytes)
        yield whole, Ready(entry, data)


def _path(name: str | None, path: str, *, is_one: bool) -> str:
    parts = split_path(name) if name else ()
    return "/".join(parts if parts and is_one else (*parts, path))
