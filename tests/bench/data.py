"""What the benchmark reads and commits: made from a seed, so that every run everywhere has the same bytes.

A data set is a directory and the SHA-256 of each of its files; readers compare what they read with those. A million tiny files
are never made as files: they are streamed into a registry as the objects they are.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import random
import shutil
import struct
import sysconfig
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from artfs.model.digest import Digest, ObjectKey, ObjectKind
from artfs.model.tree import Entry, EntryKind
from artfs.model.tree_build import build_directory
from artfs.registry.embedded import EmbeddedRegistry
from artfs.wire.records import DraftRecord, SealRequest
from artfs.wire.service import Registry
from tests.contract.uploading import write_pack

SMALL_BYTES = (8 << 10, 16 << 10)
EPOCH_BYTES = (64 << 10, 128 << 10)
PIECE_BYTES = 1 << 20
PACK_OBJECTS = 8000
WORDS = 4096  # in the vocabulary of what is compressible
LARGE = "large.bin"


@dataclass(frozen=True)
class Sizes:
    """How much of everything."""

    small_files: int = 20_000
    small_directories: int = 100
    large_bytes: int = 1 << 30
    huge_bytes: int = 10 << 30
    tiny_files: int = 1_000_000
    tiny_directories: int = 1000
    modules: int = 600
    replaced_files: int = 200
    table_rows: int = 500_000
    tensors: int = 64
    epoch_files: int = 16_384

    @classmethod
    def quick(cls) -> Sizes:
        """Enough to run every line of the benchmark, too little to say how fast anything is."""
        return cls(
            small_files=1000,
            small_directories=5,
            large_bytes=64 << 20,
            huge_bytes=192 << 20,
            tiny_files=20_000,
            tiny_directories=20,
            modules=100,
            replaced_files=10,
            table_rows=20_000,
            tensors=8,
            epoch_files=8192,
        )


@dataclass(frozen=True)
class DataSet:
    """Files below `root`, and the digest of each (hexadecimal) by its path."""

    root: Path
    digests: dict[str, str]

    @property
    def paths(self) -> list[str]:
        return sorted(self.digests)

    @property
    def size_bytes(self) -> int:
        return sum((self.root / path).stat().st_size for path in self.digests)

    def shuffled(self, seed: int) -> list[str]:
        return random.Random(seed).sample(self.paths, len(self.digests))

    def part(self, paths: list[str]) -> DataSet:
        return DataSet(self.root, {path: self.digests[path] for path in paths})


def small_files(root: Path, sizes: Sizes, *, seed: int = 1, compressible: bool = True) -> DataSet:
    """Files of 8 to 16 KiB in directories; every second one is words, the rest is noise (or all, unless `compressible`)."""
    choose = random.Random(seed)
    vocabulary = [choose.randbytes(6).hex().encode()[: choose.randint(2, 12)] for _ in range(WORDS)]
    a_directory = max(1, sizes.small_files // sizes.small_directories)
    digests = {}
    for number in range(sizes.small_files):
        size_bytes = choose.randint(*SMALL_BYTES)
        words = compressible and number % 2 == 0
        data = _words(choose, vocabulary, size_bytes) if words else choose.randbytes(size_bytes)
        path = f"{number // a_directory:04}/{number:07}.{'txt' if words else 'bin'}"
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(data)
        digests[path] = hashlib.sha256(data).hexdigest()
    return DataSet(root, digests)


def epoch_files(root: Path, sizes: Sizes, *, seed: int = 8) -> DataSet:
    """Files of noise that are together much larger than what a mount holds in memory (128 MiB), of which a cache holds a part."""
    choose = random.Random(seed)
    digests = {}
    for number in range(sizes.epoch_files):
        data = choose.randbytes(choose.randint(*EPOCH_BYTES))
        path = f"{number // 256:03}/{number:06}.bin"
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(data)
        digests[path] = hashlib.sha256(data).hexdigest()
    return DataSet(root, digests)


def _words(choose: random.Random, vocabulary: list[bytes], size_bytes: int) -> bytes:
    return b" ".join(choose.choices(vocabulary, k=size_bytes // 4))[:size_bytes].ljust(size_bytes)


def large_file(root: Path, size_bytes: int, *, seed: int = 2, name: str = LARGE) -> DataSet:
    """One file of noise."""
    choose = random.Random(seed)
    digest = hashlib.sha256()
    root.mkdir(parents=True, exist_ok=True)
    with (root / name).open("wb") as file:
        left_bytes = size_bytes
        while left_bytes:
            piece = choose.randbytes(min(left_bytes, PIECE_BYTES))
            digest.update(piece)
            left_bytes -= file.write(piece)
    return DataSet(root, {name: digest.hexdigest()})


def second_version(first: Path, second: Path, sizes: Sizes, *, seed: int = 3) -> None:
    """A copy of `first` (small files and LARGE): some small files are replaced, 1,000 bytes are inserted into LARGE."""
    choose = random.Random(seed)
    shutil.copytree(first, second, symlinks=True)
    paths = sorted(path for path in second.rglob("*") if path.is_file() and path.name != LARGE)
    for path in choose.sample(paths, sizes.replaced_files):
        path.write_bytes(choose.randbytes(choose.randint(*SMALL_BYTES)))
    at = (first / LARGE).stat().st_size // 3
    with (first / LARGE).open("rb") as source, (second / LARGE).open("wb") as target:
        for _ in range(at // PIECE_BYTES):
            target.write(source.read(PIECE_BYTES))
        target.write(choose.randbytes(1000))
        shutil.copyfileobj(source, target, PIECE_BYTES)


def table_pair(root: Path, sizes: Sizes, *, seed: int = 4) -> tuple[Path, Path]:
    """Two versions of a CSV: in the second, rows have gone, come and changed here and there."""
    choose = random.Random(seed)
    rows = [
        f"{i},{choose.random():.6f},{choose.choice('abcdefgh')},{choose.randrange(10**6)}\n"
        for i in range(sizes.table_rows)
    ]
    before = _written(root / "v0/table.csv", "id,score,class,count\n" + "".join(rows))
    for _ in range(sizes.table_rows // 5000):
        at = choose.randrange(len(rows))
        rows[at : at + choose.randrange(3)] = [f"{at},{choose.random():.6f},z,{choose.randrange(10**6)}\n"]
    return before, _written(root / "v1/table.csv", "id,score,class,count\n" + "".join(rows))


def _written(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def tensor_pair(root: Path, sizes: Sizes, *, seed: int = 5) -> tuple[Path, Path]:
    """Two versions of weights, laid out as safetensors does (length, JSON header, data); a sixteenth of the tensors differ,
    and the header of the second is longer, which moves everything behind it.
    """
    choose = random.Random(seed)
    tensors = [choose.randbytes(PIECE_BYTES) for _ in range(sizes.tensors)]
    before = _tensors(root / "v0/model.safetensors", tensors, {"epoch": "1"})
    for i in choose.sample(range(len(tensors)), max(1, len(tensors) // 16)):
        tensors[i] = choose.randbytes(PIECE_BYTES)
    return before, _tensors(root / "v1/model.safetensors", tensors, {"epoch": "2", "note": "x" * 100})


def _tensors(path: Path, tensors: list[bytes], metadata: dict[str, str]) -> Path:
    header: dict[str, object] = {"__metadata__": metadata}
    end = 0
    for i, tensor in enumerate(tensors):
        shape = [len(tensor) // 4]
        header[f"layer.{i}.weight"] = {"dtype": "F32", "shape": shape, "data_offsets": [end, end + len(tensor)]}
        end += len(tensor)
    text = json.dumps(header).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.writelines(tensors)
    return path


def real_tree(root: Path, *, parts: tuple[str, ...] = ("stdlib", "purelib")) -> DataSet:
    """This Python's standard library, with what is installed beside it, as `stdlib` and `purelib`."""
    digests = {}
    for part in parts:
        source = Path(sysconfig.get_path(part))
        skip = shutil.ignore_patterns("__pycache__", "site-packages", "dist-packages", "torch", "nvidia")
        shutil.copytree(source, root / part, symlinks=False, ignore=skip, ignore_dangling_symlinks=True)
    for path in sorted(root.rglob("*")):
        if path.is_file():
            digests[path.relative_to(root).as_posix()] = hashlib.sha256(path.read_bytes()).hexdigest()
    return DataSet(root, digests)


