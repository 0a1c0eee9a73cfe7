"""Rows 5 and 8: a million tiny files, in a thousand directories and in one: seen, walked, and ten of them changed."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import cache, partial
from pathlib import Path

from tests.acceptance.user import User
from tests.bench import data, peers
from tests.bench.cases import ARTFS, Case, Goal, counts_within, within
from tests.bench.measure import (
    Contestant,
    Figure,
    Race,
    Sample,
    drop_caches,
    percentile,
    race,
    require,
    run,
    say,
    timed,
    tree_bytes,
)
from tests.bench.repositories import run_artfs
from tests.bench.world import World, pid_of

MANY = "many directories"
ONE = "one directory"
Mount = Callable[[Path, Path], AbstractContextManager[Path]]
PROBES = 300
CHANGES = 10


@cache
def registries(world: World) -> dict[str, User]:
    """A user for each layout, whose own registry holds `tiny/files/v0`."""
    found = {}
    for layout, directories in ((MANY, world.sizes.tiny_directories), (ONE, 0)):
        home = world.directory / f"tiny-{layout.split()[0]}"
        home.mkdir()
        found[layout] = User(home)
        found[layout].run("status")
        put = partial(data.put_tiny_files, found[layout].registry, "files", world.sizes.tiny_files, directories)
        say(f"  made {world.sizes.tiny_files:,} files in {layout} ({timed(put):.0f} s)")
    return found


# row 5


def seen(world: World) -> list[Case]:
    """artfs, and who passes on a directory of as many files on disk: made once, and moved for the other layout."""
    cases = []
    with world.place() as place:
        say(f"  made as many on disk ({timed(partial(_make_files, world, place / 'files')):.0f} s)")
        for layout, user in registries(world).items():
            if layout == ONE:
                say(f"  moved those on disk together ({timed(partial(_move_together, place / 'files')):.0f} s)")
            rounds: list[dict[str, float]] = []
            contestants: dict[str, Contestant] = {ARTFS: partial(_look_around, world, user, layout, rounds)}
            for name, mount in {"bare pyfuse3": peers.bare_mount, "bindfs": peers.bindfs_mount}.items():
                contestants[name] = partial(_walk_peer, world, mount, place)
            found = race(contestants, world.options.repeat, warm_up=0)
            cases += _cases_of(world, layout, rounds, found)
    return cases


def _make_files(world: World, root: Path) -> None:
    each = world.sizes.tiny_files // world.sizes.tiny_directories
    for number in range(world.sizes.tiny_files):
        directory = f"{root}/{number // each:04}"
        if number % each == 0:
            os.makedirs(directory)
        file = os.open(f"{directory}/{number:07}", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        os.write(file, data.tiny_content(number))
        os.close(file)


def _move_together(root: Path) -> None:
    """From directories below `root` into it. Making new files after so many were removed would take minutes."""
    for directory in [entry.path for entry in os.scandir(root) if entry.is_dir()]:
        for name in os.listdir(directory):
            os.rename(f"{directory}/{name}", f"{root}/{name}")
        os.rmdir(directory)


def _walk_peer(world: World, mount: Mount, place: Path) -> Sample:
    drop_caches()
    with mount(place / "files", place) as root:
        return Sample(timed(partial(_find, world, root)))


def _find(world: World, root: Path) -> None:
    found = len(run("find", root, "-type", "f", "-size", "+5c", "-printf", "."))
    require(found == world.sizes.tiny_files, f"find found {found} of {world.sizes.tiny_files} files")


def _look_around(world: World, user: User, layout: str, rounds: list[dict[str, float]]) -> Sample:
    """Mount and list, walk with find, read some, and look at the memory of the process that serves."""
    drop_caches()
    place = user.home / "mnt"
    count = world.sizes.tiny_files
    begin = time.perf_counter()
    with user.mounted("mnt"):
        version = place / "tiny/files/v0"
        names = run("ls", "-f", version if layout == MANY else version.parent).split()
        listed_s = time.perf_counter() - begin
        require("v0" in names or len(names) == world.sizes.tiny_directories + 2, "ls shows other names")
        pid = pid_of(user)
        find_s = timed(partial(_find, world, version))
        memory = _resident_bytes(pid)
        if layout == ONE:
            listing = timed(lambda: require(len(os.listdir(version)) == count, "the listing is not complete"))
        else:
            listing = listed_s
        _read_some(version, world, layout)
        memory = max(memory, _resident_bytes(pid))
    rounds.append({"mount and ls": listed_s, "find": find_s, "memory": memory / 2**20, "listdir": listing})
    return Sample(find_s)


def _read_some(version: Path, world: World, layout: str) -> None:
    each = world.sizes.tiny_files // world.sizes.tiny_directories
    for number in random.Random(3).sample(range(world.sizes.tiny_files), PROBES):
        path = version / f"{number:07}" if layout == ONE else version / f"{number // each:04}" / f"{number:07}"
        require(path.read_bytes() == data.tiny_content(number), f"{path} has other content")


def _resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


_SEEN = (
    ("mount and ls", "mount + ls", "s", 1.0, 0.3),
    ("find", "find with sizes", "s", 20.0, 8.0),
    ("memory", "resident memory of the mount", "MiB", 400.0, 200.0),
    ("listdir", "the listing", "s", None, None),
)


def _cases_of(world: World, layout: str, rounds: list[dict[str, float]], raced: Race) -> list[Case]:
    cases = []
    for key, what, unit, least, aim in _SEEN:
        if key == "listdir" and layout == MANY:
            continue
        samples = tuple(Sample(found[key]) for found in rounds)
        shown = Race()
        if ARTFS in raced.refused:
            shown.refused[ARTFS] = raced.refused[ARTFS]
        elif samples:
            shown.figures[ARTFS] = Figure(samples)
        if key == "find":
            shown = Race({**shown.figures, **raced.figures}, dict(raced.refused))
        goals = [[within(value, f"{value:g} {unit}")] if value is not None else [] for value in (least, aim)]
        title = f"{world.sizes.tiny_files:,} files in {layout}: {what}"
        cases.append(Case(5, title, unit, shown, more_is_better=False, at_least=goals[0], aim=goals[1]))
    return cases


# row 8


def few_changed(world: World) -> list[Case]:
    """A copy-on-write draft, ten files of it rewritten, a rename."""
    cases = []
    for layout, user in registries(world).items():
        change = _changing(world, user, layout)
        contestants: dict[str, Contestant] = {ARTFS: change}
        found = race(contestants, world.options.repeat, warm_up=0)
        at_least: tuple[Goal, ...] = (within(10, "10 s"), counts_within("MiB stored", 5, "5 MiB"))
        aim: tuple[Goal, ...] = (within(1, "1 s"), counts_within("MiB stored", 1, "1 MiB"))
        what = f"{CHANGES} of {world.sizes.tiny_files:,} files in {layout} changed through a draft and rename"
        cases.append(Case(8, what, "s", found, more_is_better=False, at_least=at_least, aim=aim))
    return cases


def _changing(world: World, user: User, layout: str) -> Callable[[], Sample]:
    each = world.sizes.tiny_files // world.sizes.tiny_directories

    def change() -> Sample:
        number = world.next_number()
        chosen = random.Random(number).sample(range(world.sizes.tiny_files), CHANGES)
        names = [f"{i:07}" if layout == ONE else f"{i // each:04}/{i:07}" for i in chosen]
        drop_caches()
        with user.mounted("mnt") as mount:
            artifact = mount / "tiny/files"
            before = tree_bytes(user.registry / "packs")
            draft = artifact / ".staging" / f"n{number}"
            took: list[float] = []
            begin = time.perf_counter()
            run_artfs(user, "stage", "tiny/files:v0", draft.name)
            for name in names:
                at = time.perf_counter()
                (draft / name).write_bytes(b"changed %d in %d\n" % (number, len(took)))
                took.append(time.perf_counter() - at)
            os.rename(draft, artifact / f"alias{number}")
            took_s = time.perf_counter() - begin
            stored = tree_bytes(user.registry / "packs") - before
            for position, name in enumerate(names):
                found = (artifact / f"alias{number}" / name).read_bytes()
                require(
                    found == b"changed %d in %d\n" % (number, position), f"{name} has other content after the commit"
                )
        return Sample(took_s, {"MiB stored": stored / 2**20, "s for the slowest write": percentile(took, 1)})

    return change
