"""A run as the registry has it: read, annotated and deleted from outside."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from artfs.api.plain import plain_dict, plain_values
from artfs.api.run_facts import RunFacts
from artfs.api.saved_mapping import SavedMapping
from artfs.wire.runs import HISTORY_ROWS_MAX, RunChange

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from artfs.api.session import Session
    from artfs.wire.runs import RunRecord


class RecordedRun(RunFacts):
    """What `Api.run` gives. State, configuration and summary are as of then, or of the last `load`."""

    def __init__(self, session: Session, record: RunRecord) -> None:
        super().__init__(session, record)
        self._take(record)

    @property
    def state(self) -> str:
        """`running`, `finished` or `failed`; one that has not been heard of for long is failed."""
        return self._record.state.value

    @property
    def exit_code(self) -> int | None:
        """Of its process; None while it runs, and if nobody knows."""
        return self._record.exit_code

    @property
    def config(self) -> SavedMapping:
        """What went in. What is set here is kept at once."""
        return self._config

    @property
    def summary(self) -> SavedMapping:
        """The last of each value that was logged, or what was set instead. What is set here is kept at once."""
        return self._summary

    def history(self) -> list[dict[str, Any]]:
        """All that was logged, by step: the values, with the step as `_step` and seconds since the epoch as `_timestamp`."""
        return list(self.scan_history())

    def scan_history(self) -> Iterator[dict[str, Any]]:
        """The same, a page at a time."""
        after = -1
        while True:
            rows = self._session.registry.runs.history(self.project, self.id, after=after, limit=HISTORY_ROWS_MAX)
            yield from ({"_step": row.step, "_timestamp": row.time_ns / 1e9, **row.values} for row in rows)
            if len(rows) < HISTORY_ROWS_MAX:
                return
            after = rows[-1].step

    def load(self) -> RecordedRun:
        """Ask again what it is now; the run itself."""
        self._take(self._session.registry.runs.get(self.project, self.id))
        return self

    def update(self) -> None:
        """Nothing: what was set of config and summary is kept already."""

    def delete(self) -> None:
        """Remove it with its history and its edges; the versions that it logged stay."""
        self._session.registry.runs.delete(self.project, self.id)

    def _take(self, record: RunRecord) -> None:
        self._record = record
        self._config = SavedMapping(record.config, lambda v: plain_dict("config", v), self._keep_config)
        self._summary = SavedMapping(record.summary, lambda v: plain_values("summary", v), self._keep_summary)

    def _change(self, change: RunChange) -> None:
        self._record = self._session.registry.runs.update(self.project, self.id, change)

    def _keep_config(self, values: Mapping[str, Any]) -> None:
        self._session.registry.runs.update(self.project, self.id, RunChange(config=dict(values)))

    def _keep_summary(self, values: Mapping[str, Any]) -> None:
        self._session.registry.runs.update(self.project, self.id, RunChange(summary=dict(values)))
