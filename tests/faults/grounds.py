"""Where a registry is whose processes are killed: made the same again before each kill, and looked at afterwards.

One in a directory of its user's home, and one in a PostgreSQL database with its packs in a bucket, used by the command line as
its server uses it: there every request to the database and the bucket is a point, as is every change of a file.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from hashlib import sha256
from pathlib import Path

import obstore
import psycopg
from psycopg.conninfo import conninfo_to_dict

from artfs.registry import fsck
from artfs.registry.embedded import EmbeddedRegistry
from artfs.registry.findings import Report
from artfs.registry.resources import Clock
from artfs.registry.sql_registry import SqlRegistry
from artfs.store.object_store import ObjectStore
from tests.acceptance.team import shared_storage
from tests.acceptance.user import ARTFS, User, wait_until
from tests.faults.injecting import Injection, restore
from tests.registries import administer, migrated_database, open_postgres_registry, url_of
from tests.stores import s3_client, s3_credentials

LATER_NS = 30 * 24 * 3600 * 10**9
"""When every upload that nobody goes on with has expired."""
_RANDOM = re.compile(
    r"(?<![0-9a-f])([0-9a-f]{32}|[0-9a-f]{16})(?![0-9a-f])|\b\d{19}\b"
)  # tokens and names; nanoseconds


class Ground(ABC):
    """A user, and the registry that the user's commands open."""

    name: str

    def __init__(self, directory: Path) -> None:
        self.user = User(directory / "home")
        self.user.home.mkdir()
        self.template = directory / "template"
        self.environment: dict[str, str] = {}
        self.injection = Injection(self.user.home, directory / "injected")

    def run(self, *words: str, code: int | None = 0) -> None:
        self.user.run(*words, code=code, **self.environment)

    def disturbed(self, words: list[str], injection: Injection) -> int:
        """Run a command to which something happens; its exit code."""
        code = injection.run([ARTFS, *words], self.user.environment(**self.environment))
        self.settle()
        return code

    def keep_home(self) -> None:
        shutil.rmtree(self.template, ignore_errors=True)
        self.user.home.rename(self.template)

    @abstractmethod
    def keep(self) -> None:
        """What is there now is what `restore` makes again."""

    @abstractmethod
    def restore(self) -> None: ...

    @abstractmethod
    def settle(self) -> None:
        """Wait until what a process sent that has ended is done."""

    @abstractmethod
    def fingerprint(self) -> str:
        """Of all that is stored: what has the same one differs at most in names drawn at random and in times."""

    @abstractmethod
    def opened(self, clock: Clock = time.time_ns) -> SqlRegistry: ...

    @abstractmethod
    def checked(self, clock: Clock = time.time_ns) -> Report: ...

    def findings_later(self) -> list[str]:
        """What is left over when all that was given up has expired and was collected."""

        def later() -> int:
            return time.time_ns() + LATER_NS

        with closing(self.opened(later)) as registry:
            registry.collection.collect()
        return [*map(str, self.checked(later).findings), *self.left_in_spools()]

    def left_in_spools(self) -> list[str]:
        """What processes that are no more have left of packs under construction."""
        spools = [path for path in self.user.home.rglob("spool") if path.is_dir()]
        assert spools, "packs are built elsewhere"
        return [str(path) for spool in spools for path in spool.iterdir()]


class InDirectory(Ground):
    name = "SQLite and a directory"

    def keep(self) -> None:
        self.keep_home()

    def restore(self) -> None:
        restore(self.template, self.user.home)

    def settle(self) -> None:
        pass

    def fingerprint(self) -> str:
        return _of_files(self.user.home)

    def opened(self, clock: Clock = time.time_ns) -> SqlRegistry:
        return EmbeddedRegistry(self.user.registry, clock=clock)

    def checked(self, clock: Clock = time.time_ns) -> Report:
        return fsck.check(self.user.registry, clock=clock)


