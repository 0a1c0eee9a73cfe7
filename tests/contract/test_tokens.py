"""Users and tokens: what is kept of a token, when it is valid, and what an attempt with a wrong one learns."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from artfs.errors import (
    AccessDenied,
    AlreadyExists,
    ArtfsError,
    InvalidName,
    InvalidValue,
    NotAuthenticated,
    TokenNotFound,
    UserNotFound,
)
from artfs.model.access import Role, Scope, api_key_of_token, token_of_api_key
from artfs.registry.embedded import EmbeddedRegistry
from artfs.registry.guarded import GuardedRegistry
from artfs.registry.sql_registry import SqlRegistry
from artfs.registry.users import OWNER, TOKEN_LIFE_NS_MAX, USED_EVERY_NS
from artfs.wire.records import NewToken
from tests.contract.uploading import Clock
from tests.registries import OWN_REGISTRIES, own_registry

pytestmark = [pytest.mark.falsifies("access")]

DAY_S = 24 * 3600
DAY_NS = DAY_S * 10**9


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=OWN_REGISTRIES)
def registry(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> Iterator[SqlRegistry]:
    with own_registry(request.param, tmp_path / "registry", clock) as opened:
        opened.access.users.create("alice")
        opened.access.users.create("bob")
        yield opened


def with_token(registry: SqlRegistry, new: NewToken) -> GuardedRegistry:
    return GuardedRegistry(registry, registry.access.tokens.authenticate(new.secret))


def refusal(registry: SqlRegistry, token: str) -> tuple[str, str, str]:
    with pytest.raises(NotAuthenticated) as told:
        registry.access.tokens.authenticate(token)
    return told.value.code, told.value.message, told.value.hint


def test_a_token_says_whose_it_is_and_what_it_may_be_used_for(registry: SqlRegistry) -> None:
    new = registry.access.tokens.create("alice", "laptop", [Scope.WRITE])
    identity = registry.access.tokens.authenticate(new.secret)
    assert (identity.user.name, identity.user.admin) == ("alice", False)
    assert identity.scopes == [Scope.READ, Scope.WRITE]
    assert identity.token == new.record.id
    assert new.secret.startswith(f"artfs_{new.record.id}_")
    assert registry.access.tokens.list("bob") == []


def test_the_secret_is_nowhere_in_the_registry(tmp_path: Path) -> None:
    registry = EmbeddedRegistry(tmp_path / "registry")
    registry.access.users.create("alice")
    new = registry.access.tokens.create("alice", "laptop", [Scope.ADMIN])
    registry.access.tokens.authenticate(new.secret)
    secret = new.secret.rpartition("_")[2]
    assert len(secret) == 24
    stored = b"".join(file.read_bytes() for file in (tmp_path / "registry").rglob("*") if file.is_file())
    assert new.record.id.encode() in stored  # the files looked into are those that hold tokens
    assert secret.encode() not in stored
    assert secret not in repr(registry.access.tokens.list("alice"))
    registry.close()


def test_a_token_is_an_api_key_and_an_older_one_stays_valid(tmp_path: Path) -> None:
    registry = EmbeddedRegistry(tmp_path / "registry")
    registry.access.users.create("alice")
    new = registry.access.tokens.create("alice", "", [Scope.READ])
    key = api_key_of_token(new.secret)
    assert key is not None
    assert (len(key), key.isalnum(), token_of_api_key(key)) == (40, True, new.secret)
    older = f"artfs_{new.record.id}_{'0123456789abcdef' * 4}"
    with registry.resources.database.write() as tx:
        tx.run("UPDATE tokens SET secret = ?", (sha256(older.rpartition("_")[2].encode()).digest(),))
    assert registry.access.tokens.authenticate(older).user.name == "alice"
    assert api_key_of_token(older) is None
    registry.close()


def test_two_tokens_share_nothing(registry: SqlRegistry) -> None:
    made = [registry.access.tokens.create("alice", "", [Scope.READ]) for _ in range(50)]
    assert len({new.secret.rpartition("_")[2] for new in made}) == 50
    assert len({new.record.id for new in made}) == 50


def test_wrong_absent_expired_and_revoked_tokens_and_disabled_users_answer_alike(
    registry: SqlRegistry, clock: Clock
) -> None:
    tokens = registry.access.tokens
    expired = tokens.create("alice", "", [Scope.READ], expires_at_ns=clock() + DAY_NS)
    revoked, good = tokens.create("alice", "", [Scope.READ]), tokens.create("alice", "", [Scope.READ])
    disabled = tokens.create("bob", "", [Scope.READ])
    for new in (expired, revoked, good, disabled):
        tokens.authenticate(new.secret)
    clock.advance_s(DAY_S + 1)
    tokens.revoke(revoked.record.id)
    registry.access.users.update("bob", disabled=True)
    head, _, secret = good.secret.rpartition("_")
    wrong = f"{head}_{secret[:-1]}{'0' if secret[-1] != '0' else '1'}"
    other = f"artfs_{'0' * 16}_{secret}"
    malformed = ["", "artfs", "x" * 100_000, good.secret + "0", good.secret.upper(), good.secret + "\n", "\ud800\0é"]
    told = {
        refusal(registry, token)
        for token in [expired.secret, revoked.secret, disabled.secret, wrong, other, *malformed]
    }
    assert len(told) == 1
    tokens.authenticate(good.secret)
    registry.access.users.update("bob", disabled=False)
    tokens.authenticate(disabled.secret)


def test_a_removed_user_leaves_no_token_and_no_membership_to_the_next_of_that_name(registry: SqlRegistry) -> None:
    new = registry.access.tokens.create("alice", "", [Scope.READ])
    registry.projects.create("vision")
    registry.access.members.set("vision", "alice", Role.ADMIN)
    registry.access.users.delete("alice")
    registry.access.users.create("alice")
    refusal(registry, new.secret)
    assert registry.access.members.list("vision") == []
    with pytest.raises(UserNotFound):
        registry.access.users.delete("nobody")


def test_the_last_use_is_kept_to_the_hour_without_a_write_for_each(registry: SqlRegistry, clock: Clock) -> None:
    new = registry.access.tokens.create("alice", "", [Scope.READ])
    assert registry.access.tokens.list("alice")[0].last_used_at_ns is None
    registry.access.tokens.authenticate(new.secret)
    first = registry.access.tokens.list("alice")[0].last_used_at_ns
    for _ in range(100):
        registry.access.tokens.authenticate(new.secret)
    assert registry.access.tokens.list("alice")[0].last_used_at_ns == first  # the clock has moved on meanwhile
    clock.advance_s(USED_EVERY_NS / 1e9 + 1)
    registry.access.tokens.authenticate(new.secret)
    later = registry.access.tokens.list("alice")[0].last_used_at_ns
    assert first is not None
    assert later is not None
    assert later - first >= USED_EVERY_NS


def test_a_token_gives_no_more_than_it_has_itself(registry: SqlRegistry, clock: Clock) -> None:
    end_ns = clock() + DAY_NS
    writing = with_token(registry, registry.access.tokens.create("alice", "", [Scope.WRITE], expires_at_ns=end_ns))
    tokens = writing.access.tokens
    assert tokens.create("alice", "", [Scope.READ], expires_at_ns=end_ns).record.expires_at_ns == end_ns
    with pytest.raises(AccessDenied):
        tokens.create("alice", "", [Scope.ADMIN], expires_at_ns=end_ns)
    with pytest.raises(AccessDenied):
        tokens.create("alice", "", [Scope.READ, Scope.ADMIN], expires_at_ns=end_ns)
    for later in (None, end_ns + 1):
        with pytest.raises(AccessDenied) as told:
            tokens.create("alice", "", [Scope.READ], expires_at_ns=later)
        assert "outlives" in told.value.message
    with pytest.raises(AccessDenied):
        tokens.create("bob", "", [Scope.READ], expires_at_ns=end_ns)


def test_a_reading_token_can_end_itself_and_no_other(registry: SqlRegistry) -> None:
    mine = registry.access.tokens.create("alice", "", [Scope.READ])
    other = registry.access.tokens.create("alice", "", [Scope.READ])
    reading = with_token(registry, mine)
    with pytest.raises(AccessDenied):
        reading.access.tokens.revoke(other.record.id)
    reading.access.tokens.revoke(mine.record.id)
    refusal(registry, mine.secret)
    registry.access.tokens.authenticate(other.secret)


def test_the_token_of_another_and_none_at_all_answer_alike(registry: SqlRegistry) -> None:
    alice = with_token(registry, registry.access.tokens.create("alice", "", [Scope.ADMIN]))
    other = registry.access.tokens.create("bob", "", [Scope.READ])
    told = []
    for token_id in (other.record.id, "0" * 16):
        with pytest.raises(TokenNotFound) as error:
            alice.access.tokens.revoke(token_id)
        told.append(error.value.message.replace(token_id, "ID"))
    assert told[0] == told[1]
    registry.access.tokens.authenticate(other.secret)


@pytest.mark.parametrize("distance_ns", [-DAY_NS, 0, TOKEN_LIFE_NS_MAX + DAY_NS, 10**30])
def test_a_token_expires_in_the_future_and_within_reason(registry: SqlRegistry, clock: Clock, distance_ns: int) -> None:
    with pytest.raises(InvalidValue):
        registry.access.tokens.create("alice", "", [Scope.READ], expires_at_ns=clock.now_ns + distance_ns)


@pytest.mark.parametrize("name", ["two\nlines", "x" * 129, "\x1b[31m", "\ud800"])
def test_a_token_has_a_short_printable_name_and_a_scope(registry: SqlRegistry, name: str) -> None:
    with pytest.raises(InvalidValue):
        registry.access.tokens.create("alice", name, [Scope.READ])
    with pytest.raises(InvalidValue):
        registry.access.tokens.create("alice", "", [])
    with pytest.raises(UserNotFound):
        registry.access.tokens.create("nobody", "", [Scope.READ])


@pytest.mark.parametrize("name", ["", "-x", "a b", "a/b", ".", "x" * 129, "ü", "a\0", "a\n"])
def test_users_are_named_like_everything_else(registry: SqlRegistry, name: str) -> None:
    with pytest.raises(InvalidName):
        registry.access.users.create(name)


@pytest.mark.parametrize("name", ["alice", OWNER])
def test_a_name_is_one_users(registry: SqlRegistry, name: str) -> None:
    with pytest.raises(AlreadyExists):
        registry.access.users.create(name)


def test_whoever_opens_the_registry_itself_is_its_owner(registry: SqlRegistry) -> None:
    me = registry.access.users.me()
    assert (me.user.name, me.user.admin, me.scopes) == (OWNER, True, list(Scope))
    for user in ("alice", "bob"):  # nobody is locked out: the owner can always add another
        registry.access.users.delete(user)
    assert registry.access.users.list() == []


def test_users_change_one_thing_at_a_time(registry: SqlRegistry) -> None:
    users = registry.access.users
    assert users.update("alice", admin=True).admin
    disabled = users.update("alice", disabled=True)
    assert (disabled.admin, disabled.disabled) == (True, True)
    assert users.list() == [disabled, *[user for user in users.list() if user.name == "bob"]]
    assert users.update("alice") == disabled
    with pytest.raises(ArtfsError):
        users.update("nobody", admin=True)
