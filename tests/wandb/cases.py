"""Tables as arguments that artfs and wandb take alike, by name, and the cells that both keep of them.

Read by tests and by exchange.py, which runs where wandb is installed; so it knows neither library.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass, field
from typing import Any

_UTC = datetime.UTC


@dataclass(frozen=True)
class Case:
    columns: list[str]
    rows: list[list[Any]]
    kept: list[list[Any]] | None = None  # if they are not the rows
    more: dict[str, Any] = field(default_factory=dict)
    same_bytes: bool = True
    """Whether the files are to be equal. wandb notes the length of the last list in a list's type, which means nothing."""


CASES = {
    "numbers": Case(["id", "loss"], [[1, 0.5], [2, 1e-9], [-3, 2]]),
    "strings": Case(["a", "ü"], [["x", "\u2028 é \U0001f600"], [None, ""]]),
    "booleans": Case(["a"], [[True], [False], [None]]),
    "moments": Case(
        ["at", "day"],
        [[datetime.datetime(2020, 1, 2, 3, 4, 5, 678901, _UTC), datetime.date(2020, 1, 2)], [None, None]],
        [
            [
                datetime.datetime(2020, 1, 2, 3, 4, 5, 678000, _UTC),
                datetime.datetime(2020, 1, 2, tzinfo=_UTC),
            ],
            [None, None],
        ],
    ),
    "lists": Case(["a", "b"], [[[1, 2], [["x"], []]], [[3], []], [None, None]], same_bytes=False),
    "dictionaries": Case(["a"], [[{"x": 1, "b": {"y": "s"}}], [{"x": 2, "b": {"y": "t"}}]]),
    "mixed": Case(["a"], [[1], ["x"], [[1, 2]], [None]], more={"allow_mixed_types": True}),
    "infinities": Case(
        ["a"], [[float("inf")], [float("-inf")], [float("nan")]], [[float("inf")], [float("-inf")], [None]]
    ),
    "empty": Case(["a", "b"], []),
    "missing": Case(["a"], [[None], [None]]),
}

# What only artfs writes, as these cannot be in a table of wandb's, though it reads them.
ONLY_OURS = {
    "sparse": Case(["a", "b"], [[{"x": 1}, [1, None]], [{"y": "s"}, [None]], [{"x": None}, []]]),
    "deep": Case(["a"], [[[{"x": [1]}, {"x": [], "y": "s"}]], [[]]]),
    "any": Case(["a"], [[[1, "x", {"y": 2}]], [{"x": 1}]], more={"allow_mixed_types": True}),
}

ARRAYS = [[[0.5, 1.5], [2.5, 3.5]], [[4.5, 5.5], [6.5, 7.5]]]
PARTS = {"parts/table_0": [[0, "zero"]], "parts/table_1": [[1, "one"], [2, "two"]]}
