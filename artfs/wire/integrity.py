"""A body's digest in its head, so that one that was changed on its way is noticed (Content-Digest of RFC 9530). Pure.

Against accidents: whoever changes a body on purpose changes the digest too, which is what TLS is for. Objects have digests of
their own.
"""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256

CONTENT_DIGEST = "Content-Digest"


def content_digest(body: bytes | bytearray | memoryview) -> str:
    """The header's value."""
    return f"sha-256=:{b64encode(sha256(body).digest()).decode()}:"


def is_intact(body: bytes | bytearray | memoryview, told: str) -> bool:
    """Whether `body` is what a header's value says. True for a value that is empty, or of other algorithms only."""
    return not told.startswith("sha-256=") or told == content_digest(body)
