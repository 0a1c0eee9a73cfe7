"""chmod, chown and utimens on an inode that has a row. Sizes are `writing.py`'s: they are content."""

from __future__ import annotations

import os

from artfs.vfs.attributes import AttributeChange
from artfs.vfs.staging.draft import Draft
from artfs.vfs.staging.inode import ROOT_NUMBER, ContentState, Inode

_WITH_DATA_FILE = (ContentState.UNSENT, ContentState.SENT)


def apply_change(draft: Draft, inode: Inode, change: AttributeChange) -> Inode:
    """Change the attributes that `change` names, ctime always; return the inode as it is then."""
    if change.atime_ns is not None or change.mtime_ns is not None:
        _set_times(draft, inode, change.atime_ns, change.mtime_ns)
    if change.mode is not None:
        inode.mode = change.mode & 0o1777
    if change.uid is not None:
        inode.uid = change.uid
    if change.gid is not None:
        inode.gid = change.gid
    inode.ctime_ns = draft.clock()
    draft.index.execute(
        "UPDATE inode SET mode = ?, uid = ?, gid = ?, atime_ns = ?, mtime_ns = ?, ctime_ns = ? WHERE number = ?",
        (inode.mode, inode.uid, inode.gid, inode.atime_ns, inode.mtime_ns, inode.ctime_ns, inode.number),
    )
    if inode.number == ROOT_NUMBER:
        draft.resolver.forget_owner()
    return inode


def _set_times(draft: Draft, inode: Inode, atime_ns: int | None, mtime_ns: int | None) -> None:
    if inode.content_state in _WITH_DATA_FILE:
        found = draft.files.stat(inode.number)
        times = (
            found.st_atime_ns if atime_ns is None else atime_ns,
            found.st_mtime_ns if mtime_ns is None else mtime_ns,
        )
        is_as_sent = inode.is_as_sent(found)
        os.utime(draft.files.path(inode.number), ns=times)
        if is_as_sent:
            stamp = draft.files.stat(inode.number)
            draft.index.execute(
                "UPDATE inode SET stamp_mtime_ns = ?, stamp_ctime_ns = ? WHERE number = ?",
                (stamp.st_mtime_ns, stamp.st_ctime_ns, inode.number),
            )
    else:
        inode.atime_ns = inode.atime_ns if atime_ns is None else atime_ns
        inode.mtime_ns = inode.mtime_ns if mtime_ns is None else mtime_ns
