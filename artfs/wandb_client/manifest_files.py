"""Manifests that were read, in a directory that all of a user's processes share: a version never changes, so none is stale.

To lose or damage any of it harms nothing: a file that is not what was written is removed, and one that cannot be written is not.
Those used least lately go when there are too many.
"""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

import zstandard

from artfs.model.digest import DIGEST_BYTES, Digest
from artfs.store.durable import write_private
from artfs.wire.wandb_manifests import MANIFEST_BYTES_MAX

_SUFFIX = ".manifest"
_log = logging.getLogger(__name__)


class ManifestFiles:
    """The files in `directory`, which is made when first needed; together at most `bytes_max`."""

    def __init__(self, directory: Path, bytes_max: int) -> None:
        self._directory = directory
        self._bytes_max = bytes_max

    def find(self, root: Digest) -> bytes | None:
        """What was kept for the version that `root` stands for."""
        path = self._path(root)
        try:
            stored = path.read_bytes()
            data = zstandard.ZstdDecompressor().decompress(stored[DIGEST_BYTES:], max_output_size=MANIFEST_BYTES_MAX)
            if sha256(data).digest() != stored[:DIGEST_BYTES]:
                raise ValueError("it does not match its digest")
            os.utime(path)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, zstandard.ZstdError) as error:
            _log.warning("the manifest in %s is read anew: %s", path, error)
            with suppress(OSError):
                path.unlink()
            return None
        return data

    def keep(self, root: Digest, data: bytes | bytearray) -> None:
        stored = sha256(data).digest() + zstandard.ZstdCompressor().compress(data)
        if len(stored) > self._bytes_max:
            return
        try:
            write_private(self._path(root), stored)
            self._trim()
        except OSError as error:
            _log.warning("a manifest is not kept in %s: %s", self._directory, error)

    def _path(self, root: Digest) -> Path:
        return self._directory / f"{root.hex()}{_SUFFIX}"

    def _trim(self) -> None:
        found = [(entry.stat(), entry.path) for entry in os.scandir(self._directory) if entry.name.endswith(_SUFFIX)]
        left_bytes = sum(told.st_size for told, _ in found)
        for told, path in sorted(found, key=lambda one: one[0].st_mtime_ns):
            if left_bytes <= self._bytes_max:
                return
            Path(path).unlink(missing_ok=True)
            left_bytes -= told.st_size
