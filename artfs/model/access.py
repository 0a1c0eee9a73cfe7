"""Who may do what: visibility of projects, roles of members, scopes of tokens. Pure; one table decides."""

from __future__ import annotations

from enum import Enum


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
