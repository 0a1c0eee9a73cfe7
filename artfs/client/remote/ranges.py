"""A byte range as HTTP asks for it, and whether an answer is that range. Pure (RFC 9110, section 14)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from artfs.client.remote.answers import strange
from artfs.client.remote.connections import Answer

_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18})")


@dataclass(frozen=True, slots=True)
class RangeRequest:
    """`length` bytes from `offset`; from the end if that is None."""

    offset: int | None
    length: int

    @property
    def header(self) -> str:
        if self.offset is None:
            return f"bytes=-{self.length}"
        return f"bytes={self.offset}-{self.offset + self.length - 1}"

    @property
    def cut(self) -> tuple[int, int] | None:
        """Where in the whole it is, for a server that sends that; unknown from the end."""
        return None if self.offset is None else (self.offset, self.length)


def check_range(answer: Answer, wanted: RangeRequest, server: str) -> bytes | bytearray:
    """The bytes of a 200 or 206. Raises RegistryUnavailable unless they are those asked for, up to the end of the whole.

    Those that went into buffers are checked too, and not returned.
    """
    data = answer.body
    size_bytes = answer.filled_bytes or len(data)
    if answer.status == 200:  # cut out of the whole already, or the whole itself, no longer than what was asked for
        is_page = answer.headers.get("Content-Type", "").lower().startswith("text/html")
        if is_page or size_bytes > wanted.length or (wanted.offset is not None and size_bytes != wanted.length):
            raise strange(answer, server)
        return data
    found = _CONTENT_RANGE.fullmatch(answer.headers.get("Content-Range", ""))
    if found is None:
        raise strange(answer, server)
    first, last, whole = map(int, found.groups())
    if wanted.offset is None:
        fits = last + 1 == whole and first == max(0, whole - wanted.length)
    else:
        fits = first == wanted.offset and last + 1 == min(whole, wanted.offset + wanted.length)
    if not fits or size_bytes != last + 1 - first:
        raise strange(answer, server)
    return data
