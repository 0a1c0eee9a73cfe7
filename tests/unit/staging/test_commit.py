"""Commits: what is refused and why, that a failure loses nothing, and that content is sent once."""

from __future__ import annotations

import errno
import os
import resource
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest
import trio
import trio.testing

from artfs.client.upload import Uploads
from artfs.errors import Busy, DraftNotFound, InvalidName, ObjectMissing, StorageFull, TypeMismatch, UnsupportedFile
from artfs.model.content import FileContent
from artfs.model.digest import Digest, ObjectKey, ObjectKind
from artfs.registry.embedded import EmbeddedRegistry
from artfs.vfs.door import Door
from artfs.vfs.ports import UploadSession
from artfs.vfs.staging.area import Staging
from artfs.wire.records import SealRequest, SealResult
from artfs.wire.runs import NewRun
from tests.unit.staging.driver import ARTIFACT, CALLER, PROJECT, Drive, Machine

pytestmark = [pytest.mark.falsifies("draft-kept", "once", "refused")]


class FailingUploads:
    """Uploads that fail when told to: `fail_at` names the call. Counts the files that were sent.

    Attributes:
        expires: the next upload to be sealed is found to have expired.
        may_send: what is sent waits for this.
    """

    def __init__(self, registry: EmbeddedRegistry) -> None:
        self._registry = registry
        self._real = Uploads(registry)
        self.fail_at = ""
        self.sent: list[str] = []
        self.expires = False
        self.may_send = threading.Event()
        self.may_send.set()

    def open(self, project: str) -> UploadSession:
        self.check("open")
        return _FailingSession(self, self._real.open(project))

    async def sent_all(self, count: int) -> None:
        while len(self.sent) < count:  # noqa: ASYNC110 (the thread that sends has no event to set)
            await trio.sleep(0.01)

    def check(self, call: str) -> None:
        if call == self.fail_at:
            raise StorageFull(f"no room to {call}")

    def expire(self) -> None:
        self.expires = False
        with self._registry.resources.database.read() as tx:
            tokens = tx.rows("SELECT token FROM drafts WHERE state = 'open'")
        for (token,) in tokens:
            self._registry.drafts.abandon(token)


class _FailingSession:
    def __init__(self, owner: FailingUploads, real: UploadSession) -> None:
        self._owner = owner
        self._real = real

    def add_file(self, source: Path) -> FileContent:
        self._owner.check("add_file")
        self._owner.sent.append(source.name)
        content = self._real.add_file(source)
        assert self._owner.may_send.wait(10)
        return content

    def hold_tree(self, root: Digest) -> bool:
        self._owner.check("hold_tree")
        return self._real.hold_tree(root)

    def ensure(self, contents: Sequence[FileContent]) -> list[FileContent]:
        self._owner.check("ensure")
        return self._real.ensure(contents)

    def store_page(self, data: bytes) -> Digest:
        self._owner.check("store_page")
        return self._real.store_page(data)

    def flush(self) -> None:
        self._real.flush()

    def seal(self, request: SealRequest) -> SealResult:
        self._owner.check("seal")
        if self._owner.expires:
            self._real.flush()
            self._owner.expire()
        return self._real.seal(request)

    def renew(self) -> None:
        self._real.renew()

    def close(self) -> None:
        self._real.close()

    def abandon(self) -> None:
        self._real.abandon()


def failing(machine: Machine) -> tuple[FailingUploads, Staging]:
    uploads = FailingUploads(machine.registry)
    return uploads, Staging(machine.layout.root, machine.source, uploads, Door())


