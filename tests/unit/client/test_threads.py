"""A pool whose machine has no thread to give: the work is done all the same, once, and by threads again when there are some."""

from __future__ import annotations

import threading

import pytest

from artfs.client.threads import Threads


def test_without_any_thread_whoever_submits_does_the_work_and_threads_do_it_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    done: list[str] = []

    def work(what: str) -> int:
        done.append(f"{what} by {'others' if threading.current_thread() is not threading.main_thread() else 'caller'}")
        return len(done)

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    pool = Threads(2)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        assert pool.submit(work, "one").result() == 1
        assert pool.submit(work, "two").result() == 2
    assert pool.submit(work, "three").result(10) == 3
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        assert pool.submit(work, "four").result(10) == 4
    pool.shutdown()
    assert done == ["one by caller", "two by caller", "three by others", "four by others"]
