"""What the services of a remembering registry are made of: the registry behind it, and what is done around its calls."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from artfs.client.remembered.catalog import RememberedCatalog
from artfs.client.remembered.reachability import Reachability
from artfs.wire.records import Change
from artfs.wire.service import Registry


class RegistryParts:
    """Made once per registry; keeps no state of its own."""

    def __init__(self, inner: Registry, catalog: RememberedCatalog, reachability: Reachability) -> None:
        self.inner = inner
        self.ask = catalog.ask
        self.call = reachability.call
        self.refuse = reachability.refuse
        self.noticing = reachability.noticing
        self.forget = catalog.forget

    @contextmanager
    def changing(self, kind: str, project: str, artifact: str = "") -> Iterator[None]:
        """Around a call that changes what a `Change` of such a kind says."""
        change = Change(0, kind, project, artifact)
        try:
            with self.noticing():
                yield
        finally:
            self.forget(change)
