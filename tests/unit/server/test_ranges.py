"""Range headers are read as RFC 9110 says."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from artfs.server.ranges import parse_range


@given(st.text(max_size=20) | st.from_regex(r"bytes=[0-9]{0,20}-[0-9]{0,20}", fullmatch=True), st.integers(0, 1000))
def test_whatever_is_asked_for_lies_within_the_body_or_is_empty(text: str, size_bytes: int) -> None:
    found = parse_range(text, size_bytes)
    if found is not None and found.start < found.end:
        assert 0 <= found.start < found.end <= size_bytes


@given(st.integers(1, 10_000), st.data())
def test_a_sound_range_means_what_it_says(size_bytes: int, data: st.DataObject) -> None:
    first = data.draw(st.integers(0, size_bytes - 1))
    last = data.draw(st.integers(first, 2 * size_bytes))
    assert parse_range(f"bytes={first}-{last}", size_bytes) == (first, min(last + 1, size_bytes))
    assert parse_range(f"bytes={first}-", size_bytes) == (first, size_bytes)
    assert parse_range(f"bytes=-{last}", size_bytes) == (max(0, size_bytes - last), size_bytes)
