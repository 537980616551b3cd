"""Boxes: arrays that carry a derivative through ordinary NumPy code.

A loss is written with `import numpy as np` and never mentions this module. When one of its arrays is a `Box`, NumPy
hands every call to `__array_ufunc__` or `__array_function__` (NEP 13 and NEP 18), and those come here. Two kinds of box
exist:

    Dual(value, tangent)   carries a directional derivative forward            dual.py
    Var(value, tape)       records what was done, to be replayed backward      tape.py

Every derivative taken (`grad`, `jvp`, ...) opens a new *level*. `call` finds the highest level among the arguments,
takes those boxes off, calls itself on what is inside, which may hold boxes of lower levels, and lets the box lift the
result with the rule of the function (rules/). That recursion is all there is to nesting: gradients of gradients,
Hessian-vector products, third order.
"""

import itertools
import operator
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

# `next(levels)` opens a level. A derivative taken inside another one starts later, so its level is higher.
levels = itertools.count(1)


class Rule(NamedTuple):
    """How a function y = fun(*args, **kwargs) differentiates, one half for each direction.

    tangent(tangents, y, *args, **kwargs) -> dy, where tangents has one entry an argument, None for a constant one.
    cotangent(i, y_bar, y, *args, **kwargs) -> the cotangent of args[i], in its shape.
    positional, keywords: how many arguments it understands by position, and which by name.
    """

    tangent: Callable[..., Any]
    cotangent: Callable[..., Any]
    positional: int
    keywords: frozenset[str]


RULES: dict[Callable[..., Any], Rule] = {}  # functions that have a rule of their own
COMPOSITES: dict[
    Callable[..., Any], Callable[..., Any]
] = {}  # functions written out in terms of those, looked up first
CONSTANTS: set[Callable[..., Any]] = set()  # functions whose derivative is zero: comparisons, rounding, argmax, shapes
LATE: list[Callable[[], None]] = []  # registers rules of libraries that are loaded after this one (scipy.special)
UFUNC_METHODS: dict[tuple[str, Any], Callable[..., Any]] = {}  # ("reduce", np.add) -> np.sum


def name_of(fun: Callable[..., Any]) -> str:
    """The name a person would type: numpy.linalg.inv, for an operator that of its ufunc. Ufuncs do not know their
    module: NumPy's, or scipy.special."""
    fun = OPERATORS.get(fun, fun)
    name = getattr(fun, "__name__", repr(fun))
    of_scipy = getattr(sys.modules.get("scipy.special"), name, None) is fun
    return f"{getattr(fun, '__module__', None) or ('scipy.special' if of_scipy else 'numpy')}.{name}"


