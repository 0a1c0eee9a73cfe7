"""A command that reads is killed at each call by which it changes a file: of the directory that it writes, or of the cache
through which it reads and which makes room meanwhile.

Afterwards it reads the right bytes, the cache keeps to its limit, and nothing is left over: of files that were not there before,
at once; of those that were to take another's place, when the next command is done.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from random import Random

import pytest

from tests.acceptance.user import ARTFS, User
from tests.faults.injecting import Injection, Point, distinct, kills, restore, spread
from tests.faults.test_cache_faults import du
from tests.reliability.trials import tried

pytestmark = [pytest.mark.falsifies("verified", "cache-limit", "bounded"), pytest.mark.timeout(1800)]

SOME = 2
LIMIT_BYTES = 1 << 20
FILES = 24
FILE_BYTES = 40_000
CACHE_FILE = re.compile(r"objects(/v1(/(lock|index|counts|segments(/\d+)?|pins(/\w+)?))?)?|references\.db(-\w+)?")
UNDER_WAY = re.compile(r"(in/)?(\.artfs-[0-9a-f]{16}\.tmp)(/(lock|[0-9a-f]{16}))?")
OTHER = b"something else"


class Reader:
    """A user whose registry has two versions, the first of which was read through a cache that is too small for both."""

    def __init__(self, directory: Path, root: str, *, cached: bool, over: bool = False) -> None:
        self.user = User(directory / "home")
        self.environment = {"ARTFS_CACHE": "always" if cached else "never", "ARTFS_CACHE_SIZE": str(LIMIT_BYTES)}
        self.user.home.mkdir()
        rng = Random(1)
        self.contents = [
            {f"{name}{i}": rng.randbytes(FILE_BYTES) for i in range(FILES)} | {f"in/{name}": b"x" * 300_000}
            for name in ("old", "new")
        ]
        for number, content in enumerate(self.contents):
            for path, data in content.items():
                (directory / str(number) / path).parent.mkdir(parents=True, exist_ok=True)
                (directory / str(number) / path).write_bytes(data)
            self.user.run("put", "-q", "-n", "p/a", directory / str(number))
        self.got = self.user.home / "got"
        self.cache = self.user.home / ".cache/artfs"
        self.is_over = over
        if cached:
            self.get("v0")
        if over:  # there is something else in the place of every file
            for path in self.contents[1]:
                (self.got / "v1" / path).parent.mkdir(parents=True, exist_ok=True)
                (self.got / "v1" / path).write_bytes(OTHER)
        self.template = directory / "template"
        self.user.home.rename(self.template)
        self.injection = Injection(self.user.home / root, directory / "injected")

    def get(self, version: str) -> None:
        self.user.run("get", "-q", f"p/a:{version}", "--root", self.got / version, code=0, **self.environment)

    def disturbed(self, injection: Injection) -> int:
        restore(self.template, self.user.home)
        words = [str(ARTFS), "get", "-q", "p/a:v1", "--root", str(self.got / "v1")]
        return injection.run(words, self.user.environment(**self.environment))

    def points(self) -> list[Point]:
        assert self.disturbed(self.injection) == 0
        found = distinct(self.injection.points())
        assert len(found) > 20
        return found

    def check(self, what: str) -> None:
        """What is there is right or not there, and getting it again gets all of it."""
        there = self.there(1)
        if self.is_over:
            places = {found[2] for path in there if (found := UNDER_WAY.fullmatch(path))}
            assert len(places) <= 2, what  # one a directory
            there = {path: data for path, data in there.items() if not UNDER_WAY.fullmatch(path)}
            assert set(there) == set(self.contents[1]), what
        for path, data in there.items():
            assert data == self.contents[1][path] or (self.is_over and data == OTHER), f"{what}: {path}"
        self.check_got(1, what)

    def check_got(self, number: int, what: str) -> None:
        """Getting a version makes it be there, with nothing else."""
        self.get(f"v{number}")
        assert self.there(number) == self.contents[number], what
        assert [path for path in self.got.rglob("*") if UNDER_WAY.fullmatch(path.name)] == [], what

    def there(self, number: int) -> dict[str, bytes]:
        place = self.got / f"v{number}"
        return {str(path.relative_to(place)): path.read_bytes() for path in place.rglob("*") if path.is_file()}

    def check_cache(self, what: str) -> None:
        """Both versions are read through the cache as it was left, and it is in order."""
        for number in (1, 0):
            shutil.rmtree(self.got, ignore_errors=True)
            self.check_got(number, what)
        assert du(self.cache / "objects") <= LIMIT_BYTES, what
        strange = [str(path.relative_to(self.cache)) for path in self.cache.rglob("*")]
        assert [path for path in strange if not CACHE_FILE.fullmatch(path)] == [], what
        self.user.run("cache", "verify", code=0, **self.environment)
        assert du(self.cache / "objects") <= LIMIT_BYTES, what


@pytest.fixture
def getter(tmp_path: Path) -> Reader:
    return Reader(tmp_path, "", cached=False)


@pytest.fixture
def replacer(tmp_path: Path) -> Reader:
    return Reader(tmp_path, "", cached=False, over=True)


@pytest.fixture
def cached(tmp_path: Path) -> Reader:
    """Only what changes the cache counts."""
    return Reader(tmp_path, ".cache", cached=True)


def kill_getting(reader: Reader, points: list[Point]) -> None:
    for point, do in kills(points):
        assert reader.disturbed(reader.injection.at_point(point.number, do)) == -9
        reader.check(f"{do} at {point}")
        over = " over other files" if reader.is_over else ""
        tried(f"a get{over}, SQLite and a directory: kills at a change of a file")


def kill_caching(reader: Reader, points: list[Point]) -> None:
    assert any(point.call == "unlink" and "/segments/" in point.path for point in points), "no room was made"
    for point, do in kills(points):
        assert reader.disturbed(reader.injection.at_point(point.number, do)) == -9
        assert du(reader.cache / "objects") <= LIMIT_BYTES, f"{do} at {point}"
        reader.check_cache(f"{do} at {point}")
        tried("a cache that makes room for what is read: kills at a change of a file")


def test_a_get_that_is_killed_at_some_points_is_done_by_the_next(getter: Reader) -> None:
    kill_getting(getter, spread(getter.points(), SOME))


@pytest.mark.deep
def test_a_get_that_is_killed_at_any_point_is_done_by_the_next(getter: Reader) -> None:
    kill_getting(getter, getter.points())


def test_a_get_over_other_files_that_is_killed_at_some_points_leaves_none_of_its_own(replacer: Reader) -> None:
    points = replacer.points()
    made = [point for point in points if UNDER_WAY.search(point.path)]
    assert {"mkdir", "create", "link", "rename"} <= {point.call for point in points}, "nothing took another's place"
    kill_getting(replacer, [*spread(made, SOME * 2), *spread(points, SOME)])


@pytest.mark.deep
def test_a_get_over_other_files_that_is_killed_at_any_point_leaves_none_of_its_own(replacer: Reader) -> None:
    kill_getting(replacer, replacer.points())


@pytest.mark.fuse
def test_a_get_into_a_draft_that_is_killed_leaves_nothing_that_the_next_does_not_remove(tmp_path: Path) -> None:
    """A mount has no nameless files."""
    user = User(tmp_path / "home")
    user.home.mkdir()
    content = {f"f{i}": bytes([i]) * FILE_BYTES for i in range(4)}
    (tmp_path / "source").mkdir()
    for name, data in content.items():
        (tmp_path / "source" / name).write_bytes(data)
    user.run("put", "-q", "-n", "p/a", tmp_path / "source")
    with user.mounted() as mounted:
        draft = mounted / "p/a/.staging/next"
        draft.mkdir()
        injection = Injection(draft, tmp_path / "injected")
        words = [str(ARTFS), "get", "-q", "p/a:v0", "--root", str(draft)]
        assert injection.run(words, user.environment()) == 0
        points = [point for point in injection.points() if point.call == "write"]
        for point in spread(points, 3):
            shutil.rmtree(draft)
            draft.mkdir()
            assert injection.at_point(point.number, "tear").run(words, user.environment()) == -9
            (left,) = [path for path in draft.iterdir() if UNDER_WAY.fullmatch(path.name)]
            assert [path.name for path in left.iterdir() if path.name != "lock"], "nothing was under way"
            user.run("get", "-q", "p/a:v0", "--root", draft)
            assert {path.name: path.read_bytes() for path in draft.iterdir()} == content
            tried("a get into a draft: kills at a write")


def test_a_cache_that_is_left_at_some_points_is_right_and_keeps_to_its_limit(cached: Reader) -> None:
    points = cached.points()
    some = {point.number: point for point in spread(points, SOME)}
    removal = next(point for point in points if point.call == "unlink" and "/segments/" in point.path)
    kill_caching(cached, [*some.values(), *([] if removal.number in some else [removal])])


@pytest.mark.deep
def test_a_cache_that_is_left_at_any_point_is_right_and_keeps_to_its_limit(cached: Reader) -> None:
    kill_caching(cached, cached.points())
