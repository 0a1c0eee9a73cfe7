"""Who may do what on a registry with users: every method, role, visibility and scope; and that nothing hidden shows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, get_type_hints

import pytest

from artfs.errors import AccessDenied, AlreadyExists, ArtfsError, DraftNotFound, ObjectMissing, ProjectNotFound
from artfs.model.access import Role, Scope, Visibility
from artfs.model.digest import Digest, ObjectKey, ObjectKind
from artfs.registry.database import Database, Transaction
from artfs.registry.guarded import CHANGES_BATCH, LIST_BATCH, GuardedRegistry
from artfs.registry.sql_registry import SqlRegistry
from artfs.wire import service
from artfs.wire.records import SealRequest
from artfs.wire.service import Registry
from tests.access_matrix import ACTIONS, Action
from tests.access_stage import CALLERS, CONTENT, Caller, Stage, expected
from tests.contract.uploading import commit, content_of, send, write_pack
from tests.registries import OWN_REGISTRIES, own_registry
from tests.reliability.trials import tried

pytestmark = [pytest.mark.falsifies("access")]

ABSENT = ObjectKey(ObjectKind.CHUNK, Digest.of(b"stored nowhere"))
SECRET = content_of({"secret": b"of a hidden project", "below": {"more": b"of it"}})


@pytest.fixture(scope="module", params=OWN_REGISTRIES)
def shared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SqlRegistry]:
    """A registry that the matrix uses; each case makes what it changes."""
    with own_registry(request.param, tmp_path_factory.mktemp("access") / "registry") as opened:
        yield opened


@pytest.fixture(scope="module")
def stages(shared: SqlRegistry) -> dict[Visibility, Stage]:
    return {visibility: Stage(shared, visibility) for visibility in Visibility}


@pytest.fixture(params=OWN_REGISTRIES)
def registry(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SqlRegistry]:
    with own_registry(request.param, tmp_path / "registry") as opened:
        opened.projects.create("hidden")
        commit(opened, "hidden", "bikes", SECRET)
        yield opened


def as_user(registry: SqlRegistry, name: str, scope: Scope = Scope.ADMIN, *, admin: bool = False) -> Registry:
    """The registry as a user has it, who is added if absent; its token is authenticated as a server does."""
    if name not in {user.name for user in registry.access.users.list()}:
        registry.access.users.create(name, admin=admin)
    token = registry.access.tokens.create(name, "", [scope]).secret
    return GuardedRegistry(registry, registry.access.tokens.authenticate(token))


@pytest.mark.parametrize("visibility", Visibility, ids=lambda visibility: visibility.value)
@pytest.mark.parametrize("caller", CALLERS, ids=str)
def test_everybody_may_do_exactly_what_the_rules_say(
    shared: SqlRegistry, stages: dict[Visibility, Stage], caller: Caller, visibility: Visibility
) -> None:
    stage = stages[visibility]
    registry = as_user(shared, caller.user, caller.scope)
    found = {str(action): action.outcome(registry, caller, stage) for action in ACTIONS}
    assert found == {str(action): expected(action.kind, caller, visibility) for action in ACTIONS}
    tried("a call by somebody who may or may not make it", len(found))


@pytest.mark.parametrize("action", ACTIONS, ids=str)
def test_who_opened_the_registry_itself_may_do_everything(
    shared: SqlRegistry, stages: dict[Visibility, Stage], action: Action
) -> None:
    somebody = Caller(None, True, Scope.ADMIN)
    assert action.outcome(shared, somebody, stages[Visibility.PRIVATE]).value == "allowed"


def test_every_method_of_every_service_is_in_the_matrix() -> None:
    assert {action.method for action in ACTIONS} == set(_methods(service.Registry))


def test_no_service_of_a_guarded_registry_answers_what_the_protocol_does_not_have(shared: SqlRegistry) -> None:
    guarded = as_user(shared, "erin")
    for method in _methods(service.Registry):
        name = method.partition(".")[0]
        holder: Any = guarded.access if name in ("users", "tokens", "members") else guarded
        public = {name for name in dir(getattr(holder, name)) if not name.startswith("_")}
        assert public - {"scan", "read"} == {  # the server's own, and guarded
            m.partition(".")[2] for m in _methods(service.Registry) if m.startswith(f"{name}.")
        }


def _methods(protocol: type) -> Iterator[str]:
    """`service.method` for all services below a protocol of services."""
    members = {name: member for base in reversed(protocol.__mro__) for name, member in vars(base).items()}
    for name, member in members.items():
        if not isinstance(member, property):
            continue
        assert member.fget is not None
        answer = get_type_hints(member.fget)["return"]
        if Protocol not in answer.__mro__:
            continue
        below = [inner for inner in vars(answer) if not inner.startswith("_")]
        if any(isinstance(vars(answer)[inner], property) for inner in below):
            yield from _methods(answer)
        else:
            yield from (f"{name}.{inner}" for inner in below)


def test_whoever_makes_a_project_administers_it_and_nobody_else_sees_it(registry: SqlRegistry) -> None:
    alice, bob = as_user(registry, "alice"), as_user(registry, "bob")
    alice.projects.create("vision")
    assert [(m.user, m.role) for m in alice.access.members.list("vision")] == [("alice", Role.ADMIN)]
    assert [p.name for p in bob.projects.list()] == []
    alice.access.members.set("vision", "bob", Role.READER)
    assert [p.name for p in bob.projects.list()] == ["vision"]
    alice.access.members.remove("vision", "bob")
    with pytest.raises(ProjectNotFound):
        bob.projects.get("vision")


def test_a_project_is_made_with_its_administrator_or_not_at_all(registry: SqlRegistry) -> None:
    alice = as_user(registry, "alice")
    registry.access.users.delete("alice")  # the server may still know the token for a moment
    with pytest.raises(ArtfsError):
        alice.projects.create("vision")
    assert [p.name for p in registry.projects.list()] == ["hidden"]


def test_the_name_of_a_hidden_project_is_taken_and_no_more_is_told(registry: SqlRegistry) -> None:
    alice = as_user(registry, "alice")
    with pytest.raises(AlreadyExists):
        alice.projects.create("hidden")
    with pytest.raises(AccessDenied) as told:
        alice.projects.create("hidden", exist_ok=True)
    assert "taken" in told.value.message
    assert alice.projects.list() == []


def test_a_page_of_projects_is_full_however_many_are_hidden(registry: SqlRegistry) -> None:
    alice = as_user(registry, "alice")
    for i in range(LIST_BATCH + 50):
        registry.projects.create(f"h{i:05}")
    for name in ("a-first", "h00500x", "z1", "z2", "z3"):
        alice.projects.create(name)
    assert [p.name for p in alice.projects.list(limit=3)] == ["a-first", "h00500x", "z1"]
    assert [p.name for p in alice.projects.list(after="z1", limit=3)] == ["z2", "z3"]
    assert [p.name for p in alice.projects.list(after="z3")] == []


def test_changes_of_hidden_projects_are_passed_over_however_many(registry: SqlRegistry) -> None:
    alice = as_user(registry, "alice")
    alice.projects.create("vision")
    start = alice.changes.position()
    for i in range(CHANGES_BATCH + 10):
        registry.artifacts.create("hidden", f"a{i}")
    alice.artifacts.create("vision", "bikes")
    registry.artifacts.create("hidden", "last")
    assert [(c.project, c.artifact) for c in alice.changes.since(start)] == [("vision", "bikes")]


def test_waiting_ends_for_visible_changes_and_not_for_hidden_ones(registry: SqlRegistry) -> None:
    alice = as_user(registry, "alice")
    alice.projects.create("vision")
    seen = alice.changes.position()
    registry.artifacts.create("hidden", "unseen")
    alice.changes.wait(seen, 0.2)
    assert alice.changes.since(seen) == []
    registry.artifacts.create("vision", "bikes")
    assert alice.changes.wait(seen, 60) > seen
    assert [c.artifact for c in alice.changes.since(seen)] == ["bikes"]


def test_who_loses_sight_of_a_project_is_told_and_nobody_else(registry: SqlRegistry) -> None:
    alice, bob, carol = (as_user(registry, name) for name in ("alice", "bob", "carol"))
    for project in ("shared", "ended"):
        alice.projects.create(project)
        alice.access.members.set(project, "bob", Role.READER)
    alice.projects.create("public", visibility=Visibility.PUBLIC)
    alice.projects.create("private")

    def told(change: Callable[[], object]) -> list[list[str]]:
        position = registry.changes.position()
        change()
        assert {c.kind for user in (alice, bob, carol) for c in user.changes.since(position)} <= {"project"}
        return [sorted({c.project for c in user.changes.since(position)}) for user in (alice, bob, carol)]

    assert told(lambda: alice.access.members.remove("shared", "bob")) == [["shared"], ["shared"], []]
    assert told(lambda: alice.access.members.remove("shared", "bob")) == [[], [], []]
    assert told(lambda: alice.access.members.set("shared", "alice", Role.ADMIN)) == [["shared"], [], []]
    assert told(lambda: alice.projects.delete("ended")) == [["ended"], ["ended"], []]
    assert told(lambda: alice.projects.delete("private")) == [["private"], [], []]
    assert told(lambda: alice.projects.update("public", visibility=Visibility.OPEN)) == [["public"]] * 3
    assert told(lambda: alice.projects.update("public", visibility=Visibility.PRIVATE)) == [["public"]] * 3


def test_a_namesake_of_a_removed_user_is_told_nothing_of_what_that_one_saw(registry: SqlRegistry) -> None:
    as_user(registry, "bob")
    registry.access.members.set("hidden", "bob", Role.READER)
    registry.access.members.remove("hidden", "bob")
    assert [c.project for c in as_user(registry, "bob").changes.since(0)] == ["hidden"]
    registry.access.users.delete("bob")
    assert as_user(registry, "bob").changes.since(0) == []
    assert {c.kind for c in registry.changes.since(0)} <= {"project", "artifact", "version", "alias"}


def test_an_administrator_of_the_server_is_told_of_everything(registry: SqlRegistry) -> None:
    root = as_user(registry, "root", admin=True)
    registry.projects.create("brief")
    registry.projects.delete("brief")
    assert root.changes.since(0) == registry.changes.since(0)


def test_a_digest_gives_nothing_of_a_project_that_one_may_not_read(registry: SqlRegistry) -> None:
    alice = as_user(registry, "alice")
    alice.projects.create("vision")
    draft = alice.drafts.open("vision")
    for key in SECRET.objects:
        assert alice.objects.locate("vision", [key, ABSENT]) == [None, None]
        assert alice.drafts.missing(draft.id, [key, ABSENT]) == [key, ABSENT]
        hidden, absent = _told(alice.objects.locate, "hidden", [key]), _told(alice.objects.locate, "hidden", [ABSENT])
        assert hidden == absent


def test_a_parent_whose_children_only_another_project_has_is_refused(registry: SqlRegistry) -> None:
    alice = as_user(registry, "alice")
    alice.projects.create("vision")
    draft = alice.drafts.open("vision")
    pack = write_pack(alice, draft.project_uid, [(SECRET.root_key, SECRET.objects[SECRET.root_key])])
    with pytest.raises(ObjectMissing):
        alice.drafts.put_pack(draft.id, pack)
    with pytest.raises(ObjectMissing):
        alice.drafts.seal(draft.id, SealRequest("bikes", SECRET.root))


def test_what_is_hidden_and_what_is_absent_answer_alike(registry: SqlRegistry) -> None:
    alice = as_user(registry, "alice")
    calls: list[Callable[[str], object]] = [
        alice.projects.get,
        alice.projects.delete,
        alice.artifacts.list,
        alice.drafts.open,
        alice.access.members.list,
        lambda project: alice.projects.update(project, visibility=Visibility.OPEN),
        lambda project: alice.versions.resolve(project, "bikes", "latest"),
        lambda project: alice.access.members.set(project, "alice", Role.ADMIN),
        lambda project: alice.objects.locate(project, [SECRET.root_key]),
    ]
    for call in calls:
        hidden, absent = _told(call, "hidden"), _told(call, "absent")
        assert hidden == absent.replace("absent", "hidden")
    draft = registry.drafts.open("hidden")
    drafts: list[Callable[[str], object]] = [
        alice.drafts.renew,
        alice.drafts.abandon,
        lambda draft: alice.drafts.missing(draft, [SECRET.root_key]),
        lambda draft: alice.drafts.seal(draft, SealRequest("bikes", SECRET.root)),
    ]
    for call in drafts:
        assert _told(call, draft.id) == _told(call, "0" * 32)
    registry.drafts.renew(draft.id)


def test_an_upload_ends_with_the_membership_that_allowed_it(registry: SqlRegistry) -> None:
    bob = as_user(registry, "bob")
    registry.access.members.set("hidden", "bob", Role.WRITER)
    draft = bob.drafts.open("hidden")
    send(bob, draft, CONTENT)
    registry.access.members.set("hidden", "bob", Role.READER)
    with pytest.raises(AccessDenied):
        bob.drafts.seal(draft.id, SealRequest("bikes", CONTENT.root))
    registry.access.members.remove("hidden", "bob")
    with pytest.raises(DraftNotFound):
        bob.drafts.seal(draft.id, SealRequest("bikes", CONTENT.root))


@pytest.mark.parametrize(
    ("claimed", "kept"),
    [
        ("", "bob"),
        ("bob@laptop.example", "bob@laptop.example"),
        ("root@laptop", "bob@laptop"),
        ("alice", "bob"),
        ("bob@a@b", "bob"),
        ("bob@two\nlines", "bob"),
        ("bob@" + "x" * 300, "bob"),
    ],
)
def test_a_version_says_who_made_it_whatever_the_client_claims(registry: SqlRegistry, claimed: str, kept: str) -> None:
    bob = as_user(registry, "bob")
    bob.projects.create("vision")
    draft = bob.drafts.open("vision")
    send(bob, draft, CONTENT)
    sealed = bob.drafts.seal(draft.id, SealRequest("bikes", CONTENT.root, created_by=claimed))
    assert sealed.version.created_by == kept


def test_an_administrator_with_a_lesser_token_does_no_more_than_it_allows(registry: SqlRegistry) -> None:
    reading = as_user(registry, "root", Scope.READ, admin=True)
    assert [p.name for p in reading.projects.list()] == ["hidden"]
    with pytest.raises(AccessDenied) as told:
        reading.artifacts.create("hidden", "cars")
    assert told.value.hint == "the token in use lacks the scope write"


class CountingDatabase:
    """A database that counts transactions."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.count = 0

    def read(self) -> AbstractContextManager[Transaction]:
        self.count += 1
        return self._database.read()

    def write(self, *, durable: bool = True) -> AbstractContextManager[Transaction]:
        self.count += 1
        return self._database.write(durable=durable)

    @property
    def dialect(self) -> str:
        return self._database.dialect

    def stamp(self) -> object:
        return self._database.stamp()

    def close(self) -> None:
        self._database.close()