@pytest.mark.parametrize("call", ["open", "add_file", "ensure", "store_page", "seal"])
async def test_a_commit_that_fails_anywhere_leaves_the_draft_complete_and_can_be_repeated(
    machine: Machine, call: str
) -> None:
    version = machine.put({"below": b"below", "sub/x": b"x"})
    machine.draft_of(version)
    uploads, staging = failing(machine)
    draft = machine.found(staging=staging)
    await draft.write("new", b"new")
    await draft.write("sub/x", b"changed")
    await draft.chmod("below", 0o755)  # content that the version has
    before = await draft.walk()
    uploads.fail_at = call
    with pytest.raises(StorageFull):
        await draft.commit()
    assert await draft.walk() == before
    assert b"no room" in await staging.xattrs.get(await draft.inode(""), "user.artfs.error")
    assert await staging.xattrs.get(await draft.inode(""), "user.artfs.state") == b"failed"
    await draft.write("more", b"more")
    uploads.fail_at = ""
    result = await draft.commit()
    assert machine.tree(result.version.digest) == {**before, "more": b"more"}
    await staging.close()


async def test_the_reason_of_a_failed_commit_survives_adoption(machine: Machine, draft: Drive) -> None:
    await draft.symlink("out", "../away")
    with pytest.raises(UnsupportedFile):
        await draft.commit()
    await machine.staging.close()
    again = machine.found(staging=machine.area())
    assert b"out -> ../away" in await again.staging.xattrs.get(await again.inode(""), "user.artfs.error")
    await again.staging.close()


async def test_a_file_open_for_writing_is_named(draft: Drive) -> None:
    await draft.mkdir("d")
    handle = await draft.create("d/open")
    with pytest.raises(Busy, match="d/open"):
        await draft.commit()
    await draft.staging.handles.release(handle)
    await draft.commit()


async def test_a_commit_waits_for_a_release_on_its_way(draft: Drive) -> None:
    handle = await draft.create("f")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(draft.commit)
        await trio.testing.wait_all_tasks_blocked(0.02)
        await draft.staging.handles.release(handle)


async def test_nothing_changes_during_a_commit(machine: Machine) -> None:
    _, staging = failing(machine)
    draft = await Machine.draft(machine)
    place = draft.place
    await machine.staging.close()
    mine = Drive(staging, place)
    await mine.write("f", b"x")
    handle = await mine.create("open")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(mine.commit)
        await trio.testing.wait_all_tasks_blocked(0.02)
        for change in (
            mine.mkdir("d"),
            mine.write("f", b"y"),
            mine.unlink("f"),
            mine.rename("f", "g"),
            mine.chmod("f", 0),
        ):
            with pytest.raises(Busy):
                await change
        await staging.handles.release(handle)
    await staging.close()


async def test_after_a_commit_inodes_are_stale_and_open_files_readable(draft: Drive) -> None:
    await draft.write("f", b"data")
    inode = await draft.inode("f")
    handle = await draft.open("f")
    await draft.commit()
    with pytest.raises(OSError, match="committed") as caught:
        await draft.staging.nodes.getattr(inode)
    assert caught.value.errno == errno.ESTALE
    assert await draft.staging.handles.read(handle, 0, 10) == b"data"
    await draft.staging.handles.release(handle)
    with pytest.raises(FileNotFoundError):
        await draft.stat("")


async def test_a_file_is_sent_once_though_the_commit_comes_much_later(machine: Machine) -> None:
    uploads, staging = failing(machine)
    draft = machine.found(staging=staging)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(staging.run)
        await staging.drafts.make(draft.place, 0o755, CALLER)
        for number in range(10):
            await draft.write(f"f{number}", os.urandom(100))
        with trio.fail_after(10):
            await uploads.sent_all(10)
        await draft.commit()
        nursery.cancel_scope.cancel()
    assert len(uploads.sent) == 10
    await staging.close()


