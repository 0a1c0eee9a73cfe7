"""Tree pages that a registry sends several at once: fewer questions, and never believed without a look."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from artfs.client.far_pages import FarPage
from artfs.client.objects import ObjectReader
from artfs.client.places import Dates
from artfs.client.windows import PackWindows
from artfs.model.digest import Digest, ObjectKey, ObjectKind
from artfs.model.tree import LeafPage
from artfs.registry.embedded import EmbeddedRegistry
from tests.contract.uploading import Content, commit, content_of
from tests.integration.test_windows import CountedObjects, FarPacks

pytestmark = [pytest.mark.falsifies("verified")]

CONTENT = content_of({"a": {"b": {"c": {"file": b"content"}}, "d": {"file": b"other"}}, "e": b"more"})


class KeptDates:
    """Dates in memory."""

    def __init__(self) -> None:
        self._dates: dict[tuple[str, Digest], Dates] = {}

    def dates(self, project: str, digest: Digest) -> Dates | None:
        return self._dates.get((project, digest))

    def keep_dates(self, project: str, pages: Mapping[Digest, Dates]) -> None:
        self._dates.update({(project, digest): dates for digest, dates in pages.items()})


class Sender:
    """Sends all pages of CONTENT, or what a test says."""

    def __init__(self, registry: EmbeddedRegistry) -> None:
        keys = [key for key in reversed(CONTENT.objects) if key.kind is ObjectKind.TREE]
        located = registry.objects.locate("p", keys)
        self.sent = [
            FarPage(key.digest, CONTENT.objects[key], place)
            for key, place in zip(keys, located, strict=True)
            if place is not None
        ]
        self.calls = 0

    def pages(self, project: str, digest: Digest) -> list[FarPage]:
        self.calls += 1
        return self.sent


class Reader:
    def __init__(self, registry: EmbeddedRegistry) -> None:
        self.sender = Sender(registry)
        self.asked = CountedObjects(registry)
        registry.objects = self.asked  # type: ignore[assignment]  # which passes it on
        self.packs = FarPacks()
        self.objects = ObjectReader(
            registry,
            packs=self.packs,
            windows=PackWindows(self.packs),
            dates=KeptDates(),
            far_pages=self.sender,
        )

    def walk(self, digest: Digest) -> Iterator[str]:
        page = self.objects.page("p", digest).page
        assert isinstance(page, LeafPage)
        for entry in page.entries():
            yield entry.name
            if entry.key is not None and entry.key.kind is ObjectKind.TREE:
                yield from self.walk(entry.digest)


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    registry = EmbeddedRegistry(tmp_path / "registry")
    registry.projects.create("p")
    commit(registry, "p", "a", CONTENT)
    reader = Reader(registry)
    yield reader
    reader.objects.close()
    registry.close()


NAMES = ["a", "b", "c", "file", "d", "file", "e"]


def test_a_tree_that_was_sent_needs_nothing_else(reader: Reader) -> None:
    assert list(reader.walk(CONTENT.root)) == NAMES
    assert (reader.sender.calls, reader.asked.calls, reader.packs.reads) == (1, 0, [])


def test_pages_that_do_not_match_their_digests_are_not_believed(reader: Reader) -> None:
    reader.sender.sent = [page._replace(data=CONTENT.objects[CONTENT.root_key]) for page in reader.sender.sent]
    assert list(reader.walk(CONTENT.root)) == NAMES
    assert reader.asked.calls > 0


def test_a_server_that_sends_no_pages_is_asked_once(reader: Reader) -> None:
    reader.sender.sent = []
    assert list(reader.walk(CONTENT.root)) == NAMES
    assert reader.sender.calls == 1


def test_what_was_sent_unasked_is_harmless(reader: Reader) -> None:
    other: Content = content_of({"x": b"y"})
    (page, *_) = reader.sender.sent
    reader.sender.sent.append(FarPage(other.root, other.objects[other.root_key], page.place))
    assert list(reader.walk(CONTENT.root)) == NAMES
    assert ObjectKey(ObjectKind.TREE, other.root) not in CONTENT.objects
