"""What a script changed of a version since it was loaded, as a change that leaves everything else alone. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from copy import deepcopy
from datetime import timedelta
from typing import Any

from artfs.api.plain import plain_dict
from artfs.errors import InvalidValue
from artfs.model.names import check_alias
from artfs.wire.records import VersionChange, VersionRecord


class VersionEdit:
    """Description, metadata and aliases as a script has them, beside what they were.

    Attributes:
        metadata: changed in any depth: it is compared with a copy.
        ttl: how long from the next save on; None for ever. Set by `set_ttl`.
    """

    def __init__(self, loaded: VersionRecord | None) -> None:
        self.description = "" if loaded is None else loaded.description
        self.metadata: dict[str, Any] = {} if loaded is None else deepcopy(loaded.metadata)
        self.aliases: list[str] = [] if loaded is None else list(loaded.aliases)
        self.ttl: timedelta | None = None
        self._ttl_is_set = False

    def set_ttl(self, ttl: timedelta | None) -> None:
        """Raises InvalidValue."""
        if ttl is not None and ttl < timedelta(seconds=1):
            raise InvalidValue(f"{ttl} is no time to live", hint="give a timedelta of a second or more, or None")
        self.ttl = ttl
        self._ttl_is_set = True

    @property
    def ttl_s(self) -> int | None:
        """For a request: None if nobody set it, 0 is for ever."""
        if not self._ttl_is_set:
            return None
        return 0 if self.ttl is None else round(self.ttl.total_seconds())

    def checked_metadata(self) -> dict[str, Any]:
        return plain_dict("the metadata", self.metadata)

    def checked_aliases(self) -> list[str]:
        return unique_aliases(self.aliases)

    def change(self, loaded: VersionRecord) -> VersionChange | None:
        """What to ask the registry for; None if nothing changed. Raises InvalidValue, InvalidName."""
        metadata, aliases = self.checked_metadata(), self.checked_aliases()
        before = loaded.metadata
        change = VersionChange(
            description=self.description if self.description != loaded.description else None,
            set_metadata={k: v for k, v in metadata.items() if k not in before or not _same(before[k], v)},
            removed_metadata=[key for key in before if key not in metadata],
            added_aliases=[alias for alias in aliases if alias not in loaded.aliases],
            removed_aliases=[alias for alias in loaded.aliases if alias not in aliases],
            ttl_s=self.ttl_s,
        )
        return None if change == VersionChange() else change


def unique_aliases(aliases: Iterable[str]) -> list[str]:
    """Each once, in their order. Raises InvalidName."""
    if isinstance(aliases, str):
        raise InvalidValue(f"{aliases!r} is text, not a list of aliases", hint=f"write [{aliases!r}]")
    return list(dict.fromkeys(check_alias(alias) for alias in aliases))


def _same(a: Any, b: Any) -> bool:
    """Equal, and of one type: True is not 1 in JSON."""
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_same(a[key], b[key]) for key in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(_same, a, b))
    return type(a) is type(b) and bool(a == b)
