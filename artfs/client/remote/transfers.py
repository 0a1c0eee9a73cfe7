"""Uploads, places of objects, and changes of a server."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from artfs.client.far_pages import FarPage
from artfs.client.remote.answers import check_asked
from artfs.client.remote.paths import path, project_path
from artfs.client.remote.transport import STORING_S, Transport
from artfs.errors import DraftNotFound, InvalidValue, NotFound, RegistryUnavailable
from artfs.model.digest import Digest, ObjectKey
from artfs.model.metadata import check_metadata
from artfs.model.pack import HEADER_BYTES, decode_header
from artfs.store.durable import reported
from artfs.wire.http import API, PAGE_MAX, WAIT_S_MAX, Changes, Keys, Pages, Places
from artfs.wire.records import Change, DraftRecord, Location, SealRequest, SealResult
from artfs.wire.service import KEYS_MAX

_DRAFT_ID = re.compile("[0-9a-f]{32}")


def _keys(keys: Sequence[ObjectKey]) -> Keys:
    if len(keys) > KEYS_MAX:
        raise InvalidValue(f"{len(keys)} keys at once", hint=f"ask for at most {KEYS_MAX}")
    return Keys.of(list(keys))


def _draft_path(draft: str, *parts: str) -> str:
    """Raises DraftNotFound for what is no draft's id: a server would call it a wrong request."""
    if not _DRAFT_ID.fullmatch(draft):
        raise DraftNotFound(f"there is no upload {draft!r}", hint="it expired; begin another")
    return path("drafts", draft, *parts)


class RemoteDrafts:
    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def open(self, project: str) -> DraftRecord:
        """Repeated when its answer is lost: a draft that nobody knows of holds nothing, and expires."""
        found = self._transport.send("POST", project_path(project, "drafts"), None, DraftRecord)
        check_asked(found.project == project, self._transport.url)
        return found

    def renew(self, draft: str) -> DraftRecord:
        found = self._transport.send("POST", _draft_path(draft, "renew"), None, DraftRecord)
        check_asked(found.id == draft, self._transport.url)
        return found

    def missing(self, draft: str, keys: Sequence[ObjectKey]) -> list[ObjectKey]:
        told = self._transport.send("POST", _draft_path(draft, "missing"), _keys(keys), Keys).keys
        asked = {str(key): key for key in keys}
        check_asked(set(told) <= set(asked), self._transport.url)
        return [asked[key] for key in told]

    def put_pack(self, draft: str, pack: Path) -> None:
        with reported("read the pack", pack), pack.open("rb") as file:
            header = decode_header(file.read(HEADER_BYTES))
        self._transport.send_file(_draft_path(draft, "packs", header.pack_id.hex()), pack)
        pack.unlink(missing_ok=True)

    def seal(self, draft: str, request: SealRequest) -> SealResult:
        check_metadata(request.metadata or {})
        sealed = self._transport.send("POST", _draft_path(draft, "seal"), request, SealResult, wait_s=STORING_S)
        is_it = (sealed.version.artifact, sealed.version.root) == (request.artifact, request.root)
        check_asked(is_it, self._transport.url)
        return sealed

    def abandon(self, draft: str) -> None:
        with suppress(DraftNotFound):  # what never was need not be ended
            self._transport.send("DELETE", _draft_path(draft), wait_s=STORING_S)


class RemoteObjects:
    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def locate(self, project: str, keys: Sequence[ObjectKey]) -> list[Location | None]:
        places = self._transport.send("POST", project_path(project, "locate"), _keys(keys), Places)
        try:
            found = places.locations()
        except IndexError:
            found = []
        check_asked(len(found) == len(keys), self._transport.url)
        return found


class RemotePages:
    """Tree pages, several at once."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def pages(self, project: str, digest: Digest) -> list[FarPage]:
        """A page and some of those below it, not verified; none if the server has not got it, or is of before this."""
        try:
            sent = self._transport.get(project_path(project, "trees", digest.hex(), "pages"), Pages)
        except NotFound:
            return []
        try:
            places = sent.places.locations()
        except IndexError:
            places = []
        return [
            FarPage(Digest(page.digest), page.data, place)
            for page, place in zip(sent.pages, places, strict=False)
            if place is not None
        ]


class RemoteChanges:
    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def position(self) -> int:
        return self._transport.get(f"{API}/changes", Changes).position

    def since(self, seq: int, limit: int = 1000) -> list[Change]:
        query = {"after": seq, "limit": min(limit, PAGE_MAX)}
        return self._transport.get(f"{API}/changes", Changes, query).changes

    def wait(self, seq: int, timeout_s: float) -> int:
        """On a connection of its own; returns at once when the client is closed."""
        wait_s = min(max(timeout_s, 0.0), WAIT_S_MAX)
        query = {"after": seq, "limit": 1, "wait_s": round(wait_s)}
        try:
            return self._transport.get(f"{API}/changes", Changes, query, wait_s=wait_s).position
        except RegistryUnavailable:
            if self._transport.is_closed:
                return seq
            raise
