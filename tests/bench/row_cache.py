"""Row 9: what a cache that is too small for the data holds of it, over shuffled epochs and over a trace with favourites.

A hit is a byte that was read without being fetched: each epoch reads every file once, with the kernel's caches dropped before it,
so that only artfs can have it: in its cache, or in memory, a part of which stays while the cache is full (64 MiB).
"""

from __future__ import annotations

import hashlib
import random
from collections import OrderedDict
from functools import partial

from artfs.cache.policy import EpochPolicy
from tests.bench import data
from tests.bench.cases import ARTFS, Case, outdoes, reaches
from tests.bench.data import DataSet
from tests.bench.measure import Contestant, Sample, drop_caches, race, say
from tests.bench.reading import read
from tests.bench.world import World

LEARNING_EPOCHS = 2  # before which no policy knows what is to come
EPOCHS = 3
READERS = 16  # what is not in the cache is a round trip of its own
QUICK_EPOCHS = 1
LRU = "LRU (simulated)"
OPTIMUM = "never evicting (simulated)"
SHARES = ((0.5, 0.45, 0.495), (0.2, 0.17, 0.195))
ZIPF_OBJECTS = 20_000
ZIPF_EXPONENT = 1.0


def hits(world: World) -> list[Case]:
    files = data.epoch_files(world.directory / "epochs", world.sizes)
    artifact = world.store_far("epochs", files.root)
    cases = []
    for share, least, aim in SHARES[: 1 if world.options.quick else None]:
        contestants: dict[str, Contestant] = {
            ARTFS: partial(_epochs, world, artifact, files, share),
            LRU: partial(_simulated, files, share, evicting=True),
            OPTIMUM: partial(_simulated, files, share, evicting=False),
        }
        found = race(contestants, 1, warm_up=0)
        what = f"hit ratio of shuffled epochs, cache of {share:.0%} of the data"
        at_least = (reaches(least, f"{least}"),)
        cases.append(Case(9, what, "of bytes", found, at_least=at_least, aim=(reaches(aim, f"{aim}"),)))
    return [*cases, _zipf(world)]


def _epochs(world: World, artifact: str, files: DataSet, share: float) -> Sample:
    """Through a real mount of a far registry."""
    limit_bytes = int(files.size_bytes * share)
    with world.far(ARTFS_CACHE_SIZE=str(limit_bytes)) as far:
        fetched = total = 0
        for epoch in range(LEARNING_EPOCHS + (QUICK_EPOCHS if world.options.quick else EPOCHS)):
            drop_caches()
            far.proxy.reset_counts()
            done = read(far / artifact, files, files.shuffled(100 + epoch), processes=READERS)
            say(f"  cache of {share:.0%}, epoch {epoch + 1}: {done.files_per_s:.0f} files/s")
            if epoch >= LEARNING_EPOCHS:
                fetched += far.proxy.counts().bytes_to_client
                total += done.bytes
        info = far.user.json("cache", "info")
    return Sample(1 - fetched / total, {"MiB cached": info["size_bytes"] / 2**20, "MiB allowed": limit_bytes / 2**20})


def _simulated(files: DataSet, share: float, *, evicting: bool) -> Sample:
    """A cache of whole files on the same orders."""
    sizes = {path: (files.root / path).stat().st_size for path in files.paths}
    limit_bytes = int(sum(sizes.values()) * share)
    held: OrderedDict[str, None] = OrderedDict()
    held_bytes = hit_bytes = total = 0
    for epoch in range(LEARNING_EPOCHS + EPOCHS):
        for path in files.shuffled(100 + epoch):
            counted = epoch >= LEARNING_EPOCHS
            total += sizes[path] * counted
            if path in held:
                hit_bytes += sizes[path] * counted
                held.move_to_end(path)
                continue
            if not evicting and held_bytes + sizes[path] > limit_bytes:
                continue
            held[path] = None
            held_bytes += sizes[path]
            while held_bytes > limit_bytes:
                held_bytes -= sizes[held.popitem(last=False)[0]]
    return Sample(hit_bytes / total)


def _zipf(world: World) -> Case:
    """Favourites: artfs's policy on a trace, beside LRU on the same."""
    objects = ZIPF_OBJECTS // (10 if world.options.quick else 1)
    choose = random.Random(21)
    weights = [1 / (rank + 1) ** ZIPF_EXPONENT for rank in range(objects)]
    trace = choose.choices(range(objects), weights, k=objects * 15)
    room = objects // 5
    contestants: dict[str, Contestant] = {
        ARTFS: lambda: Sample(_policy_hits(trace, room)),
        LRU: lambda: Sample(_lru_hits(trace, room)),
    }
    found = race(contestants, 1, warm_up=0)
    what = f"hit ratio on a Zipf trace of {objects:,} objects, a fifth of which fit (policy alone)"
    return Case(9, what, "of accesses", found, aim=(outdoes(LRU, 0.97, "within 3 % of LRU"),))


def _policy_hits(trace: list[int], room: int) -> float:
    """EpochPolicy over a list in order of last use, as `artfs.cache` has it."""
    policy = EpochPolicy(room)
    marks = [int.from_bytes(hashlib.sha256(b"%d" % number).digest()[:8], "big") for number in range(max(trace) + 1)]
    held: OrderedDict[int, None] = OrderedDict()
    hit_count = 0
    for number in trace:
        hit = number in held
        policy.record(marks[number], hit=hit)
        hit_count += hit
        if hit:
            held.move_to_end(number)
        elif len(held) < room or policy.admit:
            held[number] = None
            if len(held) > room:
                held.popitem(last=False)
    return hit_count / len(trace)


def _lru_hits(trace: list[int], room: int) -> float:
    held: OrderedDict[int, None] = OrderedDict()
    hit_count = 0
    for number in trace:
        hit_count += number in held
        held[number] = None
        held.move_to_end(number)
        if len(held) > room:
            held.popitem(last=False)
    return hit_count / len(trace)
