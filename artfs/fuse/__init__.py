"""The translator between the filesystem (`artfs.vfs`) and the kernel, and the life of a mount process.

Only `operations`, `replies` and `serving` import pyfuse3, and nothing imports those before the mount process has forked: the
command line stays quick, and no library is carried through a fork.
"""
