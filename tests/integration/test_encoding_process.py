"""The process that reads, hashes and compresses small files for whoever must not be disturbed."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from artfs.client.encoding import EncodingProcess
from artfs.model import codec
from artfs.model.chunking import WHOLE_FILE_BYTES_MAX
from tests.integration.test_server_process import children

RND = random.Random(5)


@pytest.fixture
def encoding() -> Iterator[EncodingProcess]:
    encoding = EncodingProcess()
    yield encoding
    encoding.close()


def _files(root: Path) -> list[str]:
    contents = [b"", b"x", b"words " * 4000, RND.randbytes(20_000), RND.randbytes(WHOLE_FILE_BYTES_MAX)]
    for number, data in enumerate(contents):
        (root / f"f{number}").write_bytes(data)
    return [str(root / f"f{number}") for number in range(len(contents))]


def test_files_come_back_as_they_are_to_be_stored(encoding: EncodingProcess, tmp_path: Path) -> None:
    paths = _files(tmp_path)
    for path, found in zip(paths, encoding.read(paths), strict=True):
        assert found is not None
        data = Path(path).read_bytes()
        assert found.digest == sha256(data).digest()
        assert bytes(codec.decode(found.codec, found.stored, found.size_bytes)) == data
        status = os.stat(path)
        assert (found.mtime_ns, found.ctime_ns) == (status.st_mtime_ns, status.st_ctime_ns)


def test_what_is_large_or_gone_or_no_file_is_left_to_the_caller(encoding: EncodingProcess, tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(b"x" * (WHOLE_FILE_BYTES_MAX + 1))
    (tmp_path / "small").write_bytes(b"small")
    os.symlink("small", tmp_path / "link")
    names = ["large", "gone", "link", ".", "small"]
    found = encoding.read([str(tmp_path / name) for name in names])
    assert [file is not None for file in found] == [False, False, False, False, True]


def test_a_process_that_died_is_replaced(encoding: EncodingProcess, tmp_path: Path) -> None:
    paths = _files(tmp_path)
    before = set(children(os.getpid()))
    encoding.read(paths)
    (pid,) = set(children(os.getpid())) - before
    os.kill(pid, signal.SIGKILL)
    assert None not in encoding.read(paths)
    encoding.close()
    assert set(children(os.getpid())) <= before


def test_without_a_process_everything_is_left_to_the_caller(tmp_path: Path) -> None:
    assert EncodingProcess((str(tmp_path / "nothing"),)).read(_files(tmp_path)) == [None] * 5
