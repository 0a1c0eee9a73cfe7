"""Which versions, artifacts and projects somebody means by names, patterns and criteria: decided from what a registry lists.

Pure, but for `look_up`, which asks for the lists. What deleting frees only the registry can tell.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from artfs.errors import AliasNotFound, ArtifactNotFound, InvalidName, InvalidValue, NotEmpty, VersionNotFound
from artfs.model.names import ArtifactRef, check_name, parse_version
from artfs.wire.deletions import Removal
from artfs.wire.records import ArtifactRecord, VersionRecord
from artfs.wire.service import Registry

_MAGIC = re.compile(r"[*?[]")
_PATTERN = re.compile(r"[A-Za-z0-9_.*?\[\]!-]{1,256}\Z")


@dataclass(frozen=True, slots=True)
class Target:
    """`project[/artifact[:selector]]`, where artifact and selector may be shell patterns."""

    project: str
    artifact: str | None = None
    selector: str | None = None

    @classmethod
    def parse(cls, text: str) -> Target:
        """Raises InvalidName."""
        if not _MAGIC.search(text):
            ref = ArtifactRef.parse(text)
            if ref.path:
                raise InvalidName(f"{text} names a file", hint="versions never change; delete a whole version")
            return cls(ref.project, ref.artifact, ref.selector)
        head, colon, selector = text.partition(":")
        project, slash, artifact = head.partition("/")
        check_name("project", project)
        parts = [artifact, selector] if colon else [artifact]
        if not slash or not all(map(_PATTERN.match, parts)):
            raise InvalidName(f"{text!r} is not a pattern", hint="write project/artifact:version with *, ? and [...]")
        return cls(project, artifact, selector if colon else None)

    def means_artifact(self, name: str) -> bool:
        return self.artifact is None or fnmatchcase(name, self.artifact)

    def means_version(self, version: VersionRecord) -> bool:
        return self.selector is None or any(fnmatchcase(n, self.selector) for n in (version.name, *version.aliases))

    def __str__(self) -> str:
        text = self.project if self.artifact is None else f"{self.project}/{self.artifact}"
        return text if self.selector is None else f"{text}:{self.selector}"


@dataclass(frozen=True, slots=True)
class Criteria:
    """Which of the versions that targets name are meant; all of it must hold.

    Attributes:
        unaliased: those that no alias means.
        older_than_s: those made at least so long ago.
        keep: all but so many of the newest of each artifact.
    """

    unaliased: bool = False
    older_than_s: int | None = None
    keep: int | None = None

    def __bool__(self) -> bool:
        return self.unaliased or self.older_than_s is not None or self.keep is not None


@dataclass(frozen=True, slots=True)
class Listing:
    """What a registry lists of what the targets may mean: artifacts by project, versions by project and artifact."""

    artifacts: Mapping[str, Sequence[ArtifactRecord]]
    versions: Mapping[tuple[str, str], Sequence[VersionRecord]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RemovalChoice:
    """What is meant: a removal for each project, and what criteria would have chosen but for aliases on it."""

    removals: dict[str, Removal]
    spared: list[VersionRecord]


def look_up(registry: Registry, targets: Sequence[Target], criteria: Criteria) -> Listing:
    """Raises ProjectNotFound."""
    artifacts = {project: registry.artifacts.list(project) for project in sorted({t.project for t in targets})}
    needed = {
        (target.project, artifact.name)
        for target in targets
        if criteria or target.selector is not None
        for artifact in artifacts[target.project]
        if target.means_artifact(artifact.name)
    }
    return Listing(artifacts, {pair: registry.versions.list(*pair) for pair in sorted(needed)})


def plan_removal(
    targets: Sequence[Target],
    listing: Listing,
    criteria: Criteria,
    now_ns: int,
    *,
    recursive: bool = False,
    delete_aliases: bool = False,
) -> RemovalChoice:
    """What of the `listing` is meant.

    Without criteria, an artifact or project goes itself, with `recursive` with all that is in it. With criteria only versions
    do, and those that aliases mean stay unless `delete_aliases`. Raises ArtifactNotFound, VersionNotFound and AliasNotFound
    for a target that means nothing, NotEmpty for what only goes with `recursive`, InvalidValue for criteria on a project
    without it.
    """
    choice = _Choice(listing, criteria, now_ns, recursive=recursive, delete_aliases=delete_aliases)
    for target in targets:
        choice.add(target)
    return choice.made


class _Choice:
    """What was chosen so far."""

    def __init__(
        self, listing: Listing, criteria: Criteria, now_ns: int, *, recursive: bool, delete_aliases: bool
    ) -> None:
        self._listing = listing
        self._criteria = criteria
        self._now_ns = now_ns
        self._recursive = recursive
        self._delete_aliases = delete_aliases
        self._removals: dict[str, Removal] = {}
        self._spared: dict[tuple[str, str, int], VersionRecord] = {}
        self._kept_from: dict[tuple[str, str], int] = {}

    @property
    def made(self) -> RemovalChoice:
        return RemovalChoice(self._removals, list(self._spared.values()))

    def add(self, target: Target) -> None:
        if target.artifact is None and not self._criteria:
            self._whole_project(target)
            return
        if target.artifact is None and not self._recursive:
            raise InvalidValue(f"{target} is a project", hint="add --recursive for the versions of all its artifacts")
        artifacts = [a for a in self._listing.artifacts[target.project] if target.means_artifact(a.name)]
        if not artifacts and target.artifact is not None:
            raise ArtifactNotFound(f"there is no artifact {target}", hint=f"artfs ls {target.project} lists them")
        if target.selector is None and not self._criteria:
            self._whole_artifacts(target, artifacts)
            return
        named = [v for a in artifacts for v in self._listing.versions[a.project, a.name] if target.means_version(v)]
        if not named and target.selector is not None:
            error = VersionNotFound if parse_version(target.selector) is not None else AliasNotFound
            raise error(f"there is no version {target}", hint="artfs log PROJECT/ARTIFACT lists the versions")
        self._versions(target.project, [version for version in named if self._is_meant(version)])

    def _whole_project(self, target: Target) -> None:
        artifacts = self._listing.artifacts[target.project]
        if artifacts and not self._recursive:
            raise NotEmpty(
                f"the project {target} has {len(artifacts)} artifacts", hint="add --recursive to delete them too"
            )
        self._removals[target.project] = Removal(whole_project=True, delete_aliases=True)

    def _whole_artifacts(self, target: Target, artifacts: Sequence[ArtifactRecord]) -> None:
        for artifact in artifacts:
            if artifact.version_count and not self._recursive:
                raise NotEmpty(
                    f"{artifact.project}/{artifact.name} has {artifact.version_count} version(s)",
                    hint="add --recursive to delete them too",
                )
        self._extend(target.project, {}, [artifact.name for artifact in artifacts])

    def _versions(self, project: str, versions: Sequence[VersionRecord]) -> None:
        chosen: dict[str, list[int]] = {}
        for version in versions:
            if self._criteria and version.aliases and not self._delete_aliases:
                self._spared[project, version.artifact, version.number] = version
            else:
                chosen.setdefault(version.artifact, []).append(version.number)
        self._extend(project, chosen, [])

    def _extend(self, project: str, versions: Mapping[str, Sequence[int]], artifacts: Sequence[str]) -> None:
        old = self._removals.get(project, Removal())
        if old.whole_project:
            return
        merged = {
            name: sorted({*old.versions.get(name, ()), *versions.get(name, ())})
            for name in sorted({*old.versions, *versions})
        }
        self._removals[project] = Removal(
            merged,
            sorted({*old.artifacts, *artifacts}),
            delete_aliases=self._delete_aliases or (self._recursive and not self._criteria),
        )

    def _is_meant(self, version: VersionRecord) -> bool:
        criteria = self._criteria
        if criteria.unaliased and version.aliases:
            return False
        if criteria.older_than_s is not None and version.created_at_ns > self._now_ns - criteria.older_than_s * 10**9:
            return False
        return not criteria.keep or version.number < self._oldest_kept(version, criteria.keep)

    def _oldest_kept(self, version: VersionRecord, keep: int) -> int:
        """The number of the oldest of the `keep` newest versions of the same artifact."""
        pair = version.project, version.artifact
        if pair not in self._kept_from:
            newest = sorted((v.number for v in self._listing.versions[pair]), reverse=True)[:keep]
            self._kept_from[pair] = newest[-1]
        return self._kept_from[pair]
