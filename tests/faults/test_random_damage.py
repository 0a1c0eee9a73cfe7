"""Random damage to everything that is stored, while four processes compare all they read with what was put: no wrong byte.

The mounts are `artfs mount`, with so little memory that reads meet the disk. What is in a cache heals from the registry, what is
in a registry is an error until it is mended, and `artfs fsck` names it.
"""

from __future__ import annotations

import random
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from artfs.errors import ArtfsError
from artfs.registry.embedded import EmbeddedRegistry
from tests.acceptance.team import Member, Team
from tests.acceptance.user import User, wait_until
from tests.faults.damage import IN_PLACE, MOSTLY_IN_PLACE, NothingLeft, Vandal, files_below, restore
from tests.faults.registry_damage import damaged_packs, unnamed
from tests.mount.readers import Found, ReaderProcess, contents
from tests.reliability.trials import tried

pytestmark = [
    pytest.mark.falsifies("verified"),
    pytest.mark.fuse,
    pytest.mark.serial,
    pytest.mark.timeout(580),
]

ROOT = Path(__file__).parents[2]
CHANGED = Path(__file__).with_name("changed_artfs.py")
CACHE_LIMIT = "64MiB"  # in files of 512 KiB: there is something to swap
STRIKE_S = 0.02
COMMAND_S = 120
SEEN_SHARE = 10  # at least one in so many faults must have been met by a reader
CHANGED_EVERY = 3

SHORT, LONG = 8, 400
short_and_long = pytest.mark.parametrize("faults", [SHORT, pytest.param(LONG, marks=pytest.mark.deep)])


@dataclass(frozen=True)
class Data:
    """Two versions' files, as they were put: `v0`, which is also `best`, and `v1`, which is also `latest`."""

    first: Path
    second: Path

    def of(self, name: str) -> Path:
        return self.first if name in ("v0", "best") else self.second


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Data:
    place, rng = tmp_path_factory.mktemp("data"), random.Random(1)
    first = place / "first"
    for directory in ("small", "deep/er"):
        (first / directory).mkdir(parents=True)
    for number in range(150):
        (first / f"small/{number:03}.dat").write_bytes(rng.randbytes(rng.randrange(24_000)))
    for number in range(20):
        (first / f"deep/er/{number}.txt").write_text(f"line {number}\n" * rng.randrange(2000))
    (first / "large.bin").write_bytes(rng.randbytes(6 << 20))
    (first / "words.txt").write_text(" ".join(f"{rng.randrange(5000)}" for _ in range(600_000)))
    second = place / "second"
    shutil.copytree(first, second)
    for number in range(0, 150, CHANGED_EVERY):
        (second / f"small/{number:03}.dat").write_bytes(rng.randbytes(rng.randrange(24_000)))
    large = bytearray((first / "large.bin").read_bytes())
    large[2_000_000:2_000_500] = rng.randbytes(1000)
    (second / "large.bin").write_bytes(large)
    return Data(first, second)


def put(user: User, data: Data) -> None:
    for part in sorted(data.first.rglob("*")):  # packs of their own
        if part.is_dir() or part.parent == data.first:
            user.run("put", "-n", "vision/parts", part)
    user.run("put", "-n", "vision/bikes", data.first, "-a", "best")
    user.run("put", "-n", "vision/bikes", data.second)


@contextmanager
def mounted(user: User, change: str = "little-memory", **settings: str) -> Iterator[Path]:
    """A mount whose process is changed (see changed_artfs.py), gone afterwards whatever happened."""
    place = user.home / "artfs"
    words = [sys.executable, str(CHANGED), change, "mount", str(place)]
    environment = user.environment(PYTHONPATH=str(ROOT), **settings)
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=COMMAND_S)
    assert done.returncode == 0, done.stderr
    try:
        yield place
    finally:
        user.run("umount", place, code=None)
        if place.is_mount():
            subprocess.run(["fusermount3", "-uz", place], check=False, timeout=30)


@contextmanager
def four_readers(mount: Path, data: Data, stop: Path) -> Iterator[Found]:
    """Readers of v0, v1, best and latest while the block runs; what they found, when it has ended."""
    names = ("v0", "v1", "best", "latest")
    stop.unlink(missing_ok=True)
    readers = [
        ReaderProcess(data.of(name), mount / "vision/bikes" / name, seed, stop) for seed, name in enumerate(names)
    ]
    found = Found()
    try:
        wait_until(lambda: all(reader.has_begun for reader in readers), "four readers read", 60)
        yield found
        stop.touch()
        for reader in readers:
            found.add(reader.found())
    finally:
        for reader in readers:
            reader.kill()


def damage(vandal: Vandal, faults: int) -> None:
    for _ in range(faults):
        wait_until(lambda: is_struck(vandal), "something is there to be damaged", 60)  # a cache that fills again
        time.sleep(STRIKE_S)


