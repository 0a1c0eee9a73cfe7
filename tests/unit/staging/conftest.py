"""Staging over a real registry in a temporary directory."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.unit.staging.driver import Drive, Machine, machine_at


@pytest.fixture
async def machine(tmp_path: Path) -> AsyncIterator[Machine]:
    async with machine_at(tmp_path) as machine:
        yield machine


@pytest.fixture
async def draft(machine: Machine) -> Drive:
    return await machine.draft()
