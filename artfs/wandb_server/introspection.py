"""Which fields and arguments there are, for clients that ask before they use them (those before 0.23 do)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from artfs.wandb_server.graphql import Node

_ARGUMENTS: Mapping[str, Mapping[str, Iterable[str]]] = {
    "Query": {
        "viewer": (),
        "serverInfo": (),
        "project": ("name", "entityName"),
        "model": ("name", "entityName"),
        "models": ("entityName", "first", "after"),
        "entity": ("name",),
        "organization": ("name",),
        "artifact": ("id",),
        "artifactCollection": ("id",),
        "clientIDMapping": ("clientID",),
    },
    "Mutation": {
        "createArtifact": ("input",),
        "createArtifactManifest": ("input",),
        "updateArtifactManifest": ("input",),
        "createArtifactFiles": ("input",),
        "commitArtifact": ("input",),
        "useArtifact": ("input",),
        "updateArtifact": ("input",),
        "addAliases": ("input",),
        "deleteAliases": ("input",),
        "deleteArtifact": ("input",),
        "deleteArtifactSequence": ("input",),
        "updateArtifactSequence": ("input",),
        "upsertBucket": ("input",),
        "createRunFiles": ("input",),
        "deleteRun": ("input",),
        "upsertSweep": ("input",),
        "createAgent": ("input",),
        "agentHeartbeat": ("input",),
    },
    "ServerInfo": {"cliVersionInfo": (), "latestLocalVersionInfo": (), "features": ()},
    "ServerSettings": {"serverMessages": ()},
    "Project": {
        "artifact": ("name",),
        "artifactType": ("name",),
        "artifactTypes": ("after", "first"),
        "artifactCollection": ("name",),
        "artifactCollectionMembership": ("name",),
        "run": ("name",),
        "runs": ("filters", "after", "first", "order"),
        "sweep": ("sweepName",),
        "sweeps": ("after", "first"),
        "internalId": (),
    },
    "Artifact": {
        "files": ("names", "after", "first"),
        "filesByManifestEntries": ("entries", "storageLayout", "manifestVersion", "after", "first"),
        **dict.fromkeys(("id", "aliases", "tags", "ttlDurationSeconds", "ttlIsInherited", "historyStep", "digest"), ()),
        **dict.fromkeys(("description", "metadata", "size", "fileCount", "state", "createdAt", "updatedAt"), ()),
        **dict.fromkeys(
            ("artifactSequence", "artifactType", "versionIndex", "currentManifest", "createdBy", "usedBy"), ()
        ),
    },
    "ArtifactSequence": {
        "project": (),
        "artifacts": ("after", "first", "order", "filters"),
        "artifactMembership": ("aliasName",),
    },
    "ArtifactCollection": {"project": (), "artifacts": ("after", "first", "order", "filters")},
    "ArtifactCollectionMembership": {"files": ("names", "after", "first")},
}
_INPUTS: Mapping[str, Iterable[str]] = {
    "CreateArtifactInput": (
        *(
            "entityName",
            "projectName",
            "runName",
            "artifactTypeName",
            "artifactCollectionName",
            "artifactCollectionNames",
        ),
        *("digest", "description", "aliases", "metadata", "ttlDurationSeconds", "tags", "distributedID", "clientID"),
        *("sequenceClientID", "enableDigestDeduplication", "historyStep"),
    ),
    "UseArtifactInput": ("entityName", "projectName", "runName", "artifactID", "usedAs"),
    "AddAliasesInput": ("artifactID", "aliases"),
    "DeleteAliasesInput": ("artifactID", "aliases"),
    "CreateArtifactFileSpecInput": ("artifactID", "name", "md5", "mimetype", "artifactManifestID", "storagePath"),
    "UpdateArtifactInput": ("artifactID", "description", "metadata", "ttlDurationSeconds", "tagsToAdd", "tagsToDelete"),
}


def described(name: str) -> Node:
    """A type, with no fields if nothing is known of it."""
    fields = [
        {"name": field, "args": [{"name": argument} for argument in arguments]}
        for field, arguments in _ARGUMENTS.get(name, {}).items()
    ]
    inputs = [{"name": field} for field in _INPUTS.get(name, ())]
    return {
        "__typename": "__Type",
        "name": name,
        "kind": "INPUT_OBJECT" if inputs else "OBJECT",
        "fields": fields,
        "inputFields": inputs,
        "enumValues": [],
    }
