"""Machines to mount on: see `mounting.Machine`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.mount.mounting import Machine


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here needs FUSE."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.fuse)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A machine with an empty registry of its own."""
    return Machine(tmp_path, tmp_path / "registry")


@pytest.fixture
def other_machine(machine: Machine, tmp_path_factory: pytest.TempPathFactory) -> Machine:
    """A second machine with the same registry."""
    return Machine(tmp_path_factory.mktemp("other"), machine.registry_dir)
