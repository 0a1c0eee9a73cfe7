"""Users, tokens and members as one caller may see and change them."""

from __future__ import annotations

from collections.abc import Sequence

from artfs.errors import AccessDenied, TokenNotFound
from artfs.model.access import Operation, Role, Scope, highest, includes
from artfs.registry.guard import Guard
from artfs.registry.sql_registry import SqlRegistry
from artfs.wire.records import Identity, MemberRecord, NewToken, TokenRecord, UserRecord


class GuardedMembers:
    def __init__(self, registry: SqlRegistry, guard: Guard) -> None:
        self._inner = registry.access.members
        self._guard = guard

    def list(self, project: str) -> list[MemberRecord]:
        self._guard.require(Operation.SEE_MEMBERS, project)
        return self._inner.list(project)

    def set(self, project: str, user: str, role: Role) -> MemberRecord:
        self._guard.require(Operation.ADMINISTER, project)
        return self._inner.set(project, user, role)

    def remove(self, project: str, user: str) -> None:
        self._guard.require(Operation.ADMINISTER, project)
        self._inner.remove(project, user)


class GuardedUsers:
    def __init__(self, registry: SqlRegistry, guard: Guard) -> None:
        self._inner = registry.access.users
        self._guard = guard

    def me(self) -> Identity:
        return self._guard.caller

    def list(self) -> list[UserRecord]:
        self._guard.require_of_server(Operation.ADMINISTER_SERVER)
        return self._inner.list()

    def create(self, name: str, *, admin: bool = False) -> UserRecord:
        self._guard.require_of_server(Operation.ADMINISTER_SERVER)
        return self._inner.create(name, admin=admin)

    def update(self, name: str, *, admin: bool | None = None, disabled: bool | None = None) -> UserRecord:
        self._guard.require_of_server(Operation.ADMINISTER_SERVER)
        return self._inner.update(name, admin=admin, disabled=disabled)

    def delete(self, name: str) -> None:
        self._guard.require_of_server(Operation.ADMINISTER_SERVER)
        self._inner.delete(name)


class GuardedTokens:
    """Everybody has tokens of their own; those of others are for administrators of the server."""

    def __init__(self, registry: SqlRegistry, guard: Guard) -> None:
        self._inner = registry.access.tokens
        self._guard = guard

    def list(self, user: str) -> list[TokenRecord]:
        self._require(Operation.SEE_OWN_TOKENS, user)
        return self._inner.list(user)

    def create(self, user: str, name: str, scopes: Sequence[Scope], *, expires_at_ns: int | None = None) -> NewToken:
        self._require(Operation.CHANGE_OWN_TOKENS, user)
        if scopes and not includes(self._guard.caller.scopes, highest(scopes)):
            raise AccessDenied(
                f"a token cannot make one with the scope {highest(scopes).value}, which it lacks",
                hint="use a token with that scope, or ask an administrator of the server",
            )
        if user == self._guard.user:
            self._check_outlived(expires_at_ns)
        return self._inner.create(user, name, scopes, expires_at_ns=expires_at_ns)

    def revoke(self, token_id: str) -> None:
        user = self._inner.find(token_id).user
        if user != self._guard.user and not self._guard.administers_server:
            raise TokenNotFound(f"there is no token {token_id!r}", hint="artfs token list names them")
        in_use = token_id == self._guard.caller.token
        self._require(Operation.SEE_OWN_TOKENS if in_use else Operation.CHANGE_OWN_TOKENS, user)
        self._inner.revoke(token_id)

    def _require(self, operation: Operation, user: str) -> None:
        """`operation` on one's own tokens; on those of others it takes more."""
        self._guard.require_of_server(operation if user == self._guard.user else Operation.ADMINISTER_SERVER)

    def _check_outlived(self, expires_at_ns: int | None) -> None:
        """Else whoever finds a token that ends tomorrow has one for ever. Raises AccessDenied."""
        end_ns = self._guard.caller.expires_at_ns
        if end_ns is not None and (expires_at_ns is None or expires_at_ns > end_ns):
            raise AccessDenied(
                "a token cannot make one that outlives it",
                hint="give it an expiry before that of the token in use, or ask an administrator of the server",
            )


class GuardedAccess:
    """`Access` of one caller."""

    def __init__(self, registry: SqlRegistry, guard: Guard) -> None:
        self.users = GuardedUsers(registry, guard)
        self.tokens = GuardedTokens(registry, guard)
        self.members = GuardedMembers(registry, guard)