def call(fun: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """fun(*args, **kwargs), differentiated at every level whose boxes are among `args`; fun has an entry in RULES."""
    level, nested, boxed = 0, False, []
    for i, arg in enumerate(args):
        if isinstance(arg, Box):
            if arg.level == level:
                boxed.append(i)
            elif arg.level > level:
                nested, top, level, boxed = level > 0, arg, arg.level, [i]
            else:
                nested = True
    if level == 0:
        return fun(*args, **kwargs)
    values = list(args)
    for i in boxed:
        values[i] = value = args[i].value
        nested = nested or isinstance(value, Box)
    y = call(fun, *values, **kwargs) if nested else fun(*values, **kwargs)
    return top.lift(fun, y, args, values, boxed, kwargs)


def dispatch(fun: Callable[..., Any], args: Any, kwargs: dict[str, Any]) -> Any:
    """What NumPy's two protocols ask for: the right kind of rule for `fun`, or an error that names it."""
    if fun in COMPOSITES:
        return COMPOSITES[fun](*args, **kwargs)
    if fun in RULES:
        if kwargs or len(args) > RULES[fun].positional:
            check_arguments(fun, args, kwargs)
        return call(fun, *args, **kwargs)
    if fun in CONSTANTS:
        return fun(*map(strip, args), **{key: strip(value) for key, value in kwargs.items()})
    known = len(RULES)
    for register in LATE:
        register()
    if len(RULES) > known:
        return dispatch(fun, args, kwargs)
    raise TypeError(
        f"{name_of(fun)} has no derivative rule in sophia_ref: write it with functions that have one (the tables in "
        f"sophia_ref/autodiff/rules list them), or give its derivative by hand with sr.primitive"
    )


def check_arguments(fun: Callable[..., Any], args: Any, kwargs: dict[str, Any]) -> None:
    """Raise TypeError for an argument that the rule of `fun` would not see."""
    rule = RULES[fun]
    for key, value in kwargs.items():
        if isinstance(value, Box):
            raise TypeError(f"{name_of(fun)}: pass {key} by position, not by name, so that its derivative is seen")
        if key not in rule.keywords:
            raise TypeError(f"{name_of(fun)}: the derivative rule does not know the argument {key}; leave it away")
    if len(args) > rule.positional:
        raise TypeError(
            f"{name_of(fun)}: the derivative rule knows {rule.positional} arguments by position, got {len(args)}; "
            f"give the others by name"
        )


def strip(x: Any) -> Any:
    """The plain value under all levels of boxes, also inside lists and tuples: for functions without derivative."""
    if isinstance(x, Box):
        return strip(x.value)
    return type(x)(strip(item) for item in x) if type(x) in (list, tuple) else x


def is_array(x: object) -> bool:
    """Whether x is an array that speaks NumPy's protocols: an ndarray, a box, or CuPy's."""
    return type(x) is np.ndarray or (hasattr(x, "__array_function__") and hasattr(x, "dtype"))


def beside(x: Any, array: Any) -> Any:
    """A NumPy array in the library that x, or what is boxed in it, is of: CuPy, say."""
    plain = strip(x)
    if isinstance(plain, np.ndarray) or not is_array(plain) or type(array) is not np.ndarray:
        return array
    return np.asarray(array, like=plain)


def as_operand(x: Any) -> Any:
    """Arithmetic takes lists for arrays."""
    return np.asarray(x) if type(x) in (list, tuple) else x


def check_real(fun: Callable[..., Any], y: Any) -> None:
    """Raise TypeError unless y = fun(...) is of real numbers; the rules are right for those only."""
    dtype = (
        y.dtype if type(y) is np.ndarray or hasattr(y, "dtype") else np.result_type(y)
    )  # 1j * np.float64(2) is Python's complex
    if dtype.kind not in "fiub":
        what = "complex numbers: differentiate real and imaginary parts as real arrays"
        raise TypeError(f"{name_of(fun)} gave {what if dtype.kind == 'c' else f'an array of dtype {dtype}'}")


def getitem(x: Any, index: Any) -> Any:
    """x[index] as a function, so that it can have a rule."""
    return x[index]


def astype(x: Any, dtype: Any) -> Any:
    """x.astype(dtype) as a function, so that it can have a rule."""
    return x.astype(dtype)


class InPlaceError(TypeError):
    """Something would overwrite values that a reverse pass still needs."""


class DerivativeLost(TypeError):
    """Something would make a plain array or number of a box, without its derivative."""


class Box:
    """What Dual and Var share: looking like an ndarray, and sending every operation to the rules."""

    __slots__ = ("level", "value")
    __hash__ = None  # type: ignore[assignment]  # == is elementwise, as for ndarray
    value: Any
    level: int
    buffers = ""  # what to say of buffers: only a Dual can be written into

    def lift(self, fun: Any, y: Any, args: Any, values: list[Any], boxed: list[int], kwargs: dict[str, Any]) -> Any:
        """Box y = fun(*values, **kwargs), where values[i] was taken out of the box args[i] for each i in `boxed`."""
        raise NotImplementedError

    def assign(self, index: Any, value: Any) -> None:
        """self[index] = value, which only Dual can do."""
        raise NotImplementedError

    # -- NumPy's protocols ---------------------------------------------------------------------------------------------

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, out: Any = None, **kwargs: Any) -> Any:
        written = inputs[0] if method == "at" else out[0] if out else None
        if isinstance(written, np.ndarray):
            raise InPlaceError(
                f"{name_of(ufunc)} would write into a plain ndarray (x += ..., out=, .at), which cannot hold a "
                f"derivative: write x = x + ..., or leave out= away{self.buffers}"
            )
        if method == "at" and isinstance(written, Box) and ufunc in (np.add, np.subtract):
            return written.accumulate_at(ufunc, *inputs[1:])
        if method == "__call__":
            y = dispatch(ufunc, [as_operand(x) for x in inputs], kwargs)
        elif (method, ufunc) in UFUNC_METHODS:
            y = dispatch(UFUNC_METHODS[method, ufunc], inputs, {"axis": 0, **kwargs})
        elif method == "outer":
            a, b = inputs
            y = dispatch(ufunc, (np.reshape(a, np.shape(a) + (1,) * np.ndim(b)), b), kwargs)
        else:
            raise TypeError(
                f"{name_of(ufunc)}.{method} has no derivative rule in sophia_ref: use a function that has one"
            )
        if isinstance(written, Box):
            written.assign(..., y)
        return y if written is None else written

    def __array_function__(self, fun: Any, types: Any, args: Any, kwargs: Any) -> Any:
        return dispatch(fun, args, kwargs)

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        raise DerivativeLost(
            f"np.asarray or np.array of a {type(self).__name__} would drop its derivative: keep the array as it is, "
            f"join several with np.stack or np.concatenate, choose with np.where{self.buffers}"
        )

    def accumulate_at(self, ufunc: Any, index: Any, operand: Any) -> None:
        """np.add.at(self, index, operand), which only Dual can do."""
        raise InPlaceError(f"{name_of(ufunc)}.at writes into a {type(self).__name__}: build a new array instead")

    # -- looking like an ndarray ---------------------------------------------------------------------------------------

    shape = property(lambda self: self.value.shape)
    strides = property(lambda self: self.value.strides)
    ndim = property(lambda self: self.value.ndim)
    size = property(lambda self: self.value.size)
    dtype = property(lambda self: self.value.dtype)
    T = property(lambda self: dispatch(np.transpose, (self,), {}))
    mT = property(lambda self: dispatch(np.swapaxes, (self, -1, -2), {}))

    def __getattr__(self, name: str) -> Any:
        if hasattr(np.ndarray, name):
            raise AttributeError(f"ndarray.{name} has no derivative rule in sophia_ref: use a function that has one")
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __repr__(self) -> str:
        return f"{type(self).__name__}(level {self.level}, {self.value!r})"

    def __len__(self) -> int:
        return len(self.value)

    def __iter__(self) -> Any:
        return (self[i] for i in range(len(self)))

    def __bool__(self) -> bool:
        return bool(self.value)

    def __copy__(self) -> Any:
        return dispatch(np.copy, (self,), {})

    def __deepcopy__(self, memo: Any) -> Any:  # the values, not the tape
        return dispatch(np.copy, (self,), {})

    def __floordiv__(self, other: Any) -> Any:
        return strip(self) // strip(other)

    def __rfloordiv__(self, other: Any) -> Any:
        return other // strip(self)

    def __getitem__(self, index: Any) -> Any:
        for part in index if type(index) is tuple else (index,):
            if isinstance(part, Box):
                raise TypeError(
                    f"a {type(self).__name__} cannot be an index: indices are integers, which have no derivative"
                )
        value = self.value
        return self.lift(getitem, value[index], (self, index), [value, index], FIRST, NO_KEYWORDS)

    def __setitem__(self, index: Any, value: Any) -> None:
        self.assign(index, value)

    def fill(self, value: Any) -> None:
        """As of ndarray, in place: for Dual only."""
        self.assign(..., value)

    def sort(self, axis: int = -1) -> None:
        """As of ndarray, in place: for Dual only; np.sort gives a new array."""
        self.assign(..., dispatch(np.sort, (self, axis), {}))

    def astype(self, dtype: Any, **kwargs: Any) -> Any:
        """A cast between floating types; to an integer or boolean it gives a plain array, whose derivative is zero."""
        return strip(self).astype(dtype) if np.dtype(dtype).kind in "iub" else call(astype, self, dtype)

    def reshape(self, *shape: Any, order: Any = "C") -> Any:
        return call(
            np.reshape, self, shape[0] if len(shape) == 1 else shape, **({} if order == "C" else {"order": order})
        )

    def transpose(self, *axes: Any) -> Any:
        return call(np.transpose, self, axes[0] if len(axes) == 1 else axes or None)

    def copy(self, order: Any = "C") -> Any:
        return dispatch(np.copy, (self, order), {})

    def flatten(self, order: Any = "C") -> Any:
        return dispatch(np.copy, (dispatch(np.ravel, (self, order), {}),), {})


