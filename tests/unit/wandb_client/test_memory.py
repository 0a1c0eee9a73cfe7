"""When a server is asked, and which answer counts when there are several, or none can be had."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from artfs.errors import AccessDenied, NotFound, RegistryUnavailable, VersionNotFound
from artfs.vfs.ports import NotRemembered
from artfs.wandb_client.memory import FRESH_S, Memory, Part

WAIT_S = 20.0


class Server:
    """Answers `told`, or raises it, and counts; a clock that only the test moves."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.told: dict[str, Any] = {}
        self.asked: list[str] = []
        self.memory = Memory(clock=lambda: self.now_s)

    def ask(self, question: str) -> Any:
        self.asked.append(question)
        found = self.told[question]
        if isinstance(found, Exception):
            raise found
        return found

    def recall(self, question: str, part: Part[Any] | None = None) -> Any:
        return self.memory.recall(question, lambda: self.ask(question), part)

    def peek(self, question: str, part: Part[Any] | None = None) -> Any:
        return self.memory.peek(question, lambda: self.ask(question), part)


def in_all(name: str) -> Part[Any]:
    def find(found: dict[str, Any]) -> Any:
        return found.get(name)

    return Part("all", find)


def test_an_answer_is_fresh_for_a_moment() -> None:
    server = Server()
    server.told["q"] = 1
    assert [server.recall("q"), server.recall("q"), server.peek("q")] == [1, 1, 1]
    assert server.asked == ["q"]
    server.told["q"] = 2
    server.now_s += FRESH_S
    assert server.recall("q") == 2
    assert server.asked == ["q", "q"]


def test_what_is_not_fresh_is_never_told_on_the_event_loop() -> None:
    server = Server()
    server.told["q"] = 1
    with pytest.raises(NotRemembered):
        server.peek("q")
    server.recall("q")
    server.now_s += FRESH_S
    with pytest.raises(NotRemembered):
        server.peek("q")
    assert server.asked == ["q"]


def test_what_was_not_there_is_remembered_for_that_moment_too() -> None:
    server = Server()
    server.told["q"] = first = VersionNotFound("no v3", hint="look")
    for ask in (server.recall, server.recall, server.peek):
        with pytest.raises(VersionNotFound, match="no v3") as raised:
            ask("q")
        assert raised.value.hint == "look"
    assert raised.value is not first
    server.told["q"] = 1
    server.now_s += FRESH_S
    assert server.recall("q") == 1


def test_out_of_reach_the_last_answer_counts_whatever_its_age() -> None:
    server = Server()
    server.told["q"] = 1
    server.recall("q")
    server.told["q"] = RegistryUnavailable("gone")
    server.now_s += 1e6
    assert server.recall("q") == 1
    with pytest.raises(NotRemembered):
        server.peek("q")
    server.told["q"] = 2
    assert server.recall("q") == 2


def test_out_of_reach_an_absence_that_is_over_is_not_an_answer() -> None:
    server = Server()
    server.told["q"] = NotFound("no")
    with pytest.raises(NotFound):
        server.recall("q")
    server.told["q"] = RegistryUnavailable("gone")
    server.now_s += FRESH_S
    with pytest.raises(RegistryUnavailable):
        server.recall("q")


def test_what_is_denied_is_forgotten() -> None:
    server = Server()
    server.told["q"] = 1
    server.recall("q")
    server.now_s += FRESH_S
    server.told["q"] = AccessDenied("no more")
    with pytest.raises(AccessDenied):
        server.recall("q")
    server.told["q"] = RegistryUnavailable("gone")
    with pytest.raises(RegistryUnavailable):
        server.recall("q")


def test_a_part_of_a_wider_answer_is_not_asked_for() -> None:
    server = Server()
    server.told = {"all": {"a": 1}, "b": NotFound("no b")}
    server.recall("all")
    assert server.recall("a", in_all("a")) == server.peek("a", in_all("a")) == 1
    with pytest.raises(NotFound):
        server.recall("b", in_all("b"))
    assert server.asked == ["all", "b"]


def test_of_an_answer_and_a_part_the_later_one_counts() -> None:
    server = Server()
    server.told = {"all": {"a": 1}, "a": 2}
    server.recall("all")
    server.now_s += FRESH_S
    assert server.recall("a", in_all("a")) == 2
    server.told = {"all": {"a": 3}, "a": RegistryUnavailable("gone")}
    server.now_s += 1
    server.recall("all")
    assert server.recall("a", in_all("a")) == 3
    server.now_s += FRESH_S
    assert server.recall("a", in_all("a")) == 3, "nor while the server is out of reach"


def test_what_many_ask_at_once_is_asked_once() -> None:
    memory, asked = Memory(), 0
    begun, told = threading.Event(), threading.Event()

    def ask() -> str:
        nonlocal asked
        asked += 1
        begun.set()
        assert told.wait(WAIT_S)
        return "answer"

    with ThreadPoolExecutor(8) as threads:
        answers = [threads.submit(memory.recall, "q", ask) for _ in range(8)]
        assert begun.wait(WAIT_S)
        told.set()
        assert {one.result(WAIT_S) for one in answers} == {"answer"}
    assert asked == 1


def test_memory_is_bounded_by_what_is_in_the_answers() -> None:
    memory, asked = Memory(records_max=10), 0

    def ask() -> list[int]:
        nonlocal asked
        asked += 1
        return [0] * 4

    for question in ("a", "b", "c"):
        memory.recall(question, ask)
    memory.recall("c", ask)
    assert asked == 3
    memory.recall("a", ask)
    assert asked == 4, "the oldest had to go"
    assert memory.recall("huge", lambda: [0] * 100) == [0] * 100
