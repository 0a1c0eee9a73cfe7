"""The registry: projects, artifacts, versions, aliases, drafts and where objects are, in SQL, with the bytes in packs.

`embedded.EmbeddedRegistry` is the whole of it in one process and one directory. Knows nothing of mounts or HTTP.
"""
