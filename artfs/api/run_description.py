"""What people say of a run, which may change at any time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from artfs.api.plain import plain_tags
from artfs.wire.runs import RunChange, RunRecord


class RunDescription(ABC):
    """Notes and tags."""

    def __init__(self, record: RunRecord) -> None:
        self._record = record

    @abstractmethod
    def _change(self, change: RunChange) -> None:
        """Keep what was set."""

    @property
    def notes(self) -> str:
        """What it is about, in words. What is set is kept."""
        return self._record.notes

    @notes.setter
    def notes(self, notes: str | None) -> None:
        self._change(RunChange(notes=notes or ""))

    @property
    def tags(self) -> tuple[str, ...]:
        """Words to find it by. What is set is kept."""
        return tuple(self._record.tags)

    @tags.setter
    def tags(self, tags: Sequence[str]) -> None:
        self._change(RunChange(tags=plain_tags(tags)))
