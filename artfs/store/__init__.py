"""Bytes at rest: packs in a directory, and how a pack file is written and read.

Knows files, fsync and full disks; knows nothing of versions, drafts or who may read.
"""