def _refuse(operation: str) -> Callable[..., Any]:
    def method(self: Box, *args: Any, **kwargs: Any) -> Any:
        raise DerivativeLost(
            f"{operation} of a {type(self).__name__} would drop its derivative: keep it an array up to the loss, use "
            f"NumPy's functions, not those of math, and join numbers with np.stack, not by writing them into an array"
        )

    return method


for _name in ("__float__", "__int__", "__complex__", "__index__", "__round__", "__reduce__", "item", "tolist"):
    setattr(Box, _name, _refuse(_name.strip("_")))

FIRST, SECOND, BOTH, NO_KEYWORDS = [0], [1], [0, 1], dict[str, Any]()  # which arguments are boxed

# Operators are called as operators: on NumPy scalars they are ten times faster than the ufuncs. rules/elementwise.py
# and rules/linalg.py give them the ufuncs' rules.
OPERATORS: dict[Callable[..., Any], np.ufunc] = {
    operator.add: np.add, operator.sub: np.subtract, operator.mul: np.multiply, operator.truediv: np.divide,
    operator.mod: np.remainder, operator.pow: np.power, operator.matmul: np.matmul,
    operator.neg: np.negative, operator.pos: np.positive, operator.abs: np.absolute,
}  # fmt: skip
COMPARISONS = ("eq", "ne", "lt", "le", "gt", "ge")
METHODS = (
    "sum", "prod", "mean", "var", "std", "max", "min", "cumsum", "ravel", "squeeze", "swapaxes", "repeat", "take",
    "trace", "diagonal", "dot", "clip", "conj", "argmax", "argmin", "argsort", "nonzero", "any", "all", "round",
    "searchsorted",
)  # fmt: skip


