"""A million files in one directory: found, read at random, in bounded memory that is given back."""

from __future__ import annotations

import itertools
import os
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from artfs.model.digest import Digest, ObjectKey, ObjectKind
from artfs.model.tree import Entry, EntryKind
from artfs.model.tree_build import build_directory
from artfs.wire.records import SealRequest
from tests.contract.uploading import write_pack
from tests.mount.mounting import Machine, wait_until
from tests.mount.trees import run

pytestmark = [pytest.mark.falsifies("bounded"), pytest.mark.serial]

MEMORY_BYTES_MAX = 400 << 20
PACK_OBJECTS = 8000


def content(i: int) -> bytes:
    return b"file %d\n" % i


def put_many(machine: Machine, count: int) -> None:
    """A version of `count` files in one directory."""
    with machine.registry() as registry:
        registry.projects.create("big")
        draft = registry.drafts.open("big")

        def send(objects: Iterator[tuple[ObjectKey, bytes]]) -> None:
            while batch := list(itertools.islice(objects, PACK_OBJECTS)):
                pack = write_pack(registry, draft.project_uid, batch, now_ns=time.time_ns())
                registry.drafts.put_pack(draft.id, pack)

        send((ObjectKey(ObjectKind.CHUNK, Digest.of(content(i))), content(i)) for i in range(count))
        pages: list[tuple[ObjectKey, bytes]] = []

        def keep(page: bytes) -> Digest:
            pages.append((ObjectKey(ObjectKind.TREE, Digest.of(page)), page))
            return pages[-1][0].digest

        entries = (Entry(f"{i:07}", EntryKind.FILE, Digest.of(content(i)), len(content(i))) for i in range(count))
        root = build_directory(entries, keep)
        send(iter(pages))
        registry.drafts.seal(draft.id, SealRequest("files", root.digest))


def look_around(machine: Machine, count: int) -> None:
    choose = random.Random(1)
    with machine.mount() as mount:
        version = mount / "big/files/v0"
        found = run("find", version, "-type", "f", "-size", "+5c", timeout_s=600).splitlines()
        assert len(found) == count
        assert len(os.listdir(version)) == count
        assert mount.status()["filesystem"]["inodes"]["entries"] >= count * 0.9
        for i in choose.sample(range(count), 500):
            assert (version / f"{i:07}").read_bytes() == content(i)
        assert not (version / "0000000x").exists()
        assert mount.resident_bytes() < MEMORY_BYTES_MAX
        if os.getuid() == 0:
            Path("/proc/sys/vm/drop_caches").write_text("2")
            wait_until(lambda: mount.status()["filesystem"]["inodes"]["entries"] < 2000, "inodes are forgotten", 60)


def test_twenty_thousand_files_in_one_directory(machine: Machine) -> None:
    put_many(machine, 20_000)
    look_around(machine, 20_000)


@pytest.mark.deep
@pytest.mark.timeout(1800)
def test_a_million_files_in_one_directory(machine: Machine) -> None:
    put_many(machine, 1_000_000)
    look_around(machine, 1_000_000)
