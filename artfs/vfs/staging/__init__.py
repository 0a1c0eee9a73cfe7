"""Staging directories: read-write, POSIX, durable, copy-on-write over a version, uploaded as files close, committed by rename.

A draft is a directory on local disk (`layout`) with a database of its names (`index`, `namespace`) and plain files of contents
(`contents`). What lies below unchanged comes from the version it was drafted from (`lower`, `resolve`). `nodes`, `handles`,
`xattrs` and `drafts` are the operations, `ingest` and `commit` the way into the registry, `area` the whole.
"""