def test_a_check_costs_one_look_however_much_there_is(registry: SqlRegistry) -> None:
    for i in range(300):
        registry.projects.create(f"p{i}", visibility=[Visibility.PRIVATE, Visibility.PUBLIC][i % 2])
        registry.artifacts.create(f"p{i}", "bikes")
    identity = as_user(registry, "alice").access.users.me()
    database = CountingDatabase(registry.resources.database)
    alice = GuardedRegistry(SqlRegistry(registry.identity, replace(registry.resources, database=database)), identity)

    def looks(call: Callable[[], object]) -> int:
        before = database.count
        call()
        return database.count - before

    assert looks(lambda: alice.projects.get("p1")) == 2
    assert looks(lambda: alice.artifacts.list("p1")) == 2
    assert looks(lambda: alice.objects.locate("p1", list(SECRET.objects))) == 2
    assert looks(lambda: alice.access.members.list("p1")) == 2
    assert looks(lambda: alice.projects.list()) == 2
    assert looks(lambda: alice.changes.since(0)) == 2
    assert looks(lambda: alice.changes.since(registry.changes.position())) == 1


def _told(call: Callable[..., object], *arguments: object) -> str:
    """All that a caller learns: the error's code, message and hint."""
    try:
        return f"answer {call(*arguments)!r}"
    except ArtfsError as error:
        return f"{error.code} {error.message} {error.hint}"
