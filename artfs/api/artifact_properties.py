"""What a script may set of an artifact (description, metadata, aliases, time to live), saving it, and deleting the version."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Self

from artfs.api.artifact_facts import ArtifactFacts, Sealed
from artfs.api.plain import plain_dict
from artfs.api.version_edit import VersionEdit, unique_aliases

if TYPE_CHECKING:
    from artfs.wire.records import VersionRecord


class ArtifactProperties(ArtifactFacts):
    """Settable properties. Those of a version are kept in the registry by `save`."""

    def __init__(self, name: str, type: str, sealed: Sealed | None = None) -> None:
        super().__init__(name, type, sealed)
        self._edit = VersionEdit(sealed.version if sealed else None)

    @property
    def description(self) -> str:
        """What the version is, in words. It can be set."""
        return self._edit.description

    @description.setter
    def description(self, text: str | None) -> None:
        self._edit.description = text or ""

    @property
    def metadata(self) -> dict[str, Any]:
        """A JSON object, by key. Change it in place, or set all of it."""
        return self._edit.metadata

    @metadata.setter
    def metadata(self, metadata: Mapping[str, Any] | None) -> None:
        self._edit.metadata = plain_dict("the metadata", metadata or {})

    @property
    def aliases(self) -> list[str]:
        """Change it in place, or set all of it."""
        return self._edit.aliases

    @aliases.setter
    def aliases(self, aliases: Sequence[str]) -> None:
        self._edit.aliases = unique_aliases(aliases)

    @property
    def ttl(self) -> timedelta | None:
        """How long the version still lives, None for ever. What is set counts from the next `save` or from logging."""
        if self._edit.ttl_s is not None or self._sealed is None:
            return self._edit.ttl
        expires_at_ns = self._sealed.version.expires_at_ns
        if expires_at_ns is None:
            return None
        return timedelta(microseconds=max(0, expires_at_ns - time.time_ns()) // 1000)

    @ttl.setter
    def ttl(self, ttl: timedelta | None) -> None:
        self._edit.set_ttl(ttl)

    def save(self) -> None:
        """Keep what was changed since it was loaded, in one transaction, and load what the version is then.

        What others changed meanwhile stays, unless it is the same key, the same alias or the description too. An artifact
        that is not logged is logged, in a run of its own if there is none.
        """
        if self._sealed is None:
            self._log_by_itself()
            return
        session, version = self._sealed
        change = self._edit.change(version)
        versions = session.registry.versions
        if change is not None:
            self._load(versions.update(version.project, version.artifact, version.number, change))
        else:
            self._load(versions.resolve(version.project, version.artifact, version.name))

    def delete(self, delete_aliases: bool = False) -> None:
        """Delete the version, and at once all stored bytes that nothing else holds.

        Args:
            delete_aliases: also if aliases mean it, which go with it.

        Raises StillAliased.
        """
        session, version = self._need_sealed()
        session.registry.versions.delete(
            version.project, version.artifact, [version.number], delete_aliases=delete_aliases
        )

    def is_draft(self) -> bool:
        """Whether it is not logged yet."""
        return self._sealed is None

    def wait(self, timeout: float | None = None) -> Self:
        """Return at once, whatever `timeout` says: `log_artifact` returns when the version is sealed."""
        return self

    def _load(self, version: VersionRecord) -> None:
        self._sealed = self._need_sealed()._replace(version=version)
        self._edit = VersionEdit(version)

    @abstractmethod
    def _log_by_itself(self) -> None: ...
