"""Every limit and option of a server, in one frozen object."""

from __future__ import annotations

from dataclasses import dataclass

from artfs.model.pack import INDEX_BYTES_MAX, OBJECT_BYTES_MAX, PACK_BYTES_TARGET


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """How one worker behaves.

    Attributes:
        threads: registry calls at once; more wait.
        upload_threads: uploaded packs checked and stored at once, apart from those.
        requests_max: requests under way at once; more are answered 503.
        waiters_max: long polls at once, which occupy no thread and do not count as under way; more are answered 429.
        json_bytes_max: of a request's JSON.
        metadata_bytes_max: of JSON that may carry a version's metadata.
        page_bytes_max: about how much metadata, configuration or history goes into one page of a list; at least one record.
        pack_bytes_max: of an uploaded pack.
        header_bytes_max, header_s: of a request line with its headers, and the time in which they must arrive.
        body_start_s, body_bytes_per_s_min: a body must arrive within the one and at the other.
        stall_s: a client that takes nothing of its answer for so long is cut off.
        keep_alive_s: how long an idle connection stays open.
        stop_s: how long requests under way may take when the server is told to stop.
        trusted_proxy: addresses whose X-Forwarded-For is believed, separated by commas.
        metrics_listen: an address of its own for /metrics; empty to answer it with the rest.
        accel_prefix: where nginx serves the pack directory to itself (X-Accel-Redirect); empty to send packs from here.
        guesses_free: wrong tokens from an address, or for one token's id, that cost nothing.
        guess_delay_s, guess_delay_s_max: what the next one has to wait, doubled with every further one, and the most.
        guess_memory_s: how long wrong tokens are remembered.
        token_life_s: how long a checked token is believed without being looked up again; so long a revoked one may work.
        collect_every_s: how often one of all workers of all servers deletes what expired; 0 for never.
        token_memory_s: how long a token that was valid is not made to wait for others' guesses.
    """

    threads: int = 16
    upload_threads: int = 4
    requests_max: int = 512
    waiters_max: int = 4096
    json_bytes_max: int = 1 << 20
    metadata_bytes_max: int = 16 << 20
    page_bytes_max: int = 32 << 20
    pack_bytes_max: int = PACK_BYTES_TARGET + OBJECT_BYTES_MAX + INDEX_BYTES_MAX
    header_bytes_max: int = 64 << 10
    header_s: float = 20.0
    body_start_s: float = 30.0
    body_bytes_per_s_min: int = 16 << 10
    stall_s: float = 60.0
    keep_alive_s: int = 75
    stop_s: int = 20
    trusted_proxy: str = "127.0.0.1,::1"
    metrics_listen: str = ""
    accel_prefix: str = ""
    guesses_free: int = 10
    guess_delay_s: float = 0.5
    guess_delay_s_max: float = 30.0
    guess_memory_s: float = 600.0
    token_life_s: float = 2.0
    token_memory_s: float = 3600.0
    collect_every_s: float = 60.0
