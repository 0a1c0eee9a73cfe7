"""Trees: one directory's sorted entries, as one page or as pages under an index.

A page is columnar: one list of names, one of sizes, one string of kinds, one of digests. Decoding a column costs a fraction
of decoding as many entries, and an `Entry` is made only for the entry somebody asked for. The encoding is canonical: the same
entries give the same bytes, and `decode_page` refuses bytes that are not what it would write. docs/formats.md has the layout.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from itertools import accumulate, pairwise
from typing import Any

import msgspec

from artfs.errors import DamagedObject, InvalidName, NewerFormat
from artfs.model.digest import DIGEST_BYTES, Digest, ObjectKey, ObjectKind
from artfs.model.names import FILE_NAME_BYTES_MAX, check_file_name

TREE_FORMAT = 1
PAGE_BYTES_MAX = 64 << 20
TOTAL_MAX = 2**63 - 1  # of sizes and of counts: what databases and stat(2) hold
EXECUTABLE_FLAG = _EXECUTABLE = 0x10

Xattrs = Mapping[str, bytes]
NO_XATTRS: Xattrs = {}


class EntryKind(IntEnum):
    """What an entry is. The numbers are stored: never reuse one."""

    FILE = 1  # a file that is one chunk; the digest is the file's own SHA-256
    LARGE_FILE = 2  # a file of many chunks; the digest is its recipe's
    DIRECTORY = 3  # the digest is its tree's
    SYMLINK = 4  # the digest is the target's; the target itself is in the tree
    REFERENCE = 5  # the digest is that of a chunk which describes bytes somewhere else


_KINDS = {int(kind): kind for kind in EntryKind}
_FILES = (EntryKind.FILE, EntryKind.LARGE_FILE, EntryKind.REFERENCE)
_FLAGS = frozenset((*EntryKind, *(kind | _EXECUTABLE for kind in _FILES)))  # what a byte of `kinds` may be

OBJECT_KINDS = {
    EntryKind.FILE: ObjectKind.CHUNK,
    EntryKind.LARGE_FILE: ObjectKind.RECIPE,
    EntryKind.DIRECTORY: ObjectKind.TREE,
    EntryKind.REFERENCE: ObjectKind.CHUNK,
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One name in a directory.

    Args:
        size_bytes: the length of a file, or of what a reference refers to, or of a symlink's target, or the sum of all
            files below a directory.
        file_count: files and symlinks below a directory; 1 for anything else.
        target: where a symlink points, as written; None for anything else.
        xattrs: extended attributes by name, without the `user.` prefix.
    """

    name: str
    kind: EntryKind
    digest: Digest
    size_bytes: int
    executable: bool = False
    file_count: int = 1
    target: str | None = None
    xattrs: Xattrs = field(default_factory=lambda: NO_XATTRS)

    @property
    def key(self) -> ObjectKey | None:
        """The object this entry holds, or None for a symlink."""
        kind = OBJECT_KINDS.get(self.kind)
        return None if kind is None else ObjectKey(kind, self.digest)


def symlink_entry(name: str, target: str, xattrs: Xattrs = NO_XATTRS) -> Entry:
    data = target.encode("utf-8")
    return Entry(name, EntryKind.SYMLINK, Digest.of(data), len(data), target=target, xattrs=xattrs)


