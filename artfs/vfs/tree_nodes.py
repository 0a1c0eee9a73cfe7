"""Directories, files and symbolic links inside versions: lookup, attributes and listings. All of it is immutable.

Entry → attributes is a pure function of the entry, its time and the mount's owner, and the inode number stands for exactly
these, so the kernel may keep everything for ever, names that do not exist included.
"""

from __future__ import annotations

import errno
import stat
from typing import NamedTuple

from artfs.errors import ArtfsError, DamagedObject
from artfs.model.digest import DIGEST_BYTES
from artfs.model.tree import EXECUTABLE_FLAG, EntryKind, LeafPage
from artfs.vfs.attributes import BLOCK_BYTES, Attributes
from artfs.vfs.entry_table import NUMBER_MASK
from artfs.vfs.identity import FINGERPRINT_MASK, directory_identity, file_salt, salt_with_xattrs
from artfs.vfs.inodes import Inodes, is_node
from artfs.vfs.kernel import DirectoryBuffer
from artfs.vfs.nodes import VersionNode
from artfs.vfs.page_numbers import PageKey
from artfs.vfs.tree_pages import FoundEntry, Leaf, Referrer, TreePages
from artfs.vfs.view import View

DIRECTORY_BYTES = 4096
_from_bytes = int.from_bytes
_KIND_MASK = 0xF
_DIRECTORY_MODE = stat.S_IFDIR | 0o555
_MODES = {
    EntryKind.FILE: stat.S_IFREG | 0o444,
    EntryKind.FILE | EXECUTABLE_FLAG: stat.S_IFREG | 0o555,
    EntryKind.LARGE_FILE: stat.S_IFREG | 0o444,
    EntryKind.LARGE_FILE | EXECUTABLE_FLAG: stat.S_IFREG | 0o555,
    EntryKind.REFERENCE: stat.S_IFREG | 0o444,
    EntryKind.REFERENCE | EXECUTABLE_FLAG: stat.S_IFREG | 0o555,
    EntryKind.DIRECTORY: _DIRECTORY_MODE,
    EntryKind.SYMLINK: stat.S_IFLNK | 0o777,
}


def directory_attributes(inode: int, mode: int, mtime_ns: int, view: View) -> Attributes:
    """Attributes of a directory that is not staged. One link: nobody may count subdirectories by it."""
    return Attributes(
        inode,
        stat.S_IFDIR | mode,
        DIRECTORY_BYTES,
        view.uid,
        view.gid,
        atime_ns=mtime_ns,
        mtime_ns=mtime_ns,
        ctime_ns=mtime_ns,
    )


class PagePlace(NamedTuple):
    """A page of entries and a position in it."""

    key: PageKey
    page: LeafPage
    position: int


class TreeNodes:
    """What versions hold."""

    def __init__(self, pages: TreePages, inodes: Inodes, view: View) -> None:
        self._pages = pages
        self._inodes = inodes
        self._view = view

    def known(self, inode: int) -> PagePlace | None:
        """Where the entry behind an inode is, if its page is in memory: mostly, and then nothing is to be waited for."""
        place = self._inodes.entries.place(inode)
        if place is None:
            return None
        key = self._inodes.pages.key(place.page)
        dated = self._pages.peek(key)
        return None if dated is None or type(dated.page) is not LeafPage else PagePlace(key, dated.page, place.position)

    async def found(self, inode: int) -> FoundEntry:
        """The entry behind an inode. Raises OSError ESTALE."""
        place = self._inodes.place(inode)
        key = self._inodes.pages.key(place.page)
        dated = await self._pages.load(key, key)
        if not isinstance(dated.page, LeafPage):
            raise DamagedObject(f"{key.digest.text} is an index where a page of entries belongs")
        return FoundEntry(Leaf.of(key, dated.page, dated, 0), place.position)

    async def root_page(self, inode: int) -> tuple[PageKey, Referrer]:
        """The root page of a directory's tree, and what refers to it. Raises OSError ENOTDIR."""
        origin = self._inodes.origin(inode)
        if is_node(inode):
            node = self._inodes.nodes.get(inode)
            if isinstance(node, VersionNode):
                return node.page._replace(origin=origin), node
            raise OSError(errno.EINVAL, "not a directory of a version")
        found = await self.found(inode)
        if found.entry.kind is not EntryKind.DIRECTORY:
            raise OSError(errno.ENOTDIR, "not a directory")
        return PageKey(found.leaf.key.project, found.entry.digest, origin), found.leaf.key

    async def lookup(self, parent: int, name: str) -> Attributes:
        """Inode 0, to be kept for ever, if there is no such name."""
        root, referrer = await self.root_page(parent)
        found = await self._pages.find(root, name, referrer)
        if found is None:
            return Attributes(0, 0, 0, 0, 0)
        attributes = Attributes(0, 0, 0, self._view.uid, self._view.gid)
        with self._inodes.pages.held(found.leaf.key) as page:
            _EntryFiller(self._inodes, parent, found.leaf, page).fill(attributes, found.position)
        return attributes

    async def attributes(self, inode: int) -> Attributes:
        found = await self.found(inode)
        attributes = Attributes(inode, 0, 0, self._view.uid, self._view.gid)
        _describe(attributes, found.leaf.page.columns[0][found.position], found.leaf, found.position)
        return attributes

    async def listing(self, inode: int) -> TreeListing:
        root, referrer = await self.root_page(inode)
        return TreeListing(self._pages, self._inodes, self._view, inode, root, referrer)


