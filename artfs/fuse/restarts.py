"""When a mount that died is begun again: at once, later if it dies at once again and again, and at last not at all. Pure."""

from __future__ import annotations

from dataclasses import dataclass

SETTLED_S = 1.0  # a mount that was usable for so long did not die at once
AT_ONCE = 5  # tries in a row without a delay: a fork is cheap
FIRST_DELAY_S = 0.25
DELAY_MAX_S = 30.0
TRIES_MAX = 14  # in a row, each of which came to nothing: about one and a half minutes


@dataclass
class Restarts:
    """What came of the mounts so far, as far as it matters for the next."""

    in_vain: int = 0

    def delay_after(self, usable_s: float) -> float | None:
        """How long to wait before the next try, in seconds, after a mount that was usable for `usable_s`; None: give up."""
        self.in_vain = self.in_vain + 1 if usable_s < SETTLED_S else 0
        if self.in_vain > TRIES_MAX:
            return None
        waits = self.in_vain - AT_ONCE
        return 0.0 if waits <= 0 else min(FIRST_DELAY_S * 2 ** (waits - 1), DELAY_MAX_S)
