"""Calls of a server that is slow, gone, lying or no artfs server at all: they end in time, and nothing is taken for content."""

from __future__ import annotations

import os
import socket
import ssl
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from artfs.client.pack_source import PackVanished
from artfs.client.remote.packs import HttpPacks
from artfs.client.remote.transport import ATTEMPTS_MAX, Outside, Transport
from artfs.errors import (
    AccessDenied,
    AlreadyExists,
    ArtfsError,
    DamagedPack,
    InvalidValue,
    RegistryUnavailable,
    StorageFailed,
    TooManyRequests,
)
from artfs.wire.http import Hello
from tests.network.scripted import Reply, Scripted, answer, record, scripted

pytestmark = [pytest.mark.falsifies("no-hang", "verified", "access", "once")]

TOKEN = "artfs_ab12_verysecretpart"
HELLO = record({"identity": "abc", "version": "1", "api": 1})
HTML = answer(200, b"<html>Log in to the guest network</html>", "text/html")
WAIT_S = 20.0


class Time:
    """A clock that only sleeping moves, and dice that always fall high."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now_s += seconds

    @property
    def outside(self) -> Outside:
        return Outside(lambda: self.now_s, self.sleep, lambda: 1.0)


def transport_to(server: Scripted | str, *, call_s: float = 30.0) -> Transport:
    """Waits for nothing between attempts."""
    url = server if isinstance(server, str) else server.url
    return Transport(url, TOKEN, outside=Outside(sleep=lambda _: None), call_s=call_s)


def hello(transport: Transport) -> Hello:
    return transport.get("/v1", Hello)


def hang_up(connection: socket.socket) -> None:
    """Reset."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


def drip(data: bytes, every_s: float = 0.05) -> Callable[[socket.socket], None]:
    """One byte now and then, for ever."""

    def send(connection: socket.socket) -> None:
        for i in range(10**6):
            connection.sendall(data[i : i + 1] or b"x")
            time.sleep(every_s)

    return send


def unused_url() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


@pytest.mark.parametrize(
    "failure",
    [
        hang_up,
        answer(502, b"<html>", "text/html"),
        answer(503),
        pytest.param(HELLO[:-5], marks=pytest.mark.deep),  # what is missing is waited for
    ],
)
def test_what_does_no_harm_is_tried_again(failure: Reply) -> None:
    with scripted(failure, failure, HELLO) as server:
        assert hello(transport_to(server)).identity == "abc"
        assert len(server.seen) == 3


def test_what_may_do_harm_is_not_repeated_once_it_was_sent() -> None:
    with scripted(hang_up, record({})) as server:
        with pytest.raises(RegistryUnavailable):
            transport_to(server).send("POST", "/v1/users", {"name": "x"}, again=False)
        assert len(server.seen) == 1


@pytest.mark.parametrize("status", [408, 500, 502, 503, 504])
def test_what_may_do_harm_is_not_repeated_after_an_answer_that_does_not_say_what_was_done(status: int) -> None:
    with scripted(answer(status), record({})) as server:
        with pytest.raises(RegistryUnavailable):
            transport_to(server).send("POST", "/v1/users", {"name": "x"}, again=False)
        assert len(server.seen) == 1


def test_a_request_that_was_refused_for_its_number_is_repeated_whatever_it_is() -> None:
    refused = record({"code": "too-many-requests", "message": "slow down"}, 429)
    with scripted(refused, HELLO) as server:
        assert transport_to(server).send("POST", "/v1/users", {"name": "x"}, Hello, again=False).identity == "abc"


def test_pauses_double_and_attempts_end() -> None:
    clock = Time()
    with scripted(answer(503)) as server:
        with pytest.raises(RegistryUnavailable, match=server.url):
            hello(Transport(server.url, "", outside=clock.outside))
        assert len(server.seen) == ATTEMPTS_MAX
    assert clock.slept == [0.2, 0.4, 0.8, 1.6, 3.2]


