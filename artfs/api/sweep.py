"""Sweeps: groups of runs that try variants of one thing, and the best of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from artfs.api.in_project import InProject
from artfs.api.listing import PAGE_ITEMS, Listing, pages_of
from artfs.api.recorded_run import RecordedRun
from artfs.api.run_query import best
from artfs.errors import InvalidValue
from artfs.wire.runs import SweepRecord

if TYPE_CHECKING:
    from artfs.wire.runs import RunRecord

MAXIMIZE = "maximize"


class Sweep(InProject[SweepRecord]):
    """What `Api.sweep` gives."""

    @property
    def config(self) -> dict[str, Any]:
        """As it was given; `metric` names the goal: `{"name": "val_acc", "goal": "maximize"}`."""
        return self._record.config

    @property
    def order(self) -> str | None:
        """How runs are ordered for the best to come first, of the configuration; None if it names no metric."""
        metric = self.config.get("metric")
        if not isinstance(metric, dict) or not isinstance(metric.get("name"), str):
            return None
        return ("-" if metric.get("goal") == MAXIMIZE else "+") + f"summary.{metric['name']}"

    @property
    def runs(self) -> Listing[RecordedRun]:
        """In the order in which they were started."""
        return Listing(pages_of(self._page, lambda record: RecordedRun(self._session, record)))

    def best_run(self, order: str | None = None) -> RecordedRun | None:
        """The run with the best value; None if no run has one.

        Args:
            order: such as `-summary.val_acc` for the highest; the default is by the configuration's metric.

        Raises InvalidValue if neither says what is best.
        """
        order = order or self.order
        if order is None:
            raise InvalidValue(
                f"the sweep {self.id} names no metric", hint="give order='-summary.val_acc', or a config with a metric"
            )
        records = [record for page in pages_of(self._page, lambda record: record) for record in page]
        found = best(records, order)
        return None if found is None else RecordedRun(self._session, found)

    def _page(self, last: RunRecord | None) -> list[RunRecord]:
        after = -1 if last is None else last.number
        return self._session.registry.runs.list(self.project, sweep=self.id, after=after, limit=PAGE_ITEMS)
