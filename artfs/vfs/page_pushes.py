"""Whether a small file's content goes to the kernel with the answer to its open, so that reading it asks for nothing more.

That saves a round trip where the kernel does not hold the file's pages, and costs a copy where it does; nothing tells which. So
every open that nothing was sent along with is watched: a read that comes says that the pages were missing, a release without
one says that they were there (or not wanted). While most were missing, content is sent along, except now and then (PROBE_EVERY)
to see whether it still is so.

Never while another handle of the inode is open: a page that the kernel waits for is locked, and storing into it would wait for
the answer that only the event loop can give. Content that is not at hand is not waited for. Pure; owner: the event loop.
"""

from __future__ import annotations

PUSHED_BYTES_MAX = 64 << 10
PROBE_EVERY = 16
_SMOOTHING = 1 / 16  # weight of one open in the share of those whose pages were missing


class PagePushes:
    """Counts the open handles of each inode, and learns from what they do."""

    def __init__(self) -> None:
        self._open: dict[int, int] = {}
        self._opens = 0
        self._missing_share = 1.0

    def opened(self, inode: int, size_bytes: int) -> bool:
        """Count an open handle; whether its content should be sent along."""
        handles = self._open.get(inode, 0)
        self._open[inode] = handles + 1
        self._opens += 1
        return (
            self._missing_share > 0.5
            and not handles
            and 0 < size_bytes <= PUSHED_BYTES_MAX
            and self._opens % PROBE_EVERY != 0
        )

    def released(self, inode: int) -> None:
        """Take back one handle."""
        left = self._open.get(inode, 0) - 1
        if left > 0:
            self._open[inode] = left
        else:
            self._open.pop(inode, None)

    def learned(self, missing: bool) -> None:
        """What came of a handle whose content was not sent along."""
        self._missing_share += (missing - self._missing_share) * _SMOOTHING

    def status(self) -> dict[str, float]:
        return {"missing_share": round(self._missing_share, 3), "open_inodes": len(self._open)}