async def test_what_was_sent_before_a_restart_is_leased_and_not_sent_again(machine: Machine) -> None:
    uploads, staging = failing(machine)
    draft = machine.found(staging=staging)
    await staging.drafts.make(draft.place, 0o755, CALLER)
    await draft.write("same", b"same")
    await draft.write("changed", b"before")
    uploads.fail_at = "seal"
    with pytest.raises(StorageFull):
        await draft.commit()
    await staging.close()
    machine.put({"same": b"same"})  # the registry holds one of them whatever became of the upload
    again, staging = failing(machine)
    draft = machine.found(staging=staging)
    await draft.write("changed", b"after")
    result = await draft.commit()
    assert machine.tree(result.version.digest) == {"same": b"same", "changed": b"after"}
    assert len(again.sent) == 1
    await staging.close()


async def test_a_file_that_changed_on_disk_unheard_of_is_sent_again(machine: Machine) -> None:
    """A power cut may keep the bytes that a program wrote and lose the row that says so."""
    uploads, staging = failing(machine)
    draft = machine.found(staging=staging)
    await staging.drafts.make(draft.place, 0o755, CALLER)
    await draft.write("f", b"before")
    uploads.fail_at = "seal"
    with pytest.raises(StorageFull):
        await draft.commit()
    await staging.close()
    machine.put({"f": b"before"})  # so that nothing else makes it be sent again
    (data,) = (machine.layout.directory(draft.place) / "data").rglob("[0-9a-f]*/*")
    data.write_bytes(b"after!")
    again, staging = failing(machine)
    result = await machine.found(staging=staging).commit()
    assert machine.tree(result.version.digest) == {"f": b"after!"}
    assert len(again.sent) == 1
    await staging.close()


async def test_a_commit_whose_upload_expired_is_repeated_with_another(machine: Machine) -> None:
    uploads, staging = failing(machine)
    draft = machine.found(staging=staging)
    await staging.drafts.make(draft.place, 0o755, CALLER)
    await draft.write("f", b"x")
    uploads.expires = True
    with pytest.raises(DraftNotFound):
        await draft.commit()
    assert machine.tree((await draft.commit()).version.digest) == {"f": b"x"}
    await staging.close()


async def test_what_is_written_while_the_file_is_sent_is_committed(machine: Machine) -> None:
    uploads, staging = failing(machine)
    draft = machine.found(staging=staging)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(staging.run)
        await staging.drafts.make(draft.place, 0o755, CALLER)
        uploads.may_send.clear()
        await draft.write("f", b"before")
        with trio.fail_after(10):
            await uploads.sent_all(1)
        handle = await draft.open("f", os.O_WRONLY)
        uploads.may_send.set()
        await draft.write("other", b"other")
        with trio.fail_after(10):
            await uploads.sent_all(2)  # and so the first is done
        await staging.handles.write(handle, 0, b"after!")
        await staging.handles.release(handle)
        nursery.cancel_scope.cancel()
    result = await draft.commit()
    assert machine.tree(result.version.digest) == {"f": b"after!", "other": b"other"}
    await staging.close()


