"""What an artifact is called and what is known of it, while it is being made and once it is a version."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from artfs.api.session import session
from artfs.errors import UsageError
from artfs.model.names import check_name

if TYPE_CHECKING:
    from artfs.api.session import Session
    from artfs.wire.records import VersionRecord


class Sealed(NamedTuple):
    """A version of the registry, as it was when it was last asked for."""

    session: Session
    version: VersionRecord


class ArtifactFacts:
    """The facts that nobody sets. Times are ISO 8601 in UTC, sizes bytes.

    Those of a version raise UsageError while the artifact is not logged.
    """

    def __init__(self, name: str, type: str, sealed: Sealed | None = None) -> None:
        self._artifact = check_name("artifact", name)
        self._type = check_name("type", type)
        self._sealed = sealed

    @property
    def name(self) -> str:
        """`bikes:v3`; `bikes` while it is not logged."""
        return self._artifact if self._sealed is None else f"{self._artifact}:{self._sealed.version.name}"

    @property
    def qualified_name(self) -> str:
        """`entity/project/bikes:v3`."""
        return f"{self.entity}/{self.project}/{self.name}"

    @property
    def entity(self) -> str:
        """The caller's name on the server, or on this machine if there is none."""
        return (session() if self._sealed is None else self._sealed.session).entity

    @property
    def project(self) -> str:
        """The name of its project."""
        return self._version.project

    @property
    def version(self) -> str:
        """`v3`."""
        return self._version.name

    @property
    def type(self) -> str:
        """Such as `dataset` or `model`: that of all versions of the artifact."""
        return self._type

    @property
    def size(self) -> int:
        """The bytes of all files."""
        return self._version.size_bytes

    @property
    def digest(self) -> str:
        """The digest of the content: equal for versions of equal content."""
        return self._version.digest.text

    @property
    def created_at(self) -> str:
        """When it was logged, ISO 8601 in UTC."""
        return iso_time(self._version.created_at_ns)

    @property
    def created_by(self) -> str:
        """`user@host`."""
        return self._version.created_by

    @property
    def state(self) -> str:
        """`PENDING` while it is not logged, then `COMMITTED`."""
        return "PENDING" if self._sealed is None else "COMMITTED"

    @property
    def _version(self) -> VersionRecord:
        return self._need_sealed().version

    def _need_sealed(self) -> Sealed:
        if self._sealed is None:
            raise UsageError(f"the artifact {self._artifact!r} is not logged yet", hint="run.log_artifact(artifact)")
        return self._sealed

    def __repr__(self) -> str:
        return f"<Artifact {self.name}>"


def iso_time(time_ns: int) -> str:
    """`2026-01-31T12:00:00Z`."""
    return datetime.fromtimestamp(time_ns // 10**9, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
