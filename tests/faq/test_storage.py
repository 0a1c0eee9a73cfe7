"""What is stored of a new version, where and how it is kept, and what is left of it when it is deleted."""

from __future__ import annotations

import os
import random
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest

import artfs
from artfs.api.session import close_sessions
from artfs.errors import VersionNotFound
from tests.faq.conftest import Enter
from tests.faq.worlds import World, embedded, files_in, served_by_process
from tests.integration.test_server_process import certificate

FILE_BYTES = 20_000
END_S = 30
OVERHEAD_BYTES_MAX = 40_000  # trees, indexes of packs
CONTENT = os.urandom(5000)  # that no compression changes, so that it is found where it is kept as it is


def files(*names: str) -> dict[str, bytes]:
    """A file of random content for each name, the same for the same name."""
    return {name: random.Random(name).randbytes(FILE_BYTES) for name in names}


def log(world: World, content: dict[str, bytes], name: str = "dataset") -> artfs.Artifact:
    artifact = artfs.Artifact(name, type="dataset")
    artifact.add_dir(world.write(content, "source"))
    with artfs.init(project="vision") as run:
        run.log_artifact(artifact)
    return artifact


# What happens if I log a new version of same artifact with only minor changes? Does the storage used double?


def test_a_new_version_only_consumes_the_space_of_the_files_that_are_new(world: World) -> None:
    log(world, files(*(f"{number}.png" for number in range(100))))
    first_bytes = world.stored_bytes()
    assert first_bytes >= 100 * FILE_BYTES
    log(world, files(*(f"{number}.png" for number in range(110))))
    added_bytes = world.stored_bytes() - first_bytes
    assert 10 * FILE_BYTES <= added_bytes <= 10 * FILE_BYTES + OVERHEAD_BYTES_MAX


def test_a_version_of_which_two_files_in_five_differ_uses_forty_percent(world: World) -> None:
    log(world, files("1", "2", "3", "4", "5"))
    first_bytes = world.stored_bytes()
    log(world, {**files("1", "2", "3"), "4": files("other 4")["other 4"], "5": files("other 5")["other 5"]})
    assert (world.stored_bytes() - first_bytes) / first_bytes == pytest.approx(0.4, abs=0.05)


# Where are artifact files stored?


def test_files_are_stored_in_the_registry_and_nowhere_else(world: World, tmp_path: Path) -> None:
    log(world, {"a": CONTENT})
    assert world.holds(CONTENT)
    for path in (world.directory / "source").iterdir():
        path.unlink()
    close_sessions()
    kept = {name for name, content in files_in(tmp_path).items() if CONTENT in content}
    assert kept
    assert all(name.startswith("registry/packs/") for name in kept), kept


def test_without_any_setting_files_are_in_the_users_home(tmp_path: Path, enter: Enter) -> None:
    home = tmp_path / "home"
    world = enter(World(tmp_path, {}, home / ".local/share/artfs/registry"))
    log(world, {"a": CONTENT})
    assert world.holds(CONTENT)


@pytest.fixture
def encrypted(kind: str, tmp_path: Path, enter: Enter) -> Iterator[World]:
    keys = tmp_path / "keys"
    keys.touch(mode=0o600)
    keys.write_text("k1 = " + "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE=\n")
    with ExitStack() as stack:
        settings = {"ARTFS_ENCRYPTION_KEYS": str(keys)}
        if kind == "embedded":
            yield enter(embedded(tmp_path, **settings))
        else:
            yield enter(stack.enter_context(served_by_process(tmp_path, **settings)))
        close_sessions()


def test_files_are_encrypted_at_rest(encrypted: World) -> None:
    artifact = log(encrypted, {"a": CONTENT})
    assert encrypted.stored_bytes() >= len(CONTENT)
    assert not encrypted.holds(CONTENT)
    assert not encrypted.holds(CONTENT[1000:1100])
    assert files_in(artifact.download(str(encrypted.directory / "copy"))) == {"a": CONTENT}


class Tap:
    """Passes on what a client and a server send each other, and remembers it."""

    def __init__(self, url: str) -> None:
        self._server = (urlsplit(url).hostname or "", urlsplit(url).port or 0)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._threads: list[threading.Thread] = []
        self.url = f"{urlsplit(url).scheme}://127.0.0.1:{self._listening.getsockname()[1]}"
        self.heard = bytearray()

    @contextmanager
    def listening(self) -> Iterator[Tap]:
        self._start(self._accept)
        try:
            yield self
        finally:
            close_sessions()  # which ends the connections
            self._listening.shutdown(socket.SHUT_RDWR)
            for thread in self._threads:
                thread.join(END_S)
                assert not thread.is_alive()

    def _start(self, target: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with self._listening:
            while True:
                try:
                    client, _ = self._listening.accept()
                except OSError:  # shut down
                    return
                self._start(self._join, client)

    def _join(self, client: socket.socket) -> None:
        with client, socket.create_connection(self._server, timeout=END_S) as server:
            answers = threading.Thread(target=self._pass_on, args=(server, client), daemon=True)
            answers.start()
            self._pass_on(client, server)
            answers.join(END_S)

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):  # the other one is gone
            while data := source.recv(1 << 16):
                self.heard += data
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)


@pytest.mark.parametrize("with_tls", [True, False], ids=["tls", "plain"])
def test_files_are_encrypted_in_transit(tmp_path: Path, enter: Enter, with_tls: bool) -> None:
    cert, key = certificate(tmp_path)
    options = ("--tls-cert", str(cert), "--tls-key", str(key)) if with_tls else ()
    with served_by_process(tmp_path, *options, ca_file=str(cert) if with_tls else "") as world:
        with Tap(world.settings["ARTFS_REGISTRY"]).listening() as tap:
            tapped = enter(World(world.directory, {**world.settings, "ARTFS_REGISTRY": tap.url}, world.registry))
            artifact = log(tapped, {"a": CONTENT})
            assert files_in(artifact.download(str(world.directory / "copy"))) == {"a": CONTENT}
        assert len(tap.heard) >= 2 * len(CONTENT)  # both ways
        assert (CONTENT in tap.heard) is not with_tls
        assert (world.settings["ARTFS_TOKEN"].encode() in tap.heard) is not with_tls


# When are artifact files deleted?


def test_deleting_a_version_deletes_what_no_other_uses_and_leaves_no_trace(world: World) -> None:
    shared, first, second = (random.Random(name).randbytes(FILE_BYTES) for name in ("shared", "first", "second"))
    log(world, {"shared": shared, "own": first})
    newest = log(world, {"shared": shared, "own": second})
    api = artfs.Api()
    assert world.holds(first)

    api.artifact("vision/dataset:v0").delete()
    with pytest.raises(VersionNotFound):
        api.artifact("vision/dataset:v0")
    assert not world.holds(first)
    assert not world.holds(first[5000:5100])
    assert files_in(newest.download(str(world.directory / "copy"))) == {"shared": shared, "own": second}
    newest.verify(str(world.directory / "copy"))

    api.artifact("vision/dataset:v1").delete(delete_aliases=True)
    assert not world.holds(shared)
    assert not world.holds(second)
    assert world.stored_bytes() == 0
