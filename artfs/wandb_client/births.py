"""Where a W&B server has the files of versions: each is named by its MD5, and by the artifact with which it came.

The tree of a version says of a file only 32 bytes (`file_digest`): the MD5, and a mark that stands for the rest, which is the
same for most files of a version. What a mark stands for is known since the version's manifest was read. Owner: a lock.
"""

from __future__ import annotations

import threading
from typing import NamedTuple
from urllib.parse import quote

from artfs.errors import ObjectMissing
from artfs.model.digest import DIGEST_BYTES, Digest
from artfs.model.reference import Reference, block_bytes_for
from artfs.wandb_client.versions import WandbVersion
from artfs.wire.wandb_manifests import LAYOUT_1, ManifestEntry

SCHEME = "wandb"
MD5_BYTES = 16
DEFAULT_REGION = "default"
_END = b"md5\0"  # of every mark


class Birth(NamedTuple):
    """Where files are that came together.

    Attributes:
        path: on the server, before the MD5; percent-encoded.
        created_at_ns: when they came; None where that is not told, or of a version that is no more.
    """

    path: str
    created_at_ns: int | None


class Births:
    """What is known of the files of one server."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_mark: dict[bytes, Birth] = {}

    def note(self, version: WandbVersion, layout: str, region: str, birth_id: str, created_at_ns: int | None) -> bytes:
        """The mark of the files that came to the server with `birth_id`, which may be empty, and are in `version`.

        Newer clients name project and artifact in the path as well, where a server says that it knows such paths; this form
        is known to all.
        """
        parts = ["artifacts", version.entity]
        if layout != LAYOUT_1:
            parts = ["artifactsV2", region or DEFAULT_REGION, version.entity, birth_id]
        mark = Digest.of("\0".join((*parts, birth_id)).encode())[: MD5_BYTES - len(_END)] + _END
        with self._lock:
            self._by_mark[mark] = Birth("/" + "/".join(quote(part, safe="") for part in parts), created_at_ns)
        return mark

    def of(self, digest: Digest) -> Birth | None:
        with self._lock:
            return self._by_mark.get(digest[MD5_BYTES:])

    def reference(self, digest: Digest, size_bytes: int, name: str) -> Reference:
        """How a file is read. Raises ObjectMissing for one of a version whose manifest was not read.

        Args:
            name: what the file is called, which its place ends with for people to see; empty where nobody knows.
        """
        birth = self.of(digest)
        if birth is None:
            raise ObjectMissing(f"there is no file {digest.text} in what was read of the server")
        md5 = digest[:MD5_BYTES].hex()
        uri = f"{SCHEME}:{birth.path}/{md5}/{quote(name if name.isprintable() and name else md5, safe='')}"
        return Reference(uri, size_bytes, f'"{md5}"', block_bytes=block_bytes_for(size_bytes))


def file_digest(entry: ManifestEntry, mark: bytes) -> Digest:
    """What the tree says of a file. Raises InvalidValue."""
    return Digest(bytes.fromhex(entry.md5) + mark)


def shown_digest(digest: Digest) -> str:
    """An entry's digest as people read it: a file's is its MD5."""
    return f"md5:{digest[:MD5_BYTES].hex()}" if digest.endswith(_END) else digest.text


def content_name(digest: Digest) -> Digest:
    """What a file with that digest is called in caches: the same for equal contents, wherever they came from."""
    return Digest(digest[:MD5_BYTES].ljust(DIGEST_BYTES, b"\0"))
