"""Where the FAQ's samples run: a user with a working directory, and a registry that is embedded or on a server."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from artfs import Artifact
from artfs.api.recorded_run import RecordedRun
from artfs.model.access import Scope
from artfs.registry.embedded import EmbeddedRegistry
from artfs.registry.resources import Verify
from tests.integration.serving import Place
from tests.network.served import served as server_of

HERE = Path(__file__).parent
SAMPLES = HERE / "samples"
SAMPLE_S = 100
USER = "geoff"


@dataclass(frozen=True)
class World:
    """A user's side of a registry.

    `directory` is where the user works, `settings` the environment that tells artfs where the registry is, and `registry` the
    directory that it has its files in.
    """

    directory: Path
    settings: Mapping[str, str]
    registry: Path

    def sample(self, name: str, *, then: str = "", **more: str) -> str:
        """Run a sample as it is written, in the working directory; what it printed.

        Args:
            then: code behind the sample's last line, to print what the sample found.
        """
        text = (SAMPLES / name).read_text()
        script = self.directory / name
        if name.endswith(".sh"):
            return self._run(["sh", "-e", str(SAMPLES / name)], **more)
        script.write_text(f"{text}\n{then}\n" if then else text)
        return self._run([sys.executable, name], **more)

    def script(self, text: str, name: str = "script.py", **more: str) -> str:
        """Run a script of a test's own; what it printed."""
        (self.directory / name).write_text(text)
        return self._run([sys.executable, name], **more)

    def artfs(self, *arguments: str, **more: str) -> str:
        return self._run(["artfs", *arguments], **more)

    def _run(self, command: list[str], **more: str) -> str:
        commands = Path(sys.executable).parent
        environment = {
            "PATH": f"{commands}:{os.environ['PATH']}",
            "HOME": os.environ["HOME"],
            "PYTHONPATH": f"{HERE / 'stand_ins'}:{HERE.parents[1]}",
            **self.settings,
            **more,
        }
        done = subprocess.run(
            command,
            cwd=self.directory,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SAMPLE_S,
            check=False,
        )
        assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def write(self, files: Mapping[str, bytes], below: str = "") -> Path:
        """Make files in the working directory, or in a fresh directory `below` it."""
        root = self.directory / below
        if below:
            shutil.rmtree(root, ignore_errors=True)
        for name, content in files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return root

    def stored_bytes(self) -> int:
        """The size of all packs."""
        return sum(path.stat().st_size for path in (self.registry / "packs").rglob("*") if path.is_file())

    def holds(self, content: bytes) -> bool:
        """Whether any file of the registry has these bytes in it."""
        return any(content in path.read_bytes() for path in self.registry.rglob("*") if path.is_file())


def embedded(place: Path, **settings: str) -> World:
    """A registry in a directory, opened by every process by itself."""
    registry = place / "registry"
    return World(work_in(place), {"ARTFS_REGISTRY": str(registry), **settings}, registry)


@contextmanager
def served(place: Path) -> Iterator[World]:
    """A registry behind a server, for a user who has a token. The server is a thread of the test, which saves a second each."""
    token = Place(place).user(USER, Scope.ADMIN)
    with server_of(partial(EmbeddedRegistry, place / "registry", verify=Verify.ALL)) as url:
        yield World(work_in(place), {"ARTFS_REGISTRY": url, "ARTFS_TOKEN": token}, place / "registry")


@contextmanager
def served_by_process(place: Path, *options: str, ca_file: str = "", **settings: str) -> Iterator[World]:
    """A registry behind `artfs serve`, which has these options and settings, for a user who has a token."""
    server_place = Place(place)
    token = server_place.user(USER, Scope.ADMIN)
    with server_place.serving(*options, settings=settings, verify=ca_file or True) as server:
        own = {"ARTFS_REGISTRY": server.url, "ARTFS_TOKEN": token}
        if ca_file:
            own["ARTFS_CA_FILE"] = ca_file
        yield World(work_in(place), own, place / "registry")


def work_in(place: Path) -> Path:
    directory = place / "work"
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def maker(artifact: Artifact) -> RecordedRun:
    """The run that logged it."""
    run = artifact.logged_by()
    assert run is not None
    return run


def files_in(directory: Path | str) -> dict[str, bytes]:
    """Every file below a directory, by its path there."""
    root = Path(directory)
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}
