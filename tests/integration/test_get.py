"""`get`: only what differs is written, whole files appear, and nothing is ever written outside the root."""

from __future__ import annotations

import os
import random
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Event

import msgspec
import pytest

from artfs.client.client import Client
from artfs.client.compare import Difference, verify
from artfs.client.files import FileReader
from artfs.client.get import GetResult, Getter, default_root
from artfs.client.objects import ObjectReader
from artfs.client.trees import TreeReader
from artfs.errors import AlreadyExists, DamagedObject, DamagedPack, InvalidName
from artfs.model.digest import Digest, ObjectKey
from artfs.registry.embedded import EmbeddedRegistry
from artfs.vfs.ports import Bytes
from artfs.wire.records import VersionRecord
from tests.contract.uploading import Tree, commit, content_of

pytestmark = [pytest.mark.falsifies("verified", "hostile", "whole")]

RND = random.Random(17)
LARGE = RND.randbytes(12 << 20)
BIKES: Tree = {
    "images": {"1.png": b"one", "2.png": b"two", "deep": {"3.png": b"three"}},
    "empty": {},
    "link": "images/1.png",
    "large.bin": LARGE,
    "none": b"",
}


@pytest.fixture
def tree(client: Client) -> Digest:
    return commit(client.registry, "vision", "bikes", BIKES, now_ns=7 * 10**17).version.digest


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "out"


def _get(client: Client, tree: Digest, root: Path) -> GetResult:
    return Getter(client.objects, "vision").get_tree(tree, root)


def _differences(client: Client, tree: Digest, root: Path) -> list[Difference]:
    return list(verify(client.objects, "vision", tree, root))


def test_a_version_becomes_a_directory(client: Client, tree: Digest, root: Path) -> None:
    result = _get(client, tree, root)
    assert _differences(client, tree, root) == []
    assert (root / "large.bin").read_bytes() == LARGE
    assert (result.files, result.files_written) == (6, 6)
    assert result.bytes_written == result.size_bytes == len(LARGE) + 11 + len("images/1.png")


def test_a_second_get_writes_nothing(client: Client, tree: Digest, root: Path) -> None:
    _get(client, tree, root)
    before = {path: path.lstat().st_ino for path in root.rglob("*")}
    assert (_get(client, tree, root).files_written, _get(client, tree, root).files) == (0, 6)
    assert {path: path.lstat().st_ino for path in root.rglob("*")} == before


def test_what_is_there_is_not_read_from_the_registry(client: Client, tree: Digest, root: Path) -> None:
    _get(client, tree, root)
    assert isinstance(client.registry, EmbeddedRegistry)
    fresh = Client(EmbeddedRegistry(client.registry.layout.root))
    _get(fresh, tree, root)
    chunk = next(key for key in content_of(BIKES).objects if key.digest == Digest.of(b"one"))
    assert fresh.objects.peek("vision", chunk) is None
    fresh.close()


def test_only_what_differs_is_written_whatever_its_time_and_size(client: Client, tree: Digest, root: Path) -> None:
    _get(client, tree, root)
    path = root / "images/1.png"
    times = path.stat()
    path.write_bytes(b"eno")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    (root / "images/2.png").unlink()
    with (root / "large.bin").open("r+b") as file:
        file.seek(5 << 20)
        file.write(b"!")
    result = _get(client, tree, root)
    assert (result.files_written, result.bytes_written) == (3, len(LARGE) + 6)
    assert _differences(client, tree, root) == []


def test_files_of_ones_own_stay(client: Client, tree: Digest, root: Path) -> None:
    (root / "images").mkdir(parents=True)
    (root / "images/mine").write_text("mine")
    _get(client, tree, root)
    assert (root / "images/mine").read_text() == "mine"


def test_no_temporary_file_is_left(client: Client, tree: Digest, root: Path) -> None:
    _get(client, tree, root)
    assert sorted(path.name for path in root.iterdir()) == ["empty", "images", "large.bin", "link", "none"]