@pytest.mark.parametrize(("asked", "slept"), [("7", [7.0]), ("0", [0.2]), ("soon", [0.2])])
def test_a_server_that_names_a_time_is_not_asked_before(asked: str, slept: list[float]) -> None:
    clock = Time()
    with scripted(answer(503, retry_after=asked), HELLO) as server:
        hello(Transport(server.url, "", outside=clock.outside))
    assert clock.slept == slept


def test_a_server_that_wants_to_be_left_alone_for_long_is_not_waited_for() -> None:
    clock = Time()
    told = record({"code": "too-many-requests", "message": "slow down"}, 429, retry_after="3000")
    with scripted(told) as server:
        with pytest.raises(TooManyRequests) as caught:
            hello(Transport(server.url, "", outside=clock.outside))
    assert (caught.value.retry_after_s, clock.slept) == (3000.0, [])


@pytest.mark.parametrize(
    "reply",
    [
        HTML,
        answer(200, b"{", "application/json"),
        answer(200, b"[" * 100_000, "application/json"),
        answer(200, b'{"identity": 5}', "application/json"),
        answer(200, HELLO, "text/plain"),
        answer(404, b"<html>Not here</html>", "text/html"),
        answer(404, b'{"error": "not ours"}'),
        answer(301, b"", location="https://elsewhere.example/"),
        answer(200, b"", content_encoding="gzip"),
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 2000 + b"\r\n",
        answer(200, content_length="99999999999999"),
        answer(500, b'{"code": "error", "message": "a bug"}'),
    ],
)
def test_an_answer_that_is_not_the_registrys_is_an_unavailable_registry(reply: bytes) -> None:
    with scripted(reply) as server:
        with pytest.raises(RegistryUnavailable, match=server.url):
            hello(transport_to(server))


@pytest.mark.parametrize(
    "reply", [HTML, answer(200, b"{}"), answer(200, b""), answer(204, artfs_exchange="of-another")]
)
def test_success_that_somebody_else_tells_is_none(reply: bytes, tmp_path: Path) -> None:
    (tmp_path / "pack").write_bytes(b"data")
    with scripted(reply, reply) as server:
        with pytest.raises(RegistryUnavailable, match=server.url):
            transport_to(server).send("PUT", "/v1/x")
        with pytest.raises(RegistryUnavailable, match=server.url):
            transport_to(server).send_file("/v1/pack", tmp_path / "pack")


def test_errors_are_those_that_the_server_tells() -> None:
    told = {"code": "already-exists", "message": "the project 'a' exists", "hint": "use it"}
    with scripted(record(told, 409)) as server:
        with pytest.raises(AlreadyExists) as caught:
            hello(transport_to(server))
    assert (caught.value.message, caught.value.hint) == (told["message"], told["hint"])


@pytest.mark.parametrize("data", [b"", b"HTTP/1.1 200 OK\r\nX: ", HELLO[:-10], answer(200, b"", content_length="9999")])
def test_dripping_bytes_hold_no_call_longer_than_its_time(data: bytes) -> None:
    with scripted(drip(data)) as server:
        begin = time.monotonic()
        with pytest.raises(RegistryUnavailable, match="in time"):
            hello(transport_to(server, call_s=1.0))
        assert time.monotonic() - begin < 3.0


def test_a_server_that_is_gone_is_not_asked_again_at_once_and_then_by_one_call() -> None:
    clock = Time()
    transport = Transport(unused_url(), TOKEN, outside=clock.outside)
    with pytest.raises(RegistryUnavailable):
        hello(transport)
    tried = transport.request_count
    assert tried == ATTEMPTS_MAX
    with pytest.raises(RegistryUnavailable):
        hello(transport)
    assert transport.request_count == tried
    clock.now_s += 1.5
    for _ in range(2):
        with pytest.raises(RegistryUnavailable):
            hello(transport)
    assert transport.request_count == tried + 1


