"""The nginx configuration of docs/operations.md works: nginx sends packs, and only to whom artfs lets have them."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from artfs.model.access import Scope
from tests.contract.uploading import content_of
from tests.integration.serving import REQUEST_S, STOP_S, Caller, Place, free_port, upload, wait_until

OPERATIONS = Path(__file__).parents[2] / "docs/operations.md"
CONTENT = content_of({"a.txt": b"first", "d": {"b.bin": bytes(range(256)) * 100}})
# deep: needs nginx, which scripts/setup does not install since it would begin to serve
pytestmark = [pytest.mark.falsifies("access"), pytest.mark.deep]


@contextmanager
def nginx(directory: Path, packs: Path, server: str) -> Iterator[str]:
    """nginx with the documented configuration in front of `server`, at its URL."""
    program = shutil.which("nginx")
    if program is None:
        pytest.fail("nginx is missing: install Debian's package", pytrace=False)
    block = re.search(r"```\n(server {.*?)```", OPERATIONS.read_text(encoding="utf-8"), re.DOTALL)
    assert block is not None
    port = free_port()
    configured = block[1].replace("listen 443 ssl", f"listen 127.0.0.1:{port}")
    configured = configured.replace("http://127.0.0.1:7433", server).replace("/srv/artfs/packs/", f"{packs}/")
    assert server in configured
    assert str(packs) in configured
    paths = "".join(
        f"{name}_temp_path {directory}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    config = directory / "nginx.conf"
    config.write_text(
        f"daemon off; user root; pid {directory}/pid; error_log {directory}/error.log;"
        f"events {{}} http {{ access_log off; {paths} {configured} }}"
    )
    process = subprocess.Popen([program, "-c", str(config), "-p", str(directory)], stdin=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until(lambda: process.poll() is None and _answers(url), "nginx answers")
        yield url
    finally:
        process.terminate()
        process.wait(STOP_S)


def _answers(url: str) -> bool:
    try:
        return requests.get(f"{url}/healthz", timeout=REQUEST_S).status_code == 200
    except requests.ConnectionError:
        return False


def test_nginx_sends_packs_to_whom_artfs_lets_have_them(tmp_path: Path) -> None:
    place = Place(tmp_path)
    packs = tmp_path / "registry/packs"
    with place.serving("--accel-prefix", "/packs-internal/") as server, nginx(tmp_path, packs, server.url) as url:
        alice = Caller(url, place.user("alice", Scope.ADMIN, admin=True))
        alice.ok("POST", "/v1/projects", {"name": "vision"})
        path = f"/v1/projects/vision/packs/{upload(alice, 'vision', 'bikes', CONTENT)}"
        (file,) = packs.rglob("*.pack")
        data = file.read_bytes()
        whole = alice("GET", path)
        assert whole.content == data
        assert "nginx" in whole.headers["Server"]
        assert alice("GET", path, headers={"Range": "bytes=10-19"}).content == data[10:20]
        assert alice("GET", path, headers={"Range": "bytes=-5"}).content == data[-5:]
        assert alice("GET", path, headers={"If-None-Match": whole.headers["ETag"]}).status_code == 304
        assert int(alice("HEAD", path).headers["Content-Length"]) == len(data)
        assert Caller(url).refused("GET", path) == (401, "not-authenticated")
        mallory = Caller(url, place.user("mallory"))
        assert mallory.refused("GET", path) == (404, "project-not-found")
        assert mallory("GET", f"/packs-internal/{file.relative_to(packs)}").status_code == 404
        answered = [line for line in server.access_lines if line["path"] == path and line["method"] == "GET"]
        assert all(line["sent_bytes"] == 0 for line in answered if line["status"] == 200)
        assert alice("GET", "/v1/me", headers={"X-Request-Id": "by-proxy"}).status_code == 200
        (line,) = wait_until(
            lambda: [line for line in server.access_lines if line["id"] == "by-proxy"], "the request is logged"
        )
        assert line["client"] == "127.0.0.1"
