"""The client: reading objects verified, uploading content deduplicated, and the use cases put, get and diff above both.

Speaks to a registry only through `artfs.wire.service`, so it is the same embedded and remote. Synchronous; every public object
here is safe to use from several threads unless it says otherwise.
"""
