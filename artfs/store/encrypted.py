"""Packs in a local directory, each encrypted as a whole: a `PackStore` around the plain one.

Everything above sees plain packs at their plain offsets, so ranges, verification, rewriting and fsck know nothing of this.
Plain packs from before encryption was switched on stay readable; `reencrypt` encrypts them, and those under older keys.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from artfs.errors import AlreadyExists
from artfs.model.pack import FOOTER_BYTES, decode_header
from artfs.model.pack import HEADER_BYTES as PACK_HEADER_BYTES
from artfs.store.encrypted_file import HEADER_BYTES, DecryptedBytes, decode_encrypted_header, encrypt_file
from artfs.store.encryption_keys import EncryptionKeys
from artfs.store.owned import owned_part
from artfs.store.pack_bytes import LocalPackBytes, PackBytes
from artfs.store.packs import LocalPackStore, PackName, StoredFile, replace_pack

STORE_SCHEME = "store"


class EncryptedPackStore:
    """A `PackStore` in a directory.

    Args:
        inner: where the encrypted files are kept.
        keys: the current one encrypts, all of them decrypt.
    """

    def __init__(
        self, inner: LocalPackStore, keys: EncryptionKeys, *, random_bytes: Callable[[int], bytes] = os.urandom
    ) -> None:
        self._inner = inner
        self._keys = keys
        self._random_bytes = random_bytes

    def ingest(self, name: PackName, source: Path) -> None:
        with LocalPackBytes(source) as plain:
            try:
                self._check_same(name, plain)
                return
            except FileNotFoundError:
                pass
            with self._encrypted(name, plain, source) as sealed:
                try:
                    self._inner.ingest(name, sealed)
                except AlreadyExists:  # another encryption of the same, perhaps, that was faster
                    self._check_same(name, plain)

    def open(self, name: PackName) -> PackBytes:
        sealed = LocalPackBytes(self._inner.path(name))
        try:
            header = decode_encrypted_header(sealed.pread(0, HEADER_BYTES), sealed.label)
            return sealed if header is None else DecryptedBytes(sealed, header, name, self._keys)
        except BaseException:
            sealed.close()
            raise

    def read(self, name: PackName, offset: int, length: int) -> bytes:
        with self.open(name) as pack:
            return pack.pread(offset, length)

    def size_bytes(self, name: PackName) -> int:
        with self.open(name) as pack:
            return pack.size_bytes

    def delete(self, name: PackName) -> None:
        self._inner.delete(name)

    def delete_project(self, project_uid: bytes) -> None:
        self._inner.delete_project(project_uid)

    def files(self, project_uid: bytes | None = None) -> Iterator[StoredFile]:
        return self._inner.files(project_uid)

    def set_aside(self, place: str, mark: str) -> str:
        return self._inner.set_aside(place, mark)

    def internal_path(self, name: PackName) -> str:
        return self._inner.internal_path(name)

    def url(self, name: PackName) -> str:
        return f"{STORE_SCHEME}:{name.project_uid.hex()}/{name.pack_id.hex()}"

    def check(self) -> None:
        self._inner.check()

    def reencrypt(self, name: PackName, spool: Path) -> bool:
        """Encrypt one pack with the current key if it is not; see `reencrypt`. Raises DamagedPack for one that is no pack."""
        with LocalPackBytes(self._inner.path(name)) as stored:
            start = stored.pread(0, max(HEADER_BYTES, PACK_HEADER_BYTES))
            header = decode_encrypted_header(start, stored.label)
        if header is None:
            decode_header(start[:PACK_HEADER_BYTES])  # what is damaged must not be buried under a layer more
        elif header.key_name == self._keys.current:
            return False
        with owned_part(spool) as part, self.open(name) as plain, self._encrypted(name, plain, part / "pack") as sealed:
            replace_pack(self._inner, name, sealed)
        return True

    @contextmanager
    def _encrypted(self, name: PackName, plain: PackBytes, beside: Path) -> Iterator[Path]:
        """A file beside `beside` with the pack encrypted, gone after the block."""
        sealed = beside.with_name(f".{beside.name}.{os.urandom(8).hex()}.sealed")
        try:
            encrypt_file(plain, sealed, name, self._keys, self._random_bytes)
            yield sealed
        finally:
            with suppress(OSError):
                sealed.unlink(missing_ok=True)

    def _check_same(self, name: PackName, plain: PackBytes) -> None:
        """Raises AlreadyExists for another pack, FileNotFoundError for none. Equal ends mean equal packs."""
        with self.open(name) as stored:
            if stored.size_bytes != plain.size_bytes or _end(stored) != _end(plain):
                raise AlreadyExists(
                    f"another pack is stored as {name.pack_id.hex()}.pack", hint="build the pack again under a new id"
                )


def reencrypt(store: EncryptedPackStore, spool: Path, *, progress: Callable[[int], None] | None = None) -> int:
    """Encrypt all packs with the current key that are not, and return how many were not.

    Hold the registry's maintenance lock meanwhile: a pack must not be deleted while it is replaced. Readers go on. Each pack
    is replaced all or nothing, so an interrupted run is simply run again.

    Args:
        spool: a directory for the new file of one pack.
        progress: told how many packs were looked at.
    """
    done = 0
    for number, name in enumerate([file.name for file in store.files() if file.name is not None], 1):
        with suppress(FileNotFoundError):  # the pack of an upload that was given up
            done += store.reencrypt(name, spool)
        if progress is not None:
            progress(number)
    return done


def _end(pack: PackBytes) -> bytes:
    return pack.pread(max(0, pack.size_bytes - FOOTER_BYTES), FOOTER_BYTES)
