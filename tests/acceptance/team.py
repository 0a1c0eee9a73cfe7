"""A team: one registry behind one or more `artfs serve` processes, and users with a home, a token and a cache each."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import requests
from psycopg.conninfo import conninfo_to_dict

from tests.acceptance.user import ARTFS, User, wait_until

READY_S = 60.0
STOP_S = 30.0


@dataclass(frozen=True)
class Member(User):
    """A user whose registry is a server's."""

    settings: Mapping[str, str] = field(default_factory=dict)

    def environment(self, **more: str) -> dict[str, str]:
        return super().environment(**{**self.settings, **more})

    @property
    def cache(self) -> Path:
        return self.home / ".cache/artfs"


@dataclass
class Server:
    """A running `artfs serve`."""

    url: str
    log: Path
    process: subprocess.Popen[bytes]

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(STOP_S)

    def pause(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.process.send_signal(signal.SIGCONT)


@dataclass(frozen=True)
class Team:
    """Where the registry is, as settings of whoever runs a server or an administrator's command."""

    directory: Path
    settings: Mapping[str, str]

    @property
    def administrator(self) -> Member:
        """Somebody on the server's machine, who opens the registry itself."""
        home = self.directory / "server"
        home.mkdir(exist_ok=True)
        return Member(home, self.settings)

    @contextmanager
    def serving(self, *options: str, port: int = 0) -> Iterator[Server]:
        """A server on a port of its own (or again on `port`), gone afterwards."""
        port = port or free_port()
        log = self.directory / f"server-{port}.log"
        with ExitStack() as stack:
            output = stack.enter_context(log.open("ab"))
            process = subprocess.Popen(
                [ARTFS, "serve", "--listen", f"127.0.0.1:{port}", *options],
                env=self.administrator.environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
            stack.callback(end_process, process)
            server = Server(f"http://127.0.0.1:{port}", log, process)
            wait_until(lambda: _is_ready(server), f"{server.url} is ready; its log is {log}", READY_S)
            yield server

    def user(self, name: str, url: str, *, admin: bool = False, scope: str = "write", login: bool = True) -> Member:
        """A new user with a home of its own, logged in at `url`."""
        administrator = self.administrator
        administrator.run("user", "add", name, *(["--admin"] if admin else []))
        return self.at_home(name, url, scope=scope, login=login)

    def at_home(self, name: str, url: str, *, home: str = "", scope: str = "write", login: bool = True) -> Member:
        """The user `name` on a machine of its own, with a token of its own."""
        place = self.directory / (home or name)
        place.mkdir()
        member = Member(place, {"ARTFS_REGISTRY": url})
        if login:
            member.run("login", url, "--token-file", self.token(name, scope))
        return member

    def token(self, name: str, scope: str = "write") -> Path:
        """A file with a new token of the user."""
        made = self.administrator.run("token", "create", "--user", name, "--name", "test", "--scope", scope)
        path = self.directory / f"{name}-{os.urandom(4).hex()}.token"
        path.touch(mode=0o600)
        path.write_text(made.stdout)
        return path


def shared_storage(database: str, prefix: str) -> dict[str, str]:
    """Settings of a registry in a PostgreSQL database and the bucket of the tests."""
    parts = conninfo_to_dict(database)
    address = f"{parts['user']}:{parts['password']}@{parts['host']}:{parts['port']}"
    bucket, endpoint = os.environ["ARTFS_TEST_S3_BUCKET"], os.environ["ARTFS_TEST_S3"]
    return {
        "ARTFS_DATABASE": f"postgresql://{address}/{parts['dbname']}",
        "ARTFS_STORAGE": f"s3://{bucket}/{prefix}-{os.urandom(4).hex()}?endpoint={endpoint}&region=default&path_style=true",
        "AWS_ACCESS_KEY_ID": os.environ["ARTFS_TEST_S3_ACCESS_KEY"],
        "AWS_SECRET_ACCESS_KEY": os.environ["ARTFS_TEST_S3_SECRET_KEY"],
    }


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _is_ready(server: Server) -> bool:
    assert server.process.poll() is None, server.log.read_text()
    try:
        return requests.get(f"{server.url}/readyz", timeout=2).status_code == 200
    except requests.RequestException:
        return False


def end_process(process: subprocess.Popen[bytes]) -> None:
    """End it in STOP_S, or kill it."""
    if process.poll() is None:
        process.send_signal(signal.SIGCONT)
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(STOP_S)
