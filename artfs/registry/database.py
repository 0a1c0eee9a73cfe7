"""What the registry needs of an SQL database, as a protocol, so that its statements run on any implementation.

Portable statements only: `?` placeholders, RETURNING, ON CONFLICT, no dialect functions. Ids come from `Transaction.allocate`,
never from the database's own counters. A transaction belongs to the thread that began it and is never nested.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

Row = tuple[Any, ...]
Parameters = Sequence[Any]

IN_BATCH = 512


class Transaction(Protocol):
    """Statements inside one transaction."""

    def rows(self, sql: str, parameters: Parameters = ()) -> list[Row]: ...
    def row(self, sql: str, parameters: Parameters = ()) -> Row | None:
        """The first row, if there is one."""

    def stream(self, sql: str, parameters: Parameters = ()) -> Iterator[Row]:
        """Rows as they are found. Exhaust or close it before the next statement that writes."""

    def run(self, sql: str, parameters: Parameters = ()) -> int:
        """How many rows were changed."""

    def run_many(self, sql: str, parameters: Iterable[Parameters]) -> int:
        """How many rows were changed by all of it."""

    def script(self, sql: str) -> None:
        """Statements without parameters and answers, separated by semicolons, in one round trip."""

    def note_filled(self, table: str) -> None:
        """A temporary table was filled: let the database plan by what is in it now.

        Else PostgreSQL takes it for large, and reads all edges of the registry rather than look up those of a few objects.
        """


class Database(Protocol):
    """Transactions. Raises StorageFull, StorageFailed, DamagedDatabase and RegistryUnavailable."""

    @property
    def dialect(self) -> str:
        """Whose definitions of tables it takes: `sqlite` or `postgres`."""

    def read(self) -> AbstractContextManager[Transaction]:
        """One consistent snapshot."""

    def write(self, *, durable: bool = True) -> AbstractContextManager[Transaction]:
        """Sees and makes changes alone; committed at the end of the block, rolled back by any exception.

        Args:
            durable: False when losing the transaction to a power cut would do no harm.
        """

    def stamp(self) -> object:
        """Equal stamps, asked for by one thread, mean that nothing was committed in between. Cheap."""

    def close(self) -> None: ...


def batches(values: Sequence[Any], size: int = IN_BATCH) -> Iterator[Sequence[Any]]:
    for i in range(0, len(values), size):
        yield values[i : i + size]


def rows_in(tx: Transaction, sql: str, parameters: Parameters, values: Sequence[Any]) -> Iterator[Row]:
    """Rows of `sql`, which ends its condition with `IN ({})`, for all `values`, a bounded number at a time.

    The last batch is filled up with copies, so that there are few different statements to prepare.
    """
    for batch in batches(values):
        width = IN_BATCH if len(batch) > 64 else 64 if len(batch) > 8 else 8
        marks = ",".join("?" * width)
        filled = (*parameters, *batch, *[batch[-1]] * (width - len(batch)))
        yield from tx.rows(sql.format(marks), filled)


def allocate(tx: Transaction, name: str, count: int = 1) -> int:
    """The first of `count` numbers that nobody else gets."""
    row = tx.row(
        "INSERT INTO sequences (name, next) VALUES (?, 1 + ?)"
        " ON CONFLICT (name) DO UPDATE SET next = sequences.next + excluded.next - 1 RETURNING next",
        (name, count),
    )
    assert row is not None
    return int(row[0]) - count
