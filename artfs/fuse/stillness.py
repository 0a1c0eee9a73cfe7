"""When an event loop stands still for good. Pure, but for the look at /proc.

Its thread is woken every TICK_S by a timer of the loop. So one that slept through many looks and was not run in between waits
for what will not come. One that computes, or waits for a processor, a disk, a debugger or SIGCONT, is another matter: it is
never still, however long it takes. Looks are counted, not seconds: a machine that was suspended makes none.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from artfs.fuse.process_records import read_status

TICK_S = 1.0
LOOK_S = 3.0
LOOKS_MAX = 10  # half a minute
_SLEEPS = "S"


class ThreadLook(NamedTuple):
    """A thread at one moment.

    Attributes:
        state: as /proc has it: S sleeps, R runs or wants to, D waits for a disk, T is stopped, t is held by a debugger.
        switches: how often it was run so far.
    """

    state: str
    switches: int


@dataclass
class Stillness:
    """What looks at one thread have shown."""

    looks: int = 0
    before: ThreadLook | None = None

    def is_still(self, now: ThreadLook) -> bool:
        """Whether it has stood still long enough to be given up."""
        self.looks = self.looks + 1 if now == self.before and now.state == _SLEEPS else 0
        self.before = now
        return self.looks >= LOOKS_MAX


def look_at_thread(thread_id: int) -> ThreadLook:
    """A thread of this process. Raises OSError if it is gone."""
    facts = read_status(Path(f"/proc/self/task/{thread_id}/status"))
    switches = sum(int(facts[kind]) for kind in ("voluntary_ctxt_switches", "nonvoluntary_ctxt_switches"))
    return ThreadLook(facts["State"].split()[0], switches)