def test_another_get_into_the_same_place_meanwhile_takes_nothing_away(client: Client, root: Path) -> None:
    names = [f"f{i:04}" for i in range(1200)]
    root.mkdir()
    for name in names:
        (root / name).write_bytes(b"something else")
    tree = commit(client.registry, "vision", "bikes", {name: name.encode() for name in names}).version.digest
    there: list[int] = []

    def get_too(_: GetResult) -> None:
        if not there:
            there.append(sum(path.name.startswith(".artfs-") for path in root.iterdir()))
            Getter(client.objects, "vision").get_tree(tree, root)
            there.append(sum(path.name.startswith(".artfs-") for path in root.iterdir()))

    Getter(client.objects, "vision", get_too).get_tree(tree, root)
    assert there == [1, 1]
    assert {path.name: path.read_bytes() for path in root.iterdir()} == {name: name.encode() for name in names}


def test_links_take_the_place_of_files_and_files_that_of_links(client: Client, tree: Digest, root: Path) -> None:
    root.mkdir()
    (root / "link").write_text("a file")
    (root / "none").symlink_to("elsewhere")
    _get(client, tree, root)
    assert os.readlink(root / "link") == "images/1.png"
    assert not (root / "none").is_symlink()
    assert sorted(path.name for path in root.iterdir()) == ["empty", "images", "large.bin", "link", "none"]


def test_times_are_when_the_content_entered(client: Client, tree: Digest, root: Path) -> None:
    _get(client, tree, root)
    assert (root / "images/1.png").stat().st_mtime_ns == 7 * 10**17
    os.utime(root / "images/1.png")
    _get(client, tree, root)
    assert (root / "images/1.png").stat().st_mtime_ns == 7 * 10**17


def test_modes_follow_the_umask_and_the_executable_bit(client: Client, tmp_path: Path, root: Path) -> None:
    from artfs.client.put import put
    from artfs.wire.records import NO_ROOT, SealRequest

    (tmp_path / "s").mkdir()
    for name, mode in (("run", 0o755), ("data", 0o600)):
        (tmp_path / "s" / name).write_text(name)
        (tmp_path / "s" / name).chmod(mode)
    tree = put(client, "vision", tmp_path / "s", SealRequest("tools", NO_ROOT)).version.digest
    mask = os.umask(0o027)
    try:
        _get(client, tree, root)
    finally:
        os.umask(mask)
    assert stat.S_IMODE((root / "run").stat().st_mode) == 0o750
    assert stat.S_IMODE((root / "data").stat().st_mode) == 0o640
    (root / "run").chmod(0o640)
    (root / "data").chmod(0o755)
    assert _get(client, tree, root).files_written == 0
    assert stat.S_IMODE((root / "run").stat().st_mode) == 0o750
    assert stat.S_IMODE((root / "data").stat().st_mode) == 0o644


def test_a_link_in_the_place_of_a_directory_is_not_followed(client: Client, tree: Digest, root: Path) -> None:
    outside = root.with_name("outside")
    outside.mkdir()
    root.mkdir()
    (root / "images").symlink_to(outside)
    _get(client, tree, root)
    assert list(outside.iterdir()) == []
    assert _differences(client, tree, root) == []


def test_a_link_in_the_place_of_a_file_is_replaced_not_written_through(
    client: Client, tree: Digest, root: Path
) -> None:
    outside = root.with_name("outside")
    outside.write_bytes(b"one")
    (root / "images").mkdir(parents=True)
    (root / "images/1.png").symlink_to(outside)
    (root / "none").symlink_to("nowhere")
    _get(client, tree, root)
    assert outside.read_bytes() == b"one"
    assert not (root / "images/1.png").is_symlink()
    assert _differences(client, tree, root) == []


def test_a_file_with_another_name_elsewhere_is_not_changed_through_a_hard_link(
    client: Client, tree: Digest, root: Path
) -> None:
    outside = root.with_name("outside")
    outside.write_bytes(b"xxx")
    (root / "images").mkdir(parents=True)
    os.link(outside, root / "images/1.png")
    _get(client, tree, root)
    assert outside.read_bytes() == b"xxx"


