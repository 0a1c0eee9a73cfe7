"""Who may do what: visibility of projects, roles of members, scopes of tokens. Pure; the two tables here decide everything.

An operation in a project is decided by the caller's standing there, which follows from its membership, the project's visibility
and whether it administers the server; an operation of the server by the latter alone. A token's scope limits both.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from enum import Enum, IntEnum

from artfs.model.letters import letters_of


class Visibility(Enum):
    """Who besides members may use a project."""

    PRIVATE = "private"  # nobody; to others it does not exist
    PUBLIC = "public"  # every user reads
    OPEN = "open"  # every user reads and writes


class Role(Enum):
    """What a member of a project may do in it, each more than the one before."""

    READER = "reader"
    WRITER = "writer"
    ADMIN = "admin"  # also: members, visibility, deleting the project


class Scope(Enum):
    """What a token may be used for, within what its user may do. Each includes the ones before."""

    READ = "read"
    WRITE = "write"
    ADMIN = "admin"  # also: users, tokens, members, visibility


class Standing(IntEnum):
    """What a caller is to a project, each more than the one before."""

    STRANGER = 0  # to whom the project does not exist
    READER = 1
    CONTRIBUTOR = 2  # writes, since the project is open to everybody
    WRITER = 3
    ADMIN = 4


class Operation(Enum):
    """Everything that a caller can ask for: in a project, and of the server."""

    READ = "read"  # the project, its artifacts, versions, aliases, objects and changes
    WRITE = "write"  # artifacts, uploads, versions, aliases, descriptions
    DELETE = "delete"  # versions and artifacts
    SEE_MEMBERS = "see-members"
    ADMINISTER = "administer"  # members, visibility, deleting the project
    CREATE_PROJECT = "create-project"
    SEE_OWN_TOKENS = "see-own-tokens"  # also: revoke the one in use
    CHANGE_OWN_TOKENS = "change-own-tokens"  # make further ones, revoke others
    ADMINISTER_SERVER = "administer-server"  # users, and tokens of others


class Verdict(Enum):
    ALLOWED = "allowed"
    DENIED = "denied"
    HIDDEN = "hidden"  # the answer is that there is no such project


# In a project: the least standing that may, and the scope that a token needs.
_IN_PROJECT: dict[Operation, tuple[Standing, Scope]] = {
    Operation.READ: (Standing.READER, Scope.READ),
    Operation.WRITE: (Standing.CONTRIBUTOR, Scope.WRITE),
    Operation.DELETE: (Standing.WRITER, Scope.WRITE),
    Operation.SEE_MEMBERS: (Standing.READER, Scope.READ),
    Operation.ADMINISTER: (Standing.ADMIN, Scope.ADMIN),
}

# Of the server: whether it takes one of its administrators, and the scope that a token needs.
_OF_SERVER: dict[Operation, tuple[bool, Scope]] = {
    Operation.CREATE_PROJECT: (False, Scope.WRITE),
    Operation.SEE_OWN_TOKENS: (False, Scope.READ),
    Operation.CHANGE_OWN_TOKENS: (False, Scope.WRITE),
    Operation.ADMINISTER_SERVER: (True, Scope.ADMIN),
}

_BY_ROLE = {Role.READER: Standing.READER, Role.WRITER: Standing.WRITER, Role.ADMIN: Standing.ADMIN}
_BY_VISIBILITY = {
    Visibility.PRIVATE: Standing.STRANGER,
    Visibility.PUBLIC: Standing.READER,
    Visibility.OPEN: Standing.CONTRIBUTOR,
}
_SCOPES = list(Scope)


def standing(visibility: Visibility, role: Role | None, *, administers_server: bool = False) -> Standing:
    """What somebody with `role` (None: no member) is to a project: the most that any reason gives."""
    if administers_server:
        return Standing.ADMIN
    everybody = _BY_VISIBILITY[visibility]
    return everybody if role is None else max(everybody, _BY_ROLE[role])


def includes(scopes: Iterable[Scope], needed: Scope) -> bool:
    """Whether a token with `scopes` may be used for what needs `needed`."""
    return any(_SCOPES.index(scope) >= _SCOPES.index(needed) for scope in scopes)


def scope_needed(operation: Operation) -> Scope:
    """The least that a token must be good for."""
    return (_IN_PROJECT.get(operation) or _OF_SERVER[operation])[1]


def highest(scopes: Iterable[Scope]) -> Scope:
    """The one that includes all others of `scopes`, which are not empty."""
    return max(scopes, key=_SCOPES.index)


def included(scope: Scope) -> list[Scope]:
    """A scope and all that it includes."""
    return _SCOPES[: _SCOPES.index(scope) + 1]


def decide_in_project(operation: Operation, caller: Standing, scopes: Iterable[Scope]) -> Verdict:
    """Whether an operation in a project is allowed."""
    least, scope = _IN_PROJECT[operation]
    if caller is Standing.STRANGER:
        return Verdict.HIDDEN
    return Verdict.ALLOWED if caller >= least and includes(scopes, scope) else Verdict.DENIED


def decide_of_server(operation: Operation, scopes: Iterable[Scope], *, administers_server: bool) -> Verdict:
    """Whether an operation of the server is allowed."""
    takes_administrator, scope = _OF_SERVER[operation]
    able = (administers_server or not takes_administrator) and includes(scopes, scope)
    return Verdict.ALLOWED if able else Verdict.DENIED


_SECRET_LETTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_SECRET_LENGTH = 24
_ENTROPY_BYTES = 32
_TOKEN = re.compile(r"artfs_([0-9a-f]{16})_([0-9A-Za-z]{24})")
_API_KEY = re.compile(r"([0-9a-f]{16})([0-9A-Za-z]{24})")


def choose_secret(random_bytes: Callable[[int], bytes]) -> str:
    """The secret part of a token: letters and digits, 142 random bits."""
    return letters_of(random_bytes(_ENTROPY_BYTES), _SECRET_LETTERS, _SECRET_LENGTH)


def api_key_of_token(token: str) -> str | None:
    """A token as an API key of 40 letters and digits; None for one that is too old to be one."""
    match = _TOKEN.fullmatch(token)
    return match[1] + match[2] if match else None


def token_of_api_key(key: str) -> str:
    """The token that an API key is; anything else as it is."""
    match = _API_KEY.fullmatch(key)
    return f"artfs_{match[1]}_{match[2]}" if match else key
