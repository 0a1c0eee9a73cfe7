"""What it costs to note what runs read: opening and reading small files that are in memory, over and over.

    scripts/bench noted-reads [--files 2000] [--rounds 5]

One reader, three states of one mount: nothing noted yet; versions told apart and the reader in no run; the reader in a run. Then
short processes, whose ancestry is new each time. Prints JSON: files and processes a second (medians), and the processor
time that the mount spent on one, which another load on the machine disturbs less.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.acceptance.user import ARTFS, User
from tests.bench.cold_small_files import make_files

PROCESSES = 300
READER = """
import os, sys, time
root, rounds = sys.argv[1], int(sys.argv[2])
paths = [os.path.join(d, f) for d, _, fs in os.walk(root) for f in fs]
def once():
    begin = time.perf_counter()
    for path in paths:
        fd = os.open(path, os.O_RDONLY)
        os.read(fd, 1 << 20)
        os.close(fd)
    return len(paths) / (time.perf_counter() - begin)
once()
print(*[once() for _ in range(rounds)])
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="artfs-bench-") as directory:
        home = Path(directory)
        make_files(home / "source", options.files)
        user = User(home)
        user.run("put", "-q", "-n", "bench/small", home / "source")
        with user.mounted() as mount:
            version = mount / "bench/small/v0"
            (shown,) = user.json("status")["mounts"]
            bench = Bench(user, shown["pid"], version, options.files, options.rounds)
            results = {"not_noted": bench.measure()}
            in_run = (str(ARTFS), "run", "-q", "-p", "bench", "--")
            user.run(*in_run[1:], "true")
            results["noted_outside_a_run"] = bench.measure()
            results["noted_in_a_run"] = bench.measure(*in_run)
    json.dump(results, sys.stdout, indent=2)
    sys.stdout.write("\n")
    return 0


SHORT = """
import glob, subprocess, time
path = glob.glob('{version}/*/*')[0]
begin = time.perf_counter()
for _ in range({count}): subprocess.run(['cat', path], stdout=subprocess.DEVNULL)
print({count} / (time.perf_counter() - begin))
"""


@dataclass(frozen=True)
class Bench:
    """A mount, by its process, and a version in it that is read."""

    user: User
    mount_pid: int
    version: Path
    files: int
    rounds: int

    def measure(self, *prefix: str) -> dict[str, float]:
        """Of readers started by the command `prefix`."""
        read = [*prefix, sys.executable, "-c", READER, str(self.version), str(self.rounds)]
        rates, read_s = self._timed(read)
        short = [*prefix, sys.executable, "-c", SHORT.format(version=self.version, count=PROCESSES)]
        processes, short_s = self._timed(short)
        return {
            "files_per_s": round(statistics.median(rates)),
            "mount_cpu_us_per_file": round(read_s / self.files / (self.rounds + 1) * 1e6, 1),
            "processes_per_s": round(processes[0]),
            "mount_cpu_us_per_process": round(short_s / PROCESSES * 1e6, 1),
        }

    def _timed(self, command: list[str]) -> tuple[list[float], float]:
        """The numbers that a command prints, and the processor time of the mount meanwhile."""
        before = self._mount_cpu_s()
        environment = self.user.environment()
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=600, env=environment)
        return list(map(float, done.stdout.split())), self._mount_cpu_s() - before

    def _mount_cpu_s(self) -> float:
        fields = Path(f"/proc/{self.mount_pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    sys.exit(main())
