"""Ids that clients are told and give back: base64 of a kind and of names, so that nothing is kept for them.

A client also writes an artifact's id in hexadecimal, into references of other artifacts.
"""

from __future__ import annotations

import base64
import binascii
import re
from zlib import crc32

from artfs.errors import NotFound, UsageError
from artfs.model.lineage import RunRef, VersionRef

_PENDING = re.compile(r"[0-9a-f]{32}")


def encode(kind: str, name: str) -> str:
    return base64.b64encode(f"{kind}:{name}".encode()).decode()


def decode(kind: str, text: str) -> str:
    """The name in an id of that kind. Raises NotFound."""
    try:
        found, _, name = base64.b64decode(text, validate=True).decode().partition(":")
    except (ValueError, binascii.Error):
        found = name = ""
    if found != kind or not name:
        raise NotFound(f"there is no {kind} {text[:100]!r}", hint="an id is what the server told")
    return name


def artifact_id(ref: VersionRef) -> str:
    return encode("Artifact", str(ref))


def upload_id(upload: str) -> str:
    """Of an artifact that is on its way to become a version."""
    return encode("Artifact", upload)


def decode_artifact(text: str) -> VersionRef | str:
    """A version, or the upload that becomes one. Raises NotFound."""
    name = decode("Artifact", text)
    try:
        return name if _PENDING.fullmatch(name) else VersionRef.parse(name)
    except UsageError as error:
        raise NotFound(error.message) from None


def decode_run(text: str) -> RunRef:
    return RunRef.parse(decode("Run", text))


def project_number(project: str) -> int:
    """A number, which is what some clients want of a project. Nothing is found by it."""
    return crc32(project.encode())


def from_hex(text: str) -> str:
    """The id that a client wrote in hexadecimal. Raises NotFound."""
    try:
        return base64.b64encode(bytes.fromhex(text)).decode()
    except ValueError:
        raise NotFound(f"there is no Artifact {text[:100]!r}") from None