def _binary(fun: Any) -> Callable[..., Any]:
    """What `call` does, without its search for the highest level where both sides show it."""

    def method(self: Box, other: Any) -> Any:
        kind, value = type(other), self.value
        if kind is float or kind is int:
            return self.lift(fun, fun(value, other), (self, other), [value, other], FIRST, NO_KEYWORDS)
        if kind is type(self) and other.level == self.level:
            beside = other.value
            return self.lift(fun, fun(value, beside), (self, other), [value, beside], BOTH, NO_KEYWORDS)
        return call(fun, self, as_operand(other))

    return method


def _reflected(fun: Any) -> Callable[..., Any]:
    def method(self: Box, other: Any) -> Any:
        kind, value = type(other), self.value
        if kind is float or kind is int:
            return self.lift(fun, fun(other, value), (other, self), [other, value], SECOND, NO_KEYWORDS)
        return call(fun, as_operand(other), self)

    return method


def _in_place(fun: Any) -> Callable[..., Any]:
    def method(self: Box, other: Any) -> Any:
        result = call(fun, self, as_operand(other))
        if isinstance(strip(self), np.generic):  # a NumPy scalar: += makes a new one there too
            return result
        self.assign(..., result)
        return self

    return method


def _comparison(fun: Any) -> Callable[..., Any]:
    return lambda self, other: fun(strip(self), strip(other))


def _method(fun: Callable[..., Any]) -> Callable[..., Any]:
    return lambda self, *args, **kwargs: dispatch(fun, (self, *args), kwargs)


for _fun, _ufunc in OPERATORS.items():
    if _ufunc.nin == 1:
        setattr(Box, f"__{_fun.__name__}__", lambda self, fun=_fun: call(fun, self))
    else:
        setattr(Box, f"__{_fun.__name__}__", _binary(_fun))
        setattr(Box, f"__r{_fun.__name__}__", _reflected(_fun))
        setattr(Box, f"__i{_fun.__name__}__", _in_place(_fun))
for _name in COMPARISONS:
    setattr(Box, f"__{_name}__", _comparison(getattr(operator, _name)))
for _name in METHODS:
    setattr(Box, _name, _method(getattr(np, _name)))

# fmt: off
CONSTANTS |= {
    np.equal, np.not_equal, np.less, np.less_equal, np.greater, np.greater_equal, np.isclose, np.allclose,
    np.array_equal, np.isfinite, np.isnan, np.isinf, np.signbit, np.logical_and, np.logical_or, np.logical_not,
    np.logical_xor, np.any, np.all,
    np.sign, np.floor, np.ceil, np.trunc, np.rint, np.round, np.around, np.floor_divide,
    np.argmax, np.argmin, np.argsort, np.searchsorted, np.nonzero, np.flatnonzero, np.count_nonzero,
    np.shape, np.ndim, np.size, np.result_type, np.iscomplexobj, np.isrealobj,
}
# fmt: on
