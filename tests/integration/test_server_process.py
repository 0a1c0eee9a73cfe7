"""`artfs serve` as a process: where it listens, TLS, several workers, stopping, limits in time, several kinds of misuse."""

from __future__ import annotations

import datetime
import ipaddress
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from artfs.model.access import Scope
from artfs.registry.fsck import check
from tests.contract.uploading import content_of
from tests.integration.serving import (
    REQUEST_S,
    STOP_S,
    Caller,
    Draft,
    Place,
    Server,
    free_port,
    stop,
    upload,
    wait_until,
)

pytestmark = [pytest.mark.falsifies("no-hang", "access")]

CONTENT = content_of({"a.txt": b"first", "d": {"b.bin": bytes(range(256)) * 100}})


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def administrator(place: Place, server: Server) -> Caller:
    return server.caller(place.user("alice", Scope.ADMIN, admin=True))


def certificate(directory: Path) -> tuple[Path, Path]:
    """A certificate for this machine, signed by itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(key, hashes.SHA256())
    )
    cert_file, key_file = directory / "cert.pem", directory / "key.pem"
    cert_file.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return cert_file, key_file


def test_tls_is_spoken_with_the_given_certificate(place: Place) -> None:
    cert, key = certificate(place.directory)
    with place.serving("--tls-cert", str(cert), "--tls-key", str(key), verify=str(cert)) as server:
        alice = administrator(place, server)
        alice.ok("POST", "/v1/projects", {"name": "vision"})
        pack_id = upload(alice, "vision", "bikes", CONTENT)
        assert alice("GET", f"/v1/projects/vision/packs/{pack_id}").status_code == 200
        with pytest.raises(requests.exceptions.SSLError):
            requests.get(f"{server.url}/healthz", timeout=REQUEST_S)
        with pytest.raises(requests.ConnectionError):
            requests.get(f"{server.url.replace('https', 'http')}/healthz", timeout=REQUEST_S)


def refusal(*options: str, directory: Path | str) -> str:
    """What `artfs serve` says when it refuses to begin."""
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "from artfs.cli.main import main; main()",
            "--registry",
            str(directory),
            "serve",
            *options,
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    return done.stderr


def test_a_certificate_that_cannot_be_used_is_told_before_anything_is_served(place: Place) -> None:
    cert, key = certificate(place.directory)
    said = refusal("--tls-cert", str(key), "--tls-key", str(cert), directory=place.directory / "registry")
    assert str(key) in said
    assert "artfs serves" not in said


def test_a_registry_on_another_server_is_not_served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    said = refusal("--listen", "127.0.0.1:0", directory="https://artfs.example.org")
    assert "https://artfs.example.org is on a server" in said
    assert not list(tmp_path.iterdir())


def test_tokens_are_not_sent_in_the_clear_unless_asked_for(place: Place) -> None:
    assert "--insecure-http" in refusal("--listen", "0.0.0.0:0", directory=place.directory / "registry")


@pytest.mark.parametrize(
    "address", ["nonsense", "127.0.0.1:99999", "127.0.0.1:x", "unix:/nowhere/at/all", "192.0.2.1:0"]
)
def test_an_address_that_is_none_is_told(place: Place, address: str) -> None:
    assert address.removeprefix("unix:") in refusal(
        "--listen", address, "--insecure-http", directory=place.directory / "registry"
    )


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_directory_that_is_no_registry_is_told(place: Place, workers: str) -> None:
    other = place.directory / "other"
    other.mkdir()
    (other / "file").write_text("something else")
    assert "other" in refusal("--listen", "127.0.0.1:0", "--workers", workers, directory=other)


def test_a_unix_socket_is_served(place: Place, tmp_path: Path) -> None:
    path = tmp_path / "s"
    with place.serving("--listen", f"unix:{path}", wait=False) as server:

        def answer() -> bytes:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(5)
                try:
                    connection.connect(str(path))
                except OSError:
                    return b""
                connection.sendall(b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n")
                return connection.recv(4096)

        assert wait_until(answer, server.log, 30).startswith(b"HTTP/1.1 200 OK")


def test_two_workers_serve_one_registry(place: Place) -> None:
    with place.serving("--workers", "2") as server:
        alice = administrator(place, server)
        alice.ok("POST", "/v1/projects", {"name": "vision"})

        def one(n: int) -> str:
            caller = server.caller(alice.token)
            upload(caller, "vision", f"a{n}", content_of({"file": b"%d" % n, "same": b"x" * 5000}))
            return str(caller.ok("GET", f"/v1/projects/vision/artifacts/a{n}/versions/latest")["root"])

        with ThreadPoolExecutor(8) as pool:
            roots = list(pool.map(one, range(24)))
        assert len(set(roots)) == 24
        assert len(alice.ok("GET", "/v1/projects/vision/artifacts")["items"]) == 24
        assert len(children(server.process.pid)) == 2
        counted = [
            line for line in alice("GET", "/metrics").text.splitlines() if "/renew" not in line and "POST" in line
        ]
        seals = next(line for line in counted if line.startswith("artfs_requests_total") and "/seal" in line)
        assert seals.endswith(" 24.0")
    assert check(place.directory / "registry").is_clean


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_a_worker_that_dies_is_replaced_and_all_end_with_the_watcher(place: Place) -> None:
    with place.serving("--workers", "2") as server:
        workers = children(server.process.pid)
        os.kill(workers[0], signal.SIGKILL)
        replaced = wait_until(
            lambda: (
                set(children(server.process.pid)) - {workers[0]} if len(children(server.process.pid)) == 2 else None
            ),
            "another worker is there",
        )
        assert workers[1] in replaced
        wait_until(server.is_ready, "it serves")
        now = children(server.process.pid)
        server.process.kill()
        server.process.wait(STOP_S)
        wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in now), "the workers have ended", STOP_S)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_stopping_under_load_cuts_no_answer(place: Place, workers: str) -> None:
    """Every request that the server began is answered in full; then it ends by itself."""
    with place.serving("--workers", workers) as server:
        alice = administrator(place, server)
        alice.ok("POST", "/v1/projects", {"name": "vision"})
        data = os.urandom(4 << 20)
        content = content_of({"big": data}, large_bytes=1 << 30)
        pack_id = upload(alice, "vision", "big", content)
        path = f"/v1/projects/vision/packs/{pack_id}"
        whole = len(alice("GET", path).content)
        seen: Counter[object] = Counter()
        stopped = threading.Event()

        def ask() -> None:
            while True:
                with requests.Session() as session:
                    caller = Caller(server.url, alice.token, session=session)
                    try:
                        response = caller("GET", path)
                    except (requests.ConnectTimeout, requests.exceptions.ConnectionError):
                        if stopped.is_set():
                            return  # not taken on any more
                        seen["refused early"] += 1
                        continue
                    seen[response.status_code, len(response.content)] += 1

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        wait_until(lambda: sum(seen.values()) > 20, "there is load")
        waiting = ThreadPoolExecutor(1)
        position = alice.ok("GET", "/v1/changes")["position"]
        poll = waiting.submit(server.caller(alice.token).ok, "GET", f"/v1/changes?after={position}&wait_s=30")
        wait_until(lambda: "artfs_change_waiters 1.0" in alice("GET", "/metrics").text, "one waits")
        stopped.set()
        began_s = time.monotonic()
        assert stop(server.process) == 0
        assert time.monotonic() - began_s < 15
        for thread in threads:
            thread.join(REQUEST_S)
        assert poll.result(REQUEST_S)["changes"] == []
        waiting.shutdown()
    assert set(seen) == {(200, whole)}, seen
    assert "Traceback" not in server.log
    assert {line["status"] for line in server.access_lines if (line["method"], line["path"]) == ("GET", path)} == {200}


def test_a_server_that_is_killed_in_an_upload_leaves_a_sound_registry(place: Place) -> None:
    with place.serving() as server:
        alice = administrator(place, server)
        alice.ok("POST", "/v1/projects", {"name": "vision"})
        upload(alice, "vision", "bikes", CONTENT)
        draft = Draft.open(alice, "vision")
        head = f"PUT {draft.path('0' * 32)} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {alice.token}\r\n"
        address = urlsplit(server.url)
        with closing(socket.create_connection((address.hostname, address.port), timeout=30)) as connection:
            connection.sendall(f"{head}Content-Length: 30000000\r\n\r\n".encode() + bytes(3_000_000))
            wait_until(lambda: list((place.directory / "registry/spool").iterdir()), "the upload has begun")
            server.process.kill()
            server.process.wait(STOP_S)
    assert check(place.directory / "registry").is_clean
    assert list((place.directory / "registry/spool").iterdir())
    with place.serving():
        assert list((place.directory / "registry/spool").iterdir()) == []


def test_a_server_says_how_to_begin(place: Place) -> None:
    with place.serving() as server:
        assert server.url in server.log
        assert "artfs user add" in server.log
        assert "artfs token create" in server.log


def test_what_takes_too_long_to_arrive_is_cut(place: Place) -> None:
    """Headers that never end, and a body that stops coming."""
    with place.serving("--header-timeout", "1", "--body-timeout", "1") as server:
        alice = administrator(place, server)
        address = urlsplit(server.url)
        with closing(socket.create_connection((address.hostname, address.port), timeout=30)) as connection:
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: ")
            assert ended(connection) == b""
        head = f"POST /v1/projects HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {alice.token}\r\nContent-Length: 50\r\n\r\n"
        with closing(socket.create_connection((address.hostname, address.port), timeout=30)) as connection:
            connection.sendall(head.encode() + b'{"na')
            assert ended(connection).startswith(b"HTTP/1.1 503 ")
        alice.ok("POST", "/v1/projects", {"name": "vision"})


def ended(connection: socket.socket) -> bytes:
    """What comes until the other side closes."""
    received = b""
    try:
        while part := connection.recv(65536):
            received += part
    except ConnectionResetError:
        pass
    return received


def test_more_requests_than_the_server_may_have_are_put_off(place: Place) -> None:
    with place.serving("--max-requests", "2", "--max-waiting", "1") as server:
        alice = administrator(place, server)
        alice.ok("POST", "/v1/projects", {"name": "vision"})
        address = urlsplit(server.url)
        head = f"POST /v1/projects HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {alice.token}\r\nContent-Length: 50\r\n\r\n"
        with ExitStack() as stack:
            to = (str(address.hostname), int(address.port or 0))
            held = [stack.enter_context(socket.create_connection(to, timeout=30)) for _ in range(6)]
            for connection in held:
                connection.sendall(head.encode())

            wait_until(lambda: len(select.select(held, [], [], 0)[0]) >= 4, "two are at work, the others are put off")
            assert alice("GET", "/v1").headers["Retry-After"]
            assert alice.refused("GET", "/v1") == (503, "unavailable")
            assert alice("GET", "/healthz").status_code == 200
        wait_until(lambda: alice("GET", "/v1").status_code == 200, "there is room again")
        position = alice.ok("GET", "/v1/changes")["position"]
        path = f"/v1/changes?after={position}&wait_s=20"
        with ThreadPoolExecutor(1) as pool:
            first = pool.submit(server.caller(alice.token).ok, "GET", path)
            wait_until(lambda: "artfs_change_waiters 1.0" in alice("GET", "/metrics").text, "one waits")
            assert alice.refused("GET", path) == (429, "too-many-requests")
            alice.ok("POST", "/v1/projects/vision/artifacts", {"name": "end"})
            assert first.result(REQUEST_S)["changes"]


def test_a_reader_that_takes_nothing_is_cut_off(place: Place) -> None:
    with place.serving("--stall-timeout", "1") as server:
        alice = administrator(place, server)
        alice.ok("POST", "/v1/projects", {"name": "vision"})
        content = content_of({"big": os.urandom(32 << 20)}, large_bytes=1 << 30)
        pack_id = upload(alice, "vision", "big", content)
        address = urlsplit(server.url)
        with closing(socket.create_connection((address.hostname, address.port), timeout=30)) as connection:
            path = f"/v1/projects/vision/packs/{pack_id}"
            connection.sendall(
                f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {alice.token}\r\n\r\n".encode()
            )
            wait_until(
                lambda: [
                    one for one in server.access_lines if one["route"].endswith("{pack}") and one["method"] == "GET"
                ],
                "the request has ended",
            )
            assert len(ended(connection)) < 32 << 20


def test_metrics_have_an_address_of_their_own_if_asked_for(place: Place) -> None:
    address = f"127.0.0.1:{free_port()}"
    with place.serving("--metrics-listen", address, "--workers", "2") as server:
        alice = administrator(place, server)
        for _ in range(5):
            alice.ok("GET", "/v1/me")
        assert alice.refused("GET", "/metrics") == (404, "not-found")

        def shown() -> str:
            try:
                return requests.get(f"http://{address}/metrics", timeout=5).text
            except requests.ConnectionError:
                return ""

        line = 'artfs_requests_total{method="GET",path="/v1/me",status="200"} 5.0'
        wait_until(lambda: line in shown(), "the numbers of both workers are there")
        assert requests.get(f"http://{address}/v1/me", timeout=5).status_code == 404


def test_the_access_log_goes_to_a_file_if_asked_to(place: Place) -> None:
    path = place.directory / "access.log"
    path.write_text("what was there\n")
    with place.serving("--access-log", str(path)) as server:
        server.caller()("GET", "/healthz", headers={"X-Request-Id": "in-the-file"})
        wait_until(lambda: "in-the-file" in path.read_text(), "it is written")
    assert path.read_text().startswith("what was there\n")
    assert not (place.directory / "server.out").read_text()


def test_guesses_are_slowed_and_who_is_at_work_is_not(place: Place) -> None:
    with place.serving("--max-guesses", "3") as server:
        alice = administrator(place, server)
        alice.ok("GET", "/v1/me")
        guesser = server.caller("artfs_0123456789abcdef_" + "0" * 64)
        answers = [guesser("GET", "/v1/me") for _ in range(5)]
        assert [answer.status_code for answer in answers] == [401, 401, 401, 429, 429]
        assert answers[-1].headers["Retry-After"]
        assert server.caller().refused("GET", "/v1/me") == (429, "too-many-requests")
        alice.ok("GET", "/v1/me")