def test_a_version_whose_link_points_out_is_not_followed_by_its_own_files(client: Client, root: Path) -> None:
    """What an honest put refuses, a hostile client may have committed: first a link, then a directory of its name."""
    outside = root.with_name("outside")
    outside.mkdir()
    first = commit(client.registry, "vision", "bikes", {"d": str(outside)}).version.digest
    second = commit(client.registry, "vision", "bikes", {"d": {"f": b"evil"}}).version.digest
    _get(client, first, root)
    _get(client, second, root)
    assert list(outside.iterdir()) == []
    assert (root / "d/f").read_bytes() == b"evil"


def test_a_fifo_in_the_place_of_a_file_is_replaced(client: Client, tree: Digest, root: Path) -> None:
    root.mkdir()
    os.mkfifo(root / "none")
    os.mkfifo(root / "large.bin")
    _get(client, tree, root)
    assert _differences(client, tree, root) == []


def test_a_directory_in_the_place_of_a_file_is_named_and_kept(client: Client, tree: Digest, root: Path) -> None:
    (root / "images/1.png/mine").mkdir(parents=True)
    with pytest.raises(AlreadyExists, match=r"images/1\.png"):
        _get(client, tree, root)
    assert (root / "images/1.png/mine").is_dir()
    assert not [path for path in root.rglob("*") if path.name.endswith(".tmp")]


def test_the_root_may_be_reached_through_links_of_ones_own(client: Client, tree: Digest, root: Path) -> None:
    real = root.with_name("real")
    real.mkdir()
    root.symlink_to(real)
    _get(client, tree, root)
    assert (real / "images/1.png").read_bytes() == b"one"


def test_a_part_of_a_version_can_be_got(client: Client, tree: Digest, root: Path) -> None:
    trees = TreeReader(client.objects, "vision")
    getter = Getter(client.objects, "vision")
    getter.get_entry(trees.lookup(tree, ("images", "deep", "3.png")), root)
    getter.get_entry(trees.lookup(tree, ("link",)), root)
    getter.get_tree(trees.lookup(tree, ("images",)).entry.digest, root / "images")
    assert sorted(str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir()) == [
        *("3.png", "images/1.png", "images/2.png", "images/deep/3.png", "link")
    ]


@pytest.mark.parametrize("name", [b"one", b"large"])
def test_damage_is_reported_and_no_part_of_a_damaged_file_appears(
    client: Client, tree: Digest, root: Path, name: bytes
) -> None:
    assert isinstance(client.registry, EmbeddedRegistry)
    (pack,) = client.registry.layout.packs.glob("*/*/*.pack")
    data = bytearray(pack.read_bytes())
    at = data.index(b"one" if name == b"one" else LARGE[-1000:])
    data[at] ^= 1
    pack.chmod(0o600)
    pack.write_bytes(data)
    with pytest.raises((DamagedObject, DamagedPack)):
        _get(client, tree, root)
    path = root / ("images/1.png" if name == b"one" else "large.bin")
    assert not path.exists()
    assert not [path for path in root.rglob("*") if path.name.endswith(".tmp")]


def test_many_small_directories_come_out_with_few_open_descriptors(client: Client, root: Path) -> None:
    tree = commit(
        client.registry, "vision", "bikes", {f"d{i:04}": {"e": {"f": b"%d" % i}} for i in range(700)}
    ).version.digest
    seen: list[int] = []
    Getter(client.objects, "vision", lambda _: seen.append(_open_below(root))).get_tree(tree, root)
    assert _differences(client, tree, root) == []
    assert 0 < max(seen) < 250
    assert _open_below(root) == 0


def test_many_files_that_are_replaced_come_out_with_few_open_descriptors(client: Client, root: Path) -> None:
    names = [f"d{i:04}/e/f" for i in range(300)]
    for name in names:
        (root / name).parent.mkdir(parents=True)
        (root / name).write_bytes(b"something else")
    content = {f"d{i:04}": {"e": {"f": b"%d" % i}} for i in range(300)}
    tree = commit(client.registry, "vision", "bikes", content).version.digest
    seen: list[int] = []
    Getter(client.objects, "vision", lambda _: seen.append(_open_below(root))).get_tree(tree, root)
    assert _differences(client, tree, root) == []
    assert 0 < max(seen) < 500
    assert sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()) == names


