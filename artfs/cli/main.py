"""The entry point: options that every command shares, the table of commands, and the edge where errors become exit codes."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

import click

from artfs import __version__
from artfs.cli import exit_codes
from artfs.cli.context import Session
from artfs.cli.lazy import LazyGroup
from artfs.cli.output import plain
from artfs.errors import ArtfsError
from artfs.machine import withhold_memory

COMMANDS = {
    "mount": "Show the registry as directories.",
    "umount": "Unmount and wait until it is done.",
    "status": "Show mounts, staging directories, uploads and the cache.",
    "put": "Store a directory or file as a new version.",
    "get": "Write a version to a directory.",
    "ls": "List projects, artifacts, versions or files.",
    "log": "Show the versions of an artifact, newest first.",
    "diff": "Show what differs between two versions.",
    "alias": "List, move or remove aliases.",
    "run": "Run a command, noting which versions it reads and makes.",
    "runs": "List runs, or show one with what it used and logged.",
    "lineage": "Show what a version was made from, and what from it.",
    "stage": "Open a staging directory, empty or drafted from a version.",
    "ttl": "Show or set when a version expires.",
    "gc": "Delete what expired and what nothing holds.",
    "rm": "Delete versions, artifacts or projects.",
    "serve": "Serve the registry to a team, over HTTP.",
    "login": "Remember the token for a server.",
    "logout": "Forget the token for a server.",
    "whoami": "Show who a server takes you for.",
    "user": "Add, list or disable a server's users.",
    "token": "Create, list or revoke tokens.",
    "project": "Create, share or delete projects.",
    "fsck": "Verify the registry, and mend it.",
    "cache": "Inspect, shrink, pin or verify the local cache.",
    "prefetch": "Fetch a version into the cache before it is read.",
    "doctor": "Check what this machine needs, and say how to mend it.",
    "completion": "Print the shell's completion script.",
    "artifact": "put, get, ls, cache under their W&B names.",
}


@click.group(
    cls=LazyGroup,
    commands_in="artfs.cli.commands",
    table=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="""\b
Start with:
  artfs put -n vision/bikes -t dataset ./bikes
  artfs mount ~/artfs""",
)
@click.option("--registry", metavar="DIR|URL", help="The registry to use instead of ARTFS_REGISTRY or the default.")
@click.option("-v", "--verbose", count=True, help="Log what happens to stderr; twice for more.")
@click.version_option(__version__, prog_name="artfs")
@click.pass_context
def cli(ctx: click.Context, registry: str | None, verbose: int) -> None:
    """Versioned, deduplicated datasets and models as directories."""
    ctx.obj = Session({"registry": registry}, verbose=verbose)
    ctx.call_on_close(ctx.obj.close)


def main() -> NoReturn:
    """Run the command line; never returns, never shows a traceback for a mistake of the user's."""
    withhold_memory()
    sys.exit(run(sys.argv[1:]))


def mount_helper_arguments(arguments: list[str]) -> list[str]:
    """What `mount -t fuse.artfs` and /etc/fstab call, `artfs SOURCE MOUNTPOINT -o OPTIONS`, as an ordinary command.

    SOURCE is the registry, or any word without a slash (such as `artfs`) for the configured one.
    """
    if len(arguments) < 2 or arguments[0] in COMMANDS or arguments[0].startswith("-") or "-o" not in arguments:
        return arguments
    source, *rest = arguments
    return [*(["--registry", source] if "/" in source else []), "mount", *rest]


def _shown(text: str) -> str:
    """A server may have chosen the words of an error."""
    return "\n".join(map(plain, text.split("\n")))


def run(arguments: list[str]) -> int:
    """Run one command and return its exit code."""
    try:
        result = cli.main(args=mount_helper_arguments(arguments), prog_name="artfs", standalone_mode=False)
    except click.exceptions.Exit as done:
        return done.exit_code
    except (click.exceptions.Abort, KeyboardInterrupt):
        click.echo("artfs: interrupted; nothing is half done", err=True)
        return exit_codes.INTERRUPTED
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except ArtfsError as error:
        click.echo(f"artfs: {_shown(error.message)}", err=True)
        if error.hint:
            click.echo(f"  hint: {_shown(error.hint)}", err=True)
        return exit_codes.exit_code(error)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader left: say nothing at exit either
        return exit_codes.OK
    except OSError as error:
        click.echo(f"artfs: {error.strerror or error}: {error.filename or 'input or output failed'}", err=True)
        return exit_codes.EXIT_CODES["storage-failed"]
    return result if isinstance(result, int) else exit_codes.OK
