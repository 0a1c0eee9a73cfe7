"""Where are artifact files stored? Sensitive ones stay where they are: an artifact may refer to them."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

import artfs
from tests.faq.worlds import World, files_in

CONTENT = os.urandom(5000)
END_S = 30


class Source(BaseHTTPRequestHandler):
    """The place that sensitive files stay at."""

    def do_HEAD(self) -> None:
        self._begin()

    def do_GET(self) -> None:
        start = self._begin()
        self.wfile.write(CONTENT[start:])

    def _begin(self) -> int:
        start = int(self.headers["Range"].removeprefix("bytes=").split("-")[0]) if self.headers["Range"] else 0
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}")
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("ETag", '"one"')
        self.send_header("Content-Length", str(len(CONTENT) - start))
        self.end_headers()
        return start

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def source_url(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("ARTFS_REFERENCE_HOSTS", "127.0.0.1")
    with ThreadingHTTPServer(("127.0.0.1", 0), Source) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/secret.bin"
        server.shutdown()
        thread.join(END_S)


def test_a_reference_artifact_keeps_sensitive_files_where_they_are(world: World, source_url: str) -> None:
    artifact = artfs.Artifact("secret", type="dataset")
    artifact.add_reference(source_url, name="secret.bin")
    with artfs.init(project="vision") as run:
        run.log_artifact(artifact)
    assert not world.holds(CONTENT)
    assert files_in(artifact.download(str(world.directory / "copy"))) == {"secret.bin": CONTENT}
