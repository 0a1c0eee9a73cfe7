"""Row 12: many readers of all kinds at once, none of whom may be starved."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from pathlib import Path

from tests.bench import peers
from tests.bench.cases import ARTFS, Case, within
from tests.bench.data import DataSet
from tests.bench.measure import FAILURES, Contestant, Sample, drop_caches, percentile, race, refuse, require
from tests.bench.reading import Order, read, read_all
from tests.bench.world import World

CACHED_READERS = 16  # of small files that are cached
COLD_READERS = 12  # of small files that are not
STREAMERS = 4  # of a large file, in order
ROUNDS = 3  # of the cached files, by each of their readers


def mixed(world: World) -> list[Case]:
    """What is measured is how long opening and reading a cached small file takes, meanwhile."""
    small, noise, large = world.small, world.noise, world.large
    places = [world.store_far("small", small.root), world.store_far("noise", noise.root)]
    places.append(world.store_far("large", large.root))
    with ExitStack() as stack:
        contestants: dict[str, Contestant] = {ARTFS: partial(_artfs, world, places)}
        contestants["native"] = partial(_native, world)
        for name, mount in {"bare pyfuse3": peers.bare_mount, "bindfs": peers.bindfs_mount}.items():
            try:
                roots = [
                    stack.enter_context(mount(data.root, stack.enter_context(world.place())))
                    for data in (small, noise, large)
                ]
                contestants[name] = partial(_roots, world, roots)
            except FAILURES as failure:
                contestants[name] = partial(refuse, failure)
        found = race(contestants, world.options.repeat, warm_up=0)
    goals = [[within(limit, f"p99 {limit} ms")] for limit in (20, 5)]
    what = f"{CACHED_READERS + COLD_READERS + STREAMERS} readers, mixed: p99 of opening and reading a cached file"
    case = Case(12, what, "ms", found, more_is_better=False, at_least=goals[0], aim=goals[1])
    case.notes.append("only artfs's cold readers fetch through the proxy; the others' find everything on this machine")
    return [case]


def _artfs(world: World, places: list[str]) -> Sample:
    with world.far() as far:
        return _race(world, [far / place for place in places])


def _native(world: World) -> Sample:
    drop_caches()
    return _race(world, [world.small.root, world.noise.root, world.large.root])


def _roots(world: World, roots: list[Path]) -> Sample:
    drop_caches()
    return _race(world, roots)


def _race(world: World, roots: list[Path]) -> Sample:
    """Caches are empty but for a tenth of the small files, which was read before."""
    cached = world.small.shuffled(31)[: len(world.small.digests) // 10]
    read(roots[0], world.small, cached, processes=4)
    orders = [Order(roots[0], world.small, cached * ROUNDS, latencies=True) for _ in range(CACHED_READERS)]
    orders += _cold(world.noise, roots[1])
    orders += [Order(roots[2], world.large, world.large.paths, how="in_order") for _ in range(STREAMERS)]
    done = read_all(orders)
    require(all(answer["files"] for answer in done.answers), "a reader got nothing")
    latencies = done.latencies_s
    ends = [answer["end"] - answer["begin"] for answer in done.answers[:CACHED_READERS]]
    return Sample(
        percentile(latencies, 0.99) * 1000,
        {
            "ms median": percentile(latencies, 0.5) * 1000,
            "ms longest": max(latencies) * 1000,
            "slowest reader / fastest": max(ends) / max(min(ends), 1e-9),
        },
    )


def _cold(data: DataSet, root: Path) -> list[Order]:
    paths = data.shuffled(32)
    return [Order(root, data, paths[number::COLD_READERS]) for number in range(COLD_READERS)]