def test_a_server_that_is_back_is_used_again() -> None:
    clock = Time()
    with scripted(*[answer(503)] * ATTEMPTS_MAX, HELLO) as server:
        transport = Transport(server.url, TOKEN, outside=clock.outside)
        with pytest.raises(RegistryUnavailable):
            hello(transport)
        clock.now_s += 1.5
        assert hello(transport).identity == hello(transport).identity == "abc"


def test_a_missing_thing_does_not_make_the_server_count_as_gone() -> None:
    full = record({"code": "storage-full", "message": "no space"}, 507)
    with scripted(full, HELLO) as server:
        transport = transport_to(server)
        with pytest.raises(ArtfsError):
            hello(transport)
        assert hello(transport).identity == "abc"


def test_closing_ends_a_wait_in_another_thread() -> None:
    held = threading.Event()

    def hold(connection: socket.socket) -> None:
        held.set()
        connection.recv(1)

    with scripted(hold) as server, ThreadPoolExecutor(1) as threads:
        transport = transport_to(server)
        waiting = threads.submit(transport.get, "/v1/changes", Hello, wait_s=25.0)
        assert held.wait(WAIT_S)
        transport.close()
        with pytest.raises(RegistryUnavailable, match="closed"):
            waiting.result(2.0)


def test_waiting_for_changes_does_not_block_other_calls() -> None:
    def hold(connection: socket.socket) -> None:
        connection.recv(1)

    with scripted(hold, HELLO) as server, ThreadPoolExecutor(1) as threads:
        transport = transport_to(server)
        waiting = threads.submit(transport.get, "/v1/changes", Hello, wait_s=25.0)
        while not server.seen:
            time.sleep(0.01)
        assert hello(transport).identity == "abc"
        transport.close()
        assert waiting.exception(WAIT_S) is not None


def test_connections_are_reused_and_a_child_gets_its_own() -> None:
    with scripted(HELLO) as server:
        transport = transport_to(server)
        for _ in range(5):
            hello(transport)
        assert server.connections == 1
        child = os.fork()
        if child == 0:
            os._exit(0 if hello(transport).identity == "abc" else 1)
        assert os.waitpid(child, 0)[1] == 0
        hello(transport)
        assert server.connections == 2


def test_the_token_goes_to_the_servers_own_origin_only(tmp_path: Path) -> None:
    data = b"0123456789"
    with scripted(answer(206, data[2:5], "x/y", content_range="bytes 2-4/10")) as bucket:
        with scripted(answer(307, b"", location=f"{bucket.url}/pack?signature=s")) as server:
            packs = HttpPacks(transport_to(server))
            assert bytes(packs.read("/v1/projects/p/packs/1", 2, 3)) == b"234"
            assert bytes(packs.read(f"{bucket.url}/pack?signature=s", 2, 3)) == b"234"
        assert server.seen[0].headers["authorization"] == f"Bearer {TOKEN}"
        assert len(bucket.seen) == 2
        assert all("authorization" not in request.headers for request in bucket.seen)


@pytest.mark.parametrize("reply", [hang_up, HTML, answer(401, b"no"), b"garbage\r\n\r\n"])
def test_no_error_tells_the_token(reply: Reply, caplog: pytest.LogCaptureFixture) -> None:
    with scripted(reply) as server, caplog.at_level("DEBUG"):
        transport = transport_to(server)
        with pytest.raises(ArtfsError) as caught:
            hello(transport)
        told, error = [repr(transport), caplog.text], caught.value
        chain: BaseException | None = error
        while chain is not None:
            told += [str(chain), repr(chain), repr(vars(chain))]
            chain = chain.__cause__ or chain.__context__
    assert "verysecret" not in "\n".join(told)


def test_a_range_is_exactly_what_was_asked_for() -> None:
    whole = bytes(range(100))
    with scripted(answer(206, whole[10:30], "x/y", content_range="bytes 10-29/100")) as server:
        assert bytes(HttpPacks(transport_to(server)).read("/pack", 10, 20)) == whole[10:30]
        assert server.seen[0].headers["range"] == "bytes=10-29"


