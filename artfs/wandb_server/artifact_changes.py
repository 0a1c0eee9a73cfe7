"""What clients do to artifacts: write one, change what is said of a version, note its use, delete it."""

from __future__ import annotations

import base64
import binascii
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from artfs.errors import ArtifactNotFound, InvalidValue, LineageCycle, StillAliased, TypeMismatch
from artfs.model.access import Operation
from artfs.model.lineage import EdgeKind, RunRef, VersionRef
from artfs.model.names import LATEST, check_alias, check_name
from artfs.wandb_server import ids
from artfs.wandb_server.artifact_nodes import TTL_OFF, ArtifactNodes, ref_of
from artfs.wandb_server.committing import commit, find_version, identical_version, newest_version, take_identical
from artfs.wandb_server.downloads import WriteFile, WriteManifest, signed_url
from artfs.wandb_server.graphql import Args, Field, Node
from artfs.wandb_server.nodes import json_object
from artfs.wandb_server.service import Caller
from artfs.wandb_server.tags import set_tags
from artfs.wandb_server.uploads import FULL, Request, Upload
from artfs.wire.records import VersionChange, VersionRecord

FILES_MAX = 10_000  # announced at once
TTL_INHERIT = -1


class ArtifactWriting:
    """The mutations that make a version."""

    def __init__(self, caller: Caller, entity: str) -> None:
        self._caller = caller
        self._registry = caller.registry
        self._uploads = caller.service.uploads
        self._entity = entity

    def fields(self) -> dict[str, Field]:
        return {
            "createArtifact": self._create,
            "createArtifactManifest": self._create_manifest,
            "updateArtifactManifest": self._update_manifest,
            "createArtifactFiles": self._create_files,
            "commitArtifact": self._commit,
            "createArtifactType": lambda args: {
                "artifactType": {"id": ids.encode("ArtifactType", str(args["input"]["name"]))}
            },
        }

    def _create(self, args: Args) -> Node:
        given = args["input"]
        upload = _new_upload(given)
        self._registry.projects.create(upload.project, exist_ok=True)
        self._registry.guard.require(Operation.WRITE, upload.project)
        self._check_type(upload)
        run = str(given.get("runName") or "")
        writer = str(RunRef(upload.project, run)) if run else ""
        may_be_same = not upload.slot and given.get("enableDigestDeduplication") is not False
        same = identical_version(self._caller, upload) if may_be_same else None
        if same is not None:
            take_identical(self._caller, upload, writer, same)
            return {"artifact": self._told(ids.artifact_id(ref_of(same)), "COMMITTED", upload)}
        begun = self._uploads.begin(upload, writer)
        return {"artifact": self._told(ids.upload_id(begun.id), "PENDING", begun)}

    def _told(self, id_: str, state: str, upload: Upload) -> Node:
        nodes = ArtifactNodes(self._caller, self._entity)

        def latest(args: Args) -> Node | None:
            found = newest_version(self._caller, upload.project, upload.artifact)
            return None if found is None else nodes.artifact(found)

        sequence = {
            "id": ids.encode("ArtifactCollection", f"{upload.project}/{upload.artifact}"),
            "latestArtifact": latest,
        }
        return {
            "__typename": "Artifact",
            "id": id_,
            "state": state,
            "digest": upload.request.digest,
            "artifactSequence": sequence,
        }

    def _check_type(self, upload: Upload) -> None:
        """A commit would refuse it too, but only after everything was sent."""
        try:
            there = self._registry.artifacts.get(upload.project, upload.artifact).type
        except ArtifactNotFound:
            return
        if there is not None and there != upload.request.type:
            raise TypeMismatch(
                f"{upload.project}/{upload.artifact} has the type {there!r}, not {upload.request.type!r}",
                hint="use that type, or another name",
            )

    def _create_manifest(self, args: Args) -> Node:
        given = args["input"]
        upload = self._find(given["artifactID"])
        digest = _hex_md5(given.get("digest"))
        kind = str(given.get("type") or FULL)
        manifest = self._uploads.add_manifest(upload, kind, str(given.get("baseArtifactID") or ""), digest)
        return {"artifactManifest": self._manifest(manifest, digest)}

    def _update_manifest(self, args: Args) -> Node:
        given = args["input"]
        number = int(ids.decode("ArtifactManifest", str(given["artifactManifestID"])))
        row = self._uploads.manifest(number)
        self._uploads.find(self._registry, row.upload)  # that the caller may write to it
        digest = _hex_md5(given.get("digest")) or row.md5
        return {"artifactManifest": self._manifest(number, digest)}

    def _manifest(self, number: int, digest: str) -> Node:
        id_ = ids.encode("ArtifactManifest", str(number))

        def url(args: Args) -> str:
            return signed_url(self._caller, "manifest", "wandb_manifest.json", WriteManifest(number, digest))

        file = {"__typename": "File", "id": id_, "name": "wandb_manifest.json", "uploadUrl": url}
        return {"id": id_, "file": file | {"uploadHeaders": _headers(digest)}}

    def _create_files(self, args: Args) -> Node:
        files = args["input"].get("artifactFiles") or []
        if len(files) > FILES_MAX:
            raise InvalidValue(f"{len(files)} files at once", hint=f"send at most {FILES_MAX}")
        by_upload: dict[str, list[str]] = {}
        for file in files:
            by_upload.setdefault(str(file["artifactID"]), []).append(_hex_md5(file.get("md5")))
        uploads = {id_: self._find(id_) for id_ in by_upload}
        there = {id_: self._stored(uploads[id_], digests) for id_, digests in by_upload.items()}
        edges = [
            {"node": self._file(file, uploads[str(file["artifactID"])], there[str(file["artifactID"])])}
            for file in files
        ]
        return {"files": {"__typename": "FileConnection", "edges": edges}}

    def _stored(self, upload: Upload, digests: Sequence[str]) -> set[str]:
        """Those that need not be sent: they are stored, and held for a day."""
        project = self._registry.projects.get(upload.project)
        known = self._caller.service.contents.by_md5(project, digests)
        if not known:
            return set()
        session = self._caller.service.session(self._registry, upload.project)
        try:
            gone = session.ensure(list(known.values()))
        finally:
            session.close()
        return {digest for digest, content in known.items() if content not in gone}

    def _file(self, given: Mapping[str, Any], upload: Upload, there: set[str]) -> Node:
        digest, name = _hex_md5(given.get("md5")), str(given.get("name") or "")
        allowed = WriteFile(upload.project, upload.id, digest)
        url = None if digest in there else signed_url(self._caller, "content", name.rpartition("/")[2], allowed)
        return {
            "__typename": "File",
            "id": ids.encode("File", f"{upload.id}/{name}"),
            "name": name,
            "displayName": name,
            "storagePath": f"wandb_artifacts/{digest}",
            "uploadUrl": url,
            "uploadHeaders": _headers(digest),
            "uploadMultipartUrls": None,
            "artifact": {"__typename": "Artifact", "id": ids.upload_id(upload.id)},
        }

    def _commit(self, args: Args) -> Node:
        found = ids.decode_artifact(str(args["input"]["artifactID"]))
        if isinstance(found, VersionRef):
            raise InvalidValue(f"{found} is a version: it never changes", hint="log a new one")
        ref = commit(self._caller, found)
        version = self._registry.versions.resolve(ref.project, ref.artifact, f"v{ref.number}")
        return {"artifact": ArtifactNodes(self._caller, self._entity).artifact(version)}

    def _find(self, id_: Any) -> Upload:
        found = ids.decode_artifact(str(id_))
        if isinstance(found, VersionRef):
            raise InvalidValue(f"{found} is a version: it never changes", hint="log a new one")
        upload = self._uploads.find(self._registry, found)
        if upload.version is not None:
            raise InvalidValue(f"this artifact was committed as {upload.version}", hint="log a new one")
        return upload


