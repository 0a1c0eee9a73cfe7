"""Commands that are killed at each of their points, what is there before them, and between which states they lead."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from random import Random

from artfs.registry.sql_registry import SqlRegistry
from tests.contract.uploading import content_of, send
from tests.faults.grounds import LATER_NS, Ground

_LARGE = Random(7).randbytes(2_500_000)
SOURCES: dict[str, dict[str, bytes]] = {
    "one": {"a": b"a" * 5000, "sub/b": _LARGE, "sub/c": b"c"},
    "two": {"a": b"A" * 5000, "sub/b": _LARGE + b"more", "sub/c": b"c", "d": b"d" * 70_000},
}
State = dict[str, str]  # which of the sources each version and alias holds; "upload" if one is open
Words = tuple[str, ...]


def write_sources(place: Path) -> None:
    for name, files in SOURCES.items():
        for path, data in files.items():
            (place / name / path).parent.mkdir(parents=True, exist_ok=True)
            (place / name / path).write_bytes(data)


@dataclass(frozen=True)
class Scenario:
    """A command, what is there before it, and between which states it leads."""

    name: str
    command: Words
    before: State
    after: State
    prepared: tuple[Words, ...] = ()
    arrange: Callable[[Ground], None] = lambda ground: None  # more than commands can do
    grounds: tuple[str, ...] = ("directory", "shared")


def expire_version(ground: Ground) -> None:
    """The time to live of v0 is over. Part of what its pack holds is in the next version too."""
    _change(ground, "UPDATE versions SET expires_at = 1, row_check = NULL WHERE number = 0")


def give_up_upload(ground: Ground) -> None:
    """Somebody began an upload a month ago and never went on with it."""
    then_ns = time.time_ns() - LATER_NS
    with closing(ground.opened(lambda: then_ns)) as registry:
        draft = registry.drafts.open("p")
        send(registry, draft, content_of({"given": b"up" * 50_000}), now_ns=then_ns)


def interrupt_rewriting(ground: Ground) -> None:
    """A deletion ended before the pack was rewritten that holds more than it may."""
    first = next(point for point in _points(ground, DELETE_ONE) if "/spool/" in point[1] and point[1].endswith(".pack"))
    assert ground.disturbed(list(DELETE_ONE), ground.injection.at_point(first[0], "kill")) == -9


def make_format_1(ground: Ground) -> None:
    """As the first artfs would have written it: without what later formats added."""
    _change(
        ground,
        *(
            f"DROP TABLE {table}"
            for table in ("shared_parts", "shared_drafts", "run_edges", "run_history", "runs", "sweeps")
        ),
        *(f"ALTER TABLE {table} DROP COLUMN row_check" for table in ("versions", "aliases", "alias_moves")),
        "DROP INDEX versions_by_expiry",
        "ALTER TABLE versions DROP COLUMN expires_at",
        *(f"DROP TABLE {table}" for table in ("members", "tokens", "users")),
        "ALTER TABLE projects DROP COLUMN visibility",
        "DELETE FROM migrations WHERE number > 1",
    )


def _change(ground: Ground, *statements: str) -> None:
    with closing(ground.opened()) as registry, registry.resources.database.write() as tx:
        for statement in statements:
            tx.run(statement)


def _points(ground: Ground, words: Words) -> list[tuple[int, str]]:
    """The points of a command that is not to have happened."""
    ground.keep()
    ground.restore()
    assert ground.disturbed(list(words), ground.injection) == 0
    found = [(point.number, point.path) for point in ground.injection.points()]
    ground.restore()
    return found


def uploads(registry: SqlRegistry) -> int:
    with registry.resources.database.read() as tx:
        return len(tx.rows("SELECT 1 FROM drafts WHERE state = 'open'"))


ONE, TWO = SOURCES
PUT_ONE, PUT_TWO = (
    ("put", "-q", "-n", "p/a", "SOURCES/one"),
    ("put", "-q", "-n", "p/a", "--alias", "best", "SOURCES/two"),
)
DELETE_ONE = ("rm", "-y", "-q", "p/a:v0")
BOTH = {"v0": ONE, "v1": TWO, "latest": TWO, "best": TWO}
SECOND = {name: content for name, content in BOTH.items() if name != "v0"}
COMMANDS = (
    Scenario("a first version", PUT_ONE, {}, {"v0": ONE, "latest": ONE}),
    Scenario("a second version", PUT_TWO, {"v0": ONE, "latest": ONE}, BOTH, (PUT_ONE,)),
    Scenario("a version that is there", PUT_TWO, BOTH, BOTH, (PUT_ONE, PUT_TWO)),
    Scenario("an alias", ("alias", "p/a:v0", "best"), BOTH, {**BOTH, "best": ONE}, (PUT_ONE, PUT_TWO)),
    Scenario("a deletion", DELETE_ONE, BOTH, SECOND, (PUT_ONE, PUT_TWO)),
    Scenario(
        "the deletion of a project", ("rm", "-y", "-q", "-r", "--delete-aliases", "p"), BOTH, {}, (PUT_ONE, PUT_TWO)
    ),
    Scenario("a check", ("fsck",), BOTH, BOTH, (PUT_ONE, PUT_TWO), grounds=("shared",)),
    Scenario("a check that mends", ("fsck", "--repair"), BOTH, BOTH, (PUT_ONE, PUT_TWO), grounds=("directory",)),
    Scenario("the expiry of a version", ("gc",), BOTH, SECOND, (PUT_ONE, PUT_TWO), expire_version),
    Scenario(
        "the expiry of an upload",
        ("gc",),
        {"v0": ONE, "latest": ONE, "upload": "open"},
        {"v0": ONE, "latest": ONE},
        (PUT_ONE,),
        give_up_upload,
    ),
    Scenario("a repack", ("gc",), SECOND, SECOND, (PUT_ONE, PUT_TWO), interrupt_rewriting),
    Scenario("a migration", ("ls", "p/a"), BOTH, BOTH, (PUT_ONE, PUT_TWO), make_format_1),
)
