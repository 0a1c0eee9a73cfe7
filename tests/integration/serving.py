"""A real `artfs serve` of a registry in a directory, and requests to it."""

from __future__ import annotations

import base64
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

from artfs.model.access import Role, Scope, Visibility
from artfs.model.digest import ObjectKey
from artfs.registry.embedded import EmbeddedRegistry
from artfs.store.pack_file import PackWriter, new_pack_header
from tests.contract.uploading import Content

READY_S = 60.0
STOP_S = 45.0
REQUEST_S = 30.0


def wait_until(condition: Callable[[], Any], what: str, timeout_s: float = 30.0) -> Any:
    """What `condition` returns as soon as it is true."""
    deadline_s = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < deadline_s, f"not within {timeout_s} s: {what}"
        time.sleep(0.01)
    return found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass
class Caller:
    """Requests with one token, on one connection."""

    url: str
    token: str = ""
    verify: str | bool = True
    session: requests.Session = field(default_factory=requests.Session)

    def __call__(self, method: str, path: str, body: Any = None, **more: Any) -> requests.Response:
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        headers |= more.pop("headers", {})
        more.setdefault("timeout", REQUEST_S)
        more.setdefault("allow_redirects", False)
        return self.session.request(method, self.url + path, json=body, headers=headers, verify=self.verify, **more)

    def ok(self, method: str, path: str, body: Any = None, **more: Any) -> Any:
        """The answer's JSON, None for 204."""
        response = self(method, path, body, **more)
        assert response.status_code < 300, (response.status_code, response.text)
        return response.json() if response.content else None

    def refused(self, method: str, path: str, body: Any = None, **more: Any) -> tuple[int, str]:
        """Status and code of an answer that is an error, which tells nothing of the server's inside."""
        response = self(method, path, body, **more)
        assert response.status_code >= 400, response.text
        assert "Traceback" not in response.text
        assert response.headers["Content-Type"] == "application/json"
        told = response.json()
        assert set(told) == {"code", "message", "hint"}
        return response.status_code, told["code"]


@dataclass
class Server:
    """A running `artfs serve`, and its output."""

    url: str
    directory: Path
    process: subprocess.Popen[bytes]
    verify: str | bool = True

    @property
    def log(self) -> str:
        return (self.directory / "server.err").read_text()

    @property
    def access_lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.directory / "server.out").read_text().splitlines()]

    def caller(self, token: str = "") -> Caller:
        return Caller(self.url, token, self.verify)

    def is_ready(self) -> bool:
        assert self.process.poll() is None, self.log
        try:
            return self.caller()("GET", "/readyz", timeout=5).status_code == 200
        except requests.RequestException:
            return False


@dataclass(frozen=True)
class Place:
    """A directory with a registry `registry` and the output of its server."""

    directory: Path

    @property
    def registry(self) -> EmbeddedRegistry:
        return EmbeddedRegistry(self.directory / "registry")

    def user(self, name: str, *scopes: Scope, admin: bool = False) -> str:
        """A token of a user who is made if need be."""
        registry = self.registry
        if name not in [record.name for record in registry.access.users.list()]:
            registry.access.users.create(name, admin=admin)
        secret = registry.access.tokens.create(name, "test", scopes or [Scope.WRITE]).secret
        registry.close()
        return secret

    def project(self, name: str, visibility: Visibility = Visibility.PRIVATE, **members: Role) -> None:
        registry = self.registry
        registry.projects.create(name, visibility=visibility)
        for user, role in members.items():
            registry.access.members.set(name, user, role)
        registry.close()

    @contextmanager
    def serving(
        self,
        *options: str,
        settings: Mapping[str, str] | None = None,
        wait: bool = True,
        verify: str | bool = True,
        port: int = 0,
    ) -> Iterator[Server]:
        """A server, ready unless `wait` is False, and gone afterwards.

        Args:
            verify: of TLS, by requests.
            port: 0 for a free one.
        """
        port = port or free_port()
        scheme = "https" if "--tls-cert" in options else "http"
        command = [sys.executable, "-c", "from artfs.cli.main import main; main()"]
        command += ["--registry", str(self.directory / "registry")]
        with (self.directory / "server.out").open("ab") as out, (self.directory / "server.err").open("ab") as err:
            process = subprocess.Popen(
                [*command, "serve", "--listen", f"127.0.0.1:{port}", *options],
                env={**os.environ, **(settings or {})},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
            )
        server = Server(f"{scheme}://127.0.0.1:{port}", self.directory, process, verify)
        try:
            if wait:
                wait_until(server.is_ready, f"{server.url} is ready", READY_S)
            yield server
        finally:
            stop(process)


def stop(process: subprocess.Popen[bytes]) -> int:
    """Ask the server to stop, make it if need be; its exit code."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        return process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait(STOP_S)


@dataclass
class Draft:
    """An upload through HTTP."""

    call: Caller
    project: str
    id: str
    uid: bytes

    @classmethod
    def open(cls, call: Caller, project: str) -> Draft:
        record = call.ok("POST", f"/v1/projects/{project}/drafts")
        return cls(call, project, record["id"], base64.b64decode(record["project_uid"]))

    def pack(self, objects: Iterable[tuple[ObjectKey, bytes]]) -> tuple[str, bytes]:
        """A pack's id and bytes."""
        header = new_pack_header(self.uid, time.time_ns())
        with tempfile.TemporaryDirectory() as directory:
            writer = PackWriter(Path(directory) / "pack", header)
            for key, data in objects:
                writer.add(key, data)
            return header.pack_id.hex(), writer.finish().read_bytes()

    def path(self, pack_id: str) -> str:
        return f"/v1/drafts/{self.id}/packs/{pack_id}"

    def send(self, content: Content) -> str:
        """Send everything; the pack's id."""
        pack_id, data = self.pack(content.objects.items())
        self.call.ok("PUT", self.path(pack_id), data=data)
        return pack_id

    def seal(self, artifact: str, content: Content) -> Any:
        body = {"artifact": artifact, "root": content.root.text}
        return self.call.ok("POST", f"/v1/drafts/{self.id}/seal", body)


def upload(call: Caller, project: str, artifact: str, content: Content) -> str:
    """A new version; the id of its pack."""
    draft = Draft.open(call, project)
    pack_id = draft.send(content)
    draft.seal(artifact, content)
    return pack_id
