"""Where a server may be told to listen."""

from __future__ import annotations

import pytest

from artfs.errors import InvalidValue
from artfs.server.process import Listen


@pytest.mark.parametrize("address", ["nonsense", "host:", "host:http", "host:70000", ":", ""])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(InvalidValue, match="not an address"):
        Listen(address)


@pytest.mark.parametrize(
    ("address", "local"),
    [("127.0.0.1:80", True), ("localhost:0", True), ("[::1]:80", True), ("unix:/run/x", True), ("0.0.0.0:80", False)],
)
def test_an_address_tells_whether_others_reach_it(address: str, local: bool) -> None:
    assert Listen(address).is_local is local
