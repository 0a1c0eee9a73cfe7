"""Every limit and option of a server, in one frozen object."""

from __future__ import annotations

from dataclasses import dataclass

from artfs.model.pack import INDEX_BYTES_MAX, OBJECT_BYTES_MAX, PACK_BYTES_TARGET


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """How one worker behaves.

    Attributes:
        threads: registry calls at once; more wait.
        requests_max: requests under way at once; more are answered 503.
        waiters_max: long polls at once, which occupy no thread.
        json_bytes_max: of a request's JSON.
        pack_bytes_max: of an uploaded pack.
        body_start_s, body_bytes_per_s_min: a body must arrive within the one and at the other.
        accel_prefix: where nginx serves the pack directory to itself (X-Accel-Redirect); empty to send packs from here.
        guess_delay_s: what a wrong token waits for, doubled with every further one from an address.
        guesses_max: wrong tokens of an address within `guess_window_s` above which all of its wrong ones are refused.
        token_life_s: how long a checked token is believed without being looked up again.
    """

    threads: int = 16
    requests_max: int = 512
    waiters_max: int = 4096
    json_bytes_max: int = 24 << 20
    pack_bytes_max: int = PACK_BYTES_TARGET + OBJECT_BYTES_MAX + INDEX_BYTES_MAX
    body_start_s: float = 30.0
    body_bytes_per_s_min: int = 16 << 10
    accel_prefix: str = ""
    guess_delay_s: float = 0.1
    guess_delay_s_max: float = 2.0
    guesses_max: int = 60
    guess_window_s: float = 60.0
    token_life_s: float = 2.0
