"""Rows 6 and 7: a directory committed, and committed again after a few changes."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path

from tests.bench import data, repositories
from tests.bench.cases import ARTFS, Case, Goal, counts_within, within
from tests.bench.measure import CheckFailed, Figure, Race, Sample, drop_caches, race, require, say, timed
from tests.bench.repositories import REPOSITORIES, Repository
from tests.bench.world import World

COPY = "artfs, cp -r and mv"


@dataclass(frozen=True)
class Versions:
    """Two versions of a directory: small files and a large one, some of which differ."""

    first: Path
    second: Path


@cache
def measured(world: World) -> Race:
    """Both commits of everybody in each round; a sample's value is the first's seconds, its counts hold the second's."""
    versions = _versions(world)
    checked: set[str] = set()
    contestants = {
        name: partial(_commit_both, world, make, name, versions, checked) for name, make in REPOSITORIES.items()
    }
    return race(contestants, world.options.repeat, warm_up=0)  # each begins with nothing, and with cold caches


def _versions(world: World) -> Versions:
    first, second = world.directory / "commit-v0", world.directory / "commit-v1"
    shutil.copytree(world.small.root, first)
    shutil.copy(world.large.root / data.LARGE, first / data.LARGE)
    data.second_version(first, second, world.sizes)
    return Versions(first, second)


def _commit_both(world: World, make: Callable[..., object], name: str, versions: Versions, checked: set[str]) -> Sample:
    """Both versions are given back and compared in the first round; later the second, which is nearly all of the first."""
    say(f"    {name}")
    with world.place() as place, make(place) as repository:  # type: ignore[attr-defined]  # a context manager
        first_s = _commit(repository, versions.first, 0)
        before = repository.stored_bytes()
        second_s = _commit(repository, versions.second, 1)
        grown = repository.stored_bytes() - before
        if name not in checked:
            repository.check(versions.first, 0, place)
        repository.check(versions.second, 1, place)
        checked.add(name)
    require(grown > 0, f"{name} has stored nothing for the second version")
    return Sample(first_s, {"MiB stored": before / 2**20, "seconds of the second": second_s, "MiB more": grown / 2**20})


def _commit(repository: Repository, source: Path, number: int) -> float:
    """From files that are in the page cache, as after they were made."""
    taken = repository.prepare(source, number)
    drop_caches()
    repositories.read_through(taken)
    return repository.timed_commit(source, number)


def first_version(world: World) -> list[Case]:
    found = measured(world)
    files = world.sizes.small_files
    what = f"commit of {files:,} small files and {world.sizes.large_bytes / 2**30:.3g} GiB, durable"
    shown = Race({name: _only(figure, "MiB stored") for name, figure in found.figures.items()}, found.refused)
    at_least = (within(10, "put 10 s"), _copy_within(25, "cp -r and mv 25 s"))
    aim = (within(4.5, "put 4.5 s"), _copy_within(10, "cp -r and mv 10 s"))
    return [Case(6, what, "s", shown, more_is_better=False, at_least=at_least, aim=aim)]


def _copy_within(value: float, text: str) -> Goal:
    return Goal(text, lambda found: found[COPY].median <= value)


def second_version(world: World) -> list[Case]:
    found = measured(world)
    shown = Race({name: _second(figure) for name, figure in found.figures.items()}, found.refused)
    what = f"second version: {world.sizes.replaced_files} files replaced, 1,000 bytes inserted into the large one"
    at_least = (within(5, "5 s"), counts_within("MiB more", 6, "6 MiB"))
    aim = (within(2, "2 s"), counts_within("MiB more", 4, "4 MiB"))
    cases = [Case(7, what, "s", shown, more_is_better=False, at_least=at_least, aim=aim)]
    return [*cases, _sent(world), *_pairs(world)]


def _only(figure: Figure, count: str) -> Figure:
    return Figure(tuple(replace(sample, counts={count: sample.counts[count]}) for sample in figure.samples))


def _second(figure: Figure) -> Figure:
    counts = [sample.counts for sample in figure.samples]
    return Figure(tuple(Sample(count["seconds of the second"], {"MiB more": count["MiB more"]}) for count in counts))


def _sent(world: World) -> Case:
    """The same through the proxy, to a server: what goes over the line."""
    first, second = world.directory / "commit-v0", world.directory / "commit-v1"

    def send() -> Sample:
        writer = world.far_writer()
        target = f"sent{world.next_number()}/data"
        repositories.run_artfs(writer, "put", "-q", "-n", target, first)
        world.proxy.reset_counts()
        took_s = timed(lambda: repositories.run_artfs(writer, "put", "-q", "-n", target, second))
        counts = world.proxy.counts()
        return Sample(took_s, {"MiB sent": counts.bytes_to_server / 2**20, "requests": counts.requests})

    found = race({ARTFS: send}, 1, warm_up=0)
    goals = [[counts_within("MiB sent", limit, f"{limit} MiB sent")] for limit in (6, 4)]
    what = "the same, `put` to a far server"
    return Case(7, what, "s", found, more_is_better=False, at_least=goals[0], aim=goals[1])


def _pairs(world: World) -> list[Case]:
    """Pairs of a table and of weights: what the second version stores, of what has changed."""
    makers = {
        "a CSV with rows gone, come and changed": data.table_pair,
        "weights, a sixteenth changed": data.tensor_pair,
    }
    cases = []
    for what, make in makers.items():
        before, after = make(world.directory / f"pair{world.next_number()}", world.sizes)
        contestants = {
            name: partial(_pair, world, REPOSITORIES[name], name, before.parent, after.parent)
            for name in (ARTFS, "restic", "borg", "DVC")
        }
        found = race(contestants, 1, warm_up=0)
        cases.append(Case(7, f"second version of {what}", "MiB stored", found, more_is_better=False))
    return cases


def _pair(world: World, make: Callable[..., object], name: str, before: Path, after: Path) -> Sample:
    found = _commit_both(world, make, name, Versions(before, after), set())
    if found.counts["MiB more"] <= 0:
        raise CheckFailed("nothing was stored")
    total = sum(path.stat().st_size for path in after.iterdir()) / 2**20
    return Sample(found.counts["MiB more"], {"of MiB": total})
