"""`artfs completion`: the script that teaches a shell artfs's commands and options."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class


@click.command(
    "completion",
    epilog="""\b
Examples:
  artfs completion bash > ~/.local/share/bash-completion/completions/artfs
  artfs completion zsh  > ~/.zfunc/_artfs
  artfs completion fish > ~/.config/fish/completions/artfs.fish""",
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    """Print the shell's completion script."""
    completion = get_completion_class(shell)
    assert completion is not None  # click ships all three
    root = ctx.find_root().command
    click.echo(completion(root, {}, "artfs", "_ARTFS_COMPLETE").source())
