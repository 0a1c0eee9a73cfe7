"""Users and their tokens: the services of a caller who may do everything, and the check of a token.

A token is `artfs_ID_SECRET`: a public id, and 24 random letters and digits (142 bits), of which only the SHA-256 is kept. So
many bits need no slow hash. ID and SECRET together are an API key of 40 letters and digits, as clients of W&B want it. Older
tokens have 64 hexadecimal digits.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from hashlib import sha256
from hmac import compare_digest

from artfs.errors import (
    AlreadyExists,
    InvalidValue,
    NotAuthenticated,
    StorageFailed,
    StorageFull,
    TokenNotFound,
    UserNotFound,
)
from artfs.model.access import Scope, choose_secret, highest, included
from artfs.model.names import check_name
from artfs.registry.changes import forget_farewells
from artfs.registry.database import Row, Transaction, allocate
from artfs.registry.members import Members
from artfs.registry.resources import Resources
from artfs.wire.records import Identity, NewToken, TokenRecord, UserRecord

OWNER = "owner"  # who opens the registry itself, without a token
ID_BYTES = 8
TOKEN_NAME_CHARACTERS_MAX = 128
TOKEN_LIFE_NS_MAX = 100 * 365 * 24 * 3600 * 10**9
USED_EVERY_NS = 3600 * 10**9  # how exact `last_used_at_ns` is: a write for every request would be too dear
_TOKEN = re.compile(r"artfs_([0-9a-f]{16})_([0-9a-f]{64}|[0-9A-Za-z]{24})")
_NO_SECRET = bytes(32)

_USER = "SELECT id, name, admin, disabled, created_at FROM users"
_TOKENS = (
    "SELECT t.id, u.name, t.name, t.scope, t.created_at, t.expires_at, t.last_used_at"
    " FROM tokens t JOIN users u ON u.id = t.user_id"
)


def _find_user(tx: Transaction, name: str) -> Row:
    """Raises UserNotFound."""
    row = tx.row(f"{_USER} WHERE name = ?", (name,))
    if row is None:
        raise UserNotFound(f"there is no user {name!r}", hint="artfs user list names them")
    return row


def _user_record(row: Row) -> UserRecord:
    _, name, admin, disabled, created_at_ns = row
    return UserRecord(name, bool(admin), bool(disabled), created_at_ns)


def _token_record(row: Row) -> TokenRecord:
    id_, user, name, scope, created_at_ns, expires_at_ns, last_used_at_ns = row
    return TokenRecord(id_, user, name, included(Scope(scope)), created_at_ns, expires_at_ns, last_used_at_ns)


class Users:
    """The `Users` service."""

    def __init__(self, resources: Resources) -> None:
        self._database = resources.database
        self._clock = resources.clock

    def me(self) -> Identity:
        return Identity(UserRecord(OWNER, admin=True, disabled=False, created_at_ns=0), list(Scope))

    def list(self) -> list[UserRecord]:
        with self._database.read() as tx:
            return [_user_record(row) for row in tx.rows(f"{_USER} ORDER BY name")]

    def create(self, name: str, *, admin: bool = False) -> UserRecord:
        check_name("user", name)
        with self._database.write() as tx:
            if name == OWNER or tx.row(f"{_USER} WHERE name = ?", (name,)) is not None:
                raise AlreadyExists(f"the user {name!r} exists", hint="choose another name")
            record = UserRecord(name, admin, disabled=False, created_at_ns=self._clock())
            tx.run(
                "INSERT INTO users (id, name, admin, disabled, created_at) VALUES (?, ?, ?, 0, ?)",
                (allocate(tx, "users"), name, int(admin), record.created_at_ns),
            )
        return record

    def update(self, name: str, *, admin: bool | None = None, disabled: bool | None = None) -> UserRecord:
        with self._database.write() as tx:
            id_, _, old_admin, old_disabled, created_at_ns = _find_user(tx, name)
            changed = UserRecord(
                name,
                bool(old_admin) if admin is None else admin,
                bool(old_disabled) if disabled is None else disabled,
                created_at_ns,
            )
            tx.run(
                "UPDATE users SET admin = ?, disabled = ? WHERE id = ?",
                (int(changed.admin), int(changed.disabled), id_),
            )
        return changed

    def delete(self, name: str) -> None:
        with self._database.write() as tx:
            tx.run("DELETE FROM users WHERE id = ?", (_find_user(tx, name)[0],))
            forget_farewells(tx, name)


class Tokens:
    """The `Tokens` service."""

    def __init__(self, resources: Resources) -> None:
        self._database = resources.database
        self._clock = resources.clock
        self._random_bytes = resources.random_bytes

    def list(self, user: str) -> list[TokenRecord]:
        with self._database.read() as tx:
            rows = tx.rows(f"{_TOKENS} WHERE u.id = ? ORDER BY t.created_at, t.id", (_find_user(tx, user)[0],))
        return [_token_record(row) for row in rows]

    def create(self, user: str, name: str, scopes: Sequence[Scope], *, expires_at_ns: int | None = None) -> NewToken:
        if not scopes:
            raise InvalidValue("a token without any scope", hint="give it read, write or admin")
        if len(name) > TOKEN_NAME_CHARACTERS_MAX or not name.isprintable():
            raise InvalidValue(f"{name!r} cannot name a token", hint="use a short line of text")
        now_ns, scope = self._clock(), highest(scopes)
        if expires_at_ns is not None and not now_ns < expires_at_ns <= now_ns + TOKEN_LIFE_NS_MAX:
            raise InvalidValue(
                "a token cannot expire in the past, nor after more than 100 years",
                hint="leave the expiry out for a token that never expires",
            )
        id_, secret = self._random_bytes(ID_BYTES).hex(), choose_secret(self._random_bytes)
        with self._database.write() as tx:
            tx.run(
                "INSERT INTO tokens (id, user_id, name, secret, scope, created_at, expires_at) VALUES (?, ?, ?, ?, ?, ?, ?)",
                (id_, _find_user(tx, user)[0], name, _hash(secret), scope.value, now_ns, expires_at_ns),
            )
        record = TokenRecord(id_, user, name, included(scope), now_ns, expires_at_ns)
        return NewToken(record, f"artfs_{id_}_{secret}")

    def find(self, token_id: str) -> TokenRecord:
        """Raises TokenNotFound."""
        with self._database.read() as tx:
            row = tx.row(f"{_TOKENS} WHERE t.id = ?", (token_id,))
        if row is None:
            raise TokenNotFound(f"there is no token {token_id!r}", hint="artfs token list names them")
        return _token_record(row)

    def revoke(self, token_id: str) -> None:
        with self._database.write() as tx:
            if not tx.run("DELETE FROM tokens WHERE id = ?", (token_id,)):
                raise TokenNotFound(f"there is no token {token_id!r}", hint="artfs token list names them")

    def authenticate(self, token: str) -> Identity:
        """Whose token this is. Raises NotAuthenticated, alike for unknown, expired and revoked ones and disabled users."""
        match = _TOKEN.fullmatch(token)
        id_, secret = match.groups() if match else ("", "")
        with self._database.read() as tx:
            row = tx.row(
                "SELECT t.secret, t.scope, t.expires_at, t.last_used_at, u.name, u.admin, u.disabled, u.created_at"
                " FROM tokens t JOIN users u ON u.id = t.user_id WHERE t.id = ?",
                (id_,),
            )
        now_ns = self._clock()
        kept, scope, expires_at_ns, used_at_ns, name, admin, disabled, created_at_ns = row or (_NO_SECRET, *[None] * 7)
        same = compare_digest(kept, _hash(secret))
        if row is None or not same or disabled or (expires_at_ns is not None and expires_at_ns <= now_ns):
            raise NotAuthenticated("this needs a valid token", hint="artfs login URL")
        if used_at_ns is None or now_ns - used_at_ns > USED_EVERY_NS:
            self._note_use(id_, now_ns)
        user = UserRecord(name, bool(admin), disabled=False, created_at_ns=created_at_ns)
        return Identity(user, included(Scope(scope)), id_, expires_at_ns)

    def _note_use(self, token_id: str, now_ns: int) -> None:
        with suppress(StorageFull, StorageFailed):  # a full disk keeps nobody from reading
            with self._database.write(durable=False) as tx:
                tx.run("UPDATE tokens SET last_used_at = ? WHERE id = ?", (now_ns, token_id))


def _hash(secret: str) -> bytes:
    return sha256(secret.encode()).digest()


class Access:
    """The `Access` services."""

    def __init__(self, resources: Resources) -> None:
        self.users = Users(resources)
        self.tokens = Tokens(resources)
        self.members = Members(resources)
