"""Which references are followed: schemes, hosts by name, and hosts by their addresses."""

from __future__ import annotations

import pytest

from artfs.client.references.http_source import followed
from artfs.client.references.policy import Policy, is_public
from artfs.errors import InvalidValue, ReferenceForbidden, ReferenceUnavailable

pytestmark = [pytest.mark.falsifies("hostile")]

NAMES = {
    "example.org": ["93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946"],
    "inside.example.org": ["10.1.2.3"],
    "half.example.org": ["93.184.216.34", "192.168.0.1"],
    "localhost": ["127.0.0.1"],
    "metadata.google.internal": ["169.254.169.254"],
}


def _resolve(host: str, port: int) -> list[str]:
    if host not in NAMES:
        raise OSError(0, "Name or service not known")
    return NAMES[host]


def _follows(url: str, *hosts: str) -> bool:
    try:
        Policy(hosts=hosts, resolve=_resolve).check_url(url)
    except ReferenceForbidden:
        return False
    return True


@pytest.mark.parametrize(
    ("url", "hosts", "follows"),
    [
        ("https://example.org/a", ["public"], True),
        ("https://inside.example.org/a", ["public"], False),
        ("https://half.example.org/a", ["public"], False),
        ("http://metadata.google.internal/latest", ["public"], False),
        ("https://example.org/a", [], False),
        ("https://example.org/a", ["*.example.org"], False),
        ("https://inside.example.org/a", ["*.example.org"], True),
        ("https://inside.example.org/a", ["public", "*.example.org"], True),
        ("https://INSIDE.example.org./a", ["*.Example.org"], True),
        ("https://localhost:9000/a", ["localhost:9000"], True),
        ("https://localhost:9001/a", ["localhost:9000"], False),
        ("https://localhost/a", ["localhost:443"], True),
        ("http://localhost/a", ["localhost"], True),
        ("http://[::1]:8080/a", ["[::1]:8080"], True),
        ("http://[::1]:8080/a", ["::1"], True),
        ("http://inside.example.org/a", ["*"], True),
        ("http://inside.example.org.evil.net/a", ["inside.example.org"], False),
    ],
)
def test_hosts(url: str, hosts: list[str], follows: bool) -> None:
    assert _follows(url, *hosts) is follows


@pytest.mark.parametrize(
    "address",
    [
        *(
            "127.0.0.1",
            "10.0.0.1",
            "172.16.0.1",
            "192.168.1.1",
            "100.64.0.1",
            "169.254.169.254",
            "0.0.0.0",
            "224.0.0.1",
        ),
        *("::1", "::", "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "ff02::1", "::ffff:127.0.0.1", "::ffff:a9fe:a9fe"),
        *("64:ff9b::a9fe:a9fe", "2002:7f00:1::", "2001:0:7f00:1::1", "nonsense", "255.255.255.255", "240.0.0.1"),
    ],
)
def test_addresses_that_are_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_addresses_that_are_public(address: str) -> None:
    assert is_public(address)


def test_a_refusal_names_the_setting() -> None:
    with pytest.raises(ReferenceForbidden) as refused:
        Policy(resolve=_resolve).check_url("http://localhost:9000/a")
    assert "add localhost:9000 to the setting reference_hosts" in refused.value.hint


def test_a_name_that_means_another_address_when_connected_to_is_refused() -> None:
    policy = Policy(resolve=_resolve)
    policy.check_url("https://example.org/a")
    policy.check_address("https://example.org/a", "93.184.216.34")
    with pytest.raises(ReferenceForbidden):
        policy.check_address("https://example.org/a", "127.0.0.1")
    Policy(hosts=["inside.example.org"], resolve=_resolve).check_address("https://inside.example.org/a", "10.1.2.3")


def test_a_host_without_an_address_is_unavailable() -> None:
    with pytest.raises(ReferenceUnavailable, match="Name or service not known"):
        _follows("https://nowhere.example/", "public")


@pytest.mark.parametrize(
    "url", ["https://me:secret@example.org/a", "https://me@example.org/a", "https:///a", "https://h:0/", "https://h/#x"]
)
def test_what_is_no_url_for_a_reference(url: str) -> None:
    with pytest.raises(InvalidValue) as refused:
        Policy(resolve=_resolve).check_url(url)
    assert "secret" not in str(refused.value)


def test_schemes() -> None:
    policy = Policy(["https", "file"], files=False)
    policy.check_scheme("https")
    with pytest.raises(ReferenceForbidden) as refused:
        policy.check_scheme("http")
    assert "reference_schemes" in refused.value.hint
    with pytest.raises(ReferenceForbidden, match="directory of this machine"):
        policy.check_scheme("file")
    with pytest.raises(InvalidValue, match="gopher"):
        policy.check_scheme("gopher")


def test_buckets_at_an_endpoint_of_the_environment_count_as_allowed() -> None:
    Policy(hosts=[]).check_s3("http://10.0.0.1:9000")
    Policy().check_s3("")
    with pytest.raises(ReferenceForbidden, match="s3"):
        Policy(hosts=["example.org"]).check_s3("")
    with pytest.raises(ReferenceForbidden):
        Policy(["https"]).check_s3("http://10.0.0.1:9000")


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1\\.corp.example/",  # to urllib3 the host ends at the backslash
        "http://[::1]\\.corp.example/",
        "http://127.0.0.1%2f.corp.example/",
        "http://127.0.0.1;.corp.example/",
        "http://127.0.0.1 .corp.example/",
    ],
)
def test_a_host_that_others_would_read_otherwise_is_none(url: str) -> None:
    with pytest.raises(InvalidValue):
        Policy(hosts=["*.corp.example", "[::1]*"]).check_url(url)


@pytest.mark.parametrize("url", ["https://b\u00fccher.corp.example/", "https://a_b-c.corp.example:8443/"])
def test_unusual_hosts_are_hosts(url: str) -> None:
    Policy(hosts=["*.corp.example"]).check_url(url)


@pytest.mark.parametrize("address", ["fec0::1", "64:ff9b:1::7f00:1"])
def test_addresses_of_one_site_are_not_public(address: str) -> None:
    assert not is_public(address)


def test_a_redirect_leads_on_but_not_to_where_everybody_on_the_way_could_change_the_bytes() -> None:
    start = "https://example.org/a/f"
    assert followed(start, start, "../b/g#part") == "https://example.org/b/g"
    assert followed(start, start, "https://other.example.org:444/f") == "https://other.example.org:444/f"
    assert followed("http://example.org/f", "http://example.org/f", "https://example.org/f") == "https://example.org/f"
    for location in ("http://example.org/a/f", "ftp://example.org/f", "file:///etc/passwd", "https://user:x@host/f"):
        with pytest.raises(ReferenceUnavailable):
            followed(start, start, location)
