"""Users, tokens and members of a server."""

from __future__ import annotations

from collections.abc import Sequence

from artfs.client.remote.paths import all_pages, path, project_path
from artfs.client.remote.transport import Transport
from artfs.model.access import Role, Scope
from artfs.wire.http import API, MemberChange, NewUser, Page, TokenRequest, UserChange
from artfs.wire.records import Identity, MemberRecord, NewToken, TokenRecord, UserRecord


class RemoteMembers:
    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self, project: str) -> list[MemberRecord]:
        return all_pages(self._transport, project_path(project, "members"), Page[MemberRecord])

    def set(self, project: str, user: str, role: Role) -> MemberRecord:
        return self._transport.send("PUT", project_path(project, "members", user), MemberChange(role), MemberRecord)

    def remove(self, project: str, user: str) -> None:
        self._transport.send("DELETE", project_path(project, "members", user))


class RemoteUsers:
    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def me(self) -> Identity:
        return self._transport.get(f"{API}/me", Identity)

    def list(self) -> list[UserRecord]:
        return all_pages(self._transport, path("users"), Page[UserRecord])

    def create(self, name: str, *, admin: bool = False) -> UserRecord:
        return self._transport.send("POST", path("users"), NewUser(name, admin), UserRecord, again=False)

    def update(self, name: str, *, admin: bool | None = None, disabled: bool | None = None) -> UserRecord:
        return self._transport.send("PATCH", path("users", name), UserChange(admin, disabled), UserRecord)

    def delete(self, name: str) -> None:
        self._transport.send("DELETE", path("users", name), again=False)


class RemoteTokens:
    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self, user: str) -> list[TokenRecord]:
        return all_pages(self._transport, path("users", user, "tokens"), Page[TokenRecord])

    def create(self, user: str, name: str, scopes: Sequence[Scope], *, expires_at_ns: int | None = None) -> NewToken:
        body = TokenRequest(name, list(scopes), expires_at_ns)
        return self._transport.send("POST", path("users", user, "tokens"), body, NewToken, again=False)

    def revoke(self, token_id: str) -> None:
        self._transport.send("DELETE", path("tokens", token_id), again=False)


class RemoteAccess:
    def __init__(self, transport: Transport) -> None:
        self.users = RemoteUsers(transport)
        self.tokens = RemoteTokens(transport)
        self.members = RemoteMembers(transport)
