"""What signed URLs allow, and where they lead."""

from __future__ import annotations

from urllib.parse import quote

import msgspec

from artfs.model.content import FileContent
from artfs.model.digest import Digest
from artfs.model.lineage import VersionRef
from artfs.model.tree import EntryKind
from artfs.wandb_server.contents import File
from artfs.wandb_server.service import Caller
from artfs.wandb_server.signing import READ_LIFE_S, WRITE_LIFE_S

FILES = "/wandb/files"  # below it are all signed URLs
_KINDS = {int(kind): kind for kind in (EntryKind.FILE, EntryKind.LARGE_FILE)}


class ReadFile(msgspec.Struct, frozen=True, array_like=True):
    """To read a stored file."""

    project: str
    kind: int
    digest: bytes
    size_bytes: int

    @property
    def content(self) -> FileContent:
        return FileContent(_KINDS[self.kind], Digest(self.digest), self.size_bytes)


class ReadManifest(msgspec.Struct, frozen=True, array_like=True):
    """To read a version's manifest."""

    version: str


class ReadRunFile(msgspec.Struct, frozen=True, array_like=True):
    project: str
    run: str
    name: str


class WriteFile(msgspec.Struct, frozen=True, array_like=True):
    """To send a file of an upload, which has that MD5."""

    project: str
    upload: str
    md5: str


class WriteManifest(msgspec.Struct, frozen=True, array_like=True):
    manifest: int
    md5: str


class WriteRunFile(msgspec.Struct, frozen=True, array_like=True):
    project: str
    run: str
    name: str


def file_url(caller: Caller, project: str, file: File) -> str:
    content = file.content
    return content_url(caller, project, content, file.path.rpartition("/")[2])


def content_url(caller: Caller, project: str, content: FileContent, name: str) -> str:
    allowed = ReadFile(project, int(content.kind), bytes(content.digest), content.size_bytes)
    return signed_url(caller, "content", name, allowed)


def manifest_url(caller: Caller, version: VersionRef) -> str:
    return signed_url(caller, "manifest", "wandb_manifest.json", ReadManifest(str(version)))


def signed_url(caller: Caller, what: str, name: str, allowed: msgspec.Struct) -> str:
    life_s = READ_LIFE_S if isinstance(allowed, ReadFile | ReadManifest | ReadRunFile) else WRITE_LIFE_S
    signed = caller.service.signer.sign(allowed, life_s)
    shown = quote(name, safe="") if name.isprintable() else ""
    return f"{caller.base_url}{FILES}/{what}/{shown or 'file'}?{signed}"
