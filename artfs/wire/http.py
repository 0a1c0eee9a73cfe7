"""Bodies of requests and answers that are not records, and paths, as server and client write them. Pure: types only."""

from __future__ import annotations

from typing import Annotated, Generic, TypeVar

import msgspec

from artfs.model.access import Role, Scope, Visibility
from artfs.model.digest import Digest, ObjectKey
from artfs.model.lineage import EdgeKind, VersionRef
from artfs.model.names import LABEL_CHARACTERS_MAX
from artfs.model.pack import OBJECT_BYTES_MAX
from artfs.wire.deletions import Removal
from artfs.wire.records import Change, Location, SealRequest, Text
from artfs.wire.runs import HISTORY_ROWS_MAX, HistoryRow, Part
from artfs.wire.service import EDGES_MAX, KEYS_MAX

API = "/v1"
TOKEN_SCHEME = "Bearer"
PAGE_MAX = 1000  # items of a list in one answer
WAIT_S_MAX = 30.0  # of a long poll
REQUEST_ID = "X-Request-Id"
EXCHANGE_ID = "Artfs-Exchange"
"""Chosen by a client for what it sends, and said again with the answer, which tells it from the answer to another request.

Proxies make request ids of their own.
"""

_T = TypeVar("_T")
_NAME = "[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"
NAME_PATTERN = f"^{_NAME}$"  # artfs.model.names decides; this is for the documentation
Name = Annotated[str, msgspec.Meta(extra_json_schema={"pattern": NAME_PATTERN})]
KeyText = Annotated[str, msgspec.Meta(extra_json_schema={"pattern": "^(chunk|recipe|tree) sha256:[0-9a-f]{64}$"})]
VersionText = Annotated[str, msgspec.Meta(extra_json_schema={"pattern": f"^{_NAME}/{_NAME}:v(0|[1-9][0-9]{{0,17}})$"})]
DraftId = Annotated[str, msgspec.Meta(extra_json_schema={"pattern": "^[0-9a-f]{32}$"})]
Number = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]  # what a database holds
# Whoever is told a place makes room for what is there: as much as an object, and its copy in a pack, may have.
ObjectBytes = Annotated[int, msgspec.Meta(ge=0, le=OBJECT_BYTES_MAX)]
StoredBytes = Annotated[int, msgspec.Meta(ge=0, le=2 * OBJECT_BYTES_MAX)]


class ErrorBody(msgspec.Struct, frozen=True):
    """Every answer of 400 and above. `code` is one of artfs.errors'."""

    code: str
    message: str
    hint: str = ""


class Hello(msgspec.Struct, frozen=True):
    """What a server is. `identity` is its registry's; `api` the highest version of this interface that it speaks."""

    identity: str
    version: str
    api: int = 1


class Page(msgspec.Struct, Generic[_T], frozen=True):
    """A part of a list; `next` is what `after` must be for the following part, null at the end."""

    items: list[_T]
    next: str | int | None = None


