"""What a caller was told is done is on disk: its transaction is one that a power cut does not take back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from artfs.registry.database import Transaction
from artfs.registry.embedded import EmbeddedRegistry
from artfs.registry.sqlite import SqliteDatabase
from artfs.wire.deletions import Removal
from artfs.wire.records import SealRequest, VersionChange
from tests.contract.uploading import Content, commit, content_of, send

pytestmark = [pytest.mark.falsifies("durable", "once")]


class Scene:
    """A registry with two versions of `old`, and an upload to which `content` was sent."""

    def __init__(self, root: Path) -> None:
        self.registry = EmbeddedRegistry(root)
        self.registry.projects.create("p")
        for number in range(2):
            commit(self.registry, "p", "old", {"f": b"%d" % number})
        self.content: Content = content_of({"f": b"new"})
        self.draft = self.registry.drafts.open("p")

    def seal(self) -> None:
        send(self.registry, self.draft, self.content)
        self.registry.drafts.seal(self.draft.id, SealRequest("new", self.content.root))


CHANGES: dict[str, Callable[[Scene], object]] = {
    "create a project": lambda scene: scene.registry.projects.create("q"),
    "create an artifact": lambda scene: scene.registry.artifacts.create("p", "a"),
    "send a pack": lambda scene: send(scene.registry, scene.draft, scene.content),
    "seal": Scene.seal,
    "move an alias": lambda scene: scene.registry.aliases.move("p", "old", "best", 0),
    "remove an alias": lambda scene: scene.registry.aliases.remove("p", "old", "latest"),
    "describe a version": lambda scene: scene.registry.versions.update("p", "old", 0, VersionChange(description="d")),
    "delete a version": lambda scene: scene.registry.versions.delete("p", "old", [0]),
    "delete an artifact": lambda scene: scene.registry.versions.remove("p", Removal({}, artifacts=["old"])),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_that_was_answered_is_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str) -> None:
    scene = Scene(tmp_path / "registry")
    begin = SqliteDatabase.write
    visible: list[bool] = []

    @contextmanager
    def noted(database: SqliteDatabase, *, durable: bool = True) -> Iterator[Transaction]:
        with begin(database, durable=durable) as tx:
            before = _told(tx)
            yield tx
            if _told(tx) != before:
                visible.append(durable)

    monkeypatch.setattr(SqliteDatabase, "write", noted)
    CHANGES[change](scene)
    assert visible, f"nothing was written to {change}"
    assert all(visible)
    scene.registry.close()


def _told(tx: Transaction) -> list[object]:
    """What callers are told of: all changes, and what is stored."""
    return [
        tx.row(f"SELECT count(*), max({key}) FROM {table}") for table, key in (("changes", "seq"), ("objects", "id"))
    ]
