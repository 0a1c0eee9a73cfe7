"""The mode of a mount's control socket at the moment when it first exists."""

from __future__ import annotations

import stat
from pathlib import Path

import trio

from artfs.fuse.control_server import serve_control


def mode_at_bind(path: Path) -> int:
    """Serve at `path` for a moment; the permission bits of the socket as soon as it is served."""

    async def main() -> int:
        async with trio.open_nursery() as nursery:
            await nursery.start(serve_control, path, {})
            mode = stat.S_IMODE((await trio.Path(path).stat()).st_mode)
            nursery.cancel_scope.cancel()
        return mode

    return trio.run(main)