def is_struck(vandal: Vandal) -> bool:
    try:
        vandal.strike()
    except NothingLeft:
        return False
    return True


NAMES = ("v0", "v1", "best", "latest")


def unreadable(mount: Path, data: Data, names: Sequence[str] = NAMES) -> dict[str, list[str]]:
    """Of each version, the files that are errors, having compared all others."""
    found: dict[str, list[str]] = {}
    for name in names:
        found[name] = []
        for path, expected in contents(data.of(name)).items():
            try:
                assert (mount / "vision/bikes" / name / path).read_bytes() == expected, f"{name}/{path}"
            except OSError:
                found[name].append(path)
    return found


def log_of(user: User) -> str:
    return "".join(path.read_text() for path in (user.home / ".local/state/artfs/logs").glob("*.log"))


def older_packs(packs: Path, place: Path) -> Path:
    """For every pack, what another one was: a state from before it got its name."""
    files = files_below(packs)
    for path, other in zip(files, files[1:] + files[:1], strict=True):
        copy = place / path.relative_to(packs)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(other, copy)
    return place


def count_faults(target: str, vandal: Vandal) -> None:
    for kind, count in vandal.done.items():
        tried(f"{target}: {kind}", count)


@contextmanager
def far(tmp_path: Path, data: Data) -> Iterator[Member]:
    """A user of a server whose registry has the data."""
    team = Team(tmp_path, {})
    with team.serving() as server:
        user = team.user("ann", server.url)
        user = Member(user.home, {**user.settings, "ARTFS_CACHE_SIZE": CACHE_LIMIT})
        put(user, data)
        yield user