class ArtifactChanges:
    """The mutations about versions and collections that are there."""

    def __init__(self, caller: Caller, entity: str) -> None:
        self._caller = caller
        self._registry = caller.registry
        self._entity = entity

    def fields(self) -> dict[str, Field]:
        return {
            "useArtifact": self._use,
            "updateArtifact": self._update,
            "addAliases": lambda args: self._aliases(args, lambda names: VersionChange(added_aliases=names)),
            "deleteAliases": lambda args: self._aliases(args, lambda names: VersionChange(removed_aliases=names)),
            "deleteArtifact": self._delete,
            "deleteArtifactSequence": self._delete_collection,
            "updateArtifactSequence": self._update_collection,
        }

    def _use(self, args: Args) -> Node:
        given = args["input"]
        version = find_version(self._caller, str(given["artifactID"]))
        run = RunRef(str(given["projectName"]), str(given["runName"]))
        with suppress(LineageCycle):  # what a run logged itself it may look at: clients do, and that is no edge
            self._registry.lineage.record(run.project, run.id, EdgeKind.USED, [ref_of(version)])
        return {"artifact": self._artifact(version)}

    def _update(self, args: Args) -> Node:
        given = args["input"]
        version = find_version(self._caller, str(given["artifactID"]))
        metadata = given.get("metadata")
        change = VersionChange(
            description=given.get("description"),
            metadata=None if metadata is None else json_object(metadata, "metadata"),
            ttl_s=_ttl_from_now(given.get("ttlDurationSeconds"), version),
        )
        self._registry.versions.update(version.project, version.artifact, version.number, change)
        tags = [[str(one["tagName"]) for one in given.get(name) or ()] for name in ("tagsToAdd", "tagsToDelete")]
        set_tags(self._caller.service.state, ref_of(version), tags[0], tags[1])
        return {"artifact": self._artifact(find_version(self._caller, str(given["artifactID"])))}

    def _aliases(self, args: Args, change: Callable[[list[str]], VersionChange]) -> Node:
        given = args["input"]
        version = find_version(self._caller, str(given["artifactID"]))
        for one in given.get("aliases") or ():
            if one.get("artifactCollectionName", version.artifact) != version.artifact:
                raise InvalidValue(
                    "an alias is of the version's own collection", hint="log it there, to link is not supported"
                )
        names = [str(one["alias"]) for one in given.get("aliases") or ()]
        self._registry.versions.update(version.project, version.artifact, version.number, change(names))
        return {"success": True}

    def _delete(self, args: Args) -> Node:
        given = args["input"]
        version = find_version(self._caller, str(given["artifactID"]))
        if version.aliases and not given.get("deleteAliases"):
            raise StillAliased(
                f"{ref_of(version)} has the aliases {', '.join(version.aliases)}",
                hint="delete it with delete_aliases=True",
            )
        delete_aliases = bool(given.get("deleteAliases"))
        told = self._artifact(version)
        self._registry.versions.delete(
            version.project, version.artifact, [version.number], delete_aliases=delete_aliases
        )
        return {"artifact": told}

    def _delete_collection(self, args: Args) -> Node:
        project, artifact = _collection(args["input"].get("artifactSequenceID"))
        versions = self._registry.versions
        numbers = [one.number for one in versions.list(project, artifact)]
        if numbers:
            versions.delete(project, artifact, numbers, delete_aliases=True)
        self._registry.artifacts.delete(project, artifact)
        return {"artifactCollection": {"__typename": "ArtifactSequence", "state": "DELETED"}}

    def _update_collection(self, args: Args) -> Node:
        given = args["input"]
        project, artifact = _collection(given.get("artifactSequenceID"))
        if given.get("name") not in (None, artifact):
            raise InvalidValue("a collection keeps its name", hint="log its versions under another one")
        description = given.get("description")
        record = self._registry.artifacts.update(project, artifact, description=description)
        return {"artifactCollection": ArtifactNodes(self._caller, self._entity).collection(record)}

    def _artifact(self, version: VersionRecord) -> Node:
        return ArtifactNodes(self._caller, self._entity).artifact(version)


