"""Rows 3 and 4: one large file; a few bytes in the middle of it, and all of it in order."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

from tests.bench import peers
from tests.bench.cases import ARTFS, Case, Goal, counts_within, outdoes, reaches, within
from tests.bench.data import LARGE, DataSet
from tests.bench.measure import FAILURES, Contestant, Sample, drop_caches, race, refuse, require, run, timed
from tests.bench.reading import read
from tests.bench.row_small_files import far_juicefs, far_rclone
from tests.bench.world import World
from tests.network.proxy import Proxy

PROBE_BYTES = 4096
FILL_S = 150.0  # in which a peer takes in the 10 GiB
STREAMS = 8
CURL = "8 curl downloads"
RANGE = "curl, one range"
CACHE = "page cache (native)"


# row 3


def first_byte(world: World) -> list[Case]:
    """How long a read in the middle of a cold file takes, and what it fetches."""
    huge = world.huge
    artifact = world.store_far("huge", huge.root)
    size_bytes = (huge.root / LARGE).stat().st_size
    round_trip_ms = 2000 * world.options.latency_s
    with ExitStack() as stack:
        contestants: dict[str, Contestant] = {ARTFS: partial(_probe_artfs, world, artifact, huge)}
        peers_far: dict[str, Callable[..., Callable[[], Any]]] = {
            "rclone": far_rclone,
            "JuiceFS": partial(far_juicefs, fill_s=FILL_S),
        }
        for name, prepare in peers_far.items():
            try:
                contestants[name] = partial(_probe_mount, world, prepare(world, huge.root, stack), huge)
            except FAILURES as failure:
                contestants[name] = partial(refuse, failure)
        try:
            contestants[RANGE] = _curl_range(world, huge, stack)
        except FAILURES as failure:
            contestants[RANGE] = partial(refuse, failure)
        found = race(contestants, world.options.repeat, warm_up=0)
    at_least = (
        within(25 + round_trip_ms, "25 ms + round trip"),
        counts_within("MiB fetched", 4, "<= 4 MiB fetched"),
    )
    aim = (within(15 + round_trip_ms, "15 ms + round trip"), counts_within("MiB fetched", 1, "<= 1 MiB"))
    what = f"first byte in the middle of a cold file of {size_bytes / 2**30:.3g} GiB"
    return [Case(3, what, "ms", found, more_is_better=False, at_least=at_least, aim=aim)]


def _probe_artfs(world: World, artifact: str, data: DataSet) -> Sample:
    with world.far() as far:
        return _probe(far / artifact / LARGE, data.root / LARGE, far.proxy, world.next_number())


def _probe_mount(world: World, mount: Callable[[], Any], data: DataSet) -> Sample:
    drop_caches()
    with mount() as (root, proxy):
        return _probe(root / LARGE, data.root / LARGE, proxy, world.next_number())


def _probe(path: Path, source: Path, proxy: Proxy, seed: int) -> Sample:
    """The first read of the mount, which is the one that counts: nothing was asked before but the names."""
    offset = _place(source, seed)
    path.stat()
    before = proxy.counts()
    begin = time.perf_counter()
    with path.open("rb", buffering=0) as file:
        data = os.pread(file.fileno(), PROBE_BYTES, offset)
        took_s = time.perf_counter() - begin
    _compare(data, source, offset)
    after = proxy.counts()
    return Sample(
        took_s * 1000, _fetched(before.bytes_to_client, after.bytes_to_client, after.requests - before.requests)
    )


def _fetched(before: int, after: int, requests: int) -> dict[str, float]:
    return {"MiB fetched": (after - before) / 2**20, "requests": requests}


def _place(source: Path, seed: int) -> int:
    size_bytes = source.stat().st_size
    return random.Random(seed).randrange(size_bytes // 4, 3 * size_bytes // 4)


def _compare(data: bytes, source: Path, offset: int) -> None:
    with source.open("rb") as file:
        file.seek(offset)
        require(data == file.read(PROBE_BYTES), f"other bytes than the source's were read at {offset}")


def _curl_range(world: World, data: DataSet, stack: ExitStack) -> Contestant:
    """What the line and a web server take, without any file system."""
    url = stack.enter_context(peers.files_served(data.root, stack.enter_context(world.place())))
    proxy = world.proxy_to(url, stack)

    def probe() -> Sample:
        offset = _place(data.root / LARGE, world.next_number())
        proxy.reset_counts()
        with world.place() as place:
            span = f"{offset}-{offset + PROBE_BYTES - 1}"
            took_s = float(run(peers.CURL.command, *_QUIET, "-r", span, "-o", place / "part", f"{proxy.url}/{LARGE}"))
            _compare((place / "part").read_bytes(), data.root / LARGE, offset)
        counts = proxy.counts()
        return Sample(took_s * 1000, _fetched(0, counts.bytes_to_client, counts.requests))

    return probe


_QUIET = ("-sS", "--fail", "--noproxy", "*", "-w", "%{time_total}")


# row 4


def in_order(world: World) -> list[Case]:
    large = world.large
    return [_in_order_cold(world, large), _in_order_warm(world, large)]


def _in_order_cold(world: World, large: DataSet) -> Case:
    artifact = world.store_far("large", large.root)

    def ours() -> Sample:
        with world.far() as far:
            done = read(far / artifact, large, large.paths, how="in_order")
            counts = far.proxy.counts()
            fetched = counts.bytes_to_client / done.bytes
            return Sample(done.mib_per_s, {"requests": counts.requests, "bytes fetched per byte read": fetched})

    with ExitStack() as stack:
        contestants: dict[str, Contestant] = {ARTFS: ours}
        try:
            contestants[CURL] = _eight_downloads(world, large, stack)
        except FAILURES as failure:
            contestants[CURL] = partial(refuse, failure)
        for name, prepare in {"rclone": far_rclone, "JuiceFS": far_juicefs}.items():
            try:
                contestants[name] = partial(_through, prepare(world, large.root, stack), large)
            except FAILURES as failure:
                contestants[name] = partial(refuse, failure)
        found = race(contestants, world.options.repeat, warm_up=0)
    aim = (outdoes(CURL, 0.9, "90 % of eight curl downloads"),)
    what = f"{large.size_bytes / 2**30:.3g} GiB in order, cold"
    return Case(4, what, "MiB/s", found, at_least=(reaches(400, "400 MiB/s"),), aim=aim)


def _through(mount: Callable[[], Any], data: DataSet) -> Sample:
    drop_caches()
    with mount() as (root, _proxy):
        return Sample(read(root, data, data.paths, how="in_order").mib_per_s)


def _eight_downloads(world: World, data: DataSet, stack: ExitStack) -> Contestant:
    """Eighths of the file at once, into memory as a reader's would be (a tmpfs if there is one), compared afterwards."""
    url = stack.enter_context(peers.files_served(data.root, stack.enter_context(world.place())))
    proxy = world.proxy_to(url, stack)
    size_bytes = (data.root / LARGE).stat().st_size
    cuts = [size_bytes * number // STREAMS for number in range(STREAMS + 1)]

    def download() -> Sample:
        drop_caches()
        with world.place() as place:
            command = [peers.CURL.command, "-sS", "--fail", "--noproxy", "*", "--parallel", "--parallel-immediate"]
            for number, (begin, end) in enumerate(pairwise(cuts)):
                command += ["--next"] * (number > 0)
                command += ["-r", f"{begin}-{end - 1}", "-o", str(place / f"{number}"), f"{proxy.url}/{LARGE}"]
            took_s = timed(lambda: run(*command))
            _compare_parts(place, data, cuts)
        return Sample(size_bytes / 2**20 / took_s)

    return download


def _compare_parts(place: Path, data: DataSet, cuts: list[int]) -> None:
    with (data.root / LARGE).open("rb") as source:
        for number, (begin, end) in enumerate(pairwise(cuts)):
            require((place / f"{number}").read_bytes() == source.read(end - begin), f"part {number} is damaged")


def _in_order_warm(world: World, large: DataSet) -> Case:
    """Read once, then again: what is measured is the way through the kernel."""
    with ExitStack() as stack:
        artifact = world.store_far("large", large.root)
        roots = {ARTFS: stack.enter_context(world.far()) / artifact, CACHE: large.root}
        refused = {}
        mounts = {"bare pyfuse3": peers.bare_mount, "bindfs": peers.bindfs_mount, "JuiceFS": peers.juicefs_mount}
        for name, mount in mounts.items():
            try:
                roots[name] = stack.enter_context(mount(large.root, stack.enter_context(world.place())))
            except FAILURES as failure:
                refused[name] = str(failure)

        def again(root: Path) -> Sample:
            return Sample(read(root, large, large.paths, how="in_order").mib_per_s)

        found = race({name: partial(again, root) for name, root in roots.items()}, world.options.repeat)
    found.refused |= refused
    aim: tuple[Goal, ...] = (outdoes(CACHE, 0.9, "page-cache speed (90 %)"),)
    what = f"{large.size_bytes / 2**30:.3g} GiB in order, warm"
    return Case(4, what, "MiB/s", found, at_least=(reaches(3 * 1024, "3 GiB/s"),), aim=aim)