class _LeafRow(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    format: int
    level: int
    names: list[str]
    kinds: bytes
    sizes: list[int]
    digests: bytes
    file_counts: list[int]  # one a directory, in order
    targets: list[str]  # one a symlink, in order
    xattrs: dict[int, dict[str, bytes]]


class _IndexRow(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    format: int
    level: int
    firsts: list[str]
    digests: bytes
    entry_counts: list[int]
    sizes: list[int]
    file_counts: list[int]


@dataclass(frozen=True, slots=True)
class PageSummary:
    """What a parent needs to know of a page or of a whole directory."""

    digest: Digest
    entry_count: int
    size_bytes: int
    file_count: int


class LeafPage:
    """Decoded entries of a directory, or of a run of names of a large one."""

    __slots__ = ("_directories", "_row", "_symlinks", "names")

    level = 0

    def __init__(self, row: _LeafRow) -> None:
        self._row = row
        self.names = row.names
        self._directories = _positions(row.kinds, EntryKind.DIRECTORY)
        self._symlinks = _positions(row.kinds, EntryKind.SYMLINK)

    def __len__(self) -> int:
        return len(self.names)

    @property
    def entry_count(self) -> int:
        return len(self.names)

    def find(self, name: str) -> int | None:
        """The position of `name`, or None."""
        i = bisect_left(self.names, name)
        return i if i < len(self.names) and self.names[i] == name else None

    def entry(self, i: int) -> Entry:
        row = self._row
        flags = row.kinds[i]
        kind = EntryKind(flags & 0xF)
        digest = self.digest(i)
        xattrs = row.xattrs.get(i, NO_XATTRS)
        if kind is EntryKind.DIRECTORY:
            count = row.file_counts[bisect_left(self._directories, i)]
            return Entry(row.names[i], kind, digest, row.sizes[i], file_count=count, xattrs=xattrs)
        if kind is EntryKind.SYMLINK:
            target = row.targets[bisect_left(self._symlinks, i)]
            return Entry(row.names[i], kind, digest, row.sizes[i], target=target, xattrs=xattrs)
        return Entry(row.names[i], kind, digest, row.sizes[i], bool(flags & _EXECUTABLE), xattrs=xattrs)

    def entries(self) -> Iterator[Entry]:
        return map(self.entry, range(len(self.names)))

    # One column's value without making an Entry: what listing a million names is made of.
    def kind(self, i: int) -> EntryKind:
        return _KINDS[self._row.kinds[i] & 0xF]

    def size_bytes(self, i: int) -> int:
        return self._row.sizes[i]

    def digest(self, i: int) -> Digest:
        return Digest(self._row.digests[i * DIGEST_BYTES : (i + 1) * DIGEST_BYTES])

    @property
    def columns(self) -> tuple[bytes, list[int], bytes]:
        """Flags (the kind, and EXECUTABLE_FLAG), sizes and digests of all entries: for listing them at once."""
        return self._row.kinds, self._row.sizes, self._row.digests

    def run_end(self, i: int) -> int:
        """The position behind the entries from `i` on that have the same flags; `i` itself if any here has attributes."""
        if self._row.xattrs:
            return i
        kinds = self._row.kinds
        return len(kinds) - len(kinds[i:].lstrip(kinds[i : i + 1]))

    def xattrs(self, i: int) -> Xattrs:
        return self._row.xattrs.get(i, NO_XATTRS)

    def children(self) -> Iterator[ObjectKey]:
        """The objects this page refers to, in order, with repetitions."""
        for i, flags in enumerate(self._row.kinds):
            kind = OBJECT_KINDS.get(EntryKind(flags & 0xF))
            if kind is not None:
                yield ObjectKey(kind, self.digest(i))

    def summary(self, digest: Digest) -> PageSummary:
        row = self._row
        files = len(row.names) - len(self._directories) + sum(row.file_counts)
        return PageSummary(digest, len(row.names), sum(row.sizes), files)


class IndexPage:
    """The pages of a large directory: the first name of each, and sums that make offsets and totals cheap."""

    __slots__ = ("_row", "_starts", "firsts")

    def __init__(self, row: _IndexRow) -> None:
        self._row = row
        self.firsts = row.firsts
        self._starts = [0, *accumulate(row.entry_counts)]

    def __len__(self) -> int:
        return len(self.firsts)

    @property
    def level(self) -> int:
        return self._row.level

    @property
    def entry_count(self) -> int:
        return self._starts[-1]

    def page_of(self, name: str) -> int:
        """The position of the only page that may hold `name`."""
        return max(0, bisect_right(self.firsts, name) - 1)

    def page_at(self, ordinal: int) -> tuple[int, int]:
        """The page that holds the directory's entry number `ordinal`, and that page's first ordinal."""
        i = bisect_right(self._starts, ordinal, hi=len(self.firsts)) - 1
        return i, self._starts[i]

    def start(self, i: int) -> int:
        """The ordinal of the first entry of page `i`."""
        return self._starts[i]

    def digest(self, i: int) -> Digest:
        return Digest(self._row.digests[i * DIGEST_BYTES : (i + 1) * DIGEST_BYTES])

    def page(self, i: int) -> PageSummary:
        row = self._row
        return PageSummary(self.digest(i), row.entry_counts[i], row.sizes[i], row.file_counts[i])

    def checked(self, i: int, page: TreePage) -> TreePage:
        """`page`, which this index refers to as its page `i`. Raises DamagedObject unless it is as the index says.

        A registry looks after that. Whoever reads from a registry that does not would go round in circles.
        """
        first = page.firsts[0] if isinstance(page, IndexPage) else "".join(page.names[:1])
        said = (self.level - 1, self._row.entry_counts[i], self.firsts[i])
        if (page.level, page.entry_count, first) != said:
            raise DamagedObject(f"the tree page {self.digest(i).text} is not what its index says")
        return page

    def children(self) -> Iterator[ObjectKey]:
        return (ObjectKey(ObjectKind.TREE, self.digest(i)) for i in range(len(self.firsts)))

    def summary(self, digest: Digest) -> PageSummary:
        row = self._row
        return PageSummary(digest, self._starts[-1], sum(row.sizes), sum(row.file_counts))


TreePage = LeafPage | IndexPage


def directories_and_links(page: LeafPage) -> list[int]:
    """The positions of all directories, and then of all symbolic links."""
    return page._directories + page._symlinks


_encoder = msgspec.msgpack.Encoder()  # it sorts only maps whose keys are text: attributes are sorted here
_leaf_decoder = msgspec.msgpack.Decoder(_LeafRow)
_index_decoder = msgspec.msgpack.Decoder(_IndexRow)
_head_decoder = msgspec.msgpack.Decoder(list[msgspec.Raw])


def encode_leaf(entries: list[Entry]) -> bytes:
    """The canonical bytes of a page holding `entries`, which are sorted by name and unique."""
    return _encoder.encode(
        _LeafRow(
            TREE_FORMAT,
            0,
            [e.name for e in entries],
            bytes(e.kind | (_EXECUTABLE if e.executable and e.kind in _FILES else 0) for e in entries),
            [e.size_bytes for e in entries],
            b"".join(e.digest for e in entries),
            [e.file_count for e in entries if e.kind is EntryKind.DIRECTORY],
            [e.target or "" for e in entries if e.kind is EntryKind.SYMLINK],
            {i: dict(sorted(e.xattrs.items())) for i, e in enumerate(entries) if e.xattrs},
        )
    )


def encode_index(level: int, firsts: list[str], pages: list[PageSummary]) -> bytes:
    """The canonical bytes of an index of `pages`; `firsts[i]` is the first name in `pages[i]`."""
    return _encoder.encode(
        _IndexRow(
            TREE_FORMAT,
            level,
            firsts,
            b"".join(p.digest for p in pages),
            [p.entry_count for p in pages],
            [p.size_bytes for p in pages],
            [p.file_count for p in pages],
        )
    )


def decode_page(data: bytes) -> TreePage:
    """Read a page. Raises DamagedObject for anything that `encode_leaf` or `encode_index` would not have written,
    NewerFormat for a page of a later format.
    """
    try:
        head = _head_decoder.decode(data)
        page_format, level = (msgspec.msgpack.decode(raw, type=int) for raw in head[:2])
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise DamagedObject(f"not a tree page: {error}") from None
    if page_format > TREE_FORMAT:
        raise NewerFormat(f"a tree of format {page_format}", hint="upgrade artfs")
    if page_format != TREE_FORMAT:
        raise DamagedObject(f"there is no tree format {page_format}")
    try:
        return _decode_leaf(data) if level == 0 else _decode_index(data)
    except (msgspec.DecodeError, InvalidName, ValueError) as error:
        raise DamagedObject(f"not a tree page: {error}") from None


def _decode_leaf(data: bytes) -> LeafPage:
    row = _leaf_decoder.decode(data)
    count = len(row.names)
    if not (len(row.kinds) == len(row.sizes) == count and len(row.digests) == count * DIGEST_BYTES):
        raise DamagedObject("a tree page's columns differ in length")
    if not _FLAGS.issuperset(row.kinds):
        raise DamagedObject("a tree page has an entry of unknown kind")
    page = LeafPage(row)
    if len(row.file_counts) != len(page._directories) or len(row.targets) != len(page._symlinks):
        raise DamagedObject("a tree page's columns differ in length")
    _check_names(row.names)
    _check_symlinks(page, row)
    _check_canonical(row, row.names, data)
    if any(not 0 <= i < count for i in row.xattrs):
        raise DamagedObject("a tree page has attributes of no entry")
    if list(row.xattrs) != sorted(row.xattrs) or any(list(names) != sorted(names) for names in row.xattrs.values()):
        raise DamagedObject("a tree page's attributes are not sorted")
    if min((*row.sizes, *row.file_counts), default=0) < 0 or not all(row.xattrs.values()):
        raise DamagedObject("a tree page has a negative size or an empty attribute table")
    _check_totals(row.sizes, row.file_counts)
    return page


def _check_names(names: list[str]) -> None:
    """`check_file_name` for all; a page of a thousand short names is checked at once."""
    joined = "".join(names)
    if max(map(len, names), default=0) * 4 <= FILE_NAME_BYTES_MAX and not ("/" in joined or "\0" in joined):
        names = [name for name in ("", ".", "..") if name in names]
    for name in names:
        check_file_name(name)


def _positions(kinds: bytes, kind: EntryKind) -> list[int]:
    if kind not in kinds and kind | _EXECUTABLE not in kinds:
        return []
    return [i for i, flags in enumerate(kinds) if flags & 0xF == kind]


def _check_symlinks(page: LeafPage, row: _LeafRow) -> None:
    for i, target in zip(page._symlinks, row.targets, strict=True):
        encoded = target.encode("utf-8")
        if not encoded or b"\0" in encoded or len(encoded) != row.sizes[i] or Digest.of(encoded) != page.digest(i):
            raise DamagedObject(f"the symbolic link {row.names[i]!r} does not match its target")


def _decode_index(data: bytes) -> IndexPage:
    row = _index_decoder.decode(data)
    count = len(row.firsts)
    if count == 0 or not 1 <= row.level <= 8:
        raise DamagedObject("an index page is empty or too deep")
    if {len(row.entry_counts), len(row.sizes), len(row.file_counts)} != {count}:
        raise DamagedObject("an index page's columns differ in length")
    if len(row.digests) != count * DIGEST_BYTES or min((*row.sizes, *row.file_counts)) < 0:
        raise DamagedObject("an index page's columns are not well formed")
    if min(row.entry_counts) < 1:
        raise DamagedObject("an index page refers to an empty page")
    _check_totals(row.sizes, row.file_counts, row.entry_counts)
    _check_canonical(row, row.firsts, data)
    return IndexPage(row)


def _check_totals(*columns: list[int]) -> None:
    if any(sum(column) > TOTAL_MAX for column in columns):
        raise DamagedObject("a tree page's sizes or counts add up to more than can be")


def _check_canonical(row: Any, names: list[str], data: bytes) -> None:
    if any(a >= b for a, b in pairwise(names)):
        raise DamagedObject("a tree page's names are not sorted and unique")
    if _encoder.encode(row) != data:
        raise DamagedObject("a tree page is not in canonical form")