class Shared(Ground):
    name = "PostgreSQL and S3"

    def __init__(self, directory: Path, url: str) -> None:
        super().__init__(directory)
        self._url = url
        self._database = str(conninfo_to_dict(url)["dbname"])
        self._template_database = f"{self._database}_template"
        self.environment = shared_storage(url, "crash-points")
        self._storage = self.environment["ARTFS_STORAGE"]
        self._bucket = s3_client(self._storage)
        self._packs: dict[str, bytes] = {}
        self._watch = psycopg.connect(url_of("postgres"), autocommit=True)
        self.injection = Injection(self.user.home, directory / "injected", requests=True)

    def keep(self) -> None:
        self.keep_home()
        self._packs = {path: bytes(obstore.get(self._bucket, path).bytes()) for path in self._paths()}
        administer(
            f"DROP DATABASE IF EXISTS {self._template_database} WITH (FORCE)",
            f"ALTER DATABASE {self._database} RENAME TO {self._template_database}",
        )

    def restore(self) -> None:
        restore(self.template, self.user.home)
        found = self._paths()
        for path in found - set(self._packs):
            obstore.delete(self._bucket, path)
        for path in set(self._packs) - found:
            obstore.put(self._bucket, path, self._packs[path], use_multipart=False)
        administer(
            f"DROP DATABASE IF EXISTS {self._database} WITH (FORCE)",
            f"CREATE DATABASE {self._database} TEMPLATE {self._template_database} STRATEGY file_copy",
        )

    def settle(self) -> None:
        wait_until(lambda: self._session_count() == 0, "the database has noticed that the process ended", timeout_s=30)

    def fingerprint(self) -> str:
        """Every row, how many packs there are, and the files on this machine with their sizes."""
        with psycopg.connect(self._url) as connection:
            found = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")
            rows = [
                (name, sorted(_RANDOM.sub("*", row) for (row,) in connection.execute(f"SELECT t::text FROM {name} t")))
                for (name,) in found.fetchall()
            ]
        files = [
            (_RANDOM.sub("*", str(path)), path.stat().st_size) for path in self.user.home.rglob("*") if path.is_file()
        ]
        return repr((rows, len(self._paths()), sorted(files)))

    def opened(self, clock: Clock = time.time_ns) -> SqlRegistry:
        root = self.user.home / ".local/share/artfs/shared"
        store = ObjectStore(self._storage, credentials=s3_credentials())
        return open_postgres_registry(self._url, root, store=store, clock=clock)

    def checked(self, clock: Clock = time.time_ns) -> Report:
        with closing(self.opened(clock)) as registry:
            return fsck.check_registry(registry.resources)

    def remove(self) -> None:
        """Leave nothing: of the database what `migrated_database` does not drop."""
        self._watch.close()
        administer(f"DROP DATABASE IF EXISTS {self._template_database} WITH (FORCE)")
        for path in self._paths():
            obstore.delete(self._bucket, path)

    def _paths(self) -> set[str]:
        return {found["path"] for chunk in obstore.list(self._bucket) for found in chunk}

    def _session_count(self) -> int:
        row = self._watch.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND backend_type = 'client backend'",
            (self._database,),
        ).fetchone()
        assert row is not None
        return int(row[0])


def _of_files(directory: Path) -> str:
    """But SQLite's index of its log, which is made anew."""
    found = sha256()
    for path in sorted(directory.rglob("*")):
        found.update(os.fsencode(path.relative_to(directory)) + b"\0")
        if path.is_file() and not path.name.endswith("-shm"):
            found.update(sha256(path.read_bytes()).digest())
    return found.hexdigest()


@contextmanager
def in_directory(directory: Path) -> Iterator[Ground]:
    yield InDirectory(directory)


@contextmanager
def shared(directory: Path) -> Iterator[Ground]:
    with migrated_database() as url:
        ground = Shared(directory, url)
        try:
            yield ground
        finally:
            ground.remove()


GROUNDS: dict[str, Callable[[Path], AbstractContextManager[Ground]]] = {"directory": in_directory, "shared": shared}
