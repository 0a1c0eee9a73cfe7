"""One registry, and everything a client does with it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Protocol

from artfs.client.objects import ObjectReader
from artfs.client.places import PageDates
from artfs.client.references.policy import Policy
from artfs.client.references.references import References
from artfs.client.upload import Uploads
from artfs.vfs.ports import ObjectSource
from artfs.wire.service import Registry

if TYPE_CHECKING:
    from artfs.cache.object_cache import ObjectCache
    from artfs.client.far_pages import FarPages
    from artfs.client.learned.replay import Replay
    from artfs.client.learned.starts import Starts
    from artfs.client.pack_source import PackSource, RecipeSource
    from artfs.client.windows import PackWindows


class Objects(ObjectSource, Protocol):
    """What a client reads with."""

    @property
    def replay(self) -> Replay | None:
        """What fetches ahead as programs start; None where nothing is learned of that."""

    def status(self) -> dict[str, int]:
        """Numbers for `artfs status`."""

    def close(self) -> None: ...


class Client:
    """A registry with its reader and its uploads.

    Args:
        registry: closed together with the client, like the cache.
        cache: objects on local disk; None to read packs directly.
        packs: where packs are read from; None for files of this machine.
        windows: what to take along when packs are far.
        dates: where the times of tree pages are remembered; None for nowhere.
        far_pages: sends tree pages; None for a registry that has them at hand.
        starts: what is learned of how programs start; None to learn nothing.
        references: which references are followed, and how; None for the public ones, kept in memory. Closed with the client.
        recipes: large files' recipes with chunks, where a round trip is dear; None elsewhere.
        objects: for a registry that has no packs: what reads it, through `references`. Closed with the client.

    Attributes:
        has_packs: whether what is read comes in objects that a cache keeps, or only what references refer to does.
    """

    def __init__(
        self,
        registry: Registry,
        cache: ObjectCache | None = None,
        *,
        packs: PackSource | None = None,
        windows: PackWindows | None = None,
        dates: PageDates | None = None,
        references: References | None = None,
        recipes: RecipeSource | None = None,
        starts: Starts | None = None,
        far_pages: FarPages | None = None,
        objects: Objects | None = None,
    ) -> None:
        self.registry = registry
        self.cache = cache
        self.references = references or References(Policy(), environ=os.environ)
        self.has_packs = objects is None
        self.objects: Objects = objects or ObjectReader(
            registry,
            packs=packs,
            cache=cache,
            windows=windows,
            dates=dates,
            references=self.references.reader,
            recipes=recipes,
            starts=starts,
            far_pages=far_pages,
        )
        self.uploads = Uploads(registry)

    def close(self) -> None:
        self.uploads.close()
        self.objects.close()
        self.references.close()
        self.registry.close()
