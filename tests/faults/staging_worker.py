"""Works in a draft until it is killed, and says what returned. A script that test_staging_crash runs; tests never import it.

    staging_worker.py DIRECTORY SEED

Prints one JSON line after each call that returned: the tree as it must then be.
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

import trio

from tests.unit.staging.driver import Drive, Machine, machine_at


async def work(directory: Path, seed: int) -> None:
    choose = random.Random(seed)
    async with machine_at(directory) as machine:
        draft = machine.found()
        if not machine.layout.exists(draft.place):
            await machine.draft()
        tree = {path: data for path, data in (await draft.walk()).items() if isinstance(data, bytes)}
        while True:
            await _step(machine, draft, tree, choose)
            sys.stdout.write(json.dumps({path: data.decode() for path, data in tree.items()}) + "\n")
            sys.stdout.flush()
            await trio.lowlevel.checkpoint()


async def _step(machine: Machine, draft: Drive, tree: dict[str, bytes], choose: random.Random) -> None:
    """One change that is one call, so that it is there as a whole or not at all."""
    name = f"f{choose.randrange(30)}"
    if name not in tree:
        await draft.mknod(name)
        tree[name] = b""
    elif choose.random() < 0.3:
        await draft.unlink(name)
        del tree[name]
    elif choose.random() < 0.5:
        other = f"f{choose.randrange(30)}"
        await draft.rename(name, other)
        tree[other] = tree.pop(name)
    else:
        data = b"%d" % choose.randrange(10**6)
        await draft.patch(name, len(tree[name]), data)
        tree[name] += data


if __name__ == "__main__":
    trio.run(work, Path(sys.argv[1]), int(sys.argv[2]))
