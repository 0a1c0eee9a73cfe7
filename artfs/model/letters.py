"""Random bytes as text of chosen letters: ids and secrets. Pure."""

from __future__ import annotations


def letters_of(entropy: bytes, letters: str, length: int) -> str:
    """`length` of `letters`, as `entropy` chooses: a number in the base of how many letters there are, its last digit first."""
    number = int.from_bytes(entropy, "little")
    chosen = []
    for _ in range(length):
        number, place = divmod(number, len(letters))
        chosen.append(letters[place])
    return "".join(chosen)
