"""Lineage graphs as pictures and text. Pure, but for `svg`, which has Graphviz draw. A module a format."""
