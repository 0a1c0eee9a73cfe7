"""One registry, and everything a client does with it."""

from __future__ import annotations

from artfs.client.objects import ObjectCache, ObjectReader
from artfs.client.upload import Uploads
from artfs.wire.service import Registry


class Client:
    """A registry with its reader and its uploads.

    Args:
        registry: closed together with the client.
        cache: objects on local disk; None to read packs directly.
    """

    def __init__(self, registry: Registry, cache: ObjectCache | None = None) -> None:
        self.registry = registry
        self.objects = ObjectReader(registry, cache=cache)
        self.uploads = Uploads(registry)

    def close(self) -> None:
        self.objects.close()
        self.registry.close()
