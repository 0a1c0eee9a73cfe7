"""The benchmark: races artfs and its peers on the lines of the table in docs/benchmark.md.

    scripts/bench --all [--quick] [--repeat 5] [--latency-ms 10] [--json FILE] [--table FILE]
    scripts/bench ROW... [...]
    scripts/bench --all --publish          the result as the README and docs/ show it
    scripts/bench --all --json FILE --continue     without the rows that are in FILE already

Prints JSON, and the table on stderr at the end (or both into files). Exit code 1 if artfs failed a check somewhere: there is no
number then. Peers that are missing are named; `scripts/setup --bench` installs them.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.bench import row_cache, row_commits, row_large_files, row_mixed, row_small_files, row_startup, row_tiny_files
from tests.bench.cases import Case
from tests.bench.measure import FAILURES, machine_facts, say, warm_up_memory
from tests.bench.peers import versions
from tests.bench.published import publish
from tests.bench.report import table
from tests.bench.world import Options, World

ROWS: dict[int, Callable[[World], list[Case]]] = {
    1: row_small_files.cold,
    2: row_small_files.warm,
    3: row_large_files.first_byte,
    4: row_large_files.in_order,
    5: row_tiny_files.seen,
    6: row_commits.first_version,
    7: row_commits.second_version,
    8: row_tiny_files.few_changed,
    9: row_cache.hits,
    10: row_small_files.sparse,
    11: row_startup.start_up,
    12: row_mixed.mixed,
}


def main(arguments: Sequence[str]) -> int:
    chosen = parsed(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))  # through the stack, which unmounts and removes
    latency_s, bandwidth_bytes_s = chosen.latency_ms / 1000, chosen.bandwidth_mib_s * 2**20
    repeat = chosen.repeat or (2 if chosen.quick else 5)
    options = Options(chosen.quick, repeat, latency_s, bandwidth_bytes_s, chosen.directory)
    result = nothing_yet(options)
    if chosen.resume and chosen.json.exists():
        result = resumed(json.loads(chosen.json.read_text()), result)
    run_rows(sorted(ROWS) if chosen.all else chosen.rows, options, result, chosen.json)
    _write(chosen.json, json.dumps(result, indent=2) + "\n", sys.stdout)
    _write(chosen.table, table(result), sys.stderr)
    if chosen.publish:
        publish(result)
    return 1 if result["failed_rows"] or any("artfs" not in case["figures"] for case in result["cases"]) else 0


def parsed(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("rows", nargs="*", type=int, metavar="ROW", help="lines of the table, 1 to 12")
    parser.add_argument("--all", action="store_true", help="all lines")
    parser.add_argument("--quick", action="store_true", help="little data: shows that all runs, not how fast")
    parser.add_argument("--repeat", type=int, help="measurements of each contestant (5; quick: 2)")
    parser.add_argument("--latency-ms", type=float, default=10.0, help="added each way where a registry is far")
    parser.add_argument("--bandwidth-mib-s", type=float, default=0.0, help="of the line to it; 0: no limit")
    parser.add_argument("--directory", type=Path, default=Options().directory, help="for data: 60 GiB (quick: 2 GiB)")
    parser.add_argument("--json", type=Path, help="a file for the result")
    parser.add_argument(
        "--continue", action="store_true", dest="resume", help="keep the rows that FILE has, of this machine and commit"
    )
    parser.add_argument("--table", type=Path, help="a file for the table")
    parser.add_argument("--publish", action="store_true", help="write the result into README.md and docs/")
    chosen = parser.parse_args(arguments)
    if chosen.publish and (not chosen.all or chosen.quick):
        parser.error("--publish is for a run of --all at full size")
    if chosen.resume and chosen.json is None:
        parser.error("--continue needs --json FILE")
    if unknown := set(chosen.rows) - set(ROWS):
        parser.error(f"there is no line {min(unknown)}: name some of 1 to 12")
    if not chosen.all and not chosen.rows:
        parser.error("name lines of the table, or --all")
    return chosen


def run_rows(rows: Sequence[int], options: Options, result: dict[str, Any], file: Path | None = None) -> None:
    """Add to the result the rows that it lacks; it is also in `file` after each: a run takes long."""
    failed: dict[str, str] = result["failed_rows"]
    measured = {case["row"] for case in result["cases"]}
    warm_up_memory()
    with ExitStack() as stack:
        world = World(options, stack)
        for row in rows:
            if row in measured:
                continue
            say(f"row {row}")
            failed.pop(str(row), None)
            try:
                result["cases"] += [case.as_json() for case in ROWS[row](world)]
            except (Exception, pytest.fail.Exception) as failure:  # noqa: BLE001  # a row must not lose the others' numbers
                if not isinstance(failure, (*FAILURES, AssertionError, pytest.fail.Exception)):
                    traceback.print_exc()
                failed[str(row)] = f"{type(failure).__name__}: {failure}"[:1000]
                say(f"  failed: {failed[str(row)]}")
            result["cases"].sort(key=lambda case: case["row"])  # stable: in a row they stay as they were raced
            if file is not None:
                file.write_text(json.dumps(result, indent=2) + "\n")


def nothing_yet(options: Options) -> dict[str, Any]:
    return {
        "machine": machine_facts(),
        "quick": options.quick,
        "repeat": options.repeat,
        "latency_ms": options.latency_s * 1000,
        "bandwidth_bytes_s": options.bandwidth_bytes_s,
        "versions": versions(),
        "cases": [],
        "failed_rows": {},
    }


def resumed(earlier: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
    """What was measured earlier, if it was measured alike. Raises SystemExit if not: a table is of one machine and commit."""
    for name in ("quick", "repeat", "latency_ms", "bandwidth_bytes_s", "versions"):
        if earlier[name] != now[name]:
            sys.exit(f"cannot continue: {name} was {earlier[name]}, and is {now[name]} now")
    for name in ("cpu", "memory_gib", "kernel", "caches_dropped", "python", "artfs"):
        if earlier["machine"][name] != now["machine"][name]:
            sys.exit(f"cannot continue: {name} was {earlier['machine'][name]}, and is {now['machine'][name]} now")
    return earlier


def _write(file: Path | None, text: str, otherwise: Any) -> None:
    if file is None:
        otherwise.write(text)
    else:
        file.write_text(text)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