@pytest.mark.parametrize(
    "reply",
    [
        answer(206, bytes(20), "x/y", content_range="bytes 11-30/100"),
        answer(206, bytes(19), "x/y", content_range="bytes 11-29/100"),
        answer(206, bytes(15), "x/y", content_range="bytes 10-24/100"),
        answer(206, bytes(25), "x/y", content_range="bytes 10-34/100"),
        answer(206, bytes(20), "x/y", content_range="bytes */100"),
        answer(206, bytes(20), "x/y"),
        answer(206, bytes(19), "x/y", content_range="bytes 10-29/100"),
        answer(206, bytes(21), "x/y", content_range="bytes 10-29/100"),
        answer(206, bytes(20), "x/y", content_range="bytes 10-29/100", content_length="25"),
        answer(200, bytes(25), "x/y"),
        HTML,
        answer(204),
        b"HTTP/1.1 200 OK\r\n\r\n" + bytes(100),
    ],
)
def test_another_range_than_asked_for_is_not_content(reply: bytes) -> None:
    with scripted(reply) as server:
        with pytest.raises(RegistryUnavailable):
            HttpPacks(transport_to(server, call_s=1.0)).read("/pack", 10, 20)


def test_a_server_that_ignores_ranges_is_cut_to_size() -> None:
    whole = os.urandom(100_000)
    with scripted(answer(200, whole, "x/y")) as server:
        assert bytes(HttpPacks(transport_to(server)).read("/pack", 70_000, 20)) == whole[70_000:70_020]


def test_the_end_of_a_pack_is_all_of_a_short_one() -> None:
    with scripted(
        answer(206, bytes(30), "x/y", content_range="bytes 70-99/100"),
        answer(206, bytes(12), "x/y", content_range="bytes 0-11/12"),
        answer(200, bytes(12), "x/y"),
    ) as server:
        packs = HttpPacks(transport_to(server))
        assert [len(packs.read_end("/pack", 30)) for _ in range(3)] == [30, 12, 12]


def test_a_pack_that_ends_early_is_damaged() -> None:
    with scripted(answer(206, bytes(5), "x/y", content_range="bytes 10-14/15")) as server:
        with pytest.raises(DamagedPack):
            HttpPacks(transport_to(server)).read("/pack", 10, 20)


@pytest.mark.parametrize("status", [403, 404, 410])
def test_a_bucket_that_refuses_a_signed_url_means_to_locate_again(status: int) -> None:
    with scripted(HELLO) as server, scripted(answer(status, b"<Error/>", "application/xml")) as bucket:
        with pytest.raises(PackVanished) as caught:
            HttpPacks(transport_to(server)).read(f"{bucket.url}/pack?signature=hidden", 0, 5)
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize(("code", "raised"), [("ExpiredToken", PackVanished), ("InvalidArgument", StorageFailed)])
def test_a_signature_that_expired_is_a_wrong_request_to_some_buckets(code: str, raised: type[Exception]) -> None:
    told = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>Invalid argument.</Message></Error>"
    with scripted(HELLO) as server, scripted(answer(400, told.encode(), "application/xml")) as bucket:
        with pytest.raises(raised):
            HttpPacks(transport_to(server)).read(f"{bucket.url}/pack?signature=hidden", 0, 5)


def test_a_pack_that_the_server_no_longer_has_is_to_be_located_again() -> None:
    told = record({"code": "path-not-found", "message": "there is no such pack"}, 404)
    with scripted(told, answer(404, b"<html>nginx</html>", "text/html")) as server:
        packs = HttpPacks(transport_to(server))
        for _ in range(2):
            with pytest.raises(PackVanished):
                packs.read("/pack", 0, 5)


def test_no_access_to_a_pack_is_told_as_such() -> None:
    with scripted(record({"code": "access-denied", "message": "not yours"}, 403)) as server:
        with pytest.raises(AccessDenied):
            HttpPacks(transport_to(server)).read("/pack", 0, 5)