def tiny_content(number: int) -> bytes:
    return b"file %d\n" % number


def put_tiny_files(registry_dir: Path, artifact: str, count: int, directories: int) -> None:
    """A version `tiny/ARTIFACT:v0` of `count` files in so many directories (0: all in the root), in bounded memory."""
    registry = EmbeddedRegistry(registry_dir)
    try:
        registry.projects.create("tiny", exist_ok=True)
        draft = registry.drafts.open("tiny")
        pages: list[tuple[ObjectKey, bytes]] = []

        def keep(page: bytes) -> Digest:
            pages.append((ObjectKey(ObjectKind.TREE, Digest.of(page)), page))
            return pages[-1][0].digest

        _send(registry, draft, (_chunk(number) for number in range(count)))
        if directories:
            root = build_directory(_tiny_directories(count, directories, keep), keep)
        else:
            root = build_directory(map(_tiny_entry, range(count)), keep)
        _send(registry, draft, iter(pages))
        registry.drafts.seal(draft.id, SealRequest(artifact, root.digest))
    finally:
        registry.close()


def _chunk(number: int) -> tuple[ObjectKey, bytes]:
    data = tiny_content(number)
    return ObjectKey(ObjectKind.CHUNK, Digest.of(data)), data


def _tiny_entry(number: int) -> Entry:
    data = tiny_content(number)
    return Entry(f"{number:07}", EntryKind.FILE, Digest.of(data), len(data))


def _tiny_directories(count: int, directories: int, keep: Callable[[bytes], Digest]) -> Iterator[Entry]:
    each = count // directories
    for directory in range(directories):
        below = build_directory(map(_tiny_entry, range(directory * each, (directory + 1) * each)), keep)
        name = f"{directory:04}"
        yield Entry(name, EntryKind.DIRECTORY, below.digest, below.size_bytes, file_count=below.file_count)


def _send(registry: Registry, draft: DraftRecord, objects: Iterator[tuple[ObjectKey, bytes]]) -> None:
    while batch := list(itertools.islice(objects, PACK_OBJECTS)):
        pack = write_pack(registry, draft.project_uid, batch, now_ns=time.time_ns())
        registry.drafts.put_pack(draft.id, pack)


def program(root: Path, sizes: Sizes) -> Path:
    """A Python package `program` of many modules, each of which imports the next; compiled, as it would be installed.

    Its `__pycache__` is trusted without a look at times: those of a version are when its content entered the project.
    """
    package = root / "program"
    package.mkdir(parents=True)
    for number in range(sizes.modules):
        follows = f"from program import m{number + 1:03}\n" if number + 1 < sizes.modules and (number + 1) % 50 else ""
        body = "".join(f"def f{i}(x):\n    return x * {number} + {i}\n\n\n" for i in range(40))
        (package / f"m{number:03}.py").write_text(f'"""Module {number}."""\n{follows}\n\n{body}VALUE = {number}\n')
    heads = ", ".join(f"m{number:03}" for number in range(0, sizes.modules, 50))
    (package / "__init__.py").write_text(f"from program import {heads}\n")
    return package
