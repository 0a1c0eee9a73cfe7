"""Operations of clients as cells of a matrix: each is done while a fault strikes, and looked at again when all is well.

A cell's `do` returns "" for the right result and otherwise the error as its user was told it: the name of an errno of a mount,
"exit N" and the message of a command. It fails the test for a wrong result, a bug's traceback, and taking longer than
BOUND_S. Its `after` fails the test unless everything works then, without a remount, and was done once.
"""

from __future__ import annotations

import errno
import os
import random
import shutil
import stat
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from artfs.client.get import Getter
from artfs.client.objects import ObjectReader
from artfs.errors import NotFound
from artfs.registry.embedded import EmbeddedRegistry
from tests.acceptance.team import Member, Team
from tests.contract.uploading import Tree, commit
from tests.faults.lying import Liar

BOUND_S = 115.0  # of an operation: a request's timeouts and retries, and those of a seal after it
HEALED_S = 95.0  # after which faults go away by themselves: a deletion is waited for much longer, and must end then
RECOVERS_S = 30.0
READING = ("list", "stat", "small", "range")
COMMANDS = ("put", "alias", "rm", "get")
OPERATIONS = (*READING, "commit", *COMMANDS)
LARGE_BYTES = 3 << 20
SPAN = (2_000_000, 100_000)


@dataclass(frozen=True)
class Cell:
    name: str
    liar: Liar
    do: Callable[[], str]
    after: Callable[[], None]


