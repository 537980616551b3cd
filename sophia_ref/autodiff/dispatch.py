"""Boxes: arrays that carry a derivative through ordinary NumPy code.

A loss is written with `import numpy as np` and never mentions this module. When one of its arrays is a `Box`, NumPy
hands every call to `__array_ufunc__` or `__array_function__` (NEP 13 and NEP 18), and those come here. Two kinds of box
exist:

    Dual(value, tangent)   carries a directional derivative forward            dual.py
    Var(value, tape)       records what was done, to be replayed backward      tape.py

Every derivative taken (`grad`, `jvp`, ...) opens a new *level*. `call` finds the highest level among the arguments,
takes those boxes off, calls itself on what is inside, which may hold boxes of lower levels, and lets the box lift the
result with the rule of the function (rules.py). That recursion is all there is to nesting: gradients of gradients,
Hessian-vector products, third order.
"""

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

# `next(levels)` opens a level. A derivative taken inside another one starts later, so its level is higher.
levels = itertools.count(1)


class Rule(NamedTuple):
    """How a function y = fun(*args, **kwargs) differentiates, one half for each direction.

    tangent(tangents, y, *args, **kwargs) -> dy, where tangents has one entry an argument, None for a constant one.
    cotangent(i, y_bar, y, *args, **kwargs) -> the cotangent of args[i], in its shape.
    keywords: the keyword arguments it understands, None for all.
    """

    tangent: Callable[..., Any]
    cotangent: Callable[..., Any]
    keywords: frozenset[str] | None


RULES: dict[Callable[..., Any], Rule] = {}  # functions that have a rule of their own
COMPOSITES: dict[Callable[..., Any], Callable[..., Any]] = {}  # functions written out in terms of those
CONSTANTS: set[Callable[..., Any]] = set()  # functions whose derivative is zero: comparisons, rounding, argmax, shapes
LATE: list[Callable[[], None]] = []  # registers rules of libraries that are loaded after this one (scipy.special)


def name_of(fun: Callable[..., Any]) -> str:
    """The name a person would type: numpy.linalg.inv."""
    return f"{getattr(fun, '__module__', None) or 'numpy'}.{getattr(fun, '__name__', repr(fun))}"


def top_box(args: tuple[Any, ...]) -> "Box | None":
    """The first box of the highest level among `args`, or None if there is no box."""
    top = None
    for arg in args:
        if isinstance(arg, Box) and (top is None or arg.level > top.level):
            top = arg
    return top


