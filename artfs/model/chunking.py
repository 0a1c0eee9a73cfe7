"""Where large files are cut: FastCDC with the parameters that every artfs must share.

Cut points depend on content alone, so an insertion moves the bytes behind it into chunks that are already stored. The
parameters are part of the format (docs/formats.md): changing them would end deduplication against what exists.
Source: Wen Xia et al., "The Design of Fast Content-Defined Chunking for Data Deduplication Based Storage Systems" (2020).
"""

from __future__ import annotations

import importlib.util
from functools import cache
from typing import TYPE_CHECKING

from artfs.errors import MachineNotReady

if TYPE_CHECKING:
    from pyfastcdc import FastCDC

CHUNK_BYTES_MIN = 256 << 10
CHUNK_BYTES_MEAN = 1 << 20
CHUNK_BYTES_MAX = 2 << 20
WHOLE_FILE_BYTES_MAX = 1 << 20  # files up to this are one chunk
NORMALIZATION = 2


def cut_points(data: bytes | memoryview) -> list[int]:
    """Lengths of the chunks of `data`, which begins at a chunk boundary.

    The last length is provisional unless `data` ends the file: give it again with what follows.
    Raises MachineNotReady when pyfastcdc's compiled extension is missing, which would be 200 times slower.
    """
    return [chunk.length for chunk in _cutter().cut_buf(data)]


@cache
def _cutter() -> FastCDC:
    if importlib.util.find_spec("pyfastcdc.cy.fastcdc") is None:
        raise MachineNotReady(
            "pyfastcdc is installed without its compiled extension",
            hint="install a wheel, or a C compiler and reinstall pyfastcdc",
        )
    from pyfastcdc.cy import FastCDC as Compiled

    cutter: FastCDC = Compiled(
        avg_size=CHUNK_BYTES_MEAN,
        min_size=CHUNK_BYTES_MIN,
        max_size=CHUNK_BYTES_MAX,
        normalized_chunking=NORMALIZATION,
    )
    return cutter