async def test_the_upload_of_a_draft_that_rests_is_renewed(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("artfs.vfs.staging.ingest.HEARTBEAT_S", 0.05)
    version = machine.put({"f": b"x"})
    draft = machine.draft_of(version)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(draft.staging.run)
        await draft.walk()
        await _is_leased(machine, ObjectKey(ObjectKind.TREE, version.digest))
        held_until_ns = _latest_expiry(machine)
        with trio.fail_after(10):
            while _latest_expiry(machine) <= held_until_ns:  # noqa: ASYNC110 (the registry has no event to wait for)
                await trio.sleep(0.01)
        nursery.cancel_scope.cancel()


async def test_a_commit_of_a_run_is_noted_as_logged_by_it(machine: Machine, draft: Drive) -> None:
    run = machine.registry.runs.start(PROJECT, NewRun()).ref
    await draft.write("f", b"x")
    version = (await draft.staging.drafts.commit(draft.place, ARTIFACT, "best", run)).version
    logged = machine.registry.lineage.of_run(PROJECT, run.id).logged
    assert [(one.artifact, one.number) for one in logged] == [(ARTIFACT, version.number)]


async def test_a_draft_whose_version_was_deleted_says_so_and_stays(machine: Machine) -> None:
    version = machine.put({"f": b"only here"})
    draft = await machine.draft()
    await draft.staging.nodes.link_version_file(
        machine.version_file(version, "f"), await draft.inode(""), "linked", CALLER
    )
    await draft.write("own", b"own")
    machine.registry.versions.delete(PROJECT, ARTIFACT, [version.number], delete_aliases=True)
    with pytest.raises(ObjectMissing, match="linked"):
        await draft.commit()
    await draft.unlink("linked")
    assert machine.tree((await draft.commit()).version.digest) == {"own": b"own"}


async def test_settings_of_the_root_go_into_the_version(draft: Drive) -> None:
    root = await draft.inode("")
    for name, value in {
        "description": b"d",
        "metadata": b'{"k": [1]}',
        "type": b"model",
        "aliases": b"x, y",
        "ttl": b"30d",
    }.items():
        await draft.staging.xattrs.set(root, f"user.artfs.{name}", value, CALLER)
    with pytest.raises(InvalidName):
        await draft.staging.xattrs.set(root, "user.artfs.aliases", b"v7", CALLER)
    version = (await draft.commit("best")).version
    assert (version.description, version.metadata, version.type) == ("d", {"k": [1]}, "model")
    assert set(version.aliases) == {"best", "x", "y", "latest"}
    assert version.expires_at_ns == version.created_at_ns + 30 * 86_400 * 10**9


async def test_a_type_that_differs_is_refused_and_can_be_mended(machine: Machine) -> None:
    await (await machine.draft("one")).commit()
    draft = await machine.draft("two")
    await draft.write("f", b"x")
    await draft.staging.xattrs.set(await draft.inode(""), "user.artfs.type", b"model", CALLER)
    with pytest.raises(TypeMismatch):
        await draft.commit()
    await draft.staging.xattrs.remove(await draft.inode(""), "user.artfs.type")
    await draft.commit()


async def test_too_many_open_files_is_an_errno_and_changes_nothing(draft: Drive) -> None:
    await draft.mkdir("d")
    before = await draft.walk()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.open("/dev/null", os.O_RDONLY)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
    try:
        with pytest.raises(OSError, match="open files") as caught:
            await draft.create("f")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert caught.value.errno == errno.EMFILE
    assert await draft.walk() == before
    await draft.write("f", b"now")


async def test_a_draft_holds_what_its_version_held_when_that_is_deleted(machine: Machine) -> None:
    base = machine.put({"kept": b"k" * 5000, "sub/also": b"a" * 5000})
    machine.put({"other": b"o"})
    draft = machine.draft_of(base)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(draft.staging.run)
        await draft.write("new", b"n")
        root = ObjectKey(ObjectKind.TREE, base.digest)
        await _is_leased(machine, root)
        machine.registry.versions.delete(PROJECT, ARTIFACT, [base.number], delete_aliases=True)
        result = await draft.commit()
        nursery.cancel_scope.cancel()
    assert machine.tree(result.version.digest) == {
        "kept": b"k" * 5000,
        "sub": None,
        "sub/also": b"a" * 5000,
        "new": b"n",
    }


def _latest_expiry(machine: Machine) -> int:
    with machine.registry.resources.database.read() as tx:
        row = tx.row("SELECT max(expires_at) FROM drafts WHERE state = 'open'")
    assert row is not None
    return int(row[0])


async def _is_leased(machine: Machine, key: ObjectKey) -> None:
    """Wait until some upload holds the object."""
    sql = "SELECT 1 FROM leases l JOIN objects o ON o.id = l.object WHERE o.digest = ?"
    with trio.fail_after(10):
        while True:
            with machine.registry.resources.database.read() as tx:
                if tx.row(sql, (bytes(key.digest),)) is not None:
                    return
            await trio.sleep(0.01)
