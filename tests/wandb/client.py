"""The public `wandb` package in an environment of its own, as somebody uses it who has a key of `artfs serve --wandb`."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from artfs.model.access import Scope, api_key_of_token
from tests.integration.serving import Place, Server

ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "tests/faq/samples"
STAND_INS = ROOT / "tests/faq/stand_ins"
VERSION = "0.31.0"
PROJECT = "vision"
CLIENT_S = 100
INSTALL_S = 900


def installed(version: str) -> Path:
    """The Python of an environment with that wandb."""
    script = ROOT / "scripts/wandb-client"
    done = subprocess.run([script, version], stdout=subprocess.PIPE, text=True, check=True, timeout=INSTALL_S)
    return Path(done.stdout.strip())


def api_key(token: str) -> str:
    key = api_key_of_token(token)
    assert key is not None
    assert len(key) == 40
    assert key.isalnum()
    return key


@dataclass
class WandbUser:
    """Somebody with a home, a working directory and a key.

    Attributes:
        url: of the server.
        python: of the environment with wandb.
    """

    url: str
    token: str
    home: Path
    python: Path
    project: str = PROJECT
    settings: dict[str, str] = field(default_factory=dict)

    @property
    def directory(self) -> Path:
        """Where it works."""
        work = self.home / "work"
        work.mkdir(parents=True, exist_ok=True)
        return work

    def script(self, text: str, **more: str) -> str:
        """Run a script; what it printed."""
        (self.directory / "script.py").write_text(text)
        return self.ok("script.py", **more)

    def told(self, text: str, **more: str) -> Any:
        """The JSON of the last line that a script printed."""
        return json.loads(self.script(text, **more).splitlines()[-1])

    def sample(self, name: str, *, then: str = "", replaced: Mapping[str, str] | None = None, **more: str) -> str:
        """Run a sample of the FAQ with the client that it is about, and code behind its last line."""
        text = (SAMPLES / name).read_text().replace("import artfs as wandb", "import wandb")
        for old, new in (replaced or {}).items():
            assert old in text
            text = text.replace(old, new)
        (self.directory / name).write_text(f"{text}\n{then}\n")
        return self.ok(name, **more)

    def wandb(self, *arguments: str, **more: str) -> str:
        """The command line's output."""
        return self.ok("-m", "wandb", *arguments, **more)

    def ok(self, *arguments: str, **more: str) -> str:
        done = self.run(*arguments, **more)
        assert done.returncode == 0, f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def run(self, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.python, *arguments],
            cwd=self.directory,
            env=self.environment(more),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=CLIENT_S,
            check=False,
        )

    def environment(self, more: Mapping[str, str]) -> dict[str, str]:
        return {
            "PATH": f"{self.python.parent}:{os.environ['PATH']}",
            "HOME": str(self.home),
            "PYTHONPATH": str(STAND_INS),
            "WANDB_BASE_URL": self.url,
            "WANDB_API_KEY": api_key(self.token),
            "WANDB_PROJECT": self.project,
            "WANDB_CACHE_DIR": str(self.home / "cache"),
            "WANDB_DATA_DIR": str(self.home / "data"),
            "WANDB_CONFIG_DIR": str(self.home / "config"),
            "WANDB_ERROR_REPORTING": "false",
            "WANDB_CONSOLE": "off",
            **self.settings,
            **more,
        }

    def forget(self) -> None:
        """Empty the client's cache, which what it sends goes into too."""
        shutil.rmtree(self.home / "cache", ignore_errors=True)

    def write(self, files: Mapping[str, bytes], below: str = "") -> Path:
        root = self.directory / below
        for name, content in files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return root


@dataclass
class WandbServer:
    """A running `artfs serve --wandb`."""

    place: Place
    server: Server

    def user(self, name: str, *scopes: Scope, version: str = VERSION, admin: bool = False) -> WandbUser:
        """A user of that name, who is made if need be, with a client of that version."""
        token = self.place.user(name, *(scopes or (Scope.ADMIN,)), admin=admin)
        home = self.place.directory / f"{name}-{version}"
        home.mkdir(exist_ok=True)
        return WandbUser(self.server.url, token, home, installed(version))

    def sent_files(self, since: int = 0) -> list[str]:
        """The names of the files that clients sent, of all lines of the access log from that one on."""
        lines = self.server.access_lines[since:]
        return [
            line["path"].rpartition("/")[2] for line in lines if line["method"] == "PUT" and "/content/" in line["path"]
        ]

    def failures(self) -> list[dict[str, Any]]:
        """Answers that the client would ask for again and again."""
        return [line for line in self.server.access_lines if line["status"] >= 500]


@contextmanager
def wandb_server(directory: Path, *options: str) -> Iterator[WandbServer]:
    directory.mkdir(parents=True, exist_ok=True)
    place = Place(directory)
    with place.serving("--wandb", *options) as server:
        yield WandbServer(place, server)
