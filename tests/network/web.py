"""A web server as references meet it: ranges and ETags as they should be, and every way in which servers fall short of them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email.utils import formatdate
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

GATE_S = 30.0


@dataclass
class Page:
    """What is at one path, and how the server behaves there.

    Attributes:
        etag: how the ETag is made of the body: `strong`, `weak` or none.
        modified_s_ago: of the Last-Modified; None for none.
        ranges: whether ranges are answered with ranges.
        head: whether HEAD is answered.
        status: instead of 200 and 206.
        location: redirect there.
        drops_after: how many bytes of a body are sent before the connection ends, of the next `drops` bodies; None for all.
        gate: waited for before a body is sent.
        lies: the ETag stays what it is, whatever the body becomes.
    """

    body: bytes = field(default=b"", repr=False)
    etag: str = "strong"
    modified_s_ago: int | None = None
    ranges: bool = True
    head: bool = True
    status: int = 0
    location: str = ""
    drops_after: int | None = None
    drops: int = 1_000_000
    gate: threading.Event | None = None
    lies: str = ""
    says_length: bool = True

    def __post_init__(self) -> None:
        self.digest = sha256(self.body).hexdigest()[:16]

    @property
    def told_etag(self) -> str:
        digest = self.lies or f'"{self.digest}"'
        return {"strong": digest, "weak": f"W/{digest}"}.get(self.etag, "")


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    headers: dict[str, str]

    @property
    def range(self) -> str:
        return self.headers.get("range", "")


@dataclass
class Web:
    """The server's pages by path, and the requests that it got."""

    url: str = ""
    pages: dict[str, Page] = field(default_factory=dict, repr=False)
    requests: list[Request] = field(default_factory=list, repr=False)

    def __repr__(self) -> str:
        return f"Web({self.url})"

    def put(self, path: str, body: bytes, **how: object) -> str:
        """Serve `body` at `path`; returns its URL."""
        self.pages[path] = Page(body, **how)  # type: ignore[arg-type]  # checked where it is called
        return f"{self.url}{path}"

    def gets(self, path: str = "") -> list[Request]:
        return [r for r in self.requests if r.method == "GET" and r.path.startswith(path)]

    @property
    def host(self) -> str:
        return self.url.removeprefix("http://")


class _Handler(BaseHTTPRequestHandler):
    served: Web
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        pass

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except ConnectionError:
            self.close_connection = True

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def _answer(self, *, with_body: bool) -> None:
        path = self.path.partition("?")[0]
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.served.requests.append(Request(self.command, self.path, headers))
        page = self.served.pages.get(path)
        if page is None:
            return self._send(404, {}, b"", with_body)
        if not with_body and not page.head:
            return self._send(405, {}, b"", with_body)
        if page.location:
            return self._send(302, {"Location": page.location}, b"", with_body)
        if page.status:
            return self._send(page.status, {}, b"sorry", with_body)
        told = {"ETag": page.told_etag} if page.told_etag else {}
        if page.modified_s_ago is not None:
            told["Last-Modified"] = formatdate(time.time() - page.modified_s_ago, usegmt=True)
        wanted = headers.get("if-match")
        if wanted and page.ranges and wanted != page.told_etag:
            return self._send(412, told, b"", with_body)
        if page.gate is not None and with_body:
            page.gate.wait(GATE_S)
        self._send_body(page, told, headers.get("range", ""), with_body)

    def _send_body(self, page: Page, told: dict[str, str], wanted: str, with_body: bool) -> None:
        body = page.body
        if not wanted or not page.ranges:
            return self._send(200, told, body, with_body, page)
        first, _, last = wanted.removeprefix("bytes=").partition("-")
        start, stop = int(first), min(int(last) + 1, len(body))
        if start >= len(body):
            return self._send(416, {"Content-Range": f"bytes */{len(body)}"}, b"", with_body)
        told["Content-Range"] = f"bytes {start}-{stop - 1}/{len(body)}"
        self._send(206, told, body[start:stop], with_body, page)

    def _send(
        self, status: int, headers: dict[str, str], body: bytes, with_body: bool, page: Page | None = None
    ) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if page is None or page.says_length:
            self.send_header("Content-Length", str(len(body)))
        else:
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        if not with_body:
            return
        drops = None if page is None or page.drops <= 0 else page.drops_after
        if page is not None:
            page.drops -= 1
        with suppress(ConnectionError):
            self.wfile.write(body if drops is None else body[:drops])
        if drops is not None and drops < len(body):
            self.close_connection = True


@contextmanager
def web(address: str = "127.0.0.1") -> Iterator[Web]:
    served = Web()
    server = ThreadingHTTPServer((address, 0), type("Handler", (_Handler,), {"served": served}))
    server.daemon_threads = True
    served.url = f"http://{address}:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()
