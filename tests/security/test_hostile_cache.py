"""A cache whose index says what cannot be: nothing is believed, and no room is made for it."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import pytest

from artfs.cache.directory import CacheDirectory
from artfs.cache.index import Index
from artfs.cache.layout import OFFSET_MAX, Slot, mark_of
from artfs.cache.object_cache import ObjectCache
from artfs.model.digest import Digest, ObjectKey, ObjectKind
from artfs.model.pack import OBJECT_BYTES_MAX

pytestmark = [pytest.mark.usefixtures("little_memory"), pytest.mark.falsifies("hostile", "verified")]

DATA = b"bytes" * 1000
KEY = ObjectKey(ObjectKind.CHUNK, Digest.of(DATA))


@pytest.mark.parametrize(
    "lie",
    [
        {"length": OFFSET_MAX},
        {"length": OBJECT_BYTES_MAX + 1},
        {"offset": OFFSET_MAX},
        {"offset": OFFSET_MAX, "length": OFFSET_MAX},
        {"number": OFFSET_MAX},
        {"segment": OFFSET_MAX},
        {"length": 0},
    ],
    ids=str,
)
@pytest.mark.parametrize("at_once", [False, True])
def test_an_entry_of_the_index_that_cannot_be_is_a_miss(tmp_path: Path, lie: dict[str, int], *, at_once: bool) -> None:
    root = tmp_path / "cache"
    with ObjectCache(root, 64 << 20, "registry") as cache:
        cache.put("p", {KEY: DATA})
        index = Index.open(CacheDirectory(root))
        assert index is not None
        slot = index.find(mark_of(sha256(b"registry/p").digest()[:16], KEY))
        assert slot is not None
        index.insert(Slot(**{**slot._asdict(), **lie}), {slot.segment})
        assert cache.get("p", [KEY], at_once=at_once) == {}
        cache.get("p", [KEY])  # which drops what it was lied to about
        cache.put("p", {KEY: DATA})
        assert cache.get("p", [KEY]) == {KEY: DATA}