class NewProject(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: Name
    exist_ok: bool = False
    visibility: Visibility = Visibility.PRIVATE


class ProjectChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    visibility: Visibility


class MemberChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    role: Role


class NewArtifact(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: Name
    type: Name | None = None
    exist_ok: bool = False


class ArtifactChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is null stays as it is."""

    type: Name | None = None
    description: Text | None = None


class Deletion(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Versions to delete by number; with `dry_run` only the plan is made."""

    numbers: list[Number]
    delete_aliases: bool = False
    dry_run: bool = False


class ProjectDeletion(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What of a project to delete together; with `dry_run` only the plan is made.

    `versions` are numbers by artifact; `artifacts` go with all their versions; `whole_project` is everything. With `clean` false
    the bytes are gone only after another call.
    """

    versions: Annotated[
        dict[str, list[Number]], msgspec.Meta(extra_json_schema={"propertyNames": {"pattern": NAME_PATTERN}})
    ] = {}
    artifacts: list[Name] = []
    whole_project: bool = False
    delete_aliases: bool = False
    dry_run: bool = False
    clean: bool = True

    @property
    def removal(self) -> Removal:
        return Removal(self.versions, self.artifacts, self.whole_project, self.delete_aliases)


class AliasRecord(msgspec.Struct, frozen=True):
    """`project` and `artifact` are empty in what servers of before they were told say."""

    alias: str
    number: int
    project: str = ""
    artifact: str = ""


class AliasMove(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    number: Number


class Keys(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Objects by name: kind, a space, and digest, such as `chunk sha256:...`."""

    keys: Annotated[list[KeyText], msgspec.Meta(extra_json_schema={"maxItems": KEYS_MAX})]

    @classmethod
    def of(cls, keys: list[ObjectKey]) -> Keys:
        return cls([str(key) for key in keys])

    def parsed(self) -> list[ObjectKey]:
        """Raises InvalidValue."""
        return [ObjectKey.parse(text) for text in self.keys]


class Place(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A `Location` whose URL is one of a list, by number. `times` is in base64."""

    pack: Number
    size_bytes: ObjectBytes
    codec: int
    offset: Number
    stored_bytes: StoredBytes
    created_at_ns: Number
    times: bytes = b""


class Places(msgspec.Struct, frozen=True):
    """Where objects are: the URLs of packs, relative to the server or absolute, and a place for each key asked for."""

    packs: list[str]
    objects: list[Place | None]

    @classmethod
    def of(cls, locations: list[Location | None]) -> Places:
        numbers: dict[str, int] = {}
        objects = [
            None
            if one is None
            else Place(
                numbers.setdefault(one.url, len(numbers)),
                one.size_bytes,
                one.codec,
                one.offset,
                one.stored_bytes,
                one.created_at_ns,
                one.times,
            )
            for one in locations
        ]
        return cls(list(numbers), objects)

    def locations(self) -> list[Location | None]:
        """Raises IndexError for a pack that is not listed."""
        return [
            None
            if one is None
            else Location(
                one.size_bytes,
                one.codec,
                self.packs[one.pack],
                one.offset,
                one.stored_bytes,
                one.created_at_ns,
                one.times,
            )
            for one in self.objects
        ]


class Beginning(msgspec.Struct, frozen=True):
    """Head of an answer with a recipe and chunks: what and where they are. Their stored bytes follow in this order."""

    keys: list[KeyText]
    places: Places


BEGINNING_LENGTH_BYTES = 4  # of the length of a `Beginning`, which precedes it; big-endian


class SentPage(msgspec.Struct, array_like=True, frozen=True):
    """A tree page, decoded. `digest` and `data` are in base64."""

    digest: bytes
    data: bytes


class Pages(msgspec.Struct, frozen=True):
    """Tree pages, and in the same order where they are."""

    pages: list[SentPage]
    places: Places


class Changes(msgspec.Struct, frozen=True):
    """Changes that the caller may see; it has seen all up to `position`."""

    position: int
    changes: list[Change] = []


class NewUser(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: Name
    admin: bool = False


class UserChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is null stays as it is."""

    admin: bool | None = None
    disabled: bool | None = None


class TokenRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: Annotated[str, msgspec.Meta(extra_json_schema={"pattern": "^[ -~]{0,128}$"})]
    scopes: Annotated[list[Scope], msgspec.Meta(extra_json_schema={"minItems": 1})]
    expires_at_ns: Number | None = None


class History(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Rows to add to a run's history; none only says that the run lives."""

    rows: Annotated[list[HistoryRow], msgspec.Meta(extra_json_schema={"maxItems": HISTORY_ROWS_MAX})] = []


class NewEdges(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a run did with versions, which are written as `project/artifact:vN`."""

    kind: EdgeKind
    versions: Annotated[list[VersionText], msgspec.Meta(extra_json_schema={"maxItems": EDGES_MAX})]

    @classmethod
    def of(cls, kind: EdgeKind, versions: list[VersionRef]) -> NewEdges:
        return cls(kind, [str(version) for version in versions])

    def parsed(self) -> list[VersionRef]:
        """Raises InvalidName."""
        return [VersionRef.parse(text) for text in self.versions]


class NewSharedDraft(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    group: Annotated[str, msgspec.Meta(extra_json_schema={"minLength": 1, "maxLength": LABEL_CHARACTERS_MAX})]


class Contribution(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A part for a shared draft, whose tree was sent with the upload `draft`."""

    draft: DraftId
    part: Part


class Parts(msgspec.Struct, frozen=True):
    """What was contributed to a shared draft."""

    parts: list[Part]


class Finish(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A shared draft becomes a version of the upload `draft`, which holds the union of the parts with these roots."""

    draft: DraftId
    request: SealRequest
    parts: list[Digest]
