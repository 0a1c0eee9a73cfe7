"""The database's format: numbered scripts in `sql/`, each run forward once, in its own transaction.

Each dialect of SQL has its own scripts, with the same numbers. Servers that start at once queue for the writing transaction,
so that one of them runs a script and the others find it run.
"""

from __future__ import annotations

import re
from functools import cache
from importlib import resources

from artfs.errors import NewerFormat
from artfs.registry.database import Database, Transaction

_SCRIPT = re.compile(r"(\d{4})_\w+\.sql")
_COMMENT = re.compile(r"--[^\n]*")


_PACKAGES = {"sqlite": "artfs.registry.sql", "postgres": "artfs.registry.sql.postgres"}
_HAS_TABLE = {
    "sqlite": "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'migrations'",
    "postgres": "SELECT 1 WHERE to_regclass('migrations') IS NOT NULL",
}


@cache
def scripts(dialect: str) -> dict[int, str]:
    """The migrations by number."""
    found = {}
    for file in resources.files(_PACKAGES[dialect]).iterdir():
        match = _SCRIPT.fullmatch(file.name)
        if match:
            found[int(match[1])] = file.read_text(encoding="utf-8")
    return found


def migrate(database: Database) -> None:
    """Bring the database to the newest format. Raises NewerFormat when a later artfs was there before."""
    to_run = scripts(database.dialect)
    newest = max(to_run)
    with database.read() as tx:
        if tx.rows(_HAS_TABLE[database.dialect]) and _current(tx, newest) == newest:
            return
    for number in sorted(to_run):
        with database.write() as tx:
            tx.run("CREATE TABLE IF NOT EXISTS migrations (number INTEGER PRIMARY KEY)")
            if _current(tx, newest) < number:
                for statement in statements(to_run[number]):
                    tx.run(statement)
                tx.run("INSERT INTO migrations (number) VALUES (?)", (number,))


def settle_identity(database: Database, identity: str) -> str:
    """The registry's identity as the database knows it, which learns it now if it is new."""
    sql = "SELECT value FROM settings WHERE name = 'identity'"
    with database.read() as tx:
        row = tx.row(sql)
    if row is None:
        with database.write() as tx:
            tx.run("INSERT INTO settings (name, value) VALUES ('identity', ?) ON CONFLICT DO NOTHING", (identity,))
            row = tx.row(sql)
    assert row is not None
    return str(row[0])


def statements(script: str) -> list[str]:
    """The statements of a script: none of ours holds a semicolon or a comment within a string."""
    return [statement for part in _COMMENT.sub("", script).split(";") if (statement := part.strip())]


def _current(tx: Transaction, newest: int) -> int:
    row = tx.row("SELECT max(number) FROM migrations")
    current = int(row[0] or 0) if row else 0
    if current > newest:
        raise NewerFormat(
            f"the registry's database has format {current}; this artfs knows {newest}", hint="upgrade artfs"
        )
    return current
