"""References in every registry: an entry's size is that of what it refers to, and its descriptor lives and dies as any chunk."""

from __future__ import annotations

import pytest

from artfs.errors import ObjectMissing
from artfs.model.digest import Digest, ObjectKey, ObjectKind
from artfs.model.reference import Reference, block_bytes_for, encode_reference
from artfs.model.tree import Entry, EntryKind
from artfs.model.tree_build import build_directory
from artfs.wire.service import Registry
from tests.contract.uploading import Content, commit, fetch, send

pytestmark = [pytest.mark.falsifies("references", "deletion")]

TERABYTE = 1 << 40
DESCRIPTOR = encode_reference(
    Reference("https://example.org/huge", TERABYTE, '"state"', block_bytes=block_bytes_for(TERABYTE))
)
KEY = ObjectKey(ObjectKind.CHUNK, Digest.of(DESCRIPTOR))


def _content(*, complete: bool = True, copies: int = 1) -> Content:
    content = Content()
    if complete:
        content.keep(ObjectKind.CHUNK, DESCRIPTOR)
    entries = [
        Entry(f"{number}.bin", EntryKind.REFERENCE, KEY.digest, TERABYTE, executable=bool(number))
        for number in range(copies)
    ]
    plain = content.keep(ObjectKind.CHUNK, b"plain")
    entries.append(Entry("plain", EntryKind.FILE, plain, 5))
    summary = build_directory(entries, lambda page: content.keep(ObjectKind.TREE, page))
    content.root, content.size_bytes, content.file_count = summary.digest, summary.size_bytes, summary.file_count
    return content


def test_a_version_counts_what_its_references_refer_to(registry: Registry) -> None:
    version = commit(registry, "vision", "raw", _content(copies=3)).version
    assert (version.size_bytes, version.file_count) == (3 * TERABYTE + 5, 4)
    assert fetch(registry, "vision", KEY) == DESCRIPTOR


def test_a_reference_without_its_descriptor_is_refused(registry: Registry) -> None:
    draft = registry.drafts.open("vision")
    with pytest.raises(ObjectMissing):
        send(registry, draft, _content(complete=False))


def test_a_descriptor_goes_with_the_last_version_that_holds_it(registry: Registry) -> None:
    commit(registry, "vision", "raw", _content())
    commit(registry, "vision", "other", _content(copies=2))
    registry.versions.delete("vision", "raw", [0], delete_aliases=True)
    assert fetch(registry, "vision", KEY) == DESCRIPTOR
    registry.versions.delete("vision", "other", [0], delete_aliases=True)
    assert fetch(registry, "vision", KEY) is None
