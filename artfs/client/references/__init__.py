"""References to bytes outside of the registry: which may be followed, how they are added, and how they are read."""
