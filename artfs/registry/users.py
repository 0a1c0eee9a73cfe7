"""Users, tokens and memberships: the `Access` services of a caller who may do everything, and the check of a token."""

from __future__ import annotations

from collections.abc import Sequence

from artfs.errors import InvalidValue
from artfs.model.access import Role, Scope
from artfs.registry.resources import Resources
from artfs.wire.records import Identity, MemberRecord, NewToken, TokenRecord, UserRecord


class Members:
    """The `Members` service."""

    def __init__(self, resources: Resources) -> None:
        self._database = resources.database

    def list(self, project: str) -> list[MemberRecord]:
        raise InvalidValue("members are not kept yet")

    def set(self, project: str, user: str, role: Role) -> MemberRecord:
        raise InvalidValue("members are not kept yet")

    def remove(self, project: str, user: str) -> None:
        raise InvalidValue("members are not kept yet")


class Users:
    """The `Users` service."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources

    def me(self) -> Identity:
        raise InvalidValue("users are not kept yet")

    def list(self) -> list[UserRecord]:
        raise InvalidValue("users are not kept yet")

    def create(self, name: str, *, admin: bool = False) -> UserRecord:
        raise InvalidValue("users are not kept yet")

    def update(self, name: str, *, admin: bool | None = None, disabled: bool | None = None) -> UserRecord:
        raise InvalidValue("users are not kept yet")

    def delete(self, name: str) -> None:
        raise InvalidValue("users are not kept yet")


class Tokens:
    """The `Tokens` service."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources

    def list(self, user: str) -> list[TokenRecord]:
        raise InvalidValue("tokens are not kept yet")

    def create(self, user: str, name: str, scopes: Sequence[Scope], *, expires_at_ns: int | None = None) -> NewToken:
        raise InvalidValue("tokens are not kept yet")

    def revoke(self, token_id: str) -> None:
        raise InvalidValue("tokens are not kept yet")

    def authenticate(self, token: str) -> Identity:
        """Whose token this is. Raises NotAuthenticated, alike for unknown, expired and revoked ones and disabled users."""
        raise InvalidValue("tokens are not kept yet")


class Access:
    """The `Access` services."""

    def __init__(self, resources: Resources) -> None:
        self.users = Users(resources)
        self.tokens = Tokens(resources)
        self.members = Members(resources)
