"""What a command runs with: the configuration, and the client, opened when first asked for and closed at the end."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from contextlib import ExitStack
from functools import cached_property
from typing import TYPE_CHECKING

import click

from artfs.config import Config, load_config

if TYPE_CHECKING:
    from artfs.client.client import Client
    from artfs.wire.service import Registry


class Session:
    """One run of the command line."""

    def __init__(self, overrides: Mapping[str, str | None], *, verbose: int = 0) -> None:
        self._overrides = dict(overrides)
        self._opened = ExitStack()
        self.verbose = verbose
        if verbose:
            level = logging.DEBUG if verbose > 1 else logging.INFO
            logging.basicConfig(level=level, format="%(levelname).1s %(name)s: %(message)s")

    @cached_property
    def config(self) -> Config:
        return load_config(self._overrides, os.environ)

    def with_settings(self, settings: Mapping[str, str]) -> Config:
        """The configuration with settings given besides, such as mount options; the command line's own win."""
        given = {name: value for name, value in self._overrides.items() if value is not None}
        return load_config({**settings, **given}, os.environ)

    def log_to_stderr(self) -> None:
        """For commands that serve until they are interrupted. `--verbose` has set it up already."""
        if not self.verbose:
            logging.basicConfig(level=self.config.log_level.upper(), format="%(levelname).1s %(name)s: %(message)s")

    @cached_property
    def registry(self) -> Registry:
        """The registry alone, for what needs no objects."""
        from artfs.assemble import open_registry

        registry = open_registry(self.config)
        self._opened.callback(registry.close)
        return registry

    @cached_property
    def client(self) -> Client:
        """The registry with everything that reads and writes objects."""
        from artfs.assemble import open_client

        client = open_client(self.config, self.registry)
        self._opened.callback(client.close)
        return client

    def close(self) -> None:
        """Close what was opened."""
        self._opened.close()


pass_session = click.make_pass_decorator(Session)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
