"""What a run of the benchmark works with, made when first needed: data, a served registry behind a proxy, a local one.

The served registry is reached through the proxy by readers that begin with nothing: a home, a login and a cache of their own.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from tests.acceptance.team import Member, Server, Team
from tests.acceptance.user import User
from tests.bench import data
from tests.bench.data import DataSet, Sizes
from tests.bench.measure import drop_caches, say, timed
from tests.network.proxy import Proxy


@dataclass(frozen=True)
class Options:
    """How the benchmark runs."""

    quick: bool = False
    repeat: int = 5
    latency_s: float = 0.010
    bandwidth_bytes_s: float = 0.0
    directory: Path = field(default_factory=lambda: Path(tempfile.gettempdir()))
    drops_caches: bool = True  # the kernel's, which all of the machine shares; a new mount has none there

    @property
    def sizes(self) -> Sizes:
        return Sizes.quick() if self.quick else Sizes()

    @property
    def peer_limit_s(self) -> float:
        """How long a peer may read that is too slow to finish; what it has read by then is its rate."""
        return 5.0 if self.quick else 10.0


@dataclass(frozen=True)
class Far:
    """A mount of the served registry through the proxy, whose cache was empty when it began."""

    path: Path
    user: Member
    proxy: Proxy

    def __truediv__(self, path: str) -> Path:
        return self.path / path

    @property
    def pid(self) -> int:
        return pid_of(self.user)


def pid_of(user: User) -> int:
    (shown,) = user.json("status")["mounts"]
    found: int = shown["pid"]
    return found


class World:
    """Owned by the run: one thread, everything taken down by the stack it was given."""

    def __init__(self, options: Options, stack: ExitStack) -> None:
        self.options = options
        self.sizes = options.sizes
        self.directory = Path(tempfile.mkdtemp(prefix="artfs-bench-", dir=options.directory))
        stack.callback(shutil.rmtree, self.directory, ignore_errors=True)
        self._stack = stack
        self._places = 0
        self._stored: set[tuple[str, str]] = set()

    @contextmanager
    def place(self) -> Iterator[Path]:
        """A new empty directory, removed afterwards."""
        place = self.directory / f"p{self.next_number()}"
        place.mkdir()
        try:
            yield place
        finally:
            shutil.rmtree(place, ignore_errors=True)

    # data

    @cached_property
    def small(self) -> DataSet:
        return self._made("small files", data.small_files, self.directory / "small", self.sizes)

    @cached_property
    def noise(self) -> DataSet:
        """Small files that do not compress, so that bytes fetched can be compared with bytes read."""
        return self._made("noise", data.small_files, self.directory / "noise", self.sizes, seed=7, compressible=False)

    @cached_property
    def large(self) -> DataSet:
        return self._made("a large file", data.large_file, self.directory / "large", self.sizes.large_bytes)

    @cached_property
    def huge(self) -> DataSet:
        return self._made("a huge file", data.large_file, self.directory / "huge", self.sizes.huge_bytes, seed=6)

    @cached_property
    def real(self) -> DataSet:
        return self._made("this Python's libraries", data.real_tree, self.directory / "real")

    def _made(self, what: str, make: Any, *arguments: Any, **more: Any) -> DataSet:
        made: list[DataSet] = []
        took_s = timed(lambda: made.append(make(*arguments, **more)))
        say(f"  made {what} ({took_s:.1f} s)")
        return made[0]

    # a local registry

    @cached_property
    def near(self) -> User:
        home = self.directory / "near"
        home.mkdir()
        return User(home)

    def store_near(self, artifact: str, root: Path) -> str:
        """`bench/ARTIFACT/v0` of the local registry holds `root`."""
        if ("near", artifact) not in self._stored:
            self.near.run("put", "-q", "-n", f"bench/{artifact}", root)
            self._stored.add(("near", artifact))
        return f"bench/{artifact}/v0"

    # a served one

    @cached_property
    def team(self) -> Team:
        place = self.directory / "team"
        place.mkdir()
        return Team(place, {})

    @cached_property
    def server(self) -> Server:
        return self._stack.enter_context(self.team.serving())

    @cached_property
    def writer(self) -> Member:
        return self.team.user("ann", self.server.url)

    def _begin(self) -> None:
        """The user who reads is made with the one who writes."""
        _ = self.writer

    @cached_property
    def proxy(self) -> Proxy:
        return self.proxy_to(self.server.url, self._stack)

    def proxy_to(self, url: str, stack: ExitStack) -> Proxy:
        options = self.options
        limits = {"latency_s": options.latency_s, "bandwidth_bytes_s": options.bandwidth_bytes_s}
        return stack.enter_context(Proxy.to(url, **limits))

    def store_far(self, artifact: str, root: Path) -> str:
        """`bench/ARTIFACT/v0` of the served registry holds `root`."""
        if ("far", artifact) not in self._stored:
            self.writer.run("put", "-q", "-n", f"bench/{artifact}", root)
            self._stored.add(("far", artifact))
        return f"bench/{artifact}/v0"

    def far_writer(self) -> Member:
        """The writer, as one who is behind the proxy; with a home, so a cache and a memory, of its own."""
        self._begin()
        home = f"writer{self.next_number()}"
        writer = self.team.at_home("ann", self.server.url, home=home, login=False)
        writer.run("login", self.proxy.url, "--token-file", self.team.token("ann"))
        return Member(writer.home, {"ARTFS_REGISTRY": self.proxy.url})

    def next_number(self) -> int:
        """One that nothing else of this run is called by."""
        self._places += 1
        return self._places

    def reader(self, **settings: str) -> Member:
        """Somebody who reads through the proxy and has an empty cache."""
        self._begin()
        reader = self.team.at_home("ann", self.server.url, home=f"reader{self.next_number()}", login=False)
        reader.run("login", self.proxy.url, "--token-file", self.team.token("ann", "read"))
        return Member(reader.home, {"ARTFS_REGISTRY": self.proxy.url, **settings})

    @contextmanager
    def far(self, *, user: Member | None = None, **settings: str) -> Iterator[Far]:
        """A cold mount; the kernel's caches are dropped and the proxy's counts begin."""
        reader = user or self.reader(**settings)
        if self.options.drops_caches:
            drop_caches()
        try:
            with reader.mounted() as path:
                self.proxy.reset_counts()
                yield Far(path, reader, self.proxy)
        finally:
            if user is None:
                shutil.rmtree(reader.home, ignore_errors=True)


def has_room(directory: Path, size_bytes: int) -> bool:
    found = os.statvfs(directory)
    return found.f_bavail * found.f_frsize > size_bytes
