"""How fast a cold mount of a far registry serves small files in random order, beside rclone mounting the same files over HTTP.

    scripts/bench cold-small-files [--files 4000] [--latency-ms 10] [--rclone-s 30]

One process reads every file once, in a random order, through a proxy that adds the latency each way. Prints JSON: files per
second, requests and bytes at the proxy, for each; rclone reads for a bounded time only. Both in one run, one after another.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.acceptance.team import Team, free_port
from tests.acceptance.user import wait_until
from tests.network.proxy import Proxy

MEAN_BYTES = 7 << 10
FILES_A_DIRECTORY = 400


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=4000)
    parser.add_argument("--latency-ms", type=float, default=10.0, help="added each way")
    parser.add_argument("--rclone-s", type=float, default=30.0, help="how long rclone reads; 0 leaves it out")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="artfs-bench-") as directory:
        place = Path(directory)
        source = make_files(place / "source", options.files)
        results = {"artfs": read_through_artfs(place, source, options.latency_ms / 1000)}
        if options.rclone_s:
            results["rclone"] = read_through_rclone(place, source, options.latency_ms / 1000, options.rclone_s)
            results["ratio"] = results["artfs"]["files_per_s"] / results["rclone"]["files_per_s"]
    json.dump(results, sys.stdout, indent=2)
    sys.stdout.write("\n")
    return 0


def make_files(root: Path, count: int, seed: int = 1) -> list[Path]:
    """Files of random bytes, MEAN_BYTES on average; relative paths."""
    choose = random.Random(seed)
    paths = []
    for number in range(count):
        path = Path(f"{number // FILES_A_DIRECTORY:03}/{number:06}.bin")
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(choose.randbytes(choose.randint(1 << 10, 2 * MEAN_BYTES - (1 << 10))))
        paths.append(path)
    return paths


def read_through_artfs(place: Path, paths: list[Path], latency_s: float) -> dict[str, Any]:
    team = Team(place, {})
    with team.serving() as server, Proxy.to(server.url, latency_s=latency_s) as proxy:
        writer = team.user("ann", server.url)
        writer.run("put", "-n", "bench/small", place / "source", "--quiet")
        reader = team.at_home("ann", server.url, home="reader", login=False)
        reader.run("login", proxy.url, "--token-file", team.token("ann", "read"))
        far = type(reader)(reader.home, {"ARTFS_REGISTRY": proxy.url})
        with far.mounted() as mount:
            proxy.reset_counts()
            found = read_all(mount / "bench/small/latest", place / "source", paths)
            return {**found, "requests": proxy.counts().requests, "bytes_received": proxy.counts().bytes_to_client}


def read_through_rclone(place: Path, paths: list[Path], latency_s: float, seconds: float) -> dict[str, Any]:
    port = free_port()
    rclone = str(Path(sys.executable).with_name("rclone"))
    with _running([rclone, "serve", "http", str(place / "source"), "--addr", f"127.0.0.1:{port}"]):
        with Proxy.to(f"http://127.0.0.1:{port}", latency_s=latency_s) as proxy:
            mount = place / "rclone"
            mount.mkdir()
            wait_until(lambda: _answers(port), "rclone serves")
            command = [rclone, "mount", ":http:", str(mount), "--http-url", proxy.url, "--read-only"]
            with _running([*command, "--vfs-cache-mode", "full", "--cache-dir", str(place / "rclone-cache")]):
                try:
                    wait_until(lambda: mount.is_mount(), "rclone has mounted", 30)
                    return read_all(mount, place / "source", paths, seconds)
                finally:
                    subprocess.run(["fusermount3", "-uz", str(mount)], check=False, timeout=30)


def read_all(root: Path, source: Path, paths: list[Path], seconds: float = 600.0) -> dict[str, Any]:
    """Read the files in random order, each compared with its source; stops after `seconds`."""
    order = random.Random(2).sample(paths, len(paths))
    done = read_bytes = 0
    begin = time.perf_counter()
    for path in order:
        data = (root / path).read_bytes()
        if data != (source / path).read_bytes():
            raise SystemExit(f"{root / path} has other content than its source")
        done += 1
        read_bytes += len(data)
        if time.perf_counter() - begin > seconds:
            break
    took_s = time.perf_counter() - begin
    return {"files": done, "bytes": read_bytes, "seconds": round(took_s, 3), "files_per_s": round(done / took_s, 1)}


@contextmanager
def _running(command: list[str]) -> Iterator[None]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(20)


def _answers(port: int) -> bool:
    import requests

    try:
        return requests.get(f"http://127.0.0.1:{port}/", timeout=2).status_code == 200
    except requests.RequestException:
        return False


if __name__ == "__main__":
    assert shutil.which("fusermount3")
    sys.exit(main())
