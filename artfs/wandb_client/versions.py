"""What is kept of a version on a W&B server beside its record."""

from __future__ import annotations

from typing import NamedTuple

from artfs.model.digest import Digest


class StandIn(Digest):
    """Stands for the root of a version's tree before its manifest was read. Not the digest of any bytes."""

    _shown = ""

    @classmethod
    def of_version(cls, version: WandbVersion) -> StandIn:
        self = cls(Digest.of(f"wandb-version\0{version.id}\0{version.digest}".encode()))
        self._shown = f"md5:{version.digest}"
        return self

    @property
    def text(self) -> str:
        """What the server calls the content."""
        return self._shown or super().text


class WandbVersion(NamedTuple):
    """One version of an artifact.

    Attributes:
        id: what the server calls it: opaque text.
        digest: of its manifest, in hexadecimal: equal for versions of equal content.
    """

    entity: str
    project: str
    artifact: str
    number: int
    id: str
    digest: str
    created_at_ns: int

    @property
    def name(self) -> str:
        return f"{self.project}/{self.artifact}:v{self.number}"

    @property
    def root(self) -> Digest:
        """Stands for the root of its tree."""
        return StandIn.of_version(self)
