"""Rows 1, 2 and 10: many small files, cold in epochs, warm, and a few of them here and there."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from tests.bench import fuse_requests, peers
from tests.bench.cases import ARTFS, Case, counts_within, outdoes, reaches, within
from tests.bench.data import DataSet
from tests.bench.measure import FAILURES, Contestant, Race, Sample, drop_caches, race, refuse, require, run, say, timed
from tests.bench.reading import read
from tests.bench.world import World
from tests.network.proxy import Proxy

FILL_S = 1800.0
LOCAL_REGISTRY = "artfs, local registry"
MOUNTS = {
    "native": peers.native_mount,
    "bare pyfuse3": peers.bare_mount,
    "bindfs": peers.bindfs_mount,
    "JuiceFS": peers.juicefs_mount,
    "rclone": peers.rclone_mount,
}
RIVALS = (outdoes("bindfs", 1.0, "faster than bindfs"), outdoes("JuiceFS", 3.0, "3 x JuiceFS"))
CEILING = (outdoes("bare pyfuse3", 0.95, "95 % of bare pyfuse3"),)


# row 2


def warm(world: World) -> list[Case]:
    """All mounted at once, read once, then raced."""
    small = world.small
    with ExitStack() as stack:
        refused: dict[str, str] = {}
        roots = _mounted(world, small, stack, refused)
        stored_far, stored_near = world.store_far("small", small.root), world.store_near("small", small.root)
        far = stack.enter_context(world.far())
        roots[ARTFS] = far / stored_far
        roots[LOCAL_REGISTRY] = stack.enter_context(world.near.mounted("near")) / stored_near
        cases = []
        for number, (what, how, goals) in enumerate(_WARM):
            say(f"  {what}")
            data, raced = (small, roots) if goals else (small.part(small.paths[:PART]), _without_the_slowest(roots))
            contestants = {name: partial(_rate, root, data, **how) for name, root in raced.items()}
            found = race(contestants, world.options.repeat, warm_up=int(not number))
            found.refused |= refused
            at_least, aim = (RIVALS, CEILING) if goals else ((), ())
            cases.append(Case(2, f"warm small files, {what}", "files/s", found, at_least=at_least, aim=aim))
        cases += _dropped(world, roots, refused)
        cases[0].notes += _requests_note(far.pid, roots[ARTFS], small)
        return [*cases, _walk(world, roots, refused)]


_WARM: tuple[tuple[str, dict[str, Any], bool], ...] = (
    ("4 processes, shuffled", {"processes": 4}, True),
    ("1 process, shuffled", {"processes": 1}, True),
    ("1 process, in order", {"processes": 1, "shuffle": False}, False),
    ("loader with 4 forked workers, shuffled", {"how": "in_a_loader", "method": "fork"}, False),
    ("loader with 4 spawned workers, shuffled", {"how": "in_a_loader", "method": "spawn"}, False),
)


PART = 4000  # files of the lines that have no goal


def _without_the_slowest(roots: dict[str, Path]) -> dict[str, Path]:
    return {name: root for name, root in roots.items() if name not in ("JuiceFS", "rclone")}


def _dropped(world: World, roots: dict[str, Path], refused: dict[str, str]) -> list[Case]:
    """As for a data set larger than memory: all is on this machine's disk, and the kernel holds nothing of it."""
    small = world.small.part(world.small.paths[:PART])
    cases = []
    for processes in (4, 1):
        what = f"{processes} process{'es' if processes > 1 else ''}, shuffled, kernel's caches dropped"
        say(f"  {what}")
        contestants = {name: partial(_rate_dropped, root, small, processes) for name, root in roots.items()}
        found = race(contestants, world.options.repeat, warm_up=0)
        found.refused |= refused
        cases.append(Case(2, f"small files on this disk, {what}", "files/s", found))
    return cases


def _rate_dropped(root: Path, data: DataSet, processes: int) -> Sample:
    drop_caches()
    return _rate(root, data, processes=processes)


def _mounted(world: World, data: DataSet, stack: ExitStack, refused: dict[str, str]) -> dict[str, Path]:
    roots = {}
    for name, mount in MOUNTS.items():
        try:
            roots[name] = stack.enter_context(mount(data.root, stack.enter_context(world.place())))
        except FAILURES as failure:
            refused[name] = str(failure)
            say(f"    {name} is out: {failure}")
    return roots


