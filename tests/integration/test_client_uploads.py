"""Uploading to a real registry: what is sent, in which order, and what remains after something went wrong."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from artfs.client.client import Client
from artfs.client.source_file import BLOCK_BYTES, chunks_of
from artfs.client.trees import TreeReader
from artfs.client.upload import Uploads, UploadSession
from artfs.errors import FileChanged, ObjectMissing, StorageFailed, StorageFull, UnsupportedFile
from artfs.model.chunking import WHOLE_FILE_BYTES_MAX, cut_points
from artfs.model.content import FileContent
from artfs.model.digest import Digest, ObjectKey, ObjectKind
from artfs.model.recipe import decode_recipe
from artfs.model.tree import Entry, EntryKind
from artfs.model.tree_build import build_directory
from artfs.registry.embedded import EmbeddedRegistry
from artfs.store.pack_file import PackReader
from artfs.wire.records import SealRequest
from tests.contract.uploading import Clock

pytestmark = [pytest.mark.falsifies("whole")]

RND = random.Random(11)


@pytest.fixture
def session(client: Client) -> Iterator[UploadSession]:
    opened = client.uploads.open("vision")
    yield opened
    opened.close()


def _file(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def _seal(session: UploadSession, contents: dict[str, FileContent]) -> Digest:
    entries = [Entry(name, c.kind, c.digest, c.size_bytes) for name, c in sorted(contents.items())]
    root = build_directory(entries, session.store_page).digest
    return session.seal(SealRequest("bikes", root)).version.digest


def _packs(client: Client) -> list[list[ObjectKey]]:
    """What is in each stored pack, oldest pack first."""
    assert isinstance(client.registry, EmbeddedRegistry)
    found = []
    for path in client.registry.layout.packs.glob("*/*/*.pack"):
        with PackReader(path) as pack:
            found.append((pack.header.created_at_ns, [placed.key for placed in pack.objects]))
    return [keys for _, keys in sorted(found)]


@pytest.mark.parametrize("size_bytes", [0, 1, 127, 128, 100_000, WHOLE_FILE_BYTES_MAX])
def test_a_small_file_is_one_chunk_whose_digest_is_the_files(
    session: UploadSession, tmp_path: Path, size_bytes: int
) -> None:
    data = RND.randbytes(size_bytes)
    content = session.add_file(_file(tmp_path / "f", data))
    assert content == FileContent(EntryKind.FILE, Digest.of(data), size_bytes)


@pytest.mark.parametrize(
    "size_bytes",
    [WHOLE_FILE_BYTES_MAX + 1, 3 << 20, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1, 2 * BLOCK_BYTES, 40_000_000],
)
def test_a_large_file_is_cut_as_if_it_were_in_memory(
    client: Client, session: UploadSession, tmp_path: Path, size_bytes: int
) -> None:
    data = RND.randbytes(size_bytes)
    content = session.add_file(_file(tmp_path / "f", data))
    _seal(session, {"f": content})
    lengths = cut_points(data)
    if len(lengths) == 1:
        assert content == FileContent(EntryKind.FILE, Digest.of(data), size_bytes)
        return
    recipe = decode_recipe(bytes(client.objects.read("vision", content.key)))
    assert [chunk.size_bytes for chunk in recipe.chunks()] == lengths
    assert recipe.file_digest == Digest.of(data)
    pieces = client.objects.read_many("vision", list(recipe.children()))
    assert b"".join(bytes(piece) for piece in pieces) == data


def test_equal_contents_are_packed_once(client: Client, session: UploadSession, tmp_path: Path) -> None:
    data = RND.randbytes(3 << 20)
    names = [f"f{i}" for i in range(5)]
    contents = {name: session.add_file(_file(tmp_path / name, data)) for name in names}
    contents |= {f"s{i}": session.add_file(_file(tmp_path / f"s{i}", b"same")) for i in range(5)}
    _seal(session, contents)
    keys = [key for pack in _packs(client) for key in pack]
    assert len(keys) == len(set(keys)) == session.sent.object_count


def test_content_goes_into_one_pack_and_structure_into_another_in_the_order_it_came(
    client: Client, session: UploadSession, tmp_path: Path
) -> None:
    contents = {f"f{i:03}": session.add_file(_file(tmp_path / "f", RND.randbytes(2000))) for i in range(300)}
    contents["large"] = session.add_file(_file(tmp_path / "f", RND.randbytes(4 << 20)))
    root = _seal(session, contents)
    data, structure = _packs(client) if len(_packs(client)[0]) > 2 else reversed(_packs(client))
    assert [key.digest for key in data[:300]] == [contents[f"f{i:03}"].digest for i in range(300)]
    assert structure == [contents["large"].key, ObjectKey(ObjectKind.TREE, root)]


def test_packs_are_about_32_mib(client: Client, session: UploadSession, tmp_path: Path) -> None:
    content = session.add_file(_file(tmp_path / "f", RND.randbytes(100 << 20)))
    _seal(session, {"f": content})
    assert isinstance(client.registry, EmbeddedRegistry)
    sizes = sorted(path.stat().st_size for path in client.registry.layout.packs.glob("*/*/*.pack"))
    assert len(sizes) == 5
    assert sizes[-1] <= 33 << 20


def test_what_the_project_has_is_not_sent_again(client: Client, tmp_path: Path) -> None:
    data = RND.randbytes(5 << 20)
    for expected_new in (True, False):
        session = client.uploads.open("vision")
        _seal(session, {"f": session.add_file(_file(tmp_path / "f", data))})
        assert (session.sent.object_count > 0, session.sent.stored_bytes > 0) == (expected_new, expected_new)


def test_several_threads_add_files_at_once(client: Client, session: UploadSession, tmp_path: Path) -> None:
    files = {f"f{i}": RND.randbytes(RND.randrange(3 << 20)) for i in range(40)}
    for name, data in files.items():
        _file(tmp_path / name, data)
    with ThreadPoolExecutor(4) as threads:
        contents = dict(zip(files, threads.map(lambda name: session.add_file(tmp_path / name), files), strict=True))
    root = _seal(session, contents)
    assert [found.entry.size_bytes for found in TreeReader(client.objects, "vision").list(root)] == [
        len(data) for _, data in sorted(files.items())
    ]


def test_a_file_that_is_written_while_it_is_read_is_refused(session: UploadSession, tmp_path: Path) -> None:
    path = _file(tmp_path / "f", RND.randbytes(20 << 20))

    def append(_: int) -> None:
        with path.open("ab") as file:
            file.write(b"more")

    with pytest.raises(FileChanged, match=str(path)):
        session.add_file(path, append)


def test_a_file_that_changed_once_is_read_again(session: UploadSession, tmp_path: Path) -> None:
    path = _file(tmp_path / "f", RND.randbytes(20 << 20))
    changed = threading.Event()

    def rewrite(_: int) -> None:
        if not changed.is_set():
            changed.set()
            path.write_bytes(b"x" * (10 << 20))

    assert session.add_file(path, rewrite).size_bytes == 10 << 20


def test_a_file_rewritten_in_place_with_the_old_length_and_mtime_is_noticed(
    session: UploadSession, tmp_path: Path
) -> None:
    path = _file(tmp_path / "f", bytes(20 << 20))
    before = path.stat()

    def forge(_: int) -> None:
        with path.open("r+b") as file:
            file.write(os.urandom(8))
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    with pytest.raises(FileChanged):
        session.add_file(path, forge)


def test_what_is_no_file_or_is_gone_is_named(session: UploadSession, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(UnsupportedFile, match="fifo"):
        session.add_file(tmp_path / "fifo")
    with pytest.raises(FileChanged, match="vanished"):
        session.add_file(tmp_path / "nothing")
    (tmp_path / "link").symlink_to("fifo")
    with pytest.raises(StorageFailed, match="link"):
        session.add_file(tmp_path / "link")


def test_an_abandoned_session_leaves_nothing(client: Client, tmp_path: Path) -> None:
    session = client.uploads.open("vision")
    session.add_file(_file(tmp_path / "f", RND.randbytes(70 << 20)))
    session.abandon()
    assert _packs(client) == []
    assert list(client.registry.spool.iterdir()) == []


def test_a_closed_session_leaves_no_unfinished_pack(client: Client, tmp_path: Path) -> None:
    session = client.uploads.open("vision")
    session.add_file(_file(tmp_path / "f", RND.randbytes(40 << 20)))
    session.close()
    session.close()
    assert list(client.registry.spool.iterdir()) == []


def test_ensure_names_what_must_be_added_again_and_holds_the_rest(client: Client, tmp_path: Path) -> None:
    first = client.uploads.open("vision")
    stored = first.add_file(_file(tmp_path / "f", RND.randbytes(3 << 20)))
    first.flush()
    second = client.uploads.open("vision")
    lost = FileContent(EntryKind.FILE, Digest.of(b"lost"), 4)
    assert second.ensure([stored, lost]) == [lost]
    first.abandon()  # what the second holds must stay
    assert _seal(second, {"f": stored})


@pytest.mark.parametrize("knows", [True, False], ids=["by both clocks", "by the registry's alone"])
def test_a_session_goes_on_after_its_draft_expired(tmp_path: Path, *, knows: bool) -> None:
    clock = Clock()
    registry = EmbeddedRegistry(tmp_path / "registry", clock=clock)
    registry.projects.create("vision")
    uploads = Uploads(registry, clock if knows else Clock())  # which is days behind by then
    session = uploads.open("vision")
    early = session.add_file(_file(tmp_path / "early", b"early"))
    session.flush()
    clock.advance_s(3 * 24 * 3600)
    registry.drafts.open("vision")  # sweeps what expired
    late = session.add_file(_file(tmp_path / "late", b"late"))
    assert session.ensure([early, late]) == [early]
    assert session.add_file(tmp_path / "early") == early
    _seal(session, {"early": early, "late": late})
    uploads.close()
    registry.close()


def test_a_long_upload_renews_its_draft_in_time(tmp_path: Path) -> None:
    clock = Clock()
    registry = EmbeddedRegistry(tmp_path / "registry", clock=clock)
    registry.projects.create("vision")
    uploads = Uploads(registry, clock)
    session = uploads.open("vision")
    contents = {}
    for i in range(6):
        contents[f"f{i}"] = session.add_file(_file(tmp_path / "f", b"%d" % i))
        session.flush()
        clock.advance_s(13 * 3600)
    _seal(session, contents)
    uploads.close()
    registry.close()


def test_a_session_whose_spool_failed_can_add_everything_again(client: Client, tmp_path: Path) -> None:
    session = client.uploads.open("vision")
    spool = client.registry.spool
    path = _file(tmp_path / "f", RND.randbytes(500_000))
    session.add_file(path)
    spool.rename(spool.with_name("away"))
    with pytest.raises((StorageFailed, StorageFull)):
        session.flush()
    spool.with_name("away").rename(spool)
    content = FileContent(EntryKind.FILE, Digest.of(path.read_bytes()), 500_000)
    assert session.ensure([content]) == [content]
    assert session.add_file(path) == content
    _seal(session, {"f": content})


def test_a_page_whose_children_were_not_sent_is_refused(session: UploadSession) -> None:
    entry = Entry("f", EntryKind.FILE, Digest.of(b"never sent"), 10)
    build_directory([entry], session.store_page)
    with pytest.raises(ObjectMissing):
        session.flush()


def test_chunks_are_read_with_bounded_buffers_and_end_with_the_file(tmp_path: Path) -> None:
    from hashlib import sha256

    data = RND.randbytes(50_000_000)
    path = _file(tmp_path / "f", data)
    whole = sha256()
    fd = os.open(path, os.O_RDONLY)
    try:
        with ThreadPoolExecutor(2) as threads:
            seen = b"".join(bytes(chunk) for block in chunks_of(fd, threads, whole) for _, chunk in block)
    finally:
        os.close(fd)
    assert seen == data
    assert whole.digest() == Digest.of(data)
