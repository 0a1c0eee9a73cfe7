"""What hostile input may cost."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator

import pytest

MEMORY_BYTES = 32 << 20


@pytest.fixture
def little_memory() -> Iterator[None]:
    """The test takes less than MEMORY_BYTES, whatever it is given."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < MEMORY_BYTES
    finally:
        tracemalloc.stop()
