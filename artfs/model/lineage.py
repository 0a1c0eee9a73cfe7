"""Names of runs and versions, and the edges between them: a bipartite graph without cycles. Pure.

A version is `logged` by the runs that produced it and `used` by the runs that read it. Arrows point the way that data flows:
from a run to what it logged, from a version to the runs that used it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import Enum

import msgspec

from artfs.errors import InvalidName
from artfs.model.letters import letters_of
from artfs.model.names import check_name, parse_version, version_name

_ENTITY_PARTS = 3  # entity/project/id


class EdgeKind(Enum):
    """What a run did with a version."""

    LOGGED = "logged"
    USED = "used"


class Direction(Enum):
    """Which way a graph is walked from where one stands."""

    UP = "up"  # to what it was made from
    DOWN = "down"  # to what was made from it
    BOTH = "both"


class RunState(Enum):
    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"  # it said so, ended with an error, or has not been heard of for RUN_LAPSE_S


RUN_LAPSE_S = 90
"""A running run that was not heard of for so long has died. One that lives says so four times as often."""


class Resume(Enum):
    """What `init` does about a run of the same id."""

    NEVER = "never"  # there must be none
    ALLOW = "allow"  # goes on with it, or starts it
    MUST = "must"  # there must be one


class RunRef(msgspec.Struct, frozen=True, order=True):
    """`project/id`."""

    project: str
    id: str

    @classmethod
    def parse(cls, text: str) -> RunRef:
        """Read `project/id` or `entity/project/id`; the entity stands for the server, which has one space of projects.

        Raises InvalidName.
        """
        parts = text.strip("/").split("/")
        if len(parts) == _ENTITY_PARTS:
            check_name("entity", parts.pop(0))
        if len(parts) != 2:
            raise InvalidName(f"{text!r} does not name a run", hint="write project/id")
        return cls(check_name("project", parts[0]), check_name("run", parts[1]))

    def __str__(self) -> str:
        return f"{self.project}/{self.id}"


class VersionRef(msgspec.Struct, frozen=True, order=True):
    """`project/artifact:vN`."""

    project: str
    artifact: str
    number: int

    @classmethod
    def parse(cls, text: str) -> VersionRef:
        """Raises InvalidName, also for an alias: an edge is about what never changes."""
        match = re.fullmatch(r"([^/:]+)/([^/:]+):([^/:]+)", text)
        number = parse_version(match[3]) if match else None
        if match is None or number is None:
            raise InvalidName(f"{text!r} does not name a version", hint="write project/artifact:vN")
        return cls(check_name("project", match[1]), check_name("artifact", match[2]), number)

    def __str__(self) -> str:
        return f"{self.project}/{self.artifact}:{version_name(self.number)}"


_ID_LETTERS = "0123456789abcdefghijklmnopqrstuvwxyz"
_ID_LENGTH = 8


def choose_id(random_bytes: Callable[[int], bytes]) -> str:
    """An id for a run or a sweep that was given none: eight letters and digits."""
    return letters_of(random_bytes(_ID_LENGTH), _ID_LETTERS, _ID_LENGTH)