def call(fun: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """fun(*args, **kwargs), differentiated at every level whose boxes are among `args`."""
    top = top_box(args)
    if top is None:
        return fun(*args, **kwargs)
    level = top.level
    values = tuple(arg.value if isinstance(arg, Box) and arg.level == level else arg for arg in args)
    y = call(fun, *values, **kwargs)
    if fun in CONSTANTS:
        return y
    return top.lift(RULES[fun], y, args, values, kwargs)


def dispatch(fun: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What NumPy's two protocols ask for: the right kind of rule for `fun`, or an error that names it."""
    if fun not in RULES and fun not in COMPOSITES and fun not in CONSTANTS:
        for register in LATE:
            register()
    if fun in COMPOSITES:
        return COMPOSITES[fun](*args, **kwargs)
    if fun not in RULES and fun not in CONSTANTS:
        raise TypeError(
            f"{name_of(fun)} has no derivative rule in sophia_ref: write it with functions that have one "
            f"(sophia_ref/autodiff/rules.py lists them), or give its derivative by hand with sr.primitive"
        )
    if top_box(args) is None:  # the box came as a keyword, a list's entry or an out=
        boxed = [key for key, value in kwargs.items() if isinstance(value, Box)]
        if boxed:
            raise TypeError(f"{name_of(fun)}: pass {boxed[0]} as a positional argument, so that its derivative is seen")
        if fun in CONSTANTS:
            return fun(*(strip(arg) for arg in args), **kwargs)
    known = RULES[fun].keywords if fun in RULES else None
    if known is not None and not known.issuperset(kwargs):
        unknown = sorted(set(kwargs) - known)[0]
        raise TypeError(f"{name_of(fun)}: the derivative rule does not know the argument {unknown}")
    return call(fun, *args, **kwargs)


def strip(x: Any) -> Any:
    """The plain value under all levels of boxes, also inside lists and tuples: for functions without derivative."""
    if isinstance(x, Box):
        return strip(x.value)
    return type(x)(strip(item) for item in x) if type(x) in (list, tuple) else x


def getitem(x: Any, index: Any) -> Any:
    """x[index] as a function, so that it can have a rule."""
    return x[index]


def astype(x: Any, dtype: Any) -> Any:
    """x.astype(dtype) as a function, so that it can have a rule."""
    return x.astype(dtype)


class InPlaceError(TypeError):
    """Something would overwrite values that a reverse pass still needs."""


class Box:
    """What Dual and Var share: looking like an ndarray, and sending every operation to the rules."""

    __slots__ = ("level", "value")
    __hash__ = None  # type: ignore[assignment]  # == is elementwise, as for ndarray
    value: Any
    level: int

    def lift(self, rule: Rule, y: Any, args: Any, values: Any, kwargs: Any) -> Any:
        """Box the result y = fun(*values) of an operation on `args`."""
        raise NotImplementedError

    def assign(self, index: Any, value: Any) -> None:
        """self[index] = value, which only Dual can do."""
        raise NotImplementedError

    # -- NumPy's protocols ---------------------------------------------------------------------------------------------

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, out: Any = None, **kwargs: Any) -> Any:
        if method == "at":
            target, index, *operand = inputs
            if ufunc in (np.add, np.subtract) and isinstance(target, Box) and not isinstance(index, Box):
                return target.accumulate_at(ufunc, index, operand[0])
        if out is not None and not isinstance(out[0], Box):
            raise InPlaceError(
                f"{name_of(ufunc)}: out= is a plain ndarray, which cannot hold a derivative: leave out= away, or make "
                f"the buffer with np.empty_like of an argument"
            )
        if method == "__call__":
            y = dispatch(ufunc, inputs, kwargs)
        elif (method, ufunc) in UFUNC_METHODS:
            y = dispatch(UFUNC_METHODS[method, ufunc], inputs, {"axis": 0, **kwargs})
        elif method == "outer":
            a, b = inputs
            y = dispatch(ufunc, (a[(..., *(None,) * np.ndim(b))], b), kwargs)
        else:
            raise TypeError(
                f"{name_of(ufunc)}.{method} has no derivative rule in sophia_ref: use a function that has one"
            )
        if out is None:
            return y
        out[0].assign(..., y)
        return out[0]

    def __array_function__(self, fun: Any, types: Any, args: Any, kwargs: Any) -> Any:
        return dispatch(fun, args, kwargs)

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError(
            f"np.asarray or np.array of a {type(self).__name__} would drop its derivative: keep the array as it is, "
            f"join several with np.stack or np.concatenate, and make buffers with np.empty_like(x, shape=...)"
        )

    def accumulate_at(self, ufunc: Any, index: Any, operand: Any) -> None:
        """np.add.at(self, index, operand), which only Dual can do."""
        raise InPlaceError(f"{name_of(ufunc)}.at writes into a {type(self).__name__}: build a new array instead")

    # -- looking like an ndarray ---------------------------------------------------------------------------------------

    shape = property(lambda self: np.shape(self.value))
    ndim = property(lambda self: len(np.shape(self.value)))
    size = property(lambda self: np.size(self.value))
    dtype = property(lambda self: self.value.dtype)
    T = property(lambda self: dispatch(np.transpose, (self,), {}))
    mT = property(lambda self: dispatch(np.swapaxes, (self, -1, -2), {}))

    def __repr__(self) -> str:
        return f"{type(self).__name__}(level {self.level}, {self.value!r})"

    def __len__(self) -> int:
        return len(self.value)

    def __iter__(self) -> Any:
        return (self[i] for i in range(len(self)))

    def __bool__(self) -> bool:
        return bool(self.value)

    def __getitem__(self, index: Any) -> Any:
        if any(isinstance(part, Box) for part in (index if isinstance(index, tuple) else (index,))):
            raise TypeError(
                f"a {type(self).__name__} cannot be an index: indices are integers, which have no derivative"
            )
        return call(getitem, self, index)

    def __setitem__(self, index: Any, value: Any) -> None:
        self.assign(index, value)

    def astype(self, dtype: Any, **kwargs: Any) -> Any:
        """A cast between floating types; to an integer or boolean it gives a plain array, whose derivative is zero."""
        return call(astype, self, dtype) if np.issubdtype(dtype, np.floating) else strip(self).astype(dtype)

    def reshape(self, *shape: Any, order: Any = "C") -> Any:
        return dispatch(np.reshape, (self, shape[0] if len(shape) == 1 else shape), {"order": order})

    def transpose(self, *axes: Any) -> Any:
        return dispatch(np.transpose, (self, axes[0] if len(axes) == 1 else axes or None), {})

    def flatten(self) -> Any:
        return dispatch(np.copy, (dispatch(np.ravel, (self,), {}),), {})


def _refuse(operation: str) -> Callable[..., Any]:
    def method(self: Box, *args: Any, **kwargs: Any) -> Any:
        raise TypeError(
            f"{operation} of a {type(self).__name__} would drop its derivative: keep it an array up to the loss"
        )

    return method


for _name in ("__float__", "__int__", "__complex__", "__index__", "item", "tolist"):
    setattr(Box, _name, _refuse(_name.strip("_")))

UFUNC_METHODS: dict[tuple[str, Any], Callable[..., Any]] = {
    ("reduce", np.add): np.sum,
    ("reduce", np.multiply): np.prod,
    ("reduce", np.maximum): np.max,
    ("reduce", np.minimum): np.min,
    ("reduce", np.logical_and): np.all,
    ("reduce", np.logical_or): np.any,
    ("accumulate", np.add): np.cumsum,
}

OPERATORS = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "truediv": np.divide, "pow": np.power, "matmul": np.matmul,
    "mod": np.remainder, "floordiv": np.floor_divide,
}  # fmt: skip
COMPARISONS = {
    "eq": np.equal,
    "ne": np.not_equal,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
}
METHODS = (
    "sum", "prod", "mean", "var", "std", "max", "min", "cumsum", "ravel", "squeeze", "swapaxes", "repeat", "take",
    "trace", "diagonal", "dot", "clip", "copy", "argmax", "argmin", "argsort", "nonzero", "any", "all", "round",
)  # fmt: skip


