"""Entries and pages for property tests."""

from __future__ import annotations

from hypothesis import strategies as st

from artfs.model.digest import Digest
from artfs.model.tree import Entry, EntryKind, IndexPage, TreePage, decode_page, symlink_entry

NAMES = st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=12).filter(
    lambda name: name not in (".", "..") and len(name.encode()) <= 255
)
DIGESTS = st.binary(min_size=32, max_size=32).map(Digest)
XATTRS = st.dictionaries(
    st.text(st.characters(codec="utf-8"), min_size=1, max_size=5), st.binary(max_size=5), max_size=3
)
SIZES = st.integers(0, 2**58)  # of twenty the sum is still a size


@st.composite
def entries_named(draw: st.DrawFn, name: str) -> Entry:
    """Any entry of that name."""
    kind = draw(st.sampled_from(EntryKind))
    xattrs = draw(XATTRS)
    if kind is EntryKind.SYMLINK:
        target = draw(st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=20))
        return symlink_entry(name, target, xattrs)
    if kind is EntryKind.DIRECTORY:
        size, count = draw(SIZES), draw(st.integers(0, 2**40))
        return Entry(name, kind, draw(DIGESTS), size, file_count=count, xattrs=xattrs)
    return Entry(name, kind, draw(DIGESTS), draw(SIZES), draw(st.booleans()), xattrs=xattrs)


ENTRIES = NAMES.flatmap(entries_named)
DIRECTORIES = st.lists(ENTRIES, max_size=20, unique_by=lambda entry: entry.name).map(
    lambda entries: sorted(entries, key=lambda entry: entry.name)
)


class Pages:
    """Stored pages, in the order they were stored, and which of them were loaded."""

    def __init__(self) -> None:
        self.stored: dict[Digest, bytes] = {}
        self.loaded: list[Digest] = []

    def store(self, data: bytes) -> Digest:
        page = decode_page(data)
        if isinstance(page, IndexPage):
            assert all(child.digest in self.stored for child in page.children()), "children come before parents"
        digest = Digest.of(data)
        self.stored[digest] = data
        return digest

    def load(self, digest: Digest) -> TreePage:
        self.loaded.append(digest)
        return decode_page(self.stored[digest])
