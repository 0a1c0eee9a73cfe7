"""Users, tokens, members, and who the caller is."""

from __future__ import annotations

from artfs import __version__
from artfs.server.routes import PAGING, Call, Operation, page_of
from artfs.wire.http import Hello, MemberChange, NewUser, Page, TokenRequest, UserChange
from artfs.wire.records import Identity, MemberRecord, NewToken, TokenRecord, UserRecord

MEMBERS = "/projects/{project}/members"


def hello(call: Call) -> Hello:
    return Hello(call.registry.identity, __version__)


def me(call: Call) -> Identity:
    return call.registry.access.users.me()


def list_members(call: Call) -> Page[MemberRecord]:
    after = call.query.get("after", "")
    items = [record for record in call.registry.access.members.list(call.path["project"]) if record.user > after]
    return page_of(items, call.limit, lambda record: record.user)


def set_member(call: Call) -> MemberRecord:
    return call.registry.access.members.set(call.path["project"], call.path["user"], call.body.role)


def remove_member(call: Call) -> None:
    call.registry.access.members.remove(call.path["project"], call.path["user"])


def list_users(call: Call) -> Page[UserRecord]:
    after = call.query.get("after", "")
    items = [record for record in call.registry.access.users.list() if record.name > after]
    return page_of(items, call.limit, lambda record: record.name)


def create_user(call: Call) -> UserRecord:
    new: NewUser = call.body
    return call.registry.access.users.create(new.name, admin=new.admin)


def change_user(call: Call) -> UserRecord:
    change: UserChange = call.body
    return call.registry.access.users.update(call.path["user"], admin=change.admin, disabled=change.disabled)


def delete_user(call: Call) -> None:
    call.registry.access.users.delete(call.path["user"])


def list_tokens(call: Call) -> Page[TokenRecord]:
    after = call.query.get("after", "")
    items = sorted(call.registry.access.tokens.list(call.path["user"]), key=lambda record: record.id)
    return page_of([one for one in items if one.id > after], call.limit, lambda record: record.id)


def create_token(call: Call) -> NewToken:
    new: TokenRequest = call.body
    return call.registry.access.tokens.create(call.path["user"], new.name, new.scopes, expires_at_ns=new.expires_at_ns)


def revoke_token(call: Call) -> None:
    call.registry.access.tokens.revoke(call.path["token"])


OPERATIONS = (
    Operation("GET", "", "What this server is", hello, answer=Hello),
    Operation("GET", "/me", "Who the caller is", me, answer=Identity),
    Operation("GET", MEMBERS, "List members", list_members, answer=Page[MemberRecord], query=PAGING),
    Operation(
        "PUT",
        MEMBERS + "/{user}",
        "Add a member or change its role",
        set_member,
        answer=MemberRecord,
        body=MemberChange,
    ),
    Operation("DELETE", MEMBERS + "/{user}", "Remove a member", remove_member, status=204),
    Operation("GET", "/users", "List users", list_users, answer=Page[UserRecord], query=PAGING),
    Operation("POST", "/users", "Add a user", create_user, answer=UserRecord, body=NewUser),
    Operation("PATCH", "/users/{user}", "Change a user", change_user, answer=UserRecord, body=UserChange),
    Operation("DELETE", "/users/{user}", "Remove a user, tokens and memberships", delete_user, status=204),
    Operation("GET", "/users/{user}/tokens", "List tokens", list_tokens, answer=Page[TokenRecord], query=PAGING),
    Operation("POST", "/users/{user}/tokens", "Make a token", create_token, answer=NewToken, body=TokenRequest),
    Operation("DELETE", "/tokens/{token}", "Revoke a token", revoke_token, status=204),
)
