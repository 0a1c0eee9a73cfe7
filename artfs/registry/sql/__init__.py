"""Numbered migrations, run forward once each. The comments in them are the specification of the database."""
