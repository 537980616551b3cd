"""A stand-in for CuPy's arrays where there is no GPU, as strict with arrays of the host as they are.

An Array holds an ndarray that nobody else sees. NumPy's functions reach it through __array_ufunc__ and
__array_function__, and give Arrays, 0-d ones too, never NumPy's scalars. It refuses what CuPy refuses: np.asarray and
whatever else would bring it to the host in silence, operands and values that are ndarrays, other than as an index, and
ndarrays to write to. What a class does not know it leaves to the other's protocol, as CuPy does.
"""

from typing import Any

import numpy as np

SCALARS = (bool, int, float, complex, str, type(None), slice, type(...), type, np.generic, np.dtype)
METHODS = (
    "all", "any", "argmax", "argmin", "argsort", "astype", "clip", "conj", "copy", "cumsum", "diagonal", "dot", "max",
    "mean", "min", "nonzero", "prod", "ravel", "repeat", "reshape", "round", "squeeze", "std", "sum", "swapaxes",
    "take", "trace", "transpose", "var", "view",
)  # fmt: skip
MODULES = ("numpy", "numpy.linalg", "numpy.fft")  # in which CuPy has functions of the same names


class Array(np.lib.mixins.NDArrayOperatorsMixin):
    __slots__ = ("_x",)

    def __init__(self, x: Any) -> None:
        self._x = np.array(x)

    def get(self) -> Any:
        """A copy on the host, the one way back."""
        return self._x.copy()

    # -- NumPy's protocols ---------------------------------------------------------------------------------------------

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, out: Any = None, **kwargs: Any) -> Any:
        operands = (*inputs, *(out or ()), *kwargs.values())
        if any(not isinstance(x, (*SCALARS, Array, np.ndarray, tuple)) for x in operands):
            return NotImplemented
        if method == "at":
            array, index, *value = inputs
            if isinstance(index, tuple | list):
                return NotImplemented
            return getattr(ufunc, method)(inside(array), plain_index(index), *map(inside, value))
        results = getattr(ufunc, method)(*map(inside, inputs), **{key: inside(x) for key, x in kwargs.items()}, **(
            {} if out is None else {"out": tuple(map(inside, out))}
        ))  # fmt: skip
        return outside(results) if out is None else out[0]

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if any(not issubclass(kind, Array | np.ndarray) for kind in types) or function.__module__ not in MODULES:
            return NotImplemented
        if function is np.asarray:  # with like=: what brings arrays of the host here
            x, *rest = args
            return outside(function(x._x if isinstance(x, Array) else x, *rest, **kwargs))
        return outside(function(*map(inside, args), **{key: inside(x) for key, x in kwargs.items()}))

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError("Implicit conversion to a NumPy array is not allowed. Use `.get()`.")

    # -- what an array has ---------------------------------------------------------------------------------------------

    def __getattr__(self, name: str) -> Any:
        if name in ("shape", "dtype", "ndim", "size", "nbytes", "itemsize", "strides"):
            return getattr(self._x, name)
        if name in ("T", "base", "real"):
            return outside(getattr(self._x, name))
        if name in METHODS:
            method = getattr(self._x, name)
            return lambda *args, **kwargs: outside(
                method(*map(inside, args), **{key: inside(x) for key, x in kwargs.items()})
            )
        raise AttributeError(f"Array has no attribute {name!r}")

    def __getitem__(self, index: Any) -> "Array":
        return outside(self._x[plain_index(index)])

    def __setitem__(self, index: Any, value: Any) -> None:
        self._x[plain_index(index)] = inside(value)

    def __len__(self) -> int:
        return len(self._x)

    def __iter__(self) -> Any:
        return (self[i] for i in range(len(self)))

    def __float__(self) -> float:
        return float(self._x)

    def __int__(self) -> int:
        return int(self._x)

    def __bool__(self) -> bool:
        return bool(self._x)

    def item(self) -> Any:
        return self._x.item()

    def __repr__(self) -> str:
        return f"Array({self._x!r})"


def inside(x: Any) -> Any:
    """What NumPy computes with. Raises TypeError for arrays of the host."""
    if isinstance(x, Array):
        return x._x
    if isinstance(x, tuple | list):
        return type(x)(map(inside, x))
    if isinstance(x, np.ndarray):
        raise TypeError(f"Unsupported type {type(x)}")
    return x


def outside(x: Any) -> Any:
    """What comes back: arrays and NumPy's scalars as Arrays that share memory."""
    if isinstance(x, np.ndarray | np.generic):
        made = Array.__new__(Array)
        made._x = np.asarray(x)
        return made
    if isinstance(x, tuple | list):
        return [*map(outside, x)] if isinstance(x, list) else tuple(map(outside, x))
    return x


def plain_index(index: Any) -> Any:
    """Arrays of the host may be an index."""
    if isinstance(index, tuple):
        return tuple(map(plain_index, index))
    return index._x if isinstance(index, Array) else index


class Generator:
    """A np.random.Generator that draws on the host and hands over Arrays."""

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)

    def __getattr__(self, name: str) -> Any:
        return lambda *args, **kwargs: outside(getattr(self._rng, name)(*args, **kwargs))
