"""What a client sends besides what it means to: nothing of the user's environment, and nothing that a server gave it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from artfs.client.references.http_source import HttpSource
from artfs.client.references.policy import Policy
from artfs.client.remote.packs import HttpPacks
from artfs.client.remote.transport import Outside, Transport
from artfs.errors import ReferenceForbidden
from artfs.wandb_client.graphql import GraphQL
from artfs.wire.http import Hello
from tests.network.scripted import Scripted, answer, record, scripted

pytestmark = [pytest.mark.falsifies("access")]

HELLO = record({"identity": "abc", "version": "1", "api": 1}, set_cookie="session=theirs; Path=/")
FILE = answer(200, b"bytes", "x/y", set_cookie="session=theirs; Path=/")
TOKEN = "artfs_ab12_ours"


def ask_registry(server: Scripted) -> None:
    Transport(server.url, TOKEN, outside=Outside(sleep=lambda _: None), call_s=5).get("/v1", Hello)


def read_bucket(server: Scripted) -> None:
    with scripted(HELLO) as own:
        HttpPacks(Transport(own.url, TOKEN, call_s=5)).read(f"{server.url}/pack?signature=x", 0, 5)


def follow_reference(server: Scripted) -> None:
    source = HttpSource(Policy(hosts=("*",)), call_s=5)
    source.receive(f"{server.url}/f", None, "", 5, lambda told, pieces: b"".join(map(bytes, pieces)))


def fetch_manifest(server: Scripted) -> None:
    GraphQL(server.url, "k" * 40, hosts=("*",)).fetch("/manifest")


ASKING: dict[str, tuple[Callable[[Scripted], None], bytes, str]] = {
    "a registry": (ask_registry, HELLO, f"Bearer {TOKEN}"),
    "a bucket": (read_bucket, answer(206, b"bytes", "x/y", content_range="bytes 0-4/100"), ""),
    "a reference": (follow_reference, FILE, ""),
    "a manifest": (fetch_manifest, FILE, ""),
}


@pytest.mark.parametrize("what", ASKING)
def test_the_environment_adds_neither_passwords_nor_proxies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    ask, reply, authorization = ASKING[what]
    with scripted(reply) as server, scripted(answer(502)) as proxy:
        netrc = tmp_path / "netrc"
        netrc.write_text(f"machine {urlsplit(server.url).hostname} login somebody password hidden\n")
        netrc.chmod(0o600)
        monkeypatch.setenv("NETRC", str(netrc))
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        ask(server)
        assert [seen.headers.get("authorization", "") for seen in server.seen] == [authorization]
        assert proxy.seen == []


def test_a_cookie_is_not_given_back() -> None:
    with scripted(HELLO) as server:
        transport = Transport(server.url, TOKEN, call_s=5)
        for _ in range(2):
            transport.get("/v1", Hello)
        assert [seen.headers.get("cookie") for seen in server.seen] == [None, None]
        transport.close()


def test_a_redirect_to_a_host_that_is_not_followed_makes_no_connection() -> None:
    with scripted(FILE) as inside:
        with scripted(answer(302, location=f"{inside.url}/f")) as server:
            source = HttpSource(Policy(hosts=(server.url.removeprefix("http://"),)), call_s=5)
            with pytest.raises(ReferenceForbidden):
                source.receive(f"{server.url}/f", None, "", 5, lambda told, pieces: b"".join(map(bytes, pieces)))
            assert len(server.seen) == 1
        assert inside.connections == 0


def test_a_manifest_that_is_said_to_be_inside_makes_no_connection() -> None:
    with scripted(FILE) as server, scripted(FILE) as inside:
        with pytest.raises(ReferenceForbidden):
            GraphQL(server.url, "k" * 40).fetch(f"{inside.url}/manifest")
        assert inside.connections == 0
