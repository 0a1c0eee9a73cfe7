"""Shared drafts of a server. Every call may be repeated: the registry knows what was done already."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress

from artfs.client.remote.paths import artifact_path, path
from artfs.client.remote.transport import STORING_S, Transport
from artfs.errors import DraftNotFound
from artfs.model.digest import Digest
from artfs.model.metadata import check_metadata
from artfs.wire.http import Contribution, Finish, NewSharedDraft, Parts
from artfs.wire.records import SealRequest, SealResult
from artfs.wire.runs import Part, SharedDraftRecord

_SHARED_ID = re.compile("[0-9a-f]{32}")


def _shared_path(shared: str, *parts: str) -> str:
    """Raises DraftNotFound for what is no shared draft's id: a server would call it a wrong request."""
    if not _SHARED_ID.fullmatch(shared):
        raise DraftNotFound(f"there is no shared draft {shared!r}", hint="it expired; open it again")
    return path("shared-drafts", shared, *parts)


class RemoteSharedDrafts:
    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def open(self, project: str, artifact: str, group: str) -> SharedDraftRecord:
        url = artifact_path(project, artifact, "shared-drafts")
        return self._transport.send("POST", url, NewSharedDraft(group), SharedDraftRecord)

    def add(self, shared: str, draft: str, part: Part) -> None:
        check_metadata(part.metadata)
        self._transport.send("POST", _shared_path(shared, "parts"), Contribution(draft, part), wait_s=STORING_S)

    def parts(self, shared: str) -> list[Part]:
        return self._transport.get(_shared_path(shared, "parts"), Parts).parts

    def finish(self, shared: str, draft: str, request: SealRequest, parts: Sequence[Digest]) -> SealResult:
        check_metadata(request.metadata or {})
        body = Finish(draft, request, list(parts))
        return self._transport.send("POST", _shared_path(shared, "finish"), body, SealResult, wait_s=STORING_S)

    def abandon(self, shared: str) -> None:
        with suppress(DraftNotFound):  # what never was need not be ended
            self._transport.send("DELETE", _shared_path(shared), wait_s=STORING_S)
