"""A process is killed at each call by which it changes a file or asks a server, one run for each; afterwards all is whole,
and can be done again.

The points are those that `injector.c` counted in a run without a kill. Of equal calls in a row three are taken; writes are
also torn: half of one is there. What is sent to a database or a bucket is also killed right after, and its answer is lost while
the process goes on. The ordinary tests take some of each kind, the deep ones all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from artfs.errors import NotFound
from artfs.model.digest import Digest
from artfs.registry.embedded import EmbeddedRegistry
from tests.acceptance.user import User
from tests.faults.crash_scenarios import COMMANDS, SOURCES, Scenario, State, uploads, write_sources
from tests.faults.grounds import GROUNDS, Ground
from tests.faults.injecting import LOSE, Injection, Point, distinct, kills, spread
from tests.reliability.trials import tried

pytestmark = [pytest.mark.falsifies("whole", "durable", "deletion"), pytest.mark.timeout(1800)]

SOME = {"SQLite and a directory": 3, "PostgreSQL and S3": 2}
OFTEN = ("a second version", "a deletion")  # of the ordinary tests over PostgreSQL and S3
PARTS = 3
ATTEMPTS = 3
SERVICES = {"directory": (), "shared": (pytest.mark.postgres, pytest.mark.s3)}


class Place:
    """A registry on some ground, which is made the same again before each kill."""

    def __init__(self, ground: Ground, directory: Path, scenario: Scenario, sources: dict[Digest, str]) -> None:
        self.ground = ground
        self.sources = sources
        self.directory = directory
        self.scenario = scenario
        write_sources(directory)
        for command in scenario.prepared:
            ground.run(*self.words(command))
        scenario.arrange(ground)
        ground.keep()
        ground.restore()
        self.fresh = self.now = ground.fingerprint()
        self.checked: dict[str, State] = {}  # by fingerprint: what is the same need not be looked at twice

    def words(self, command: tuple[str, ...]) -> list[str]:
        return [word.replace("SOURCES", str(self.directory)) for word in command]

    def disturbed(self, injection: Injection) -> int:
        if self.now != self.fresh:
            self.ground.restore()
        code = self.ground.disturbed(self.words(self.scenario.command), injection)
        self.now = self.ground.fingerprint()
        return code

    def check(self, what: str, code: int) -> None:
        """It was done or not, and done if the command said so; all that is stored is sound, and what is done again is done."""
        found = self.checked.get(self.now)
        if found is None:
            found = self.checked[self.now] = self.state()
            self.check_all(what, found)
            self.now = ""  # whatever it is now
        assert found in (self.scenario.before, self.scenario.after), what
        assert code or found == self.scenario.after, what

    def check_all(self, what: str, found: State) -> None:
        scenario = self.scenario
        assert self.findings() == [], what
        if found != scenario.after or scenario.after == scenario.before:
            self.ground.run(*self.words(scenario.command))
            assert self.state() == scenario.after, what
            assert self.findings() == [], f"{what}, done again"
        assert self.ground.findings_later() == [], f"{what}, later"
        assert self.state() == scenario.after, what

    def findings(self) -> list[str]:
        """What is not sound; that something waits to be collected is no damage."""
        waiting = ("cleaning-due", "draft-expired", "objects-unreachable")
        return [str(finding) for finding in self.ground.checked().findings if finding.code not in waiting]

    def state(self) -> State:
        """By digest; that what the digests name is there to the last byte is for the check of everything to say."""
        with closing(self.ground.opened()) as registry:
            try:
                versions = registry.versions.list("p", "a")
            except NotFound:
                return {}
            found = {name: self.sources[v.digest] for v in versions for name in (v.name, *v.aliases)}
            was_given_up = "upload" in self.scenario.before and uploads(registry)
            return {**found, "upload": "open"} if was_given_up else found


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


def on_grounds(*, all_of_them: bool) -> pytest.MarkDecorator:
    """Commands and where their registry is; the ordinary tests leave some out."""
    chosen = [
        pytest.param((ground, scenario), id=f"{scenario.name}, {ground}", marks=SERVICES[ground])
        for scenario in COMMANDS
        for ground in scenario.grounds
        if all_of_them or ground == "directory" or scenario.name in OFTEN
    ]
    return pytest.mark.parametrize("place", chosen, indirect=True)


@pytest.fixture
def place(tmp_path: Path, sources: dict[Digest, str], request: pytest.FixtureRequest) -> Iterator[Place]:
    kind, scenario = request.param
    with GROUNDS[kind](tmp_path) as ground:
        yield Place(ground, tmp_path, scenario, sources)


def points_of(place: Place) -> list[Point]:
    assert place.disturbed(place.ground.injection) == 0
    assert place.state() == place.scenario.after
    found = distinct(place.ground.injection.points())
    assert len(found) > 5
    return found


def disturb_at_each(place: Place, points: list[Point]) -> None:
    """Fails also if fewer died than were to."""
    done: Counter[str] = Counter()
    for point, do in kills(points):
        for _ in range(ATTEMPTS):  # a run may do its calls in another order, so that none that can be torn is there
            code = place.disturbed(place.ground.injection.at_point(point.number, do))
            place.check(f"{do} at {point}", code)
            is_struck = (code == -9) == (do != LOSE)
            if is_struck:
                break
        done[do] += is_struck
        tried(f"{place.scenario.name}, {place.ground.name}: {_WHAT[point.is_request, do == LOSE]}")
    for do, count in done.items():
        wanted = sum(1 for _, each in kills(points) if each == do)
        assert count >= min(0.9 * wanted, wanted - 1), do  # a run may do a call less, or in another order


_WHAT = {
    (False, False): "kills at a change of a file",
    (True, False): "kills before or after a request",
    (True, True): "lost answers to a request",
}


@on_grounds(all_of_them=False)
def test_a_kill_at_some_points_leaves_all_or_nothing(place: Place) -> None:
    disturb_at_each(place, spread(points_of(place), SOME[place.ground.name]))


@pytest.mark.deep
@pytest.mark.parametrize("part", range(PARTS))
@on_grounds(all_of_them=True)
def test_a_kill_at_any_point_leaves_all_or_nothing(place: Place, part: int) -> None:
    disturb_at_each(place, points_of(place)[part::PARTS])