@pytest.mark.parametrize(
    "url", ["", "ftp://host", "host:1", "http://", "http://u:p@host", "http://h/?q=1", "http://h:99999", "http://[::"]
)
def test_what_is_no_servers_url_is_refused(url: str) -> None:
    with pytest.raises(InvalidValue):
        Transport(url, "")


def test_more_calls_than_connections_wait_for_their_turn() -> None:
    with scripted(HELLO) as server, ThreadPoolExecutor(40) as threads:
        transport = transport_to(server)
        assert all(found.identity == "abc" for found in threads.map(lambda _: hello(transport), range(200)))
        assert server.connections <= 17


def certificate(directory: Path) -> tuple[Path, ssl.SSLContext]:
    """A new certificate of this machine that nobody knows, and a server's use of it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "artfs test")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    chain, private = directory / "chain.pem", directory / "key.pem"
    chain.write_bytes(made.public_bytes(Encoding.PEM))
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, private)
    return chain, context


def test_a_certificate_that_is_not_trusted_ends_the_call_at_once(tmp_path: Path) -> None:
    chain, context = certificate(tmp_path)
    with scripted(HELLO, tls=context) as server:
        transport = transport_to(server)
        with pytest.raises(RegistryUnavailable, match="TLS"):
            hello(transport)
        assert (transport.request_count, server.seen) == (1, [])
        trusting = Transport(server.url, TOKEN, ca_file=str(chain))
        assert hello(trusting).identity == "abc"


def test_an_upload_whose_tls_connection_is_cut_is_sent_again(tmp_path: Path) -> None:
    chain, context = certificate(tmp_path)
    pack = tmp_path / "pack"
    pack.write_bytes(bytes(30 << 20))  # more than what fits into buffers
    with socket.create_server(("127.0.0.1", 0)) as listening, ThreadPoolExecutor(1) as threads:
        cut_first = threads.submit(cut_then_take, listening, context)
        transport = Transport(f"https://127.0.0.1:{listening.getsockname()[1]}", "", ca_file=str(chain))
        try:
            transport.send_file("/pack", pack)
        finally:
            listening.shutdown(socket.SHUT_RDWR)
        assert cut_first.result(WAIT_S) == pack.stat().st_size
    assert transport.request_count == 2


def cut_then_take(listening: socket.socket, context: ssl.SSLContext) -> int:
    """End the first connection while a body is on its way in; the length of the body that came on the second."""
    with context.wrap_socket(listening.accept()[0], server_side=True) as first:
        first.recv(1000)
    with context.wrap_socket(listening.accept()[0], server_side=True) as second, second.makefile("rb") as file:
        length = 0
        while (line := file.readline().strip().lower()) != b"":
            length = int(line.partition(b":")[2]) if line.startswith(b"content-length:") else length
        taken = len(file.read(length))
        second.sendall(answer(204))
        return taken


def test_a_dripping_tls_server_is_ended_too(tmp_path: Path) -> None:
    chain, context = certificate(tmp_path)
    with scripted(drip(HELLO[:-10]), tls=context) as server:
        begin = time.monotonic()
        with pytest.raises(RegistryUnavailable, match="in time"):
            hello(Transport(server.url, "", ca_file=str(chain), call_s=1.0))
        assert time.monotonic() - begin < 3.0


def test_a_file_that_holds_no_certificates_is_named(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.pem", tmp_path):
        with pytest.raises(InvalidValue, match=str(path)):
            Transport("https://127.0.0.1:1", "", ca_file=str(path))


def test_silence_is_not_waited_for_longer_because_much_was_asked_for() -> None:
    clock = Time()
    with scripted(answer(502, b"<html>", "text/html")) as server:
        transport = Transport(server.url, "", outside=clock.outside, call_s=2.0)
        with pytest.raises(RegistryUnavailable):
            HttpPacks(transport).read("/pack", 0, 8 << 20)
    assert clock.slept == [0.2, 0.4, 0.8]
