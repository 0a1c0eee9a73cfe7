"""Whatever bytes a parser gets, it gives an answer or one of the errors that it declares, in bounded time and memory.

ARTFS_TEST_FUZZ_EXAMPLES=N tries N inputs for each parser instead of 25, or of 20,000 for the test that is marked `deep`.
"""

from __future__ import annotations

import os
import time
import tracemalloc
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.fuzz.mutations import hostile
from tests.fuzz.parsers import PARSERS, Parser
from tests.reliability.trials import tried

pytestmark = [pytest.mark.falsifies("hostile")]

EXAMPLES = int(os.environ.get("ARTFS_TEST_FUZZ_EXAMPLES", "25"))
DEEP_EXAMPLES = int(os.environ.get("ARTFS_TEST_FUZZ_EXAMPLES", "20000"))
MEMORY_BYTES = 4 << 20  # besides
MEMORY_PER_BYTE = 500  # of input
TIME_S = 2.0


def parse(parser: Parser, data: bytes) -> None:
    """Raises AssertionError for too much time or memory, and what the parser should not raise."""
    tracemalloc.start()  # only now: it slows what makes the inputs
    began_s = time.thread_time()
    try:
        with suppress(*parser.errors):
            parser.parse(data)
        took_s, grown = time.thread_time() - began_s, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert took_s < TIME_S, f"{took_s} s for {len(data)} bytes"
    assert grown < MEMORY_BYTES + MEMORY_PER_BYTE * len(data), f"{grown} bytes of memory for {len(data)} bytes"


def _fuzz(name: str, examples: int) -> None:
    parser = PARSERS[name]
    count = 0

    @settings(max_examples=examples, suppress_health_check=list(HealthCheck), phases=list(Phase)[:-1], database=None)
    @given(hostile(parser.valid))
    def run(data: bytes) -> None:
        nonlocal count
        count += 1
        parse(parser, data)

    run()
    tried("inputs to parsers", count)


@pytest.mark.parametrize("name", PARSERS)
def test_only_declared_errors_come_out_of_a_parser(name: str) -> None:
    _fuzz(name, EXAMPLES)


@pytest.mark.deep
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", PARSERS)
def test_only_declared_errors_come_out_of_a_parser_at_length(name: str) -> None:
    _fuzz(name, DEEP_EXAMPLES)


# What was found once, and inputs that random ones seldom become.
KNOWN: dict[str, list[bytes]] = {
    "a page of a tree": [b"\x91" * 100_000, b"\x99\x01\x00" + b"\x91" * 100_000],
    "a recipe": [b"\x91" * 100_000],
    "a reference's descriptor": [b"\x91" * 100_000],
    "an index of a pack": [b"\x95\xc4\x00\xc4\x00\xc4\x00\xdd\x7f\xff\xff\xff" + b"\x01" * 100_000],
    "times of a page": [b"\x91" * 100_000, b"\xc1"],
    "a compressed object": [
        b"\x28\xb5\x2f\xfd\xe0" + b"\xff" * 8,
        b"\x28\xb5\x2f\xfd\xe0" + (3000).to_bytes(8, "little"),
    ],
    "a size": [b"9" * 5000, b"1" + b"0" * 400 + b"P"],
    "a configuration": [
        b"\xff\xfe",
        b"a = " + b"[" * 5000,
        b'registry = "\\u0000"',
        b"cache_size = 5",
        b'registry = ["a"]',
    ],
    "metadata": [b"[" * 100_000, b'{"a":' * 100_000, b"9" * 5000, b'{"a": ' + b"9" * 5000 + b"}", b'"\\ud800"'],
    "a bucket": [b"s3://[", b"s3://a:b@c/d", b"s3://b?region=\0", "s3://\u2100/".encode()],
    "a file that is referred to": [b"file://[", "file://\u2100/".encode(), b"file:///%00"],
    "a name of what is referred to": [b"https://[/a", b"https://h/%2e%2e", b"https://h/a%2fb"],
    "a server's origin": [b"https://[", b"ftp://h", b"https://h:99999"],
    "a server": ["https://\u2100".encode(), b"https://[", b"https://a:99999"],
    "a URL that is referred to": ["https://\u2100/".encode(), b"https://[::1", b"https://a:99999/", b"http://a\\@b/"],
    "a Range header": [b"bytes=" + b"9" * 5000 + b"-", "bytes=\xb2-".encode("latin-1"), b"bytes=--", b"bytes=5-1"],
    "an error that a server tells": [b"9" * 5000 + b"|{}", "\xb2|x".encode("latin-1"), b"|" + b"[" * 100_000],
}


@pytest.mark.parametrize("name", KNOWN)
def test_inputs_that_were_trouble_once_are_none(name: str) -> None:
    for data in KNOWN[name]:
        parse(PARSERS[name], data)
        tried("inputs to parsers")


@given(st.data())
@settings(max_examples=20)
def test_what_is_called_valid_here_is_taken(data: st.DataObject) -> None:
    """Else nothing beyond the first check would ever be reached."""
    for name in (
        "a page of a tree",
        "an index of a tree",
        "a recipe",
        "a reference's descriptor",
        "a pack",
        "an index of a pack",
    ):
        PARSERS[name].parse(data.draw(PARSERS[name].valid))
    for name in (
        "times of a page",
        "a configuration",
        "encryption keys",
        "metadata",
        "a size",
        "a reference to a version",
    ):
        PARSERS[name].parse(data.draw(PARSERS[name].valid))
