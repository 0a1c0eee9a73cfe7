"""What fsck can find, as one table: a stable code, how bad it is, what it means, and what to do."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum


class Severity(Enum):
    """ERROR: something that was stored cannot be read as it was. WARNING: it can, but something must be mended."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


@dataclass(frozen=True, slots=True)
class Kind:
    """A sort of damage."""

    severity: Severity
    meaning: str
    action: str


_REPAIR = "run artfs fsck --repair"
_AGAIN = "run artfs fsck --repair, then put the affected content again: only what is lost is sent"

KINDS: dict[str, Kind] = {
    "marker-missing": Kind(Severity.ERROR, "the file that says that this is a registry is gone", _REPAIR),
    "marker-damaged": Kind(Severity.ERROR, "the file that says that this is a registry is not readable", _REPAIR),
    "database-missing": Kind(Severity.ERROR, "the database is gone; packs and records are what is left", _REPAIR),
    "database-damaged": Kind(Severity.ERROR, "SQLite finds the database's own structure broken", _REPAIR),
    "database-inconsistent": Kind(Severity.ERROR, "rows refer to rows that do not exist", _REPAIR),
    "version-root-missing": Kind(Severity.ERROR, "a version's root tree is not in the object table", _REPAIR),
    "alias-dangling": Kind(Severity.ERROR, "an alias points to a version that does not exist", _REPAIR),
    "row-damaged": Kind(Severity.ERROR, "a version's or an alias's row is not what was written", _REPAIR),
    "child-missing": Kind(Severity.ERROR, "a tree or recipe refers to an object that is not stored", _AGAIN),
    "pack-missing": Kind(Severity.ERROR, "a pack's file is gone", _AGAIN),
    "pack-short": Kind(Severity.ERROR, "a pack's file was cut short, or its end overwritten", _AGAIN),
    "pack-header-damaged": Kind(Severity.ERROR, "a pack's first bytes are not what they were", _REPAIR),
    "pack-index-damaged": Kind(Severity.ERROR, "a pack's index does not match its checksum", _REPAIR),
    "pack-newer": Kind(Severity.ERROR, "a pack was written by a later artfs", "upgrade artfs"),
    "pack-swapped": Kind(Severity.ERROR, "a file says of itself that it is another pack than its name says", _AGAIN),
    "object-damaged": Kind(Severity.ERROR, "an object's bytes do not match its digest", _AGAIN),
    "object-misplaced": Kind(Severity.ERROR, "the object table and the pack's index disagree on where it is", _REPAIR),
    "object-lost": Kind(
        Severity.ERROR, "an object was lost earlier and has not been sent again", "put its content again"
    ),
    "edges-wrong": Kind(Severity.ERROR, "the edge table does not say what a tree or recipe says", _REPAIR),
    "summary-wrong": Kind(Severity.ERROR, "the database's summary of a tree or recipe is not what it says", _REPAIR),
    "times-wrong": Kind(Severity.WARNING, "the times beside a tree page are not those of its entries", _REPAIR),
    "pack-untidy": Kind(Severity.WARNING, "a pack holds objects that the object table does not know there", _REPAIR),
    "stray-file": Kind(Severity.WARNING, "a file lies among the packs that nothing speaks of", _REPAIR),
    "record-stale": Kind(Severity.WARNING, "the copy of the catalog is not what the database says", _REPAIR),
    "spool-leftover": Kind(Severity.INFO, "a pack under construction was left by a process that died", _REPAIR),
    "cleaning-due": Kind(Severity.INFO, "packs wait to be rewritten or deleted", "nothing: the next commit does it"),
    "draft-expired": Kind(Severity.INFO, "an upload was never finished", "nothing: the next commit removes it"),
    "objects-unreachable": Kind(Severity.INFO, "objects are stored that no version and no upload holds", _REPAIR),
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it should be.

    Attributes:
        code: a key of `KINDS`.
        subject: which pack, object, file or row.
        detail: what exactly is wrong with it; may be empty.
        affected: versions that hold it, as `project/artifact:vN`.
    """

    code: str
    subject: str
    detail: str = ""
    affected: tuple[str, ...] = ()

    @property
    def severity(self) -> Severity:
        return KINDS[self.code].severity

    @property
    def meaning(self) -> str:
        return KINDS[self.code].meaning

    @property
    def action(self) -> str:
        return KINDS[self.code].action


@dataclass(slots=True)
class Report:
    """What a check saw."""

    findings: list[Finding] = field(default_factory=list)
    pack_count: int = 0
    object_count: int = 0
    verified_bytes: int = 0

    @property
    def is_clean(self) -> bool:
        """Whether nothing is worse than INFO."""
        return all(finding.severity is Severity.INFO for finding in self.findings)

    @property
    def affected(self) -> list[str]:
        """Versions that cannot be read in full."""
        return sorted({name for f in self.findings if f.severity is Severity.ERROR for name in f.affected})

    def add(self, code: str, subject: str, detail: str = "", affected: tuple[str, ...] = ()) -> None:
        assert code in KINDS
        self.findings.append(Finding(code, subject, detail, affected))
