"""Row 11: a program of many modules started from a mount, cold, cold again, and warm."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.bench import data, peers
from tests.bench.cases import ARTFS, Case, Goal
from tests.bench.measure import FAILURES, Contestant, Race, Sample, drop_caches, race, refuse, require, run, timed
from tests.bench.row_small_files import far_juicefs, far_rclone
from tests.bench.world import World

NATIVE = "native"
REAL_MODULES = (
    "asyncio, email.message, http.client, http.server, json, logging.config, unittest, xml.dom.minidom, sqlite3, "
    "multiprocessing.pool, concurrent.futures, urllib.request, xmlrpc.client, ctypes, decimal, statistics, tomllib, "
    "zipfile, tarfile, difflib, argparse, pdb, doctest, msgspec, requests, trio, pytest, hypothesis"
)


@dataclass(frozen=True)
class Program:
    """What is started: `code` with these directories of the tree before the path."""

    name: str
    tree: Path
    before: tuple[str, ...]
    code: str
    expected: str

    def start(self, root: Path) -> float:
        """Seconds of a start. Raises CheckFailed unless the program says what it should, from where it should."""
        path = os.pathsep.join(str(root / part) for part in self.before)
        environment = {**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
        said: list[str] = []
        took_s = timed(lambda: said.append(run(sys.executable, "-c", self.code, env=environment, timeout_s=300)))
        word, _, place = said[0].strip().partition(" ")
        require(
            word == self.expected and place.startswith(str(root)), f"{self.name} said {said[0][:100]!r} from {root}"
        )
        return took_s


def start_up(world: World) -> list[Case]:
    return [case for program in (_generated(world), _real(world)) for case in _cases(world, program)]


def _generated(world: World) -> Program:
    root = world.directory / "program"
    package = data.program(root, world.sizes)
    _compile(package)
    last = world.sizes.modules - 1
    code = f"import program, sys; print(sys.modules['program.m{last:03}'].VALUE, program.__file__)"
    return Program(f"a program of {world.sizes.modules} modules", root, (".",), code, str(last))


def _real(world: World) -> Program:
    """The standard library and what is installed, from the mount instead of from where Python is."""
    root = world.directory / "python"
    shutil.copytree(world.real.root, root)
    _compile(root)
    code = f"import {REAL_MODULES}, sys; print(len(sys.modules) > 400, asyncio.__file__)"
    return Program("Python's and other libraries", root, ("stdlib", "purelib"), code, "True")


def _compile(root: Path) -> None:
    """Compiled files that are trusted without a look at times. A library may hold what does not compile."""
    command = [sys.executable, "-W", "ignore", "-m", "compileall", "-q", "-q", "-x", "/(tests?|idlelib|lib2to3)/"]
    command += ["--invalidation-mode", "unchecked-hash", str(root)]
    subprocess.run(command, stdout=subprocess.DEVNULL, timeout=600, check=False)


def _cases(world: World, program: Program) -> list[Case]:
    artifact = world.store_far(f"start{world.next_number()}", program.tree)
    with ExitStack() as stack:
        contestants: dict[str, Contestant] = {ARTFS: partial(_cold, world, artifact, program)}
        contestants[NATIVE] = partial(_cold_native, program)
        for name, prepare in {"rclone": far_rclone, "JuiceFS": far_juicefs}.items():
            try:
                contestants[name] = partial(_cold_peer, prepare(world, program.tree, stack), program)
            except FAILURES as failure:
                contestants[name] = partial(refuse, failure)
        cold = race(contestants, world.options.repeat, warm_up=0)
    second = race(
        {ARTFS: partial(_second_cold, world, artifact, program), NATIVE: partial(_cold_native, program)},
        world.options.repeat,
        warm_up=0,
    )
    warm = _warm(world, artifact, program)
    return [
        _case(f"{program.name}, cold", cold, [_times(2, "2 x native")], []),
        _case(f"{program.name}, cold again, learned from the first", second, [], [_times(1.2, "1.2 x native")]),
        _case(f"{program.name}, warm", warm, [_times(2, "2 x native")], []),
    ]


def _case(what: str, found: Race, at_least: Sequence[Goal], aim: Sequence[Goal]) -> Case:
    return Case(11, f"start of {what}", "s", found, more_is_better=False, at_least=at_least, aim=aim)


def _times(factor: float, text: str) -> Goal:
    return Goal(text, lambda found: found[ARTFS].median <= factor * found[NATIVE].median)


def _cold(world: World, artifact: str, program: Program) -> Sample:
    with world.far() as far:
        took_s = program.start(far / artifact)
        return Sample(took_s, {"requests": far.proxy.counts().requests})


def _second_cold(world: World, artifact: str, program: Program) -> Sample:
    """The same user again, when what was cached is gone and what was learned is not."""
    reader = world.reader()
    try:
        with world.far(user=reader) as far:
            program.start(far / artifact)
        reader.run("cache", "cleanup", "0")
        with world.far(user=reader) as far:
            took_s = program.start(far / artifact)
            return Sample(took_s, {"requests": far.proxy.counts().requests})
    finally:
        shutil.rmtree(reader.home, ignore_errors=True)


def _cold_native(program: Program) -> Sample:
    drop_caches()
    return Sample(program.start(program.tree))


def _cold_peer(mount: object, program: Program) -> Sample:
    drop_caches()
    with mount() as (root, proxy):  # type: ignore[operator]  # a maker of contexts
        return Sample(program.start(root), {"requests": proxy.counts().requests})


def _warm(world: World, artifact: str, program: Program) -> Race:
    with ExitStack() as stack:
        roots = {ARTFS: stack.enter_context(world.far()) / artifact, NATIVE: program.tree}
        refused = {}
        for name, mount in {"bare pyfuse3": peers.bare_mount, "bindfs": peers.bindfs_mount}.items():
            try:
                roots[name] = stack.enter_context(mount(program.tree, stack.enter_context(world.place())))
            except FAILURES as failure:
                refused[name] = str(failure)
        found = race({name: partial(_again, program, root) for name, root in roots.items()}, world.options.repeat)
    found.refused |= refused
    return found


def _again(program: Program, root: Path) -> Sample:
    return Sample(program.start(root))