@short_and_long
def test_damage_to_the_cache_reaches_no_reader_and_heals(tmp_path: Path, data: Data, faults: int) -> None:
    with far(tmp_path, data) as user, mounted(user) as mount:
        assert not any(unreadable(mount, data).values())
        cache = user.cache / "objects"
        older = tmp_path / "older"
        shutil.copytree(cache, older)
        vandal = Vandal(lambda: files_below(cache), seed=faults, root=cache, older=older)
        before = fetched_bytes(user)
        with four_readers(mount, data, tmp_path / "stop") as found:
            damage(vandal, faults)
            wait_until(lambda: met(user, before) >= faults // SEEN_SHARE, "readers have met the damage", 60)
        count_faults("cache", vandal)
        assert not found.wrong
        assert not found.errors  # the registry is sound: all of it was fetched again
        assert sum(found.reads.values()) > faults
        assert not any(unreadable(mount, data).values())
        user.run("cache", "verify", code=None)
        user.run("cache", "verify")
        assert not any(unreadable(mount, data).values())


def met(user: User, fetched_before: int) -> int:
    """About how many faults in the cache were met: objects that were dropped, and what had to be fetched again."""
    dropped = sum(int(count) for count in re.findall(r"(\d+) damaged objects were dropped", log_of(user)))
    return dropped + (fetched_bytes(user) - fetched_before) // 200_000


def fetched_bytes(user: User) -> int:
    (mount,) = user.json("status")["mounts"]
    return int(mount["cache"]["memory"]["fetched_bytes"])


@pytest.mark.deep
@pytest.mark.parametrize("faults", [LONG])
def test_damage_to_packs_is_an_error_that_fsck_names(tmp_path: Path, data: Data, faults: int) -> None:
    user = User(tmp_path)
    put(user, data)
    packs, sound = user.registry / "packs", tmp_path / "sound"
    shutil.copytree(user.registry, sound)
    older = older_packs(packs, tmp_path / "older")
    vandal = Vandal(lambda: files_below(packs), seed=faults, kinds=MOSTLY_IN_PLACE, root=packs, older=older)
    errors = 0
    with mounted(user) as mount:
        for _ in range(faults // 10):
            with four_readers(mount, data, tmp_path / "stop") as found:
                damage(vandal, 10)
            assert not found.wrong
            assert set(found.errors) <= {"EIO"}
            errors += sum(found.errors.values())
            assert damaged_packs(user.registry, sound)
            assert not unnamed(user.registry, sound)
            restore(packs, sound / "packs")
        assert not any(unreadable(mount, data).values())
    count_faults("packs", vandal)
    assert errors >= faults // SEEN_SHARE


@pytest.mark.deep
@pytest.mark.parametrize("faults", [LONG])
def test_damage_to_the_database_is_an_error_and_never_another_version(tmp_path: Path, data: Data, faults: int) -> None:
    user = User(tmp_path)
    put(user, data)
    database, sound = user.registry / "registry.db", tmp_path / "sound"
    sound.mkdir()
    shutil.copy(database, sound)
    roots = meanings(sound, tmp_path / "opened")
    assert isinstance(roots["latest"], str)
    assert len(set(roots.values())) == 2
    vandal = Vandal(lambda: [database], seed=faults, kinds=(*IN_PLACE * 3, "truncated", "extended"))
    errors = 0
    with mounted(user) as mount:
        for number in range(faults // 5):
            with four_readers(mount, data, tmp_path / "stop") if number % 4 == 0 else nullcontext(Found()) as found:
                damage(vandal, 5)
            assert not found.wrong
            errors += sum(found.errors.values())
            told = meanings(user.registry, tmp_path / "opened")
            for name, root in told.items():
                assert root is None or root == roots[name], name
            errors += sum(root is None for root in told.values())
            restore(database.parent, sound, only=[database.name])
        assert not any(unreadable(mount, data).values())
    count_faults("database", vandal)
    assert errors >= faults // SEEN_SHARE


def meanings(registry: Path, place: Path) -> dict[str, str | None]:
    """The root that each name means in a copy of the registry's database, for who opens it anew; None where that is an error."""
    shutil.rmtree(place, ignore_errors=True)
    for name in ("packs", "spool", "records"):
        (place / name).mkdir(parents=True)
    shutil.copy(registry / "registry.db", place)
    (place / "artfs-registry").write_text('{"format": 1, "identity": "%s"}' % ("0" * 32))
    found: dict[str, str | None] = dict.fromkeys(("v0", "v1", "best", "latest"))
    try:
        opened = EmbeddedRegistry(place)
    except ArtfsError:
        return found
    try:
        for name in found:
            with suppress(ArtfsError):
                found[name] = opened.versions.resolve("vision", "bikes", name).root.hex()
    finally:
        opened.close()
    return found


@pytest.mark.deep
def test_what_fsck_can_mend_after_damage_to_packs_is_read_and_the_rest_comes_back_by_putting_it_again(
    tmp_path: Path, data: Data
) -> None:
    user = User(tmp_path)
    put(user, data)
    packs, sound = user.registry / "packs", tmp_path / "sound"
    shutil.copytree(user.registry, sound)
    vandal = Vandal(lambda: files_below(packs), seed=1, kinds=IN_PLACE)
    for _ in range(6):
        vandal.strike()
    count_faults("packs that were mended", vandal)
    user.run("fsck", "--repair", code=None)
    with mounted(user) as mount:
        lost = unreadable(mount, data)
        assert any(lost.values())
        assert sum(map(len, lost.values())) < len(contents(data.first))  # what was sound is still read
    put(user, data)
    with mounted(user) as mount:
        assert not any(unreadable(mount, data).values())
    user.run("fsck")


@pytest.mark.deep
def test_damage_to_what_is_remembered_of_a_registry_shows_nothing_else(tmp_path: Path, data: Data) -> None:
    with far(tmp_path, data) as user:
        state = user.home / ".local/state/artfs"

        def kept() -> list[Path]:
            return files_below(state / "catalog", state / "learned", but=("-shm",))

        with mounted(user) as mount:
            assert not any(unreadable(mount, data).values())
            facts = stats(mount)
        assert kept()
        vandal = Vandal(kept, seed=1, kinds=MOSTLY_IN_PLACE)
        for _ in range(40):
            for _ in range(5):
                vandal.strike()
            with mounted(user) as mount:
                assert stats(mount) == facts
                assert not any(unreadable(mount, data).values())
                vandal.strike()
        count_faults("what is remembered of a registry", vandal)


def stats(mount: Path) -> dict[str, tuple[int, int, int]]:
    """Mode, size and mtime of everything that versions and aliases show."""
    shown = mount / "vision/bikes"
    found = {}
    for name in ("v0", "v1", "best", "latest"):
        for path in (shown / name).rglob("*"):
            stat = path.lstat()
            found[str(path.relative_to(shown))] = (stat.st_mode, stat.st_size, stat.st_mtime_ns)
    return found


@pytest.mark.deep
def test_damage_to_a_draft_stays_in_it(tmp_path: Path, data: Data) -> None:
    """Drafts have no digests before they are committed: what is promised is that versions, and other drafts, are as they were."""
    user = User(tmp_path)
    put(user, data)
    staging = user.home / ".local/share/artfs/staging"
    vandal = Vandal(lambda: files_below(staging, but=("-shm", "lock")), seed=1, kinds=MOSTLY_IN_PLACE)
    for number in range(25):
        with mounted(user) as mount:
            draft = mount / f"vision/bikes/.staging/d{number}"
            shutil.copytree(data.second / "deep", draft)
        for _ in range(4):
            vandal.strike()
        with mounted(user) as mount:
            for path in files_of(draft):
                with suppress(OSError):
                    path.read_bytes()
            with suppress(OSError):
                draft.rename(mount / "vision/bikes/damaged")
            if number % 8 == 0:  # `latest` is what was just committed
                assert not any(unreadable(mount, data, ("v0", "v1", "best")).values())
        shutil.rmtree(staging)
    count_faults("drafts", vandal)
    user.run("fsck")  # whatever was committed is whole


def files_of(directory: Path) -> list[Path]:
    try:
        return files_below(directory)
    except OSError:
        return []