def _rate(root: Path, data: DataSet, *, shuffle: bool = True, seed: int = 11, **how: Any) -> Sample:
    return Sample(read(root, data, data.shuffled(seed) if shuffle else data.paths, **how).files_per_s)


def _requests_note(pid: int, root: Path, data: DataSet) -> list[str]:
    """How many requests the kernel sends for a warm file."""
    if not fuse_requests.may_count():
        return ["requests to the mount were not counted: strace is missing"]
    part = data.shuffled(5)[:500]
    with fuse_requests.counted(pid) as counts:
        read(root, data, part)
    each = ", ".join(f"{count / len(part):.2f} {name}" for name, count in counts.most_common())
    return [f"FUSE requests per file: {sum(counts.values()) / len(part):.2f} ({each})"]


def _walk(world: World, roots: dict[str, Path], refused: dict[str, str]) -> Case:
    """find, which asks for every entry's type and size, with the kernel's caches empty."""

    def walk(root: Path) -> Sample:
        drop_caches()
        return walked(root, len(world.small.digests))

    say("  walk")
    found = race({name: partial(walk, root) for name, root in roots.items()}, world.options.repeat)
    found.refused |= refused
    return Case(2, "walk and stat", "entries/s", found)


def walked(root: Path, files: int) -> Sample:
    """Entries a second of a walk that must find so many files."""
    seen = [0, 0]

    def walk(directory: str) -> None:
        with os.scandir(directory) as entries:
            for entry in entries:
                seen[0] += 1
                if entry.is_dir(follow_symlinks=False):
                    walk(entry.path)
                else:
                    seen[1] += entry.stat(follow_symlinks=False).st_size > 0

    took_s = timed(lambda: walk(str(root)))
    require(seen[1] == files, f"{root} has {files} files, and {seen[1]} were found")
    return Sample(seen[0] / took_s)


# row 1


def cold(world: World) -> list[Case]:
    small = world.small
    artifact = world.store_far("small", small.root)
    files = len(small.digests)
    goals = (reaches(3000, "3,000 files/s"), counts_within("requests", files / 50, "requests <= files/50"))
    with ExitStack() as stack:
        far_peers = _far_peers(world, small, stack)
        contestants: dict[str, Contestant] = {ARTFS: partial(_cold_artfs, world, artifact, small, 4), **far_peers(4)}
        found = race(contestants, world.options.repeat, warm_up=0)
        what = "cold shuffled epoch, small files, 4 processes"
        cases = [Case(1, what, "files/s", found, at_least=goals, aim=(reaches(6000, "6,000 files/s"),))]
        contestants = {ARTFS: partial(_cold_artfs, world, artifact, small, 1), **far_peers(1)}
        found = race(contestants, world.options.repeat, warm_up=0)
        cases.append(Case(1, "the same, 1 process", "files/s", found))
    cases.append(_cold_real(world))
    return cases


def _cold_real(world: World) -> Case:
    """A tree as people have them: large and tiny files, deep directories."""
    real = world.real if not world.options.quick else world.real.part(world.real.shuffled(3)[:1000])
    artifact = world.store_far("real", world.real.root)
    found = race({ARTFS: partial(_cold_artfs, world, artifact, real, 4)}, world.options.repeat, warm_up=0)
    return Case(1, "the same, this Python's libraries, 4 processes", "files/s", found)


def _cold_artfs(world: World, artifact: str, data: DataSet, processes: int) -> Sample:
    with world.far() as far:
        done = read(far / artifact, data, data.shuffled(12), processes=processes)
        return Sample(done.files_per_s, _at(far.proxy, done.files, done.bytes))


def _at(proxy: Proxy, files: int, size_bytes: int) -> dict[str, float]:
    """What passed the proxy, beside what was read."""
    counts = proxy.counts()
    return {
        "requests": counts.requests,
        "requests per file": counts.requests / files,
        "bytes fetched per byte read": counts.bytes_to_client / size_bytes,
    }


