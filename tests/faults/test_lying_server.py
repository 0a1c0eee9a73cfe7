"""Every fault of a lying or failing server against every operation of a client: the right result or a clear error, and once.

The long form does each fault to every request, and to each single one of an operation's requests in turn.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults.cells import READING, Cell, World, done, healing, world
from tests.faults.lies import FAULTS, HANGS
from tests.reliability.trials import tried

pytestmark = [
    pytest.mark.falsifies("verified", "once", "no-hang", "draft-kept", "access"),
    pytest.mark.fuse,
    pytest.mark.serial,
    pytest.mark.timeout(580),
]

REQUESTS_MAX = 14  # of an operation, about
SOME_OF_HANGS = (1, 3)
SAMPLE = "another object"
_OUT_OF_REACH = {"EHOSTUNREACH", "EIO", "exit 7", "exit 6"}
_REFUSED = {"EACCES", "exit 5"}
_ABSENT = {"ENOENT", "ESTALE", "exit 3"}
_CONTRADICTED = {"EBUSY", "exit 4"}
SAID = {
    "told 401": _REFUSED,
    "told 403": _REFUSED,
    "told 404": _ABSENT,
    "told 409": _CONTRADICTED,
    "told 429": {"EAGAIN"},
    "a stale answer": _ABSENT,  # as it was then
    "a request twice": _ABSENT,  # the second time there is nothing left to do
}
"""What users may be told besides that the registry is out of reach."""


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("w")) as made:
        cells = made.prepare()
        assert not any(done(cells).values()), "without a fault everything works"
        for cell in cells:
            cell.after()
        yield made


def short(told: str) -> str:
    return told.partition(":")[0]


def look(scene: World, cells: list[Cell], told: dict[str, str], fault: str) -> None:
    """Judge what was told and look at what is left, when the fault has gone away."""
    for cell in cells:
        allowed = {"", *_OUT_OF_REACH, *SAID.get(fault, ())}
        assert short(told[cell.name]) in allowed, f"{cell.name}: {told[cell.name]}"
    for cell in cells:
        try:
            cell.after()
        except AssertionError as error:
            raise AssertionError(f"after {cell.name}, which was told {told[cell.name]!r}: {error}") from error
    for liar in scene.liars.values():
        assert not [request for request in liar.stranger.asked if request.header("authorization")]


def count(fault: str, cell: Cell) -> int:
    if cell.liar.struck:
        tried(f"{fault}, once: {cell.name}", cell.liar.struck)
    return cell.liar.struck


@pytest.mark.parametrize("fault", [pytest.param(f, marks=() if f == SAMPLE else pytest.mark.deep) for f in FAULTS])
def test_a_fault_of_every_request_is_an_error_in_time_and_harms_nothing(scene: World, fault: str) -> None:
    cells = scene.prepare()
    with healing(scene):
        for liar in scene.liars.values():
            liar.strike(fault)
        told = done(cells)
        for cell in cells:
            if cell.liar.struck:
                tried(f"{fault}, always: {cell.name}")
    look(scene, cells, told, fault)


@pytest.mark.deep
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_one_request_is_got_over_or_told(scene: World, fault: str) -> None:
    for number in SOME_OF_HANGS if fault in HANGS else range(REQUESTS_MAX):
        cells = scene.prepare()
        one_by_one = [cell for cell in cells if cell.name in (*READING, "commit")]
        told: dict[str, str] = {}
        struck = 0
        with healing(scene):
            commands = [cell for cell in cells if cell not in one_by_one]
            for cell in commands:
                cell.liar.strike(fault, skip=number, times=1)
            told |= done(commands)
            for cell in commands:
                struck += count(fault, cell)
            for cell in one_by_one:
                cell.liar.strike(fault, spare="/changes", skip=number, times=1)
                told |= done([cell])
                struck += count(fault, cell)
        look(scene, cells, told, fault)
        if not struck and number > 4:
            break
    if "redirect" in fault:
        assert any(liar.stranger.asked for liar in scene.liars.values()), "ranges are followed elsewhere"
