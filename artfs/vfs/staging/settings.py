"""What a draft says about the version it is to become: description, metadata, type, aliases, time to live,
set through xattrs of its root."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from artfs.model.durations import parse_ttl_s
from artfs.model.metadata import parse_metadata
from artfs.model.names import check_alias, check_name
from artfs.vfs.staging.index import DraftIndex

SETTABLE = ("description", "metadata", "type", "aliases", "ttl")
_PREFIX = "version."


@dataclass(frozen=True, slots=True)
class VersionSettings:
    """None is what was not set."""

    description: str | None = None
    metadata: dict[str, Any] | None = None
    type: str | None = None
    aliases: tuple[str, ...] = ()
    ttl_s: int | None = None


def checked_setting(name: str, text: str) -> str:
    """The text to keep for a setting. Raises InvalidValue or InvalidName saying what is wrong with it."""
    if name == "metadata":
        parse_metadata(text)
    elif name == "type":
        check_name("type", text)
    elif name == "ttl":
        parse_ttl_s(text)
    elif name == "aliases":
        return ",".join(check_alias(alias) for alias in split_aliases(text))
    return text


def split_aliases(text: str) -> list[str]:
    return [alias.strip() for alias in text.split(",") if alias.strip()]


def read_settings(index: DraftIndex) -> VersionSettings:
    found = {name: read_setting(index, name) for name in SETTABLE}
    metadata = found["metadata"]
    return VersionSettings(
        description=found["description"],
        metadata=None if metadata is None else parse_metadata(metadata),
        type=found["type"],
        aliases=tuple(split_aliases(found["aliases"] or "")),
        ttl_s=None if found["ttl"] is None else parse_ttl_s(found["ttl"]),
    )


def read_setting(index: DraftIndex, name: str) -> str | None:
    row = index.fetch("SELECT value FROM meta WHERE key = ?", (_PREFIX + name,))
    return None if row is None else str(row[0])


def write_setting(index: DraftIndex, name: str, text: str | None) -> None:
    """Set, or with None take away."""
    with index.transaction():
        index.execute("DELETE FROM meta WHERE key = ?", (_PREFIX + name,))
        if text is not None:
            index.execute("INSERT INTO meta VALUES (?, ?)", (_PREFIX + name, text))
