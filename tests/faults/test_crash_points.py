"""A process is killed at each call by which it changes a file, one run for each; afterwards all is whole, and can be done again.

The points are those that `injector.c` counted in a run without a kill. Of equal calls in a row three are taken; writes are
also torn: half of one is there. The ordinary test takes some of each kind, the deep one all.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from artfs.errors import NotFound
from artfs.model.digest import Digest
from artfs.registry import fsck
from artfs.registry.embedded import EmbeddedRegistry
from tests.acceptance.user import ARTFS, User
from tests.faults.injecting import Injection, Point, distinct, kills, restore, spread

pytestmark = [pytest.mark.falsifies("whole", "durable", "deletion"), pytest.mark.timeout(1800)]

SOME = 6
SOURCES: dict[str, dict[str, bytes]] = {
    "one": {"a": b"a" * 5000, "sub/b": bytes(range(256)) * 8000, "sub/c": b"c"},
    "two": {"a": b"A" * 5000, "sub/b": bytes(range(256)) * 8000 + b"more", "d": b"d" * 70_000},
}
State = dict[str, str]  # which of the sources each version and alias holds


def write_sources(place: Path) -> None:
    for name, files in SOURCES.items():
        for path, data in files.items():
            (place / name / path).parent.mkdir(parents=True, exist_ok=True)
            (place / name / path).write_bytes(data)


@dataclass(frozen=True)
class Scenario:
    """A command, what is there before it, and between which states it leads."""

    name: str
    command: tuple[str, ...]
    before: State
    after: State
    prepared: tuple[tuple[str, ...], ...] = ()


ONE, TWO = SOURCES
PUT_ONE, PUT_TWO = (
    ("put", "-q", "-n", "p/a", "SOURCES/one"),
    ("put", "-q", "-n", "p/a", "--alias", "best", "SOURCES/two"),
)
BOTH = {"v0": ONE, "v1": TWO, "latest": TWO, "best": TWO}
SCENARIOS = (
    Scenario("a first version", PUT_ONE, {}, {"v0": ONE, "latest": ONE}),
    Scenario("a second version", PUT_TWO, {"v0": ONE, "latest": ONE}, BOTH, (PUT_ONE,)),
    Scenario("an alias", ("alias", "p/a:v0", "best"), BOTH, {**BOTH, "best": ONE}, (PUT_ONE, PUT_TWO)),
    Scenario(
        "a deletion",
        ("rm", "-y", "-q", "p/a:v0"),
        BOTH,
        {name: content for name, content in BOTH.items() if name != "v0"},
        (PUT_ONE, PUT_TWO),
    ),
    Scenario(
        "the deletion of a project", ("rm", "-y", "-q", "-r", "--delete-aliases", "p"), BOTH, {}, (PUT_ONE, PUT_TWO)
    ),
    Scenario("a check that mends", ("fsck", "--repair"), BOTH, BOTH, (PUT_ONE, PUT_TWO)),
)


class Place:
    """A user's home, which is made the same again before each kill."""

    def __init__(self, directory: Path, scenario: Scenario, sources: dict[Digest, str]) -> None:
        self.sources = sources
        self.directory = directory
        self.template = directory / "template"
        self.scenario = scenario
        self.user = User(directory / "home")
        write_sources(directory)
        self.user.home.mkdir()
        for command in scenario.prepared:
            self.user.run(*self.words(command))
        self.user.home.rename(self.template)
        self.injection = Injection(self.user.home, directory / "injected")

    def words(self, command: tuple[str, ...]) -> list[str]:
        return [word.replace("SOURCES", str(self.directory)) for word in command]

    def restore(self) -> None:
        restore(self.template, self.user.home)

    def run(self, injection: Injection) -> int:
        return injection.run([ARTFS, *self.words(self.scenario.command)], self.user.environment())

    def check(self, what: str) -> None:
        """It was done or not, all that is stored is sound, and when it is done again it is done."""
        scenario, found = self.scenario, self.state()
        assert found in (scenario.before, scenario.after), what
        self.check_everything(what)
        if found != scenario.after:
            self.user.run(*self.words(scenario.command))
        assert self.state() == scenario.after, what
        self.check_everything(f"{what}, done again")

    def check_everything(self, what: str) -> None:
        assert [str(finding) for finding in fsck.check(self.user.registry).findings] == [], what

    def state(self) -> State:
        """By digest; that what the digests name is there to the last byte is for the check of everything to say."""
        with closing(EmbeddedRegistry(self.user.registry)) as registry:
            try:
                versions = registry.versions.list("p", "a")
            except NotFound:
                return {}
        return {name: self.sources[v.digest] for v in versions for name in (v.name, *v.aliases)}


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[Digest, str]:
    """Which source a version holds, by its digest, as an undisturbed registry has it."""
    directory = tmp_path_factory.mktemp("sources")
    write_sources(directory)
    user = User(directory)
    for name in SOURCES:
        user.run("put", "-q", "-n", f"p/{name}", directory / name)
    with closing(EmbeddedRegistry(user.registry)) as registry:
        return {registry.versions.resolve("p", name, "v0").digest: name for name in SOURCES}


@pytest.fixture(params=SCENARIOS, ids=lambda scenario: scenario.name)
def place(tmp_path: Path, sources: dict[Digest, str], request: pytest.FixtureRequest) -> Place:
    return Place(tmp_path, request.param, sources)


def points_of(place: Place) -> list[Point]:
    place.restore()
    assert place.run(place.injection) == 0
    assert place.state() == place.scenario.after
    found = distinct(place.injection.points())
    assert len(found) > 5
    return found


def kill_at_each(place: Place, points: list[Point]) -> int:
    killed = 0
    for point, do in kills(points):
        place.restore()
        code = place.run(place.injection.at_point(point.number, do))
        killed += code == -9
        place.check(f"{do} at {point}")
    return killed


def test_a_kill_at_some_points_leaves_all_or_nothing(place: Place) -> None:
    points = spread(points_of(place), SOME)
    assert kill_at_each(place, points) >= len(points)


@pytest.mark.deep
def test_a_kill_at_any_point_leaves_all_or_nothing(place: Place) -> None:
    points = points_of(place)
    assert kill_at_each(place, points) >= 0.9 * len(points)
