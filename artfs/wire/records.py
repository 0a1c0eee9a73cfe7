"""Records that pass between a client and a registry. Times are nanoseconds since the epoch, sizes are bytes."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from artfs.model.access import Role, Scope, Visibility
from artfs.model.digest import Digest, ObjectKey, ObjectKind

DEFAULT_TYPE = "dataset"
Text = Annotated[str, msgspec.Meta(extra_json_schema={"pattern": r"^[^\x00]*$"})]
NO_ROOT = Digest(b"")  # in a seal request whose root is not known yet


class ProjectRecord(msgspec.Struct, frozen=True):
    name: str
    uid: bytes  # 16 random bytes, in the header of the project's packs
    created_at_ns: int
    visibility: Visibility = Visibility.PRIVATE


class ArtifactRecord(msgspec.Struct, frozen=True):
    """`type` is None until the first version is sealed or somebody sets it."""

    project: str
    name: str
    type: str | None
    description: str
    created_at_ns: int
    version_count: int


class VersionRecord(msgspec.Struct, frozen=True):
    """A sealed version. `aliases` is as of the answer; all else but description and metadata never changes."""

    project: str
    artifact: str
    number: int
    root: Digest
    type: str
    description: str
    metadata: dict[str, Any]
    size_bytes: int
    file_count: int
    created_at_ns: int
    created_by: str
    aliases: list[str]
    expires_at_ns: int | None = None  # then it is deleted, unless an alias other than `latest` means it

    @property
    def name(self) -> str:
        return f"v{self.number}"

    @property
    def root_key(self) -> ObjectKey:
        return ObjectKey(ObjectKind.TREE, self.root)

    @property
    def digest(self) -> Digest:
        """The root tree's digest: equal for versions of equal content."""
        return self.root


class DraftRecord(msgspec.Struct, frozen=True):
    """An open upload. It holds leases on the objects it was told need not be sent, until `expires_at_ns`."""

    id: str
    project: str
    project_uid: bytes
    expires_at_ns: int


class SealRequest(msgspec.Struct, frozen=True):
    """What a draft becomes.

    `aliases` are moved besides `latest`. `type` None takes the artifact's, or DEFAULT_TYPE for a new one. With
    `keep_identical`, content equal to the newest version's makes no new version: that one gets the aliases, and lives longer if
    that is asked for. A description or metadata left None is empty. `run`, as `project/id`, is noted as having logged the
    version. `ttl_s` None or 0 is for ever.
    """

    artifact: str
    root: Digest
    aliases: list[str] = []
    type: str | None = None
    description: str | None = None
    metadata: dict[str, Any] | None = None
    created_by: str = ""
    keep_identical: bool = True
    run: str = ""
    ttl_s: int | None = None


class VersionChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What becomes of a version: what is null or empty stays as it is.

    `metadata` replaces all of it; `set_metadata` and `removed_metadata` are about keys of their own. `added_aliases` are moved
    to the version, `removed_aliases` are taken away if they still mean it. `ttl_s` counts from now; 0 is for ever.
    """

    description: Text | None = None
    metadata: dict[str, Any] | None = None
    set_metadata: dict[str, Any] = {}
    removed_metadata: list[str] = []
    added_aliases: list[str] = []
    removed_aliases: list[str] = []
    ttl_s: int | None = None


class SealResult(msgspec.Struct, frozen=True):
    version: VersionRecord
    created: bool  # False when identical content already was the newest version


class Location(msgspec.Struct, frozen=True, gc=False):
    """Where an object's stored bytes are.

    `url` is `file:` and an absolute path, or http(s) for ranges. `times` is only set for tree pages: see `wire.times`.
    `created_at_ns` is when the object entered the project.
    """

    size_bytes: int
    codec: int
    url: str
    offset: int
    stored_bytes: int
    created_at_ns: int
    times: bytes = b""


class DeletionPlan(msgspec.Struct, frozen=True):
    """What deleting versions would do, computed without doing it."""

    project: str
    artifact: str
    numbers: list[int]
    aliases: list[str]  # that point to them now
    object_count: int  # that nothing else holds
    freed_bytes: int  # stored bytes of those objects


class Change(msgspec.Struct, frozen=True):
    """One visible change, numbered in the order of commits.

    `kind` is one of `project`, `artifact`, `version`, `alias`; `name` is the version's or alias's directory name.
    """

    seq: int
    kind: str
    project: str
    artifact: str = ""
    name: str = ""


class MemberRecord(msgspec.Struct, frozen=True):
    """What a user may do in a project beyond what its visibility allows everybody."""

    user: str
    role: Role


class UserRecord(msgspec.Struct, frozen=True):
    """Somebody who may have tokens. An `admin` may do everything everywhere; a disabled user's tokens are not valid."""

    name: str
    admin: bool
    disabled: bool
    created_at_ns: int


class TokenRecord(msgspec.Struct, frozen=True):
    """A token without its secret. `id` is public and names it; `expires_at_ns` None means never."""

    id: str
    user: str
    name: str
    scopes: list[Scope]
    created_at_ns: int
    expires_at_ns: int | None
    last_used_at_ns: int | None = None


class NewToken(msgspec.Struct, frozen=True):
    """A token just made: the only time that its secret is told."""

    record: TokenRecord
    secret: str


class Identity(msgspec.Struct, frozen=True):
    """Who a caller is to the registry, and what its token allows.

    `token` is its token's id, empty for one that needs none; `expires_at_ns` None means never.
    """

    user: UserRecord
    scopes: list[Scope]
    token: str = ""
    expires_at_ns: int | None = None
