"""Every fault of a lying or failing S3 server against what a registry does there: the right result or a clear error, once."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from artfs.client.get import Getter
from artfs.client.objects import ObjectReader
from artfs.client.remote.packs import HttpPacks
from artfs.client.remote.registry import RemoteRegistry
from artfs.errors import Damaged, NotFound, RegistryUnavailable, Unavailable
from artfs.registry.embedded import EmbeddedRegistry
from artfs.registry.fsck import check_registry, sqlite_checks
from artfs.registry.resources import Verify
from artfs.store.object_store import ObjectStore
from artfs.store.packs import name_at
from tests.contract.uploading import commit
from tests.faults.cells import flat, read_tree
from tests.faults.lies import FAILURES, HANGS, LIES
from tests.faults.lying import Liar
from tests.faults.operations import After, Do, Operations
from tests.network.served import admin_token, served
from tests.reliability.trials import tried
from tests.stores import IMPATIENT, s3_credentials, s3_url

pytestmark = [pytest.mark.falsifies("verified", "once", "no-hang", "durable", "access"), pytest.mark.s3]

BOUND_S = 75.0  # the server's attempts at the bucket, and the client's at the server
RECOVERS_S = 30.0
OPERATIONS = ("put", "read", "delete", "list")
REQUESTS_MAX = 6
FAULTS = {name: fault for name, fault in (LIES | FAILURES | HANGS).items() if name != "a stopped server"}
SAY_DELETED = {"another object", "another object that says it is the right one", "status 404", "a stale answer"}
"""Of a DELETE they may say that it was done: what is left over is found by `artfs fsck`."""
SAMPLES = {"another object that says it is the right one"}


@dataclass
class Bucket(Operations):
    """A registry whose packs are in a bucket behind a liar, a server over it, and a client of the server."""

    registry: EmbeddedRegistry
    remote: RemoteRegistry
    liar: Liar
    directory: Path

    def random(self, size_bytes: int) -> bytes:
        return self.dice.randbytes(size_bytes)

    def read(self, artifact: str, tree: dict[str, bytes]) -> None:
        """Through the server, and the bucket that it points to, with nothing in memory."""
        place = Path(tempfile.mkdtemp(dir=self.directory))
        try:
            root = self.remote.versions.resolve("vision", artifact, "v0").root
            Getter(ObjectReader(self.remote, packs=HttpPacks(self.remote.transport)), "vision").get_tree(root, place)
            assert read_tree(place) == flat(tree), "wrong bytes"
        finally:
            shutil.rmtree(place)

    def _tree(self) -> dict[str, bytes]:
        return {"a": self.random(5000), "b": self.random(400_000)}

    def _put(self, artifact: str) -> tuple[Do, After]:
        tree = self._tree()

        def do() -> None:
            commit(self.remote, "vision", artifact, tree, "best", now_ns=time.time_ns())

        def after(is_done: bool) -> None:
            if is_done:
                self.read(artifact, tree)
            do()
            assert [version.number for version in self.registry.versions.list("vision", artifact)] == [0]
            self.read(artifact, tree)

        return do, after

    def _read(self, artifact: str) -> tuple[Do, After]:
        tree = self._tree()
        commit(self.registry, "vision", artifact, tree, now_ns=time.time_ns())
        return (lambda: self.read(artifact, tree)), (lambda is_done: self.read(artifact, tree))

    def _delete(self, artifact: str) -> tuple[Do, After]:
        kept, gone = self.random(3000), {"x": self.random(3000)}
        commit(self.registry, "vision", artifact, {"kept": kept, "gone": gone}, now_ns=time.time_ns())
        commit(self.registry, "vision", artifact, {"kept": kept}, now_ns=time.time_ns())

        def do() -> None:
            self.remote.versions.delete("vision", artifact, [0])

        def after(is_done: bool) -> None:
            if not is_done:
                with suppress(NotFound):
                    do()
            (left,) = self.registry.versions.list("vision", artifact)
            assert left.number == 1
            place = Path(tempfile.mkdtemp(dir=self.directory))
            Getter(ObjectReader(self.remote, packs=HttpPacks(self.remote.transport)), "vision").get_tree(
                left.root, place
            )
            assert (place / "kept").read_bytes() == kept

        return do, after

    def _list(self, artifact: str) -> tuple[Do, After]:
        """As `artfs fsck` does: all packs are listed and read. What a lying bucket shows is told as damage, not repaired."""
        commit(self.registry, "vision", artifact, self._tree(), now_ns=time.time_ns())

        def do() -> None:
            check_registry(self.registry.resources, database_checks=sqlite_checks)

        return do, lambda is_done: do()

    def assert_sound(self, fault: str = "") -> None:
        """Nothing is missing, every stored byte is what its digest says, and nothing is left that was not said to be deleted."""
        self.registry.collection.collect(wait=True)
        report = check_registry(self.registry.resources, database_checks=sqlite_checks)
        if fault in SAY_DELETED:
            for finding in report.findings:
                name = name_at(finding.subject.removeprefix("packs/"))
                assert name is not None
                assert finding.code == "stray-file"
                self.registry.resources.store.delete(name)
            report = check_registry(self.registry.resources, database_checks=sqlite_checks)
        assert [str(finding) for finding in report.findings] == []


@contextmanager
def opened(directory: Path) -> Iterator[Bucket]:
    with Liar.to(os.environ["ARTFS_TEST_S3"]) as liar:
        url = s3_url().replace(os.environ["ARTFS_TEST_S3"], liar.url)

        def open_registry() -> EmbeddedRegistry:
            store = ObjectStore(url, timeouts=IMPATIENT, credentials=s3_credentials())
            return EmbeddedRegistry(directory / "registry", store=store, verify=Verify.ALL)

        registry = open_registry()
        registry.projects.create("vision")
        token = admin_token(registry)
        with served(open_registry) as server:
            remote = RemoteRegistry(server, token, spool=directory / "spool")
            try:
                yield Bucket(registry, remote, liar, directory)
            finally:
                liar.heal()
                remote.close()
                registry.close()


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bucket]:
    with opened(tmp_path_factory.mktemp("b")) as made:
        for operation in OPERATIONS:
            do, after = made.prepare(operation)
            do()
            after(True)
        made.assert_sound()
        yield made


def attempt(bucket: Bucket, fault: str, operation: str, skip: int, times: int) -> int:
    """One cell; how many requests were struck."""
    do, after = bucket.prepare(operation)
    bucket.liar.strike(fault, skip=skip, times=times)
    began_s, is_done = time.monotonic(), False
    try:
        do()
        is_done = True
    except (Unavailable, Damaged):
        pass
    finally:
        took_s, struck = time.monotonic() - began_s, bucket.liar.struck
        bucket.liar.heal()
    assert took_s < BOUND_S
    recovers(lambda: after(is_done))
    return struck


def recovers(do: Callable[[], None]) -> None:
    """It works again, soon."""
    deadline_s = time.monotonic() + RECOVERS_S
    while True:
        try:
            return do()
        except RegistryUnavailable:
            if time.monotonic() > deadline_s:
                raise
            time.sleep(0.2)


@pytest.mark.timeout(580)
@pytest.mark.parametrize("fault", [pytest.param(f, marks=() if f in SAMPLES else pytest.mark.deep) for f in FAULTS])
def test_a_fault_of_every_request_to_the_bucket_harms_nothing(bucket: Bucket, fault: str) -> None:
    for operation in OPERATIONS:
        if attempt(bucket, fault, operation, 0, -1):
            tried(f"{fault}, always: {operation} in a bucket")
    bucket.assert_sound(fault)
    assert not [request for request in bucket.liar.stranger.asked if request.header("authorization")]
    assert not bucket.liar.bearers, "the bucket was told the registry's token"


@pytest.mark.deep
@pytest.mark.timeout(580)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_one_request_to_the_bucket_is_got_over_or_told(bucket: Bucket, fault: str) -> None:
    for operation in OPERATIONS:
        for number in range(REQUESTS_MAX):
            if not attempt(bucket, fault, operation, number, 1):
                break
            tried(f"{fault}, once: {operation} in a bucket")
    bucket.assert_sound(fault)
