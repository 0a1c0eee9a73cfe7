"""artfs: versioned, deduplicated datasets and models as directories."""

__version__ = "0.1.0"
