"""Adding references and reading what they refer to, over real HTTP: content, verification, laziness, what may be followed."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from random import Random
from shutil import rmtree

import pytest

from artfs.cache.object_cache import ObjectCache
from artfs.client.client import Client
from artfs.client.compare import verify
from artfs.client.files import FileReader
from artfs.client.get import Getter
from artfs.client.references.http_source import HttpSource
from artfs.client.references.policy import Policy
from artfs.client.references.references import References
from artfs.client.version_tree import build_tree
from artfs.errors import InvalidValue, ReferenceChanged, ReferenceForbidden, ReferenceUnavailable, UnsupportedFile
from artfs.model.content import FileContent
from artfs.model.tree import Entry, EntryKind
from artfs.registry.embedded import EmbeddedRegistry
from artfs.vfs.ports import OpenReference
from tests.integration.referring import add_references
from tests.network.web import Web, web

pytestmark = [pytest.mark.falsifies("references", "verified")]

MIB = 1 << 20
BODY = Random(1).randbytes(5 * MIB + 123)
OTHER = Random(2).randbytes(5 * MIB + 123)
LOCAL = Policy(hosts=["127.0.0.1"])


@pytest.fixture
def server() -> Iterator[Web]:
    with web() as served:
        yield served


class Reader:
    """A client of one machine, with what it keeps on disk; `again` is its next process."""

    def __init__(self, root: Path, *, policy: Policy = LOCAL, cache_bytes: int = 64 * MIB) -> None:
        self.root = root
        self._policy = policy
        self._cache_bytes = cache_bytes
        self._open: list[Client] = []
        self.again()

    def again(self) -> None:
        self.close()
        cache = ObjectCache(self.root / "cache", self._cache_bytes) if self._cache_bytes else None
        references = References(self._policy, cache=cache, seen=self.root / "references.db")
        self.client = Client(EmbeddedRegistry(self.root / "registry"), references=references)
        self.client.registry.projects.create("p", exist_ok=True)
        self._open.append(self.client)

    def close(self) -> None:
        while self._open:
            self._open.pop().close()

    def add(
        self, uri: str, name: str | None = None, *, checksum: bool = True, max_objects: int = 100
    ) -> dict[str, Entry]:
        return add_references(self.client, "p", uri, name, checksum=checksum, max_objects=max_objects)

    def one(self, uri: str, *, checksum: bool = True) -> Entry:
        (entry,) = self.add(uri, checksum=checksum).values()
        return entry

    def open(self, entry: Entry) -> OpenReference:
        return self.client.objects.open_references("p", [(FileContent.of(entry), "")])[0]

    def read(self, entry: Entry) -> bytes:
        return b"".join(FileReader(self.client.objects, "p").stream(FileContent.of(entry)))


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    made = Reader(tmp_path)
    yield made
    made.close()


def test_adding_by_etag_reads_no_bytes_and_reading_gives_them(server: Web, reader: Reader) -> None:
    entry = reader.one(server.put("/data/a.bin", BODY))
    assert (entry.name, entry.kind, entry.size_bytes) == ("a.bin", EntryKind.REFERENCE, len(BODY))
    assert server.gets() == []
    assert reader.open(entry).reference.etag == server.pages["/data/a.bin"].told_etag
    assert reader.read(entry) == BODY


def test_a_range_is_read_lazily(server: Web, reader: Reader) -> None:
    opened = reader.open(reader.one(server.put("/a.bin", BODY)))
    assert bytes(opened.read(3 * MIB + 5, 100)) == BODY[3 * MIB + 5 : 3 * MIB + 105]
    assert [request.range for request in server.gets()] == [f"bytes={3 * MIB}-{4 * MIB - 1}"]
    assert bytes(opened.read(len(BODY) - 10, 100)) == BODY[-10:]
    assert opened.read(len(BODY), 10) == b""


def test_reading_in_order_asks_for_more_at_once(server: Web, reader: Reader) -> None:
    opened = reader.open(reader.one(server.put("/a.bin", BODY)))
    step = 128 << 10
    assert b"".join(opened.read(offset, step) for offset in range(0, len(BODY), step)) == BODY
    assert [request.range for request in server.gets()] == [
        f"bytes=0-{MIB - 1}",
        f"bytes={MIB}-{3 * MIB - 1}",
        f"bytes={3 * MIB}-{len(BODY) - 1}",
    ]


def test_sixteen_readers_of_one_cold_block_cause_one_request(server: Web, reader: Reader) -> None:
    gate = threading.Event()
    opened = reader.open(reader.one(server.put("/a.bin", BODY, gate=gate)))
    with ThreadPoolExecutor(16) as readers:
        reading = [readers.submit(opened.read, 10, 10) for _ in range(16)]
        gate.set()
        assert {bytes(one.result(30)) for one in reading} == {BODY[10:20]}
    assert len(server.gets()) == 1


def test_what_was_read_is_found_again_after_a_restart_and_needs_no_server(server: Web, reader: Reader) -> None:
    entry = reader.one(server.put("/a.bin", BODY))
    assert reader.read(entry) == BODY
    server.requests.clear()
    reader.again()
    assert reader.read(entry) == BODY
    assert server.requests == []
    assert reader.open(entry).held(0, 10) == BODY[:10]


@pytest.mark.parametrize("how", [{"etag": "none"}, {"etag": "weak"}], ids=["no etag", "weak etag"])
def test_without_a_strong_etag_the_source_is_read_once_and_every_block_is_verified(
    server: Web, reader: Reader, how: dict[str, str]
) -> None:
    entry = reader.one(server.put("/a.bin", BODY, **how))
    assert len(server.gets()) == 1
    reference = reader.open(entry).reference
    assert reference.sha256 == sha256(BODY).digest()
    assert reference.block_digest(5) == sha256(BODY[5 * MIB :]).digest()
    server.put("/a.bin", BODY[: 3 * MIB] + bytes(1) + BODY[3 * MIB + 1 :], **how)
    opened = reader.open(entry)
    assert bytes(opened.read(0, 2 * MIB)) == BODY[: 2 * MIB]
    with pytest.raises(ReferenceChanged, match="other ones"):
        opened.read(3 * MIB, 10)


def test_a_source_that_changes_between_two_reads_of_an_open_file_is_never_mixed(server: Web, reader: Reader) -> None:
    opened = reader.open(reader.one(server.put("/a.bin", BODY)))
    assert bytes(opened.read(0, 100)) == BODY[:100]
    server.put("/a.bin", OTHER)
    with pytest.raises(ReferenceChanged):
        opened.read(2 * MIB, 100)
    assert bytes(opened.read(200, 100)) == BODY[200:300]  # what was read before stays readable


def test_a_server_that_ignores_preconditions_is_seen_through(server: Web, reader: Reader) -> None:
    opened = reader.open(reader.one(server.put("/a.bin", BODY, ranges=False)))
    server.put("/a.bin", OTHER, ranges=False)
    with pytest.raises(ReferenceChanged, match="another ETag"):
        opened.read(2 * MIB, 100)


@pytest.mark.parametrize("other", [BODY[:-1], BODY + b"x"], ids=["shorter", "longer"])
def test_another_size_is_a_change_whatever_the_etag(server: Web, reader: Reader, other: bytes) -> None:
    opened = reader.open(reader.one(server.put("/a.bin", BODY, lies='"same"')))
    server.put("/a.bin", other, lies='"same"')
    with pytest.raises(ReferenceChanged, match="bytes, not"):
        opened.read(0, 100)


def test_a_lying_etag_cannot_change_a_block_that_was_read(server: Web, reader: Reader) -> None:
    entry = reader.one(server.put("/a.bin", BODY, lies='"same"'))
    assert bytes(reader.open(entry).read(0, 100)) == BODY[:100]
    reader.client.close()
    (reader.root / "cache").rename(reader.root / "elsewhere")  # evicted
    server.put("/a.bin", OTHER, lies='"same"')
    reader.again()
    with pytest.raises(ReferenceChanged, match="other ones"):
        reader.open(entry).read(0, 100)


def test_size_alone_pins_the_state_that_is_read_first(server: Web, reader: Reader) -> None:
    entry = reader.one(server.put("/a.bin", BODY, etag="none", modified_s_ago=5000), checksum=False)
    assert server.gets() == []
    assert bytes(reader.open(entry).read(0, 100)) == BODY[:100]
    server.put("/a.bin", OTHER, etag="none", modified_s_ago=50)
    with pytest.raises(ReferenceChanged, match="another state"):
        reader.open(entry).read(2 * MIB, 100)
    reader.again()
    with pytest.raises(ReferenceChanged, match="another state"):
        reader.open(entry).read(2 * MIB, 100)


@pytest.mark.parametrize("modified_s_ago", [None, 0], ids=["no time", "a time too young"])
def test_a_source_without_any_state_is_read_as_one_stream(
    server: Web, reader: Reader, modified_s_ago: int | None
) -> None:
    entry = reader.one(server.put("/a.bin", BODY, etag="none", modified_s_ago=modified_s_ago), checksum=False)
    opened = reader.open(entry)
    assert bytes(opened.read(2 * MIB, 100)) == BODY[2 * MIB :][:100]
    server.put("/a.bin", OTHER, etag="none", modified_s_ago=modified_s_ago)
    assert bytes(opened.read(0, 100)) == BODY[:100]
    assert bytes(opened.read(4 * MIB, 100)) == BODY[4 * MIB :][:100]


def test_a_source_that_ignores_ranges_is_read_once(server: Web, reader: Reader) -> None:
    entry = reader.one(server.put("/a.bin", BODY, ranges=False))
    opened = reader.open(entry)
    assert bytes(opened.read(4 * MIB, 100)) == BODY[4 * MIB :][:100]
    asked = len(server.gets())
    assert reader.read(entry) == BODY
    assert len(server.gets()) == asked <= 2


def test_what_does_not_fit_into_the_cache_is_fetched_again_and_verified(server: Web, tmp_path: Path) -> None:
    reader = Reader(tmp_path, cache_bytes=0)
    entry = reader.one(server.put("/a.bin", BODY))
    assert reader.read(entry) == BODY
    reader.again()
    assert reader.read(entry) == BODY
    reader.close()


@pytest.mark.parametrize("status", [404, 403, 500, 503])
def test_a_source_that_is_gone_is_unavailable(server: Web, reader: Reader, status: int) -> None:
    entry = reader.one(server.put("/a.bin", BODY))
    server.pages["/a.bin"].status = status
    with pytest.raises(ReferenceUnavailable, match=str(status)):
        reader.open(entry).read(0, 10)


def test_a_dead_server_is_unavailable_and_soon_not_asked_again(server: Web, reader: Reader) -> None:
    with web() as mortal:
        entry = reader.one(mortal.put("/a.bin", BODY))
    with pytest.raises(ReferenceUnavailable, match="cannot read"):
        reader.open(entry).read(0, 10)
    with pytest.raises(ReferenceUnavailable, match="does not answer"):
        reader.open(entry).read(0, 10)


def test_one_page_that_fails_does_not_cut_off_its_host(server: Web, reader: Reader) -> None:
    bad, good = reader.one(server.put("/bad.bin", BODY)), reader.one(server.put("/good.bin", OTHER))
    server.pages["/bad.bin"].status = 500
    with pytest.raises(ReferenceUnavailable, match="500"):
        reader.open(bad).read(0, 10)
    assert bytes(reader.open(good).read(0, 10)) == OTHER[:10]


def test_a_body_that_is_cut_is_asked_for_again(server: Web, reader: Reader) -> None:
    entry = reader.one(server.put("/a.bin", BODY, drops_after=1000, drops=1))
    assert bytes(reader.open(entry).read(0, 10)) == BODY[:10]
    server.put("/a.bin", BODY, drops_after=1000)
    with pytest.raises(ReferenceUnavailable, match="IncompleteRead"):
        reader.open(entry).read(MIB, 10)


def test_head_is_not_needed(server: Web, reader: Reader) -> None:
    entry = reader.one(server.put("/a.bin", BODY, head=False))
    assert [request.range for request in server.gets()] == ["bytes=0-0"]
    assert reader.read(entry) == BODY


def test_a_source_that_does_not_say_how_long_it_is_can_be_added_with_checksum_only(server: Web, reader: Reader) -> None:
    uri = server.put("/a.bin", BODY, etag="none", ranges=False, says_length=False)
    with pytest.raises(ReferenceUnavailable, match="how long"):
        reader.one(uri, checksum=False)
    assert reader.read(reader.one(uri)) == BODY


def test_an_empty_source(server: Web, reader: Reader) -> None:
    assert reader.read(reader.one(server.put("/a", b"", etag="none"))) == b""
    assert reader.read(reader.one(server.put("/b", b""))) == b""


def test_names(server: Web, reader: Reader) -> None:
    uri = server.put("/data/a%20b.bin", b"x")
    assert [*reader.add(uri)] == ["a b.bin"]
    assert [*reader.add(uri, "dir/c.bin")] == ["dir/c.bin"]
    assert reader.add(uri, "dir/c.bin")["dir/c.bin"].name == "c.bin"
    root = server.put("/", b"x")
    assert [*reader.add(root, "root")] == ["root"]
    with pytest.raises(InvalidValue, match="no name"):
        reader.add(root)


def test_a_redirect_is_followed_and_judged_at_each_hop(server: Web, tmp_path: Path) -> None:
    with web("127.0.0.2") as elsewhere:
        target = elsewhere.put("/a.bin", BODY)
        uri = server.put("/moved.bin", b"", location=target)
        strict = Reader(tmp_path / "strict")
        with pytest.raises(ReferenceForbidden, match=r"127\.0\.0\.2"):
            strict.one(uri)
        assert elsewhere.requests == []
        strict.close()
        reader = Reader(tmp_path / "open", policy=Policy(hosts=["127.0.0.*"]))
        assert reader.read(reader.one(uri)) == BODY
        server.put("/moved.bin", b"", location="/moved.bin")
        with pytest.raises(ReferenceUnavailable, match="redirects more than"):
            reader.one(uri)
        server.put("/moved.bin", b"", location="file:///etc/passwd")
        with pytest.raises(ReferenceUnavailable, match="no URL"):
            reader.one(uri)
        reader.close()


def test_a_name_that_leads_elsewhere_when_it_is_connected_to_gets_no_request(server: Web, tmp_path: Path) -> None:
    """The name is looked up twice, as by a rebinding attacker: a public address when it is judged, loopback when it is used."""
    policy = Policy(resolve=lambda host, port: ["93.184.216.34"])
    reader = Reader(tmp_path, policy=policy)
    with pytest.raises(ReferenceForbidden, match="localhost"):
        reader.one(server.put("/a.bin", BODY).replace("127.0.0.1", "localhost"))
    assert server.requests == []
    reader.close()


def test_what_a_version_refers_to_is_judged_when_it_is_read(server: Web, reader: Reader, tmp_path: Path) -> None:
    entry = reader.one(server.put("/a.bin", BODY))
    server.requests.clear()
    reader.close()
    strict = Reader(tmp_path, policy=Policy())
    with pytest.raises(ReferenceForbidden):
        strict.open(entry).read(0, 10)
    assert server.requests == []
    strict.close()


def test_a_server_that_says_nothing_is_given_up_in_time(tmp_path: Path, server: Web) -> None:
    policy = LOCAL
    source = HttpSource(policy, call_s=1.0)
    gate = threading.Event()
    uri = server.put("/a.bin", BODY, gate=gate)
    try:
        with pytest.raises(ReferenceUnavailable, match="did not finish in time"):
            source.receive(uri, (0, 100), "", 0, lambda told, pieces: b"".join(map(bytes, pieces)))
    finally:
        gate.set()
        source.close()


def test_the_cache_limit_holds_for_references(server: Web, tmp_path: Path) -> None:
    reader = Reader(tmp_path, cache_bytes=8 * MIB)
    bodies = [Random(seed).randbytes(4 * MIB) for seed in range(6)]
    entries = [reader.one(server.put(f"/{i}.bin", body)) for i, body in enumerate(bodies)]
    for entry, body in zip(entries, bodies, strict=True):
        assert reader.read(entry) == body
        held = sum(file.stat().st_blocks * 512 for file in (tmp_path / "cache").rglob("*") if file.is_file())
        assert held <= 8 * MIB
    assert reader.read(entries[0]) == bodies[0]
    reader.close()


def test_a_damaged_cache_is_fetched_again(server: Web, reader: Reader) -> None:
    entry = reader.one(server.put("/a.bin", BODY))
    assert reader.read(entry) == BODY
    reader.close()
    for segment in (reader.root / "cache").rglob("segments/*"):
        data = bytearray(segment.read_bytes())
        for position in range(1 << 16, len(data), 4096):
            data[position] ^= 0xFF
        segment.write_bytes(data)
    reader.again()
    server.requests.clear()
    assert reader.read(entry) == BODY
    assert server.gets()


@pytest.mark.parametrize("etag", ["strong", "none"])
def test_what_was_got_is_known_to_be_what_is_referred_to(
    server: Web, reader: Reader, tmp_path: Path, etag: str
) -> None:
    entry = reader.one(server.put("/a.bin", BODY, etag=etag))
    session = reader.client.uploads.open("p")
    root = build_tree([("dir/a.bin", entry)], session.store_page)
    session.flush()
    session.close()
    assert Getter(reader.client.objects, "p").get_tree(root, tmp_path / "got").bytes_written == len(BODY)
    assert [*verify(reader.client.objects, "p", root, tmp_path / "got")] == []
    assert Getter(reader.client.objects, "p").get_tree(root, tmp_path / "got").bytes_written == 0
    (tmp_path / "got/dir/a.bin").write_bytes(OTHER)
    assert [found.what for found in verify(reader.client.objects, "p", root, tmp_path / "got")] == ["has other content"]
    assert Getter(reader.client.objects, "p").get_tree(root, tmp_path / "got").bytes_written == len(BODY)
    assert (tmp_path / "got/dir/a.bin").read_bytes() == BODY


def test_a_get_of_a_changed_source_leaves_no_file(server: Web, reader: Reader, tmp_path: Path) -> None:
    entry = reader.one(server.put("/a.bin", BODY))
    session = reader.client.uploads.open("p")
    root = build_tree([("a.bin", entry)], session.store_page)
    session.flush()
    session.close()
    assert bytes(reader.open(entry).read(0, 10)) == BODY[:10]
    server.put("/a.bin", OTHER)
    with pytest.raises(ReferenceChanged):
        Getter(reader.client.objects, "p").get_tree(root, tmp_path / "got")
    assert [*(tmp_path / "got").iterdir()] == []


def test_files_and_directories(reader: Reader, tmp_path: Path) -> None:
    data = tmp_path / "d a%ta"
    (data / "sub").mkdir(parents=True)
    (data / "a.bin").write_bytes(BODY)
    (data / "sub/b.bin").write_bytes(b"b")
    (data / "link").symlink_to("a.bin")
    entries = reader.add(data.as_uri())
    assert sorted(entries) == ["a.bin", "link", "sub/b.bin"]
    assert sorted(reader.add(data.as_uri(), "below")) == ["below/a.bin", "below/link", "below/sub/b.bin"]
    assert [*reader.add((data / "a.bin").as_uri(), "c.bin")] == ["c.bin"]
    assert reader.open(entries["a.bin"]).reference.sha256 == sha256(BODY).digest()
    assert reader.read(entries["a.bin"]) == reader.read(entries["link"]) == BODY
    with pytest.raises(InvalidValue, match="more than 2 objects"):
        reader.add(data.as_uri(), max_objects=2)
    with pytest.raises(ReferenceUnavailable, match="No such file"):
        reader.add((tmp_path / "nothing").as_uri())
    os.mkfifo(data / "fifo")
    with pytest.raises(UnsupportedFile, match="fifo"):
        reader.add(data.as_uri())
    with pytest.raises(InvalidValue, match="file of this machine"):
        reader.add("file://elsewhere/a")


@pytest.mark.parametrize("checksum", [True, False])
def test_a_changed_file_is_told(reader: Reader, tmp_path: Path, checksum: bool) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(BODY)
    entry = reader.one(path.as_uri(), checksum=checksum)
    os.utime(path, ns=(1, path.stat().st_mtime_ns))
    opened = reader.open(entry)
    assert bytes(opened.read(0, 10)) == BODY[:10]
    path.write_bytes(OTHER)
    with pytest.raises(ReferenceChanged):
        opened.read(2 * MIB, 10)
    path.write_bytes(BODY[:100])
    with pytest.raises(ReferenceChanged, match="bytes, not"):
        reader.open(entry).read(3 * MIB, 10)
    path.unlink()
    with pytest.raises(ReferenceUnavailable):
        reader.open(entry).read(3 * MIB, 10)


def test_with_a_checksum_a_file_may_be_touched(reader: Reader, tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(BODY)
    checked, unchecked = reader.one(path.as_uri()), reader.one(path.as_uri(), checksum=False)
    os.utime(path, ns=(1, 1))
    assert reader.read(checked) == BODY
    with pytest.raises(ReferenceChanged):
        reader.read(unchecked)


def test_two_processes_agree_on_the_state_of_a_source_that_tells_none(server: Web, tmp_path: Path) -> None:
    """The second one reads what the first has seen, or an error; never its own state beside the first one's."""
    here, there = Reader(tmp_path), Reader(tmp_path)
    entry = here.one(server.put("/a.bin", BODY, etag="none"), checksum=False)
    assert bytes(here.open(entry).read(0, 100)) == BODY[:100]
    server.put("/a.bin", OTHER, etag="none")
    assert bytes(there.open(entry).read(3 * MIB, 100)) == BODY[3 * MIB :][:100]  # it is in the cache that they share
    here.close()
    there.close()
    rmtree(tmp_path / "cache")
    alone = Reader(tmp_path)
    with pytest.raises(ReferenceChanged, match="other ones"):
        alone.open(entry).read(0, 100)
    alone.close()


def test_a_damaged_memory_of_what_was_read_costs_no_more_than_reading_again(server: Web, tmp_path: Path) -> None:
    (tmp_path / "references.db").write_bytes(b"this is no database" * 1000)
    reader = Reader(tmp_path)
    entry = reader.one(server.put("/a.bin", BODY))
    assert reader.read(entry) == BODY
    reader.again()
    assert reader.read(entry) == BODY
    reader.close()
