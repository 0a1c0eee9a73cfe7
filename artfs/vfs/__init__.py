"""The filesystem's semantics: what every operation on a mount means, without a kernel.

Knows neither pyfuse3 nor HTTP. Operations raise `OSError` with the errno that POSIX names for the situation, or an error of
`artfs.errors`; `artfs.fuse` translates both. Everything here runs in one trio task tree on one thread; blocking work crosses
to threads through `door.Door` alone.
"""