class TreeListing:
    """An open directory of a version. Ids: 1 and 2 are behind "." and "..", k + 3 behind entry k."""

    def __init__(
        self, pages: TreePages, inodes: Inodes, view: View, inode: int, root: PageKey, referrer: Referrer
    ) -> None:
        self._pages = pages
        self._inodes = inodes
        self._view = view
        self._inode = inode
        self._parent = inodes.parent(inode)
        self._root = root
        self._referrer = referrer
        self._leaf: Leaf | None = None  # where the last call stopped: the next one mostly goes on there

    async def fill(self, start_id: int, buffer: DirectoryBuffer) -> None:
        for dot, (name, inode) in enumerate(((".", self._inode), ("..", self._parent))):
            if start_id <= dot and not buffer.add(name, directory_attributes(inode, 0o555, 0, self._view), dot + 1):
                return
        ordinal = begin = max(0, start_id - 2)
        while (leaf := await self._next_leaf(ordinal, ordinal > begin)) is not None:
            if not self._fill_from(leaf, ordinal - leaf.first, buffer):
                return
            ordinal = leaf.first + len(leaf.page)

    async def _next_leaf(self, ordinal: int, answered: bool) -> Leaf | None:
        """The page of an entry; None behind the last. What is `answered` already must reach the kernel, which would
        otherwise not know the inodes that were counted: then an error waits for the next call, which meets it again.
        """
        try:
            return await self._leaf_at(ordinal)
        except (OSError, ArtfsError):
            if answered:
                return None
            raise

    async def _leaf_at(self, ordinal: int) -> Leaf | None:
        leaf = self._leaf
        if leaf is None or not leaf.first <= ordinal < leaf.first + len(leaf.page):
            self._leaf = leaf = await self._pages.leaf_at(self._root, ordinal, self._referrer)
        return leaf

    def _fill_from(self, leaf: Leaf, position: int, buffer: DirectoryBuffer) -> bool:
        """Add entries from `position`; False once the reply is full."""
        attributes = Attributes(0, 0, 0, self._view.uid, self._view.gid)
        with self._inodes.pages.held(leaf.key) as page:
            return _EntryFiller(self._inodes, self._inode, leaf, page).fill_all(attributes, position, buffer)


