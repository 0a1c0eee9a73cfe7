"""A process that reads files against the clock and compares every byte afterwards; the same one for every contestant.

    python reader.py  <  {"root", "paths", "digests", "how", "limit_s", ...}

Prints "ready", waits for a line, reads, prints one JSON object. Times are of the clock that all processes share. What was read is
kept in memory and hashed after the clock has stopped. Imports nothing but the standard library, so that it starts at once.
"""

from __future__ import annotations

import concurrent.futures
import hashlib
import importlib
import json
import mmap
import multiprocessing
import os
import sys
import time
from collections.abc import Iterator
from typing import Any

BLOCK_BYTES = 1 << 20
LOADER_BATCH = 64
LOADER_WORKERS = 4


def read_file(path: str) -> bytes:
    fd = os.open(path, os.O_RDONLY)
    try:
        data = os.read(fd, 1 << 20)
        while part := os.read(fd, 1 << 20) if len(data) >= 1 << 20 else b"":
            data += part
        return data
    finally:
        os.close(fd)


def one_by_one(order: dict[str, Any]) -> tuple[float, float, list[tuple[str, bytes]], dict[str, Any]]:
    """All files in the order given; also how long each open and read took, if `latencies`."""
    root, limit_s = order["root"] + "/", order["limit_s"]
    found, latencies = [], []
    begin = end = time.monotonic()
    for path in order["paths"]:
        data = read_file(root + path)
        now = time.monotonic()
        latencies.append(now - end)
        end = now
        found.append((path, data))
        if end - begin > limit_s:
            break
    return begin, end, found, {"latencies": latencies} if order.get("latencies") else {}


def in_order(order: dict[str, Any]) -> tuple[float, float, list[tuple[str, bytes]], dict[str, Any]]:
    """Each file in blocks of BLOCK_BYTES from begin to end, into memory that was touched before."""
    found, buffers = [], []
    for path in order["paths"]:
        buffer = mmap.mmap(-1, os.stat(os.path.join(order["root"], path)).st_size or 1)
        for at in range(0, len(buffer), 4096):
            buffer[at] = 1
        buffers.append(buffer)
    begin = time.monotonic()
    for path, buffer in zip(order["paths"], buffers, strict=True):
        view, at = memoryview(buffer), 0
        fd = os.open(os.path.join(order["root"], path), os.O_RDONLY)
        while size := os.readv(fd, [view[at : at + BLOCK_BYTES]]) if at < len(view) else 0:
            at += size
        os.close(fd)
        found.append((path, view[:at]))
    end = time.monotonic()
    return begin, end, [(path, view) for path, view in found], {}  # type: ignore[misc]  # a view hashes as bytes do


def in_a_loader(order: dict[str, Any]) -> tuple[float, float, list[tuple[str, bytes]], dict[str, Any]]:
    """Batches by workers that are forked or spawned: PyTorch's DataLoader if it is installed, else one that does the same."""
    root, method = order["root"], order["method"]
    paths = [os.path.join(root, path) for path in order["paths"]]
    torch = torch_version()
    begin = time.monotonic()
    found = [data for batch in _batches(paths, method) for data in batch]
    end = time.monotonic()
    return begin, end, list(zip(order["paths"], found, strict=True)), {"torch": torch}


def torch_version() -> str:
    try:
        return str(importlib.import_module("torch").__version__)
    except ImportError:
        return ""


class Files:
    """A map-style data set."""

    def __init__(self, paths: list[str]) -> None:
        self.paths = paths

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> bytes:
        return read_file(self.paths[index])


def same(batch: list[bytes]) -> list[bytes]:
    return batch


def read_batch(paths: list[str]) -> list[bytes]:
    return [read_file(path) for path in paths]


def _batches(paths: list[str], method: str) -> Iterator[list[bytes]]:
    if torch_version():
        yield from importlib.import_module("torch.utils.data").DataLoader(
            Files(paths),
            batch_size=LOADER_BATCH,
            num_workers=LOADER_WORKERS,
            multiprocessing_context=method,
            collate_fn=same,
        )
        return
    cut = [paths[at : at + LOADER_BATCH] for at in range(0, len(paths), LOADER_BATCH)]
    context = multiprocessing.get_context(method)
    with concurrent.futures.ProcessPoolExecutor(LOADER_WORKERS, mp_context=context) as workers:
        yield from workers.map(read_batch, cut)


HOW = {"one_by_one": one_by_one, "in_order": in_order, "in_a_loader": in_a_loader}


def main() -> None:
    order = json.loads(sys.stdin.readline())
    digests = order["digests"]
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    begin, end, found, more = HOW[order["how"]](order)
    wrong = [path for path, data in found if hashlib.sha256(data).hexdigest() != digests[path]]
    total = sum(len(data) for _, data in found)
    answer = {"begin": begin, "end": end, "files": len(found), "bytes": total, "wrong": wrong[:5], **more}
    sys.stdout.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main()
