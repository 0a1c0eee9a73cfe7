"""What a client remembers of a registry that may be slow, far or dead, and the registry that answers from it."""