@dataclass
class World:
    """A server, a mount and a user for each command, each behind a liar of its own: a fault can be aimed at one of them."""

    directory: Path
    registry: EmbeddedRegistry
    mount: Path
    members: Mapping[str, Member]
    liars: Mapping[str, Liar]
    round: int = 0
    _dice: random.Random = field(default_factory=lambda: random.Random(3))

    def prepare(self) -> list[Cell]:
        """Cells over artifacts that nobody has seen yet."""
        self.round += 1
        return [getattr(self, f"_{name}")(f"{name}-{self.round}") for name in OPERATIONS]

    def heal(self) -> None:
        for liar in self.liars.values():
            liar.heal()

    def random(self, size_bytes: int) -> bytes:
        return self._dice.randbytes(size_bytes)

    # --- cells of a mount ---

    def _reading(self, name: str, tree: Tree, artifact: str, check: Callable[[Path], None]) -> Cell:
        commit(self.registry, "vision", artifact, tree)

        def do() -> str:
            return errno_name(lambda: check(self.mount / "vision" / artifact / "latest"))

        return Cell(name, self.liars["mount"], do, lambda: recovers(do))

    def _list(self, artifact: str) -> Cell:
        tree: Tree = {"d": {f"f{number:03}": self.random(50) for number in range(40)}, "e": {}}

        def check(version: Path) -> None:
            assert sorted(os.listdir(version.parent)) == [".staging", "latest", "v0"]
            assert sorted(os.listdir(version)) == ["d", "e"]
            assert sorted(os.listdir(version / "d")) == sorted(tree["d"])

        return self._reading("list", tree, artifact, check)

    def _stat(self, artifact: str) -> Cell:
        tree: Tree = {"d": {"f": self.random(5000)}, "g": self.random(77)}

        def check(version: Path) -> None:
            for path, size_bytes in ((version / "d/f", 5000), (version / "g", 77)):
                found = os.stat(path)
                assert (found.st_size, stat.filemode(found.st_mode)) == (size_bytes, "-r--r--r--")

        return self._reading("stat", tree, artifact, check)

    def _small(self, artifact: str) -> Cell:
        data = self.random(8000)

        def check(version: Path) -> None:
            assert (version / "small").read_bytes() == data, "wrong bytes"

        return self._reading("small", {"small": data, "other": self.random(8000)}, artifact, check)

    def _range(self, artifact: str) -> Cell:
        data = self.random(LARGE_BYTES)

        def check(version: Path) -> None:
            descriptor = os.open(version / "large", os.O_RDONLY)
            try:
                assert os.pread(descriptor, SPAN[1], SPAN[0]) == data[SPAN[0] :][: SPAN[1]], "wrong bytes"
            finally:
                os.close(descriptor)

        return self._reading("range", {"large": data}, artifact, check)

    def _commit(self, artifact: str) -> Cell:
        tree: Tree = {"a": self.random(30_000), "d": {"b": self.random(500), "c": self.random(1_500_000)}}
        self.registry.artifacts.create("vision", artifact)
        place = self.mount / "vision" / artifact
        draft = place / ".staging/next"
        recovers(lambda: errno_name(lambda: draft.mkdir(exist_ok=True)))
        write_tree(draft, tree)

        def do() -> str:
            told = errno_name(lambda: os.rename(draft, place / "best"))
            if told:
                with suppress(PermissionError):  # of a caller who may see nothing any more; looked at when all is well
                    assert read_tree(draft) == flat(tree), "the draft of a failed commit is not complete"
            return told

        def after() -> None:
            recovers(lambda: errno_name(lambda: os.stat(place)))
            if draft.exists():
                assert read_tree(draft) == flat(tree)
                recovers(do)
            self.assert_once(artifact, tree, "best")
            assert read_tree(place / "best") == flat(tree)

        return Cell("commit", self.liars["mount"], do, after)

    # --- commands ---

    def _put(self, artifact: str) -> Cell:
        tree: Tree = {"a": self.random(20_000), "d": {"b": self.random(700), "c": self.random(1_500_000)}}
        source = self.directory / artifact
        source.mkdir()
        write_tree(source, tree)

        def run() -> str:
            return self.run("put", "-n", f"vision/{artifact}", "-a", "best", source, "--quiet")

        def do() -> str:
            told = run()
            if not told:
                self.assert_once(artifact, tree, "best")
            else:
                assert len(self.numbers(artifact)) <= 1
            return told

        def after() -> None:
            recovers(do)
            shutil.rmtree(source)

        return Cell("put", self.liars["put"], do, after)

    def _two_versions(self, artifact: str) -> None:
        for text in (b"0", b"1"):
            commit(self.registry, "vision", artifact, {"f": text + artifact.encode()})
        self.registry.aliases.move("vision", artifact, "best", 0)

    def _alias(self, artifact: str) -> Cell:
        self._two_versions(artifact)

        def do() -> str:
            told = self.run("alias", f"vision/{artifact}:v1", "best")
            aliases = self.registry.aliases.list("vision", artifact)
            assert aliases in ({"best": 1, "latest": 1}, {"best": 0, "latest": 1})
            assert told or aliases["best"] == 1
            return told

        return Cell("alias", self.liars["alias"], do, lambda: recovers(do))

    def _rm(self, artifact: str) -> Cell:
        self._two_versions(artifact)
        self.registry.aliases.remove("vision", artifact, "best")

        def do() -> str:
            told = self.run("rm", "--yes", "--quiet", f"vision/{artifact}:v0")
            assert self.numbers(artifact) in ([0, 1], [1])
            assert told or self.numbers(artifact) == [1]
            return told

        def after() -> None:
            if self.numbers(artifact) == [0, 1]:
                recovers(do)
            assert self.numbers(artifact) == [1]

        return Cell("rm", self.liars["rm"], do, after)

    def _get(self, artifact: str) -> Cell:
        tree: Tree = {"a": self.random(9000), "d": {"b": self.random(700), "c": self.random(1_500_000)}}
        commit(self.registry, "vision", artifact, tree)
        target = self.directory / artifact

        def do() -> str:
            told = self.run("get", f"vision/{artifact}", "--root", target, "--quiet")
            found = read_tree(target) if target.exists() else {}
            if told:
                wrong = {name for name, data in found.items() if name in flat(tree) and data != flat(tree)[name]}
                assert not wrong, "wrong bytes"
            else:
                assert found == flat(tree), "wrong bytes"
            return told

        def after() -> None:
            recovers(do)
            shutil.rmtree(target)

        return Cell("get", self.liars["get"], do, after)

    def run(self, command: str, *arguments: str | Path) -> str:
        """A command of its user. An error must have a message, and must not be a bug's."""
        process = self.members[command].start(command, *arguments)
        try:
            _, said = process.communicate(timeout=BOUND_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            pytest.fail(f"artfs {command} was not done in {BOUND_S} s")
        assert "Traceback" not in said, said
        if process.returncode == 0:
            return ""
        assert said.strip(), f"artfs {command} failed without a word"
        return f"exit {process.returncode}: {said.strip()}"

    # --- the truth ---

    def numbers(self, artifact: str) -> list[int]:
        try:
            return [version.number for version in self.registry.versions.list("vision", artifact)]
        except NotFound:
            return []

    def assert_once(self, artifact: str, tree: Tree, alias: str) -> None:
        """There is one version of it, with this content down to the last stored byte, and these aliases."""
        assert self.numbers(artifact) == [0]
        assert self.registry.aliases.list("vision", artifact) == {alias: 0, "latest": 0}
        root = self.registry.versions.resolve("vision", artifact, "v0").root
        with tempfile.TemporaryDirectory(dir=self.directory) as place:
            Getter(ObjectReader(self.registry), "vision").get_tree(root, Path(place))
            assert read_tree(Path(place)) == flat(tree)


@contextmanager
def world(directory: Path) -> Iterator[World]:
    """All of it, gone afterwards."""
    team = Team(directory, {})
    with ExitStack() as stack, team.serving() as server:
        registry = EmbeddedRegistry(team.administrator.registry)
        stack.callback(registry.close)
        registry.projects.create("vision")
        team.administrator.run("user", "add", "ann", "--admin")
        token = team.token("ann").read_text().strip()
        members, liars = {}, {}
        for name in ("mount", *COMMANDS):
            liar = liars[name] = stack.enter_context(Liar.to(server.url, stop=server.pause, go_on=server.resume))
            home = directory / f"home-{name}"
            home.mkdir()
            members[name] = Member(home, {"ARTFS_REGISTRY": liar.url, "ARTFS_TOKEN": token})
        mount = stack.enter_context(members["mount"].mounted())
        yield World(directory, registry, mount, members, liars)


@contextmanager
def healing(world: World) -> Iterator[None]:
    """What strikes within goes away after HEALED_S, and in the end in any case."""
    timer = threading.Timer(HEALED_S, world.heal)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        world.heal()


def done(cells: list[Cell]) -> dict[str, str]:
    """What came of the cells, all at once, by name."""
    with ThreadPoolExecutor(len(cells)) as threads:
        return dict(zip([cell.name for cell in cells], threads.map(lambda cell: bounded(cell.do), cells), strict=True))


def bounded(do: Callable[[], str]) -> str:
    began_s = time.monotonic()
    told = do()
    assert time.monotonic() - began_s < BOUND_S
    return told


def errno_name(do: Callable[[], object]) -> str:
    try:
        do()
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, repr(error))
    return ""


def recovers(do: Callable[[], str]) -> None:
    """It works again, soon."""
    deadline_s = time.monotonic() + RECOVERS_S
    while told := do():
        assert time.monotonic() < deadline_s, f"it does not work again: {told}"
        time.sleep(0.2)


def flat(tree: Tree, below: str = "") -> dict[str, bytes]:
    """Its files by path."""
    found: dict[str, bytes] = {}
    for name, value in tree.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{below}{name}/")
        elif isinstance(value, bytes):
            found[below + name] = value
    return found


def write_tree(root: Path, tree: Tree) -> None:
    for name, data in flat(tree).items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)


def read_tree(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}
