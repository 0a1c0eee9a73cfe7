"""The registry over HTTP: `artfs serve`.

Translates requests into calls of a `GuardedRegistry`, and nothing else: no rule about data or access is made here.
"""
