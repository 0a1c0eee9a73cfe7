"""How many requests the kernel sends a file system, counted from outside by strace on the process that serves.

Each request is one read from /dev/fuse that begins with its length and opcode. Tracing slows the process down a lot, so what is
counted is never timed.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.bench.measure import CheckFailed

ATTACH_S = 20.0
_NAMES = {
    1: "lookup",
    2: "forget",
    3: "getattr",
    4: "setattr",
    5: "readlink",
    14: "open",
    15: "read",
    16: "write",
    17: "statfs",
    18: "release",
    20: "fsync",
    21: "setxattr",
    22: "getxattr",
    23: "listxattr",
    25: "flush",
    26: "init",
    27: "opendir",
    28: "readdir",
    29: "releasedir",
    35: "create",
    36: "interrupt",
    42: "batch_forget",
    44: "readdirplus",
}
_HEAD = re.compile(r'"((?:\\x[0-9a-f]{2}){8})')


def may_count() -> bool:
    """Whether strace is there, and may attach to a process that is not its child."""
    scope = Path("/proc/sys/kernel/yama/ptrace_scope")
    free = os.getuid() == 0 or not scope.exists() or scope.read_text().strip() == "0"
    return free and shutil.which("strace") is not None


@contextmanager
def counted(pid: int) -> Iterator[Counter[str]]:
    """The requests that process `pid` takes from the kernel meanwhile, by name; filled when the block ends."""
    found: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix="artfs-bench-") as directory:
        output = Path(directory, "trace")
        command = ["strace", "-f", "-qq", "-p", str(pid), "-P", "/dev/fuse", "-e", "trace=read,readv", "-xx", "-s", "8"]
        process = subprocess.Popen([*command, "-o", str(output)], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            _wait_attached(pid, process)
            yield found
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(ATTACH_S)
        for line in output.read_text().splitlines():
            head = _HEAD.search(line)
            if head is not None:
                opcode = int.from_bytes(bytes.fromhex(head[1].replace("\\x", ""))[4:8], "little")
                found[_NAMES.get(opcode, f"opcode {opcode}")] += 1


def _wait_attached(pid: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + ATTACH_S
    tasks = Path(f"/proc/{pid}/task")
    while not all(map(_is_traced, tasks.iterdir())):
        if process.poll() is not None or time.monotonic() > deadline:
            raise CheckFailed(f"strace does not attach to process {pid}")
        time.sleep(0.01)


def _is_traced(task: Path) -> bool:
    try:
        status = (task / "status").read_text()
    except FileNotFoundError:
        return True
    return "TracerPid:\t0\n" not in status
