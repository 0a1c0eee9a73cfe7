"""Two registries on one PostgreSQL and one directory of packs, in processes of their own: as correct as one."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from artfs.errors import ArtfsError, Busy, StillAliased, VersionNotFound
from artfs.model.digest import Digest, ObjectKey
from artfs.registry.migrations import scripts
from artfs.registry.postgres import PostgresDatabase
from artfs.registry.sql_registry import SqlRegistry
from artfs.store.pack_file import PackReader
from artfs.wire.records import SealRequest
from tests.contract.uploading import Content, Tree, children_of, commit, content_of, fetch, fetch_again, send
from tests.registries import empty_database, migrated_database, open_postgres_registry
from tests.reliability.trials import tried

ROOT = Path(__file__).parents[2]
WAIT_S = 100
ROUNDS = 15
DRAFT_LATER_NS = 48 * 3600 * 10**9

pytestmark = [pytest.mark.falsifies("once", "deletion"), pytest.mark.postgres]


@pytest.fixture
def url() -> Iterator[str]:
    with migrated_database() as made:
        yield made


def start(act: str, url: str, root: Path, *arguments: str | int) -> subprocess.Popen[str]:
    """A server of its own that does `act`, a function of this module. The URL goes through its standard input."""
    code = (
        "import sys; from pathlib import Path; from tests.faults import test_two_servers;"
        "url = sys.stdin.readline().strip();"
        "getattr(test_two_servers, sys.argv[1])(url, Path(sys.argv[2]), *sys.argv[3:])"
    )
    command = [sys.executable, "-c", code, act, str(root), *map(str, arguments)]
    process = subprocess.Popen(command, cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    process.stdin.write(f"{url}\n")
    process.stdin.flush()
    return process


def finish(*servers: subprocess.Popen[str]) -> list[str]:
    """What they said, once all of them have ended well."""
    try:
        said = [server.communicate(timeout=WAIT_S)[0] for server in servers]
        assert [server.returncode for server in servers] == [0] * len(servers)
        return said
    finally:
        for server in servers:
            server.kill()
            server.wait()


def random_tree(chance: random.Random) -> Tree:
    """Small and of few contents, so that servers meet at the same objects."""
    files = {f"f{chance.randrange(4)}": b"content %d" % chance.randrange(6) * 40 for _ in range(3)}
    return {**files, "d": {"x": b"content %d" % chance.randrange(6) * 40}}


def upload_and_delete(url: str, root: Path, seed: str) -> None:
    """Commit, abandon and delete at random; read each version back right after its seal."""
    chance = random.Random(int(seed))
    registry = open_postgres_registry(url, root)
    artifact = f"artifact{int(seed) % 2}"
    for _ in range(ROUNDS):
        content = content_of(random_tree(chance))
        draft = registry.drafts.open("vision")
        try_send(registry, draft.id, content)
        if chance.random() < 0.2:
            registry.drafts.abandon(draft.id)
            continue
        made = registry.drafts.seal(draft.id, SealRequest(artifact, content.root, [f"mine{seed}"])).version
        assert_readable(registry, content)
        registry.aliases.remove("vision", artifact, f"mine{seed}")
        free = [
            v.number for v in registry.versions.list("vision", artifact) if not v.aliases and v.number < made.number
        ]
        if free:
            with suppress(StillAliased, VersionNotFound):  # the other server was faster
                registry.versions.delete("vision", artifact, chance.sample(free, 1))
    registry.close()


def try_send(registry: SqlRegistry, draft: str, content: Content) -> None:
    record = registry.drafts.renew(draft)
    for _ in range(20):
        with suppress(Busy):
            send(registry, record, content, now_ns=time.time_ns())
            return
    raise AssertionError("a pack of a new name stays busy")


def assert_readable(registry: SqlRegistry, content: Content) -> None:
    for key, data in content.objects.items():
        assert fetch_again(registry, "vision", key) == data


def assert_exactly_what_versions_hold(url: str, root: Path) -> None:
    """Brute force: everything below every root can be read, and the packs hold nothing else once drafts have expired."""
    registry = open_postgres_registry(url, root, clock=lambda: time.time_ns() + DRAFT_LATER_NS)
    for _ in range(10):  # each opening of a draft cleans a bounded part
        registry.drafts.abandon(registry.drafts.open("vision").id)
    reachable: set[ObjectKey] = set()
    pending = [v.root_key for a in registry.artifacts.list("vision") for v in registry.versions.list("vision", a.name)]
    assert pending
    while pending:
        key = pending.pop()
        if key not in reachable:
            reachable.add(key)
            data = fetch(registry, "vision", key)
            assert data is not None
            pending += children_of(key, data)
    on_disk: list[ObjectKey] = []
    for path in (root / "packs").rglob("*.pack"):
        with PackReader(path) as reader:
            on_disk.extend(placed.key for placed, _ in reader.verified())
    assert sorted(on_disk) == sorted(reachable)
    assert list((root / "spool").iterdir()) == []
    registry.close()


def test_uploads_and_deletions_of_both_lose_nothing_and_leave_nothing(url: str, tmp_path: Path) -> None:
    with closing(open_postgres_registry(url, tmp_path)) as registry:
        registry.projects.create("vision")
    finish(*(start("upload_and_delete", url, tmp_path, seed) for seed in range(4)))
    tried("rounds of servers that commit and delete at once", 4 * ROUNDS)
    assert_exactly_what_versions_hold(url, tmp_path)


def seal_all(url: str, root: Path) -> None:
    """Seal each draft that comes on standard input, and say what came of it."""
    registry = open_postgres_registry(url, root)
    print("ready", flush=True)  # noqa: T201
    requests = [(draft, bytes.fromhex(root_)) for draft, root_ in json.loads(sys.stdin.readline())]
    answers = []
    for draft, digest in requests:
        result = registry.drafts.seal(draft, SealRequest("bikes", Digest(digest)))
        answers.append([result.version.number, result.created])
    registry.close()
    print(json.dumps(answers))  # noqa: T201


def test_a_draft_that_both_seal_becomes_one_version_and_both_hear_of_it(url: str, tmp_path: Path) -> None:
    drafts = []
    with closing(open_postgres_registry(url, tmp_path)) as registry:
        registry.projects.create("vision")
        for i in range(30):
            content, draft = content_of({"a": b"%d" % i}), registry.drafts.open("vision")
            send(registry, draft, content)
            drafts.append((draft.id, content.root.hex()))
    servers = [start("seal_all", url, tmp_path) for _ in range(2)]
    for server in servers:
        assert server.stdout is not None
        assert server.stdout.readline() == "ready\n"
    for server in servers:
        assert server.stdin is not None
        server.stdin.write(f"{json.dumps(drafts)}\n")
        server.stdin.flush()
    first, second = (json.loads(said) for said in finish(*servers))
    assert first == second == [[i, True] for i in range(30)]
    with closing(open_postgres_registry(url, tmp_path)) as registry:
        assert [v.number for v in registry.versions.list("vision", "bikes")] == list(range(30))


def migrate_and_name(url: str, root: Path) -> None:
    """Start a server on an empty database and say who it thinks it is."""
    registry = open_postgres_registry(url, root)
    print(registry.identity)  # noqa: T201
    registry.close()


def test_servers_that_start_at_once_on_an_empty_database_migrate_it_once(tmp_path: Path) -> None:
    with empty_database() as url:
        identities = finish(*(start("migrate_and_name", url, tmp_path) for _ in range(4)))
        assert len(set(identities)) == 1
        with closing(PostgresDatabase(url)) as database, database.read() as tx:
            assert [row[0] for row in tx.rows("SELECT number FROM migrations ORDER BY number")] == sorted(
                scripts("postgres")
            )


def test_a_deletion_in_one_server_keeps_what_an_upload_to_the_other_was_told_not_to_send(
    url: str, tmp_path: Path
) -> None:
    with (
        closing(open_postgres_registry(url, tmp_path)) as one,
        closing(open_postgres_registry(url, tmp_path)) as other,
    ):
        one.projects.create("vision")
        content = content_of({"a": b"shared" * 100, "d": {"b": b"also" * 100}})
        commit(one, "vision", "old", content)
        draft = other.drafts.open("vision")
        assert send(other, draft, content) == []
        one.versions.delete("vision", "old", [0], delete_aliases=True)
        other.drafts.seal(draft.id, SealRequest("new", content.root))
        assert_readable(one, content)
    assert_exactly_what_versions_hold(url, tmp_path)


def test_maintenance_by_both_does_each_thing_once(url: str, tmp_path: Path) -> None:
    """Every version shares its pack with what is deleted, so that each pack must be rewritten, by whichever comes first."""
    servers = [open_postgres_registry(url, tmp_path) for _ in range(2)]
    servers[0].projects.create("vision")
    kept = []
    for i in range(8):
        both = content_of({"kept": {"x": b"kept %d" % i * 50}, "gone": b"gone %d" % i * 50})
        commit(servers[0], "vision", f"a{i}", both)
        kept.append(content_of({"x": b"kept %d" % i * 50}))
        commit(servers[0], "vision", f"a{i}", kept[-1])
    failures: list[ArtfsError] = []

    def clean(registry: SqlRegistry, artifacts: range) -> None:
        try:
            for i in artifacts:
                registry.versions.delete("vision", f"a{i}", [0])
                registry.drafts.abandon(registry.drafts.open("vision").id)
        except ArtfsError as error:
            failures.append(error)

    threads = [
        threading.Thread(target=clean, args=(servers[0], range(4))),
        threading.Thread(target=clean, args=(servers[1], range(4, 8))),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_S)
    assert failures == []
    for content in kept:
        assert_readable(servers[1], content)
    for registry in servers:
        registry.close()
    assert_exactly_what_versions_hold(url, tmp_path)