def _collection(id_: Any) -> tuple[str, str]:
    project, _, artifact = ids.decode("ArtifactCollection", str(id_)).partition("/")
    return project, artifact


def _new_upload(given: Mapping[str, Any]) -> Upload:
    """Raises InvalidName and InvalidValue."""
    names = given.get("artifactCollectionNames") or [given.get("artifactCollectionName")]
    metadata, ttl_s = given.get("metadata"), given.get("ttlDurationSeconds")
    request = Request(
        type=check_name("type", str(given.get("artifactTypeName") or "")),
        digest=str(given.get("digest") or ""),
        description=given.get("description"),
        metadata=json_object(metadata, "metadata") if metadata else None,
        aliases=[check_alias(str(one["alias"])) for one in given.get("aliases") or () if one["alias"] != LATEST],
        tags=[str(one["tagName"]) for one in given.get("tags") or ()],
        ttl_s=int(ttl_s) if isinstance(ttl_s, int) and ttl_s > 0 else None,
    )
    return Upload(
        id=os.urandom(16).hex(),
        project=check_name("project", str(given.get("projectName") or "")),
        artifact=check_name("artifact", str(names[0] or "")),
        request=request,
        slot=str(given.get("distributedID") or ""),
        client_id=str(given.get("clientID") or ""),
    )


def _ttl_from_now(told: Any, version: VersionRecord) -> int | None:
    """None where nothing changes. A client counts from the creation, the registry from now."""
    if told is None:
        return None
    before_s = (
        TTL_OFF if version.expires_at_ns is None else round((version.expires_at_ns - version.created_at_ns) / 10**9)
    )
    told_s = int(told)
    if told_s in (TTL_INHERIT, TTL_OFF, 0):
        return None if before_s == TTL_OFF else 0
    if told_s == before_s:
        return None
    left_s = told_s - round((time.time_ns() - version.created_at_ns) / 10**9)
    if left_s <= 0:
        raise InvalidValue(f"the version is older than {told_s} s already", hint="delete it, or let it live longer")
    return left_s


def _hex_md5(digest: Any) -> str:
    """An MD5 that a client wrote in base64 or in hexadecimal; empty for none. Raises InvalidValue."""
    text = str(digest or "")
    if not text:
        return ""
    try:
        found = bytes.fromhex(text) if len(text) == 32 else base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        found = b""
    if len(found) != 16:
        raise InvalidValue(f"{text[:100]!r} is not an MD5 digest")
    return found.hex()


def _headers(digest: str) -> list[str]:
    return [f"Content-MD5:{base64.b64encode(bytes.fromhex(digest)).decode()}"] if digest else []
