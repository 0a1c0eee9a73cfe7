"""The first read of a large file in one round trip, from servers that know how."""

from __future__ import annotations

from artfs.client.remote.paths import project_path
from artfs.client.remote.transport import Transport
from artfs.errors import InvalidValue, NotFound, RegistryUnavailable
from artfs.model.digest import Digest, ObjectKey
from artfs.vfs.ports import Bytes
from artfs.wire import json
from artfs.wire.http import BEGINNING_LENGTH_BYTES, Beginning
from artfs.wire.records import Location

BODY_BYTES_MAX = 128 << 20  # a recipe of the largest file, and chunks

Stored = tuple[ObjectKey, Location, Bytes]


class RemoteRecipes:
    """A `RecipeSource`. Owner of what it learned of the server: that it is of an older artfs."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._is_old = False

    def read_with_chunks(self, project: str, recipe: Digest, offset: int, length: int) -> list[Stored]:
        if self._is_old:
            return []
        path = project_path(project, "recipes", recipe.hex())
        try:
            body = self._transport.get_bytes(path, {"offset": offset, "length": length}, BODY_BYTES_MAX)
            return parse_beginning(body)
        except NotFound as error:
            self._is_old = error.code == NotFound.code  # the path, not the recipe
            return []
        except (InvalidValue, IndexError, ValueError):
            raise RegistryUnavailable(
                f"{self._transport.url} answered something else than was asked", hint="try again"
            ) from None


def parse_beginning(body: memoryview) -> list[Stored]:
    """What such an answer holds. Raises InvalidValue, IndexError or ValueError for what is none."""
    at = BEGINNING_LENGTH_BYTES + int.from_bytes(body[:BEGINNING_LENGTH_BYTES], "big")
    head = json.decode(body[BEGINNING_LENGTH_BYTES:at], Beginning)
    found: list[Stored] = []
    for text, location in zip(head.keys, head.places.locations(), strict=True):
        if location is not None:
            found.append((ObjectKey.parse(text), location, body[at : at + location.stored_bytes]))
            at += location.stored_bytes
    return found
