"""Rows of drafts and their leases: finding, opening, ending. Shared by what fills, seals and shares drafts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from artfs.errors import DraftClosed, DraftNotFound
from artfs.model.names import version_name
from artfs.registry.catalog import Project
from artfs.registry.database import Transaction, allocate
from artfs.registry.resources import RandomBytes
from artfs.wire.records import DraftRecord

DRAFT_LIFE_NS = 24 * 3600 * 10**9
TOKEN_BYTES = 16


class Draft(NamedTuple):
    """A draft's row and its project's."""

    id: int
    token: str
    state: str
    expires_at_ns: int
    artifact_id: int | None
    version: int | None
    created: int | None
    project: Project

    @property
    def record(self) -> DraftRecord:
        return DraftRecord(self.token, self.project.name, self.project.uid, self.expires_at_ns)


def find_draft(tx: Transaction, token: str) -> Draft:
    """Raises DraftNotFound."""
    row = tx.row(
        "SELECT d.id, d.token, d.state, d.expires_at, d.artifact_id, d.version, d.created,"
        " p.id, p.uid, p.name, p.created_at, p.visibility FROM drafts d JOIN projects p ON p.id = d.project_id WHERE d.token = ?",
        (token,),
    )
    if row is None:
        raise DraftNotFound("there is no such draft: it was abandoned, or it expired", hint="begin the upload again")
    id_, token_, state, expires_at_ns, artifact_id, version, created, *project = row
    return Draft(id_, token_, state, expires_at_ns, artifact_id, version, created, Project(*project))


def find_live_draft(tx: Transaction, token: str, now_ns: int) -> Draft:
    """Raises DraftNotFound for one that expired or was abandoned, DraftClosed for one that was sealed."""
    draft = find_draft(tx, token)
    if draft.version is not None:
        raise DraftClosed(f"the draft is sealed already, as {version_name(draft.version)}", hint="open another draft")
    if draft.state != "open" or draft.expires_at_ns <= now_ns:
        raise DraftNotFound("the draft has expired", hint="begin the upload again; what is stored is not sent twice")
    return draft


def open_draft(tx: Transaction, project: Project, random_bytes: RandomBytes, now_ns: int) -> Draft:
    """A new draft in `project`."""
    draft = Draft(
        allocate(tx, "drafts"),
        random_bytes(TOKEN_BYTES).hex(),
        "open",
        now_ns + DRAFT_LIFE_NS,
        None,
        None,
        None,
        project,
    )
    tx.run(
        "INSERT INTO drafts (id, token, project_id, state, collected, expires_at) VALUES (?, ?, ?, 'open', 0, ?)",
        (draft.id, draft.token, project.id, draft.expires_at_ns),
    )
    return draft


def end_draft(tx: Transaction, draft_id: int, until_ns: int) -> None:
    """Let a draft hold nothing from now on, and be known until then. What only it held is still to be collected."""
    tx.run("UPDATE drafts SET state = 'ended', expires_at = ? WHERE id = ? AND state = 'open'", (until_ns, draft_id))


def lease(tx: Transaction, draft_id: int, objects: Sequence[int]) -> None:
    """Hold `objects` for a draft."""
    tx.run_many(
        "INSERT INTO leases (draft_id, object) VALUES (?, ?) ON CONFLICT DO NOTHING",
        ((draft_id, object_) for object_ in sorted(objects)),
    )
