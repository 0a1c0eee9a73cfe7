"""Operations that a fault strikes: what is done meanwhile, and how to look at it when all is well."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

Do = Callable[[], None]
After = Callable[[bool], None]
"""Told whether it was said to have been done."""


@dataclass
class Operations:
    """Those of a class, each a method `_NAME(artifact)`, done in an artifact of its own each time.

    Attributes:
        cell: of how many operations this is the last.
        dice: for contents.
    """

    cell: int = field(default=0, kw_only=True)
    dice: random.Random = field(default_factory=lambda: random.Random(5), kw_only=True)

    def prepare(self, operation: str) -> tuple[Do, After]:
        """What to do while the fault strikes, and how to look at it when all is well."""
        self.cell += 1
        found: tuple[Do, After] = getattr(self, f"_{operation}")(f"{operation}-{self.cell}")
        return found
