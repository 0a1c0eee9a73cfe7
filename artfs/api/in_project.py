"""What runs and sweeps have in common: an id and a name in a project."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from artfs.api.artifact_facts import iso_time

if TYPE_CHECKING:
    from artfs.api.session import Session


class _Named(Protocol):
    """What their records have."""

    @property
    def project(self) -> str: ...
    @property
    def id(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def created_at_ns(self) -> int: ...


R = TypeVar("R", bound=_Named)


class InProject(Generic[R]):
    """One of a project's, as of when it was asked for."""

    def __init__(self, session: Session, record: R) -> None:
        self._session = session
        self._record = record

    @property
    def id(self) -> str:
        """What names it in its project."""
        return self._record.id

    @property
    def name(self) -> str:
        """What it is called; its id, unless it was given a name."""
        return self._record.name

    @property
    def entity(self) -> str:
        """The caller's name on the server, or on this machine if there is none."""
        return self._session.entity

    @property
    def project(self) -> str:
        """The name of its project."""
        return self._record.project

    @property
    def path(self) -> str:
        """`entity/project/id`."""
        return f"{self.entity}/{self.project}/{self.id}"

    @property
    def created_at(self) -> str:
        """When it began, ISO 8601 in UTC."""
        return iso_time(self._record.created_at_ns)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.project}/{self.id}>"
