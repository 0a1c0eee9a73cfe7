"""Sources that change while they are read, at random: whatever a server tells, an open file is of one state of its source.

The model is the list of states that the source was in. Every read through an open file must give bytes of one of them, and
always of the same one; where an ETag or digests were noted it must be the first.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from random import Random
from shutil import rmtree
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from artfs.cache.object_cache import ObjectCache
from artfs.client.references.policy import Policy
from artfs.client.references.references import References
from artfs.errors import ReferenceChanged, ReferenceUnavailable
from artfs.model.digest import Digest
from artfs.model.reference import encode_reference
from artfs.vfs.ports import OpenReference
from tests.network.web import Web, web

pytestmark = [pytest.mark.falsifies("model", "references")]

MIB = 1 << 20
BLOCKS = 4
SIZE = BLOCKS * MIB - 100
BODIES = [Random(seed).randbytes(SIZE) for seed in range(4)]


@dataclass(frozen=True)
class Kind:
    """How a server behaves, and what is noted when the reference is added."""

    etag: str = "strong"
    ranges: bool = True
    modified: bool = False
    checksum: bool = True


KINDS = {
    "etag": Kind(),
    "etag, no ranges": Kind(ranges=False),
    "digests": Kind(etag="none"),
    "digests, weak etag, no ranges": Kind(etag="weak", ranges=False),
    "length and time": Kind(etag="none", modified=True, checksum=False),
    "length": Kind(etag="none", checksum=False),
    "length, no ranges": Kind(etag="none", ranges=False, checksum=False),
}


class Machine:
    """A client of the source, restarted and robbed of its cache at will."""

    def __init__(self, root: Path, server: Web, kind: Kind) -> None:
        self._root = root
        self._server = server
        self._kind = kind
        self._state = 0
        self._references: References | None = None
        self.uri = self.change(0)
        self.restart()
        ((_, self.reference),) = self.references.resolve(self.uri, checksum=kind.checksum)
        self.descriptor = Digest.of(encode_reference(self.reference))

    @property
    def references(self) -> References:
        assert self._references is not None
        return self._references

    def change(self, state: int) -> str:
        self._state = state
        kind = self._kind
        modified_s_ago = 10_000 - 1000 * state if kind.modified else None
        body = BODIES[state]
        return self._server.put("/f", body, etag=kind.etag, ranges=kind.ranges, modified_s_ago=modified_s_ago)

    def restart(self) -> None:
        self.close()
        cache = ObjectCache(self._root / "cache", 16 * MIB)
        self._references = References(Policy(hosts=["*"]), cache=cache, seen=self._root / "references.db")

    def evict(self) -> None:
        self.close()
        rmtree(self._root / "cache", ignore_errors=True)
        self.restart()

    def open(self) -> OpenReference:
        return self.references.reader.open("p", self.descriptor, self.reference)

    def close(self) -> None:
        if self._references is not None:
            self._references.close()


def states_of(offset: int, data: bytes) -> set[int]:
    return {i for i, body in enumerate(BODIES) if body[offset : offset + len(data)] == data}


steps = st.lists(
    st.one_of(
        st.tuples(st.just("read"), st.integers(0, SIZE - 1), st.sampled_from([1, 1000, MIB, 2 * MIB])),
        st.tuples(st.just("change"), st.integers(0, 3), st.none()),
        st.tuples(st.sampled_from(["open", "restart", "evict"]), st.none(), st.none()),
        st.tuples(st.just("crowd"), st.integers(0, 3), st.none()),
    ),
    max_size=12,
)


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
@settings(max_examples=15)
@given(history=steps)
def test_an_open_file_is_of_one_state(kind: Kind, history: list[tuple[str, int, int]]) -> None:
    with TemporaryDirectory() as root, web() as server:
        machine = Machine(Path(root), server, kind)
        pinned = kind.etag == "strong" or kind.checksum
        opened, possible = machine.open(), {0} if pinned else set(range(4))
        for step, number, length in history:
            if step == "read":
                possible &= _read(opened, number, length)
                assert possible, "bytes of two states"
            elif step == "change":
                machine.change(number)
            elif step == "crowd":
                possible &= _crowd(machine, opened, number)
                assert possible, "bytes of two states, of many readers"
            else:
                if step == "restart":
                    machine.restart()
                elif step == "evict":
                    machine.evict()
                opened, possible = machine.open(), {0} if pinned else set(range(4))
        machine.close()


def _read(opened: OpenReference, offset: int, length: int) -> set[int]:
    """The states that what was read may be of; any if there was an error that may be."""
    try:
        data = bytes(opened.read(offset, length))
    except (ReferenceChanged, ReferenceUnavailable):
        return set(range(4))
    assert len(data) == min(length, SIZE - offset)
    return states_of(offset, data)


def _crowd(machine: Machine, opened: OpenReference, state: int) -> set[int]:
    """Many readers of everything, while the source changes."""
    with ThreadPoolExecutor(5) as readers:
        reading = [readers.submit(_read, opened, i * MIB, 10) for i in range(BLOCKS)]
        machine.change(state)
        found = [one.result(60) for one in reading]
    return set.intersection(*found)


def test_bytes_of_different_states_differ_everywhere() -> None:
    """Else the property above could not fail."""
    assert all(states_of(offset, BODIES[2][offset : offset + 8]) == {2} for offset in range(0, SIZE - 8, 4093))