def _open_below(root: Path) -> int:
    """How many descriptors of this process are of something in `root`."""
    count = 0
    for fd in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):
            count += os.readlink(f"/proc/self/fd/{fd}").startswith(str(root))
    return count


def test_progress_ends_at_the_result(client: Client, tree: Digest, root: Path) -> None:
    seen: list[int] = []
    result = Getter(client.objects, "vision", lambda so_far: seen.append(so_far.files)).get_tree(tree, root)
    assert seen == sorted(seen)
    assert seen[-1] == result.files == 6


class _HeldBack(ObjectReader):
    """Gives the end of a large file only when `moved` is set."""

    def __init__(self, registry: EmbeddedRegistry) -> None:
        super().__init__(registry)
        self.moved = Event()
        self.given_bytes = 0

    def read_many(self, project: str, keys: Sequence[ObjectKey], *, beside: bool = True, ahead: int = 0) -> list[Bytes]:
        if self.given_bytes > len(LARGE) // 2:
            assert self.moved.wait(10), "nothing was told of what has arrived"
        found = super().read_many(project, keys, beside=beside, ahead=ahead)
        self.given_bytes += sum(map(len, found))
        return found


def test_progress_moves_while_a_large_file_arrives(client: Client, tree: Digest, root: Path) -> None:
    assert isinstance(client.registry, EmbeddedRegistry)
    source = _HeldBack(client.registry)
    seen: list[int] = []

    def report(so_far: GetResult) -> None:
        seen.append(so_far.size_bytes)
        if len(LARGE) // 2 < so_far.size_bytes < len(LARGE):
            source.moved.set()

    result = Getter(source, "vision", report).get_tree(tree, root)
    source.close()
    assert source.moved.is_set()
    assert seen == sorted(seen)
    assert seen[-1] == result.size_bytes


def test_an_interrupted_get_does_not_finish_a_large_file(
    client: Client, tree: Digest, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(*_: object) -> Iterator[bytes]:
        for _piece in range(3000):
            time.sleep(0.01)
            yield b"x"

    def interrupt(_: GetResult) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(FileReader, "stream", slow)
    began_s = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        Getter(client.objects, "vision", interrupt).get_tree(tree, root)
    assert time.monotonic() - began_s < 10
    assert not (root / "large.bin").exists()
    assert not [path for path in root.rglob("*") if path.name.endswith(".tmp")]


def test_verify_names_what_is_missing_or_different_and_why(client: Client, tree: Digest, root: Path) -> None:
    _get(client, tree, root)
    (root / "images/1.png").write_bytes(b"eno")
    (root / "images/2.png").chmod(0o755)
    (root / "images/deep/3.png").unlink()
    (root / "images/deep").rmdir()
    (root / "large.bin").write_bytes(b"short")
    (root / "link").unlink()
    (root / "link").symlink_to("elsewhere")
    (root / "none").unlink()
    (root / "none").mkdir()
    (root / "extra").write_text("does not matter")
    assert _differences(client, tree, root) == [
        ("images/1.png", "has other content"),
        ("images/2.png", "is executable"),
        ("images/deep", "is missing"),
        ("large.bin", f"is 5 bytes, not {len(LARGE)}"),
        ("link", "points elsewhere"),
        ("none", "is not a file"),
    ]


def test_a_server_does_not_choose_where_a_version_is_put() -> None:
    told = VersionRecord("p", "it", 3, Digest.of(b""), "", "", {}, 0, 0, 0, "", [])
    assert default_root(told) == Path("artifacts/it:v3")
    for artifact in ("/etc/it", "../../it", ".."):
        with pytest.raises(InvalidName):
            default_root(msgspec.structs.replace(told, artifact=artifact))
