"""As much of Ray as the FAQ's sample uses, with a process for each task, so that the sample runs as it is written.

ray.init(); task = ray.remote(function); ray.get([task.remote(1), task.remote(2)])
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterable
from typing import Any

TASK_S = 60
_processes = multiprocessing.get_context("fork")


def init() -> None:
    """Nothing: the processes are of this machine."""


class Task:
    """A function that runs elsewhere."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def remote(self, *arguments: Any) -> Any:
        """Start it, and return what `get` waits for."""
        process = _processes.Process(target=self._function, args=arguments)
        process.start()
        return process


def remote(function: Callable[..., Any]) -> Task:
    return Task(function)


def get(started: Iterable[Any]) -> None:
    """Wait for tasks; raises an error if one failed."""
    for process in started:
        process.join(TASK_S)
        if process.exitcode != 0:
            raise RuntimeError(f"{process.name} ended with {process.exitcode}")