def _far_peers(world: World, data: DataSet, stack: ExitStack) -> Callable[[int], dict[str, Contestant]]:
    """rclone and JuiceFS over HTTP through a proxy of their own, each time with an empty cache, for a bounded time."""
    limit_s = world.options.peer_limit_s
    mounts: dict[str, Callable[[], Any]] = {}
    for name, prepare in {"rclone": far_rclone, "JuiceFS": far_juicefs}.items():
        try:
            mounts[name] = prepare(world, data.root, stack)
        except FAILURES as failure:
            mounts[name] = partial(refuse, failure)
    paths = data.shuffled(12)

    def one(mount: Callable[[], Any], processes: int) -> Sample:
        drop_caches()
        with mount() as (root, proxy):
            done = read(root, data, paths, processes=processes, limit_s=limit_s)
            return Sample(done.files_per_s, _at(proxy, done.files, done.bytes))

    return lambda processes: {name: partial(one, mount, processes) for name, mount in mounts.items()}


def far_rclone(world: World, source: Path, stack: ExitStack) -> Callable[[], Any]:
    """Makes cold mounts of `source`, each with the proxy it is seen through."""
    url = stack.enter_context(peers.files_served(source, stack.enter_context(world.place())))
    proxy = world.proxy_to(url, stack)

    @contextmanager
    def mount() -> Iterator[tuple[Path, Proxy]]:
        with world.place() as place, peers.rclone_far_mount(proxy.url, place) as root:
            proxy.reset_counts()
            yield root, proxy

    return mount


def far_juicefs(world: World, source: Path, stack: ExitStack, fill_s: float = FILL_S) -> Callable[[], Any]:
    """The same of a volume whose objects are behind WebDAV, while its metadata are local. It is filled in `fill_s`, or out."""
    place = stack.enter_context(world.place())
    objects = place / "objects"
    objects.mkdir()
    url = stack.enter_context(peers.files_served(objects, place, "webdav"))
    volume = peers.juicefs_volume(place / "volume", "webdav", f"{url}/")
    filling = place / "filling"
    filling.mkdir()
    with volume.mounted(filling) as root:
        run("cp", "-r", source, root / "data", timeout_s=fill_s)
    shutil.rmtree(filling, ignore_errors=True)
    proxy = world.proxy_to(url, stack)

    @contextmanager
    def mount() -> Iterator[tuple[Path, Proxy]]:
        with world.place() as here, volume.mounted(here, "--bucket", f"{proxy.url}/") as root:
            proxy.reset_counts()
            yield root / "data", proxy

    return mount


# row 10


def sparse(world: World) -> list[Case]:
    """One small file of a hundred, at random. Of noise: compression would flatter."""
    noise = world.noise
    artifact = world.store_far("noise", noise.root)
    cases = []
    for processes in (1, 4):
        contestants: dict[str, Contestant] = {ARTFS: partial(_sample, world, artifact, noise, processes)}
        with ExitStack() as stack:
            try:
                mount = far_rclone(world, noise.root, stack)
                contestants["rclone"] = partial(_sample_rclone, mount, noise, processes)
            except FAILURES as failure:
                contestants["rclone"] = partial(refuse, failure)
            found: Race = race(contestants, world.options.repeat, warm_up=0)
        what = f"sparse sample: 1 % of small files, cold, {processes} process{'es' if processes > 1 else ''}"
        case = Case(10, what, "bytes fetched per byte read", found, more_is_better=False)
        case.at_least, case.aim = [within(8, "8 x")], [within(3, "3 x")]
        cases.append(case)
    return cases


def _chosen(data: DataSet) -> Sequence[str]:
    return data.shuffled(13)[: max(10, len(data.digests) // 100)]


def _sample(world: World, artifact: str, data: DataSet, processes: int) -> Sample:
    with world.far() as far:
        done = read(far / artifact, data, _chosen(data), processes=processes)
        found = _at(far.proxy, done.files, done.bytes)
        return Sample(found["bytes fetched per byte read"], {**found, "files/s": done.files_per_s})


def _sample_rclone(mount: Callable[[], Any], data: DataSet, processes: int) -> Sample:
    drop_caches()
    with mount() as (root, proxy):
        done = read(root, data, _chosen(data), processes=processes)
        found = _at(proxy, done.files, done.bytes)
        return Sample(found["bytes fetched per byte read"], {**found, "files/s": done.files_per_s})
