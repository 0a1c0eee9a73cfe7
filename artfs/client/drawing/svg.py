"""A drawing for Graphviz made into SVG by its program `dot`, which the system must have."""

from __future__ import annotations

import subprocess

from artfs.errors import MachineNotReady, TooLarge

DRAW_S = 60.0


def draw_svg(dot: str) -> str:
    """Raises MachineNotReady if there is no `dot`, TooLarge if drawing takes it more than DRAW_S."""
    try:
        done = subprocess.run(
            ["dot", "-Tsvg"], input=dot, capture_output=True, text=True, encoding="utf-8", timeout=DRAW_S, check=False
        )
    except FileNotFoundError:
        raise MachineNotReady(
            "Graphviz, which draws the SVG, is not installed",
            hint="as root: apt-get install graphviz; or --format mermaid, dot, text",
        ) from None
    except subprocess.TimeoutExpired:
        raise TooLarge(
            f"Graphviz did not draw this in {DRAW_S:.0f} s", hint="ask for less: --up or --down, --depth N"
        ) from None
    if done.returncode:
        raise MachineNotReady(f"Graphviz cannot draw: {done.stderr.strip()}", hint="reinstall graphviz")
    return done.stdout
