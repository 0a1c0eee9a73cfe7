"""Manifests as clients write and read them: JSON with a digest, a size and perhaps a reference for each path."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from artfs.errors import InvalidValue, PathConflict
from artfs.model.names import split_path
from artfs.wandb_server.contents import File

POLICY = "wandb-storage-policy-v1"
MANIFEST_BYTES_MAX = 512 << 20  # some two million files


class ManifestEntry(msgspec.Struct, frozen=True):
    """What a client says of a path. What it says besides, such as where the file was on its machine, is dropped."""

    digest: str
    size: int = 0
    ref: str | None = None
    extra: dict[str, Any] | None = None

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


class _Manifest(msgspec.Struct, frozen=True):
    contents: dict[str, ManifestEntry]


_decoder = msgspec.json.Decoder(_Manifest)


def decode_manifest(data: bytes) -> dict[str, ManifestEntry]:
    """Entries by path, of which each is one that a version can hold. Raises InvalidValue, InvalidName."""
    try:
        contents = _decoder.decode(data).contents
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise InvalidValue(f"this is not a manifest: {error}") from None
    found: dict[str, ManifestEntry] = {}
    for path, entry in contents.items():
        plain = "/".join(split_path(path))
        if not plain or plain in found or entry.size < 0:
            raise InvalidValue(f"{path!r} is no path of a file, or there twice")
        found[plain] = entry
    return found


def merge(parts: Iterable[Mapping[str, ManifestEntry]]) -> dict[str, ManifestEntry]:
    """The union of what several writers contributed. Raises PathConflict where they differ."""
    found: dict[str, ManifestEntry] = {}
    for part in parts:
        for path, entry in part.items():
            there = found.setdefault(path, entry)
            if (there.digest, there.ref) != (entry.digest, entry.ref):
                raise PathConflict(
                    f"two writers contributed different contents for {path!r}", hint="write to different paths"
                )
    return found


def encode_manifest(files: Iterable[File], birth_id: str) -> bytes:
    """The manifest of a version."""
    return msgspec.json.encode(
        {
            "version": 1,
            "storagePolicy": POLICY,
            "storagePolicyConfig": {"storageLayout": "V2"},
            "contents": {file.path: _entry(file, birth_id) for file in files},
        }
    )


def _entry(file: File, birth_id: str) -> dict[str, Any]:
    told: dict[str, Any] = {"digest": file.digest, "size": file.entry.size_bytes, "skip_cache": False}
    if file.ref:
        told["ref"] = file.ref
    else:
        told["birthArtifactID"] = birth_id
    return told | ({"extra": file.extra} if file.extra else {})
