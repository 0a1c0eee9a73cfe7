"""Which parameters a sweep tries next: all combinations one after another, or random ones. Pure, but for the randomness given."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any

from artfs.errors import InvalidValue

GRID, RANDOM, BAYES = "grid", "random", "bayes"
METHODS = (GRID, RANDOM, BAYES)
GRID_MAX = 1 << 40

Parameters = Mapping[str, Any]
Choice = dict[str, Any]


def check_config(config: Mapping[str, Any]) -> list[str]:
    """Warnings about a sweep's configuration. Raises InvalidValue for one of which nothing can be chosen."""
    method = config.get("method")
    if method not in METHODS:
        raise InvalidValue(f"there is no method {method!r}", hint=f"one of {', '.join(METHODS)}")
    parameters = config.get("parameters")
    if not isinstance(parameters, Mapping) or not parameters:
        raise InvalidValue("a sweep without parameters", hint="say what is to be tried")
    if method == GRID:
        grid_size(parameters)
    else:
        choose_random(parameters, Random(0))
    return ["this server has no bayesian search: parameters are chosen at random"] if method == BAYES else []


def grid_size(parameters: Parameters) -> int:
    """How many combinations there are. Raises InvalidValue."""
    size = 1
    for name, told in parameters.items():
        size *= grid_size(told["parameters"]) if _is_nested(told) else len(_values(name, told))
        if size > GRID_MAX:
            raise InvalidValue("a grid of too many combinations", hint="try fewer values")
    return size


def choose_grid(parameters: Parameters, number: int) -> Choice | None:
    """The combination of that number, from 0 on, of which the last parameter changes quickest; None behind the last one."""
    if number >= grid_size(parameters):
        return None
    chosen: Choice = {}
    for name, told in reversed(list(parameters.items())):
        if _is_nested(told):
            number, place = divmod(number, grid_size(told["parameters"]))
            chosen[name] = choose_grid(told["parameters"], place)
        else:
            values = _values(name, told)
            number, place = divmod(number, len(values))
            chosen[name] = values[place]
    return {name: chosen[name] for name in parameters}


def choose_random(parameters: Parameters, random: Random) -> Choice:
    """Raises InvalidValue."""
    return {
        name: choose_random(told["parameters"], random) if _is_nested(told) else _chosen(name, told, random)
        for name, told in parameters.items()
    }


def _is_nested(told: Any) -> bool:
    return isinstance(told, Mapping) and isinstance(told.get("parameters"), Mapping)


def _values(name: str, told: Any) -> Sequence[Any]:
    """What a grid tries of a parameter."""
    if isinstance(told, Mapping):
        if "value" in told:
            return [told["value"]]
        if isinstance(told.get("values"), list) and told["values"]:
            return list(told["values"])
        least, most = told.get("min"), told.get("max")
        if isinstance(least, int) and isinstance(most, int) and least <= most:
            return range(least, most + 1)
    raise InvalidValue(f"the parameter {name!r} has no values to try one after another", hint="give values, or a value")


def _chosen(name: str, told: Any, random: Random) -> Any:
    if not isinstance(told, Mapping):
        raise InvalidValue(f"the parameter {name!r} is not described", hint="give values, or min and max")
    try:
        if "value" in told:
            return told["value"]
        if "values" in told:
            return random.choices(told["values"], told.get("probabilities"))[0]
        kind = str(told.get("distribution") or ("int_uniform" if _is_whole(told) else "uniform"))
        stem = kind.removeprefix("q_").removeprefix("inv_")
        drawn = _DISTRIBUTIONS[stem](told, random)
    except (KeyError, TypeError, ValueError, IndexError, OverflowError):
        raise InvalidValue(
            f"the parameter {name!r} cannot be chosen at random", hint="give values, or min and max"
        ) from None
    if kind.startswith("q_"):
        step = told.get("q", 1)
        return round(drawn / step) * step
    return drawn


def _is_whole(told: Mapping[str, Any]) -> bool:
    return isinstance(told["min"], int) and isinstance(told["max"], int)


_DISTRIBUTIONS: dict[str, Callable[[Mapping[str, Any], Random], Any]] = {
    "uniform": lambda told, random: random.uniform(told["min"], told["max"]),
    "int_uniform": lambda told, random: random.randint(told["min"], told["max"]),
    "log_uniform": lambda told, random: math.exp(random.uniform(told["min"], told["max"])),
    "log_uniform_values": lambda told, random: math.exp(random.uniform(math.log(told["min"]), math.log(told["max"]))),
    "normal": lambda told, random: random.gauss(told.get("mu", 0.0), told.get("sigma", 1.0)),
    "log_normal": lambda told, random: random.lognormvariate(told.get("mu", 0.0), told.get("sigma", 1.0)),
}
