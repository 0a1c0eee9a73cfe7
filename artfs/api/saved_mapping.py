"""A mapping of a run, its configuration or its summary, whose changes go to the registry."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

Keep = Callable[[dict[str, Any]], None]
"""Told the keys that were set, with their values."""


class SavedMapping(Mapping[str, Any]):
    """Keys are set as items, as attributes, or several at once by `update`. None can be removed.

    Args:
        values: what is there.
        normal: what values become in JSON. Raises InvalidValue.
        keep: called with what was set, before it can be read.
    """

    def __init__(self, values: Mapping[str, Any], normal: Callable[[Any], dict[str, Any]], keep: Keep) -> None:
        object.__setattr__(self, "_values", dict(values))
        object.__setattr__(self, "_normal", normal)
        object.__setattr__(self, "_keep", keep)

    def __getitem__(self, key: str) -> Any:
        return self._values[key]

    def __iter__(self) -> Iterator[str]:
        return iter(dict(self._values))

    def __len__(self) -> int:
        return len(self._values)

    def __setitem__(self, key: str, value: Any) -> None:
        self.update({key: value})

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name not in self._values:
            raise AttributeError(name)
        return self._values[name]

    def __setattr__(self, name: str, value: Any) -> None:
        self.update({name: value})

    def update(self, values: Mapping[str, Any] | None = None, /, **more: Any) -> None:
        """Set keys, in one step. Without any, does nothing: what was set is kept already.

        Args:
            values: by key.
            more: further ones.

        Raises InvalidValue for what is no JSON.
        """
        given = self._normal({**(values or {}), **more})
        if given:
            self._keep(given)
            self._values.update(given)

    def setdefaults(self, values: Mapping[str, Any]) -> None:
        """Set those keys of `values` that are not there."""
        self.update({key: value for key, value in values.items() if key not in self._values})

    def as_dict(self) -> dict[str, Any]:
        """A copy."""
        return dict(self._values)

    def note(self, values: Mapping[str, Any]) -> None:
        """Know that the registry has these `values` now, or will have them."""
        self._values.update(values)

    def __repr__(self) -> str:
        return repr(self._values)
