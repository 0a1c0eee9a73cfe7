"""Where URLs that a W&B server hands out may lead: to itself, and to what is public."""

from __future__ import annotations

from collections.abc import Iterable

from artfs.client.references.policy import PUBLIC, Policy, host_and_port


def policy_of(base_url: str, hosts: Iterable[str] = (PUBLIC,)) -> Policy:
    """What keeps a server from having this machine read what only it can reach.

    Args:
        base_url: of the server, whose host and port are allowed.
        hosts: allowed besides, as in `Policy`.
    """
    host, port = host_and_port(base_url)
    own = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return Policy(("https", "http"), (*hosts, own), files=False)