class _EntryFiller:
    """Attributes of one page's entries, one after the other, each counted as a lookup.

    Listing a million files is mostly this, so what neighbours share (`_shared`: mode, mtime, salt) is kept from one to the
    next, and the columns are read without making objects of them.
    """

    def __init__(self, inodes: Inodes, parent: int, leaf: Leaf, page_number: int) -> None:
        self._inodes = inodes
        self._count_lookup = inodes.entries.count_lookup
        self._parent = parent
        self._leaf = leaf
        self._times = leaf.times
        self._flags, self._sizes, self._digests = leaf.page.columns
        self._page_number = page_number
        self._shared = (-1, -1)
        self._salt_word = 0
        self._salt = b""

    def fill_all(self, attributes: Attributes, position: int, buffer: DirectoryBuffer) -> bool:
        """Add the entries from `position` on; False once the reply is full."""
        names, first_id = self._leaf.page.names, self._leaf.first + 3
        while position < len(names):
            self.fill(attributes, position)
            if not buffer.add(names[position], attributes, first_id + position):
                self._inodes.forget(attributes.inode, 1)
                return False
            position += 1
            if self._shared != (-1, -1) and position < len(names):
                end = min(self._leaf.page.run_end(position - 1), self._times.run_end(position - 1) or len(names))
                if end > position and not self._fill_run(attributes, position, end, buffer):
                    return False
                position = max(position, end)
        return True

    def _fill_run(self, attributes: Attributes, begin: int, end: int, buffer: DirectoryBuffer) -> bool:
        """Add files that only differ in name, content and size from the one before."""
        names, sizes, digests, add, first_id = (
            self._leaf.page.names,
            self._sizes,
            self._digests,
            buffer.add,
            self._leaf.first + 3,
        )
        count_lookup, salt_word, salt, page = self._count_lookup, self._salt_word, self._salt, self._page_number
        for i in range(begin, end):
            attributes.size_bytes = size = sizes[i]
            attributes.block_count = (size + BLOCK_BYTES - 1) // BLOCK_BYTES
            digest = digests[i * DIGEST_BYTES : (i + 1) * DIGEST_BYTES]
            number = (_from_bytes(digest[:8], "big") ^ salt_word) & NUMBER_MASK
            attributes.inode = inode = count_lookup(number, hash(digest + salt) & FINGERPRINT_MASK, page, i)
            if not add(names[i], attributes, first_id + i, alike=True):
                self._inodes.forget(inode, 1)
                return False
        return True

    def fill(self, attributes: Attributes, i: int) -> None:
        flags = self._flags[i]
        if flags & _KIND_MASK > EntryKind.LARGE_FILE or self._leaf.page.xattrs(i):
            self._fill_special(attributes, flags, i)
            return
        mtime_ns = self._times[i]
        if self._shared != (flags, mtime_ns):
            _describe(attributes, flags, self._leaf, i)
            self._salt_word, self._salt = file_salt(self._leaf.key.project, flags, mtime_ns, self._leaf.key.origin)
            self._shared = (flags, mtime_ns)
        attributes.size_bytes = size = self._sizes[i]
        attributes.block_count = (size + BLOCK_BYTES - 1) // BLOCK_BYTES
        digest = self._digests[i * DIGEST_BYTES : (i + 1) * DIGEST_BYTES]
        attributes.inode = self._count_lookup(
            (_from_bytes(digest[:8], "big") ^ self._salt_word) & NUMBER_MASK,
            hash(digest + self._salt) & FINGERPRINT_MASK,
            self._page_number,
            i,
        )

    def _fill_special(self, attributes: Attributes, flags: int, i: int) -> None:
        """Anything but a file without extended attributes."""
        page, key = self._leaf.page, self._leaf.key
        mtime_ns = _describe(attributes, flags, self._leaf, i)
        self._shared = (-1, -1)
        if flags & _KIND_MASK == EntryKind.DIRECTORY:
            identity = directory_identity(self._parent, page.names[i])
            attributes.inode = self._inodes.count_directory(identity, self._parent, self._page_number, i)
            return
        salt = salt_with_xattrs(key.project, flags, mtime_ns, page.xattrs(i), key.origin)
        number, fingerprint = salt.identity(page.digest(i))
        attributes.inode = self._count_lookup(number, fingerprint, self._page_number, i)


def _describe(attributes: Attributes, flags: int, leaf: Leaf, i: int) -> int:
    """Set all but the inode number; returns the mtime."""
    attributes.mode = _MODES[flags]
    kind = flags & _KIND_MASK
    if kind == EntryKind.DIRECTORY:
        attributes.size_bytes, attributes.block_count = DIRECTORY_BYTES, 0
    else:
        size = leaf.page.size_bytes(i)
        attributes.size_bytes, attributes.block_count = size, -(-size // BLOCK_BYTES)
    mtime_ns = leaf.created_at_ns if kind == EntryKind.SYMLINK else leaf.times[i]
    attributes.atime_ns = attributes.mtime_ns = attributes.ctime_ns = mtime_ns
    return mtime_ns
