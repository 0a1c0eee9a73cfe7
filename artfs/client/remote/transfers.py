"""Uploads, places of objects, and changes of a server."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from artfs.client.remote.paths import path, project_path
from artfs.client.remote.transport import STORING_S, Transport
from artfs.errors import InvalidValue, RegistryUnavailable
from artfs.model.digest import ObjectKey
from artfs.model.metadata import check_metadata
from artfs.model.pack import HEADER_BYTES, decode_header
from artfs.store.durable import reported
from artfs.wire.http import API, PAGE_MAX, WAIT_S_MAX, Changes, Keys, Places
from artfs.wire.records import Change, DraftRecord, Location, SealRequest, SealResult
from artfs.wire.service import KEYS_MAX


def _keys(keys: Sequence[ObjectKey]) -> Keys:
    if len(keys) > KEYS_MAX:
        raise InvalidValue(f"{len(keys)} keys at once", hint=f"ask for at most {KEYS_MAX}")
    return Keys.of(list(keys))


class RemoteDrafts:
    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def open(self, project: str) -> DraftRecord:
        """Repeated when its answer is lost: a draft that nobody knows of holds nothing, and expires."""
        return self._transport.send("POST", project_path(project, "drafts"), None, DraftRecord)

    def renew(self, draft: str) -> DraftRecord:
        return self._transport.send("POST", path("drafts", draft, "renew"), None, DraftRecord)

    def missing(self, draft: str, keys: Sequence[ObjectKey]) -> list[ObjectKey]:
        return self._transport.send("POST", path("drafts", draft, "missing"), _keys(keys), Keys).parsed()

    def put_pack(self, draft: str, pack: Path) -> None:
        with reported("read the pack", pack), pack.open("rb") as file:
            header = decode_header(file.read(HEADER_BYTES))
        self._transport.send_file(path("drafts", draft, "packs", header.pack_id.hex()), pack)
        pack.unlink(missing_ok=True)

    def seal(self, draft: str, request: SealRequest) -> SealResult:
        check_metadata(request.metadata or {})
        return self._transport.send("POST", path("drafts", draft, "seal"), request, SealResult, wait_s=STORING_S)

    def abandon(self, draft: str) -> None:
        self._transport.send("DELETE", path("drafts", draft), wait_s=STORING_S)


class RemoteObjects:
    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def locate(self, project: str, keys: Sequence[ObjectKey]) -> list[Location | None]:
        places = self._transport.send("POST", project_path(project, "locate"), _keys(keys), Places)
        try:
            found = places.locations()
        except IndexError:
            found = []
        if len(found) != len(keys):
            raise RegistryUnavailable(f"{self._transport.url} answered something else than was asked", hint="try again")
        return found


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
