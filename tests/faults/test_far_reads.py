"""Recipes and pieces of packs from servers that are old, lying or cut off: exactly what was asked for, or an error."""

from __future__ import annotations

import pytest

from artfs.client.remote.packs import HttpPacks
from artfs.client.remote.recipes import RemoteRecipes
from artfs.client.remote.transport import Outside, Transport
from artfs.errors import DamagedPack, RegistryUnavailable
from artfs.model.digest import Digest
from tests.network.scripted import answer, record, scripted

pytestmark = [pytest.mark.falsifies("no-hang")]

TOKEN = "artfs_ab12_verysecretpart"
HASTE = Outside(sleep=lambda seconds: None)


@pytest.mark.parametrize(("code", "requests"), [("not-found", 1), ("path-not-found", 2)])
def test_a_server_that_knows_no_recipes_is_asked_once_and_one_that_lacks_this_again(code: str, requests: int) -> None:
    """Whoever locates a recipe that is not there is told so."""
    refusal = record({"code": code, "message": "no", "hint": ""}, status=404)
    with scripted(refusal) as server:
        recipes = RemoteRecipes(Transport(server.url, TOKEN))
        assert recipes.read_with_chunks("vision", Digest.of(b""), 0, 1) == []
        assert recipes.read_with_chunks("vision", Digest.of(b""), 0, 1) == []
    assert len(server.seen) == requests


@pytest.mark.parametrize("body", [b"", b"\0\0\0\1{", b"\xff" * 100, b"\0\0\0\x0f" + b'{"keys": ["x"]}'])
def test_nonsense_about_a_recipe_is_an_unavailable_registry(body: bytes) -> None:
    with scripted(answer(200, body, "application/octet-stream")) as server:
        recipes = RemoteRecipes(Transport(server.url, TOKEN, outside=HASTE))
        with pytest.raises(RegistryUnavailable):
            recipes.read_with_chunks("vision", Digest.of(b""), 0, 1)


def test_pieces_of_a_pack_are_exactly_what_was_asked_for() -> None:
    data = bytes(range(256)) * 4096
    part = answer(206, data[1000:900_000], content_range=f"bytes 1000-899999/{len(data)}")
    cut = part[:-1]
    whole = answer(200, data)
    with scripted(part, part, whole) as server:
        packs = HttpPacks(Transport(server.url, TOKEN))
        places = [(1000, 500_000), (501_500, 398_500)]
        for _ in range(3):
            assert packs.read_pieces("/p", places) == [data[begin : begin + size] for begin, size in places]
    assert server.connections == 1
    with scripted(lambda connection: connection.sendall(cut), part) as server:
        packs = HttpPacks(Transport(server.url, TOKEN, outside=HASTE))
        assert packs.read_pieces("/p", places)[1] == data[501_500:900_000]
    with scripted(answer(206, data[1000:2000], content_range="bytes 1000-1999/2000")) as server:
        with pytest.raises(DamagedPack):
            HttpPacks(Transport(server.url, TOKEN)).read_pieces("/p", places)
