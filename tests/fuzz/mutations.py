"""Bytes that are nearly right: valid encodings with bits flipped, cut, spliced, parts repeated, lengths changed."""

from __future__ import annotations

from hypothesis import strategies as st

GROWN_BYTES_MAX = 1 << 16
# What lengths and numbers are changed to: bounds of every width, and heads of long things in msgpack.
EDGES = [
    *(b"\0", b"\x7f", b"\x80", b"\xff", b"\xff\xff", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\xff" * 8),
    b"\x7f" + b"\xff" * 7,
    *(b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff", b"\xdb\xff\xff\xff\xff", b"\xc1"),
    *(b"\xcf" + b"\xff" * 8, b"\xd3\x80" + b"\0" * 7, b"\x91" * 3000, b"[" * 3000, b'{"a":' * 1000, b"9" * 5000),
    *(b"-1", b"1e999", b"NaN", b"null", b'"\\ud800"', b"..", b"/", b"%00", b"\r\n", b"\xe2\x80\xae"),
]  # fmt: skip


@st.composite
def mutated(draw: st.DrawFn, valid: st.SearchStrategy[bytes]) -> bytes:
    """A valid encoding, changed in one to four ways."""
    data = draw(valid)
    for _ in range(draw(st.integers(1, 4))):
        data = _changed(draw, data, valid)[:GROWN_BYTES_MAX]
    return data


def _changed(draw: st.DrawFn, data: bytes, valid: st.SearchStrategy[bytes]) -> bytes:
    at, to = sorted((draw(st.integers(0, len(data))), draw(st.integers(0, len(data)))))
    how = draw(st.integers(0, 6))
    if how == 0 and at < len(data):
        return data[:at] + bytes([data[at] ^ 1 << draw(st.integers(0, 7))]) + data[at + 1 :]
    if how == 1:
        return data[:at]
    if how == 2:
        return data[:at] + data[to:]
    if how == 3:
        return data[:to] + data[at:to] * draw(st.integers(1, 8)) + data[to:]
    if how == 4:
        return data[:at] + draw(valid)[-(to - at) or 1 :]
    edge = draw(st.sampled_from(EDGES))
    return data[:at] + edge + data[at + (len(edge) if how == 5 else 0) :]


def hostile(valid: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    """Mutations mostly, and sometimes any bytes, or the valid ones."""
    return st.one_of(mutated(valid), mutated(valid), mutated(valid), st.binary(max_size=300), valid)
