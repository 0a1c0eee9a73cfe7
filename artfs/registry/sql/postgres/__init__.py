"""The same formats for PostgreSQL: numbered scripts, run by artfs.registry.migrations."""
