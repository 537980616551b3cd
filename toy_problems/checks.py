"""Refusals shared by the constructors of the toy problems: each names the argument, its value and what was expected."""

import math
from typing import Any

import numpy as np


def number(name: str, value: Any, low: float, expected: str) -> float:
    """`value` as a float if it is a finite number > low, else ValueError."""
    if isinstance(value, bool) or not isinstance(value, (int, float, np.number)) or not low < value < math.inf:
        raise ValueError(f"{name}: {value!r}; expected {expected}")
    return float(value)


def count(name: str, value: Any, low: int = 1) -> int:
    """`value` as an int if it is an integer >= low, else ValueError."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < low:
        raise ValueError(f"{name}: {value!r}; expected an integer >= {low}")
    return int(value)