def _operator(ufunc: Any, reverse: bool = False) -> Callable[..., Any]:
    def method(self: Box, other: Any) -> Any:
        if isinstance(other, list | tuple):
            other = np.asarray(other)
        if ufunc is np.power and not reverse and type(other) in (int, float) and other == 2:
            return call(np.square, self)  # as ndarray's own ** does
        return call(ufunc, other, self) if reverse else call(ufunc, self, other)

    return method


def _in_place(ufunc: Any) -> Callable[..., Any]:
    def method(self: Box, other: Any) -> Any:
        result = call(ufunc, self, other)
        if isinstance(strip(self), np.generic):  # a NumPy scalar: += makes a new one there too
            return result
        self.assign(..., result)
        return self

    return method


def _method(fun: Callable[..., Any]) -> Callable[..., Any]:
    return lambda self, *args, **kwargs: dispatch(fun, (self, *args), kwargs)


for _name, _ufunc in OPERATORS.items():
    setattr(Box, f"__{_name}__", _operator(_ufunc))
    setattr(Box, f"__r{_name}__", _operator(_ufunc, reverse=True))
    setattr(Box, f"__i{_name}__", _in_place(_ufunc))
for _name, _ufunc in COMPARISONS.items():
    setattr(Box, f"__{_name}__", _operator(_ufunc))
for _name, _ufunc in {"neg": np.negative, "pos": np.positive, "abs": np.absolute}.items():
    setattr(Box, f"__{_name}__", lambda self, ufunc=_ufunc: call(ufunc, self))
for _name in METHODS:
    setattr(Box, _name, _method(getattr(np, _name)))

# fmt: off
CONSTANTS |= {
    np.equal, np.not_equal, np.less, np.less_equal, np.greater, np.greater_equal, np.isclose, np.allclose,
    np.array_equal, np.isfinite, np.isnan, np.isinf, np.signbit, np.logical_and, np.logical_or, np.logical_not,
    np.logical_xor, np.any, np.all,
    np.sign, np.heaviside, np.floor, np.ceil, np.trunc, np.rint, np.round, np.floor_divide,
    np.argmax, np.argmin, np.argsort, np.searchsorted, np.nonzero, np.flatnonzero, np.count_nonzero,
    np.shape, np.ndim, np.size, np.result_type, np.iscomplexobj, np.isrealobj,
}
# fmt: on
