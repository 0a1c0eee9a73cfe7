"""Signed URLs are remembered for a while, and asked for once by many threads."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from artfs.errors import ReferenceUnavailable
from artfs.wandb_client.signed_urls import URL_LIFE_S, URLS_BYTES, SignedUrls


class Server:
    """Hands out a URL at a time, and holds an answer back as long as `gate` is closed."""

    def __init__(self) -> None:
        self.asked = 0
        self.gate = threading.Event()
        self.gate.set()

    def ask(self) -> str:
        self.asked += 1
        assert self.gate.wait(30)
        return f"https://bucket/{self.asked}"


def test_a_url_is_remembered_for_a_while() -> None:
    now_s = [0.0]
    urls, server = SignedUrls(lambda: now_s[0]), Server()
    assert urls.get("/a", server.ask) == urls.get("/a", server.ask) == "https://bucket/1"
    assert urls.get("/b", server.ask) == "https://bucket/2"
    now_s[0] += URL_LIFE_S + 1
    assert urls.get("/a", server.ask) == "https://bucket/3"


def test_only_the_url_that_failed_is_forgotten() -> None:
    urls, server = SignedUrls(lambda: 0.0), Server()
    first = urls.get("/a", server.ask)
    urls.forget("/a", first)
    second = urls.get("/a", server.ask)
    urls.forget("/a", first)  # by a thread that is late
    assert urls.get("/a", server.ask) == second != first


def test_many_threads_ask_once() -> None:
    urls, server = SignedUrls(lambda: 0.0), Server()
    server.gate.clear()
    with ThreadPoolExecutor(8) as threads:
        getting = [threads.submit(urls.get, "/a", server.ask) for _ in range(8)]
        server.gate.set()
        assert {one.result(30) for one in getting} == {"https://bucket/1"}


def test_a_failure_is_not_remembered() -> None:
    urls, server = SignedUrls(lambda: 0.0), Server()

    def refuse() -> str:
        raise ReferenceUnavailable("no")

    with pytest.raises(ReferenceUnavailable, match="no"):
        urls.get("/a", refuse)
    assert urls.get("/a", server.ask) == "https://bucket/1"


def test_what_is_remembered_is_bounded() -> None:
    urls, server = SignedUrls(lambda: 0.0), Server()
    first = urls.get("/0", server.ask)
    for number in range(URLS_BYTES // 200):
        urls.get(f"/{number}", server.ask)
    assert urls.get("/0", server.ask) != first
