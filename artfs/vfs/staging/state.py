"""The states of a draft, as `user.artfs.state` and `artfs status` call them."""

from __future__ import annotations

from enum import Enum


class DraftState(Enum):
    OPEN = "open"
    COMMITTING = "committing"
    FAILED = "failed"  # the last commit failed; the draft is complete and usable
    ELSEWHERE = "elsewhere"  # another process holds it, or nobody has used it since this mount began
