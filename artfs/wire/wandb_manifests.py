"""Manifests of W&B's artifacts, as its clients and servers write them: JSON with a digest and a size for each path."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from hashlib import md5
from typing import Any

import msgspec

from artfs.errors import InvalidValue
from artfs.model.names import split_path

POLICY = "wandb-storage-policy-v1"
LAYOUT_1, LAYOUT_2 = "V1", "V2"
MANIFEST_BYTES_MAX = 512 << 20  # some two million files
DEPTH_MAX = 512  # of directories: no path of a file system is deeper
_DIGEST_HEAD = b"wandb-artifact-manifest-v1\n"


class ManifestEntry(msgspec.Struct, frozen=True):
    """What is said of a path. What is said besides, such as where the file was on its writer's machine, is dropped.

    Attributes:
        digest: base64 of an MD5; of a reference, what its source says.
        size: in bytes; None where an old client did not tell it.
        birth_id: the artifact with which the file came to the server; empty if that is not told.
    """

    digest: str
    size: int | None = 0
    ref: str | None = None
    extra: dict[str, Any] | None = None
    birth_id: str | None = msgspec.field(default=None, name="birthArtifactID")

    @property
    def md5(self) -> str:
        """In hexadecimal. Raises InvalidValue."""
        try:
            found = base64.b64decode(self.digest, validate=True)
        except (binascii.Error, ValueError):
            found = b""
        if len(found) != 16:
            raise InvalidValue(f"{self.digest[:100]!r} is not an MD5 digest in base64")
        return found.hex()

    @property
    def etag(self) -> str:
        """Of what a reference refers to, in quotation marks as HTTP has it; empty if it is not told."""
        etag = str((self.extra or {}).get("etag") or "")
        return f'"{etag}"' if etag and not etag.endswith('"') else etag


class StoragePolicy(msgspec.Struct, frozen=True):
    """How files are stored, which is a part of where they are read."""

    layout: str | None = msgspec.field(default=LAYOUT_1, name="storageLayout")
    region: str | None = msgspec.field(default=None, name="storageRegion")


class Manifest(msgspec.Struct, frozen=True):
    """A manifest.

    Attributes:
        contents: entries by path, each of which a version can hold.
    """

    contents: dict[str, ManifestEntry]
    policy: StoragePolicy = msgspec.field(default_factory=StoragePolicy, name="storagePolicyConfig")

    @property
    def digest(self) -> str:
        """What clients compute of paths and digests, in hexadecimal: equal for versions of equal content."""
        return artifact_digest((path, self.contents[path].digest) for path in sorted(self.contents))


_decoder = msgspec.json.Decoder(Manifest)


def decode_manifest(data: bytes | bytearray) -> Manifest:
    """Raises InvalidValue, InvalidName."""
    try:
        told = _decoder.decode(data)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise InvalidValue(f"this is not a manifest: {error}") from None
    found: dict[str, ManifestEntry] = {}
    for path, entry in told.contents.items():
        parts = split_path(path)
        plain = "/".join(parts)
        if not plain or plain in found or (entry.size or 0) < 0 or len(parts) > DEPTH_MAX:
            raise InvalidValue(f"{path[:1000]!r} is no path of a file, or there twice")
        found[plain] = entry
    return Manifest(found, told.policy)


def artifact_digest(files: Iterable[tuple[str, str]]) -> str:
    """The digest, in hexadecimal, of an artifact with those paths and digests, which are in the order of paths."""
    computed = md5(_DIGEST_HEAD, usedforsecurity=False)
    for path, digest in files:
        computed.update(f"{path}:{digest}\n".encode())
    return computed.hexdigest()
