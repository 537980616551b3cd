"""Names for the parts of one flat array.

Optimizers see theta, an array of shape (..., P). A model sees tensors: W1 (3, 4), b1 (4,), ... A `Layout` says where
each lies.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from sophia_ref.autodiff.tape import primitive


class Layout:
    """Where named tensors lie in a flat array.

    >>> layout = Layout({"W": (2, 3), "b": (3,)})
    >>> layout.size
    9
    >>> layout.unpack(np.arange(9.0))["b"]
    array([6., 7., 8.])

    Attributes: `shapes` (name -> shape), `slices` (name -> slice of the last axis of theta), `size` P.
    Raises TypeError for shapes that are no dict, ValueError for no tensors at all, and for a shape that is not a tuple
    of non-negative integers.
    """

    def __init__(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        if not isinstance(shapes, Mapping):
            raise TypeError(f"Layout: shapes must be a dict of names and shapes, got {shapes!r}")
        if not shapes:
            raise ValueError("Layout: shapes must name at least one tensor, got none")
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.slices: dict[str, slice] = {}
        self.size = 0
        for name, shape in shapes.items():
            if not isinstance(shape, tuple) or any(
                isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 0 for n in shape
            ):
                raise ValueError(
                    f"Layout: the shape of {name!r} must be a tuple of non-negative integers, got {shape!r}"
                )
            self.shapes[name] = shape = tuple(map(int, shape))
            self.slices[name] = slice(self.size, self.size + math.prod(shape))
            self.size += math.prod(shape)
        self._split = primitive(self._tensors, self._cotangent)

    def __reduce__(self) -> tuple[Any, ...]:  # pickled by its shapes, for process pools
        return Layout, (self.shapes,)

    def __repr__(self) -> str:
        return f"Layout({self.shapes})"

    def unpack(self, theta: Any) -> dict[str, Any]:
        """theta (..., P) -> {name: tensor (..., *shape)}, views of theta where it is a plain array. Its backward packs,
        once.

        Raises TypeError if theta is no array, ValueError if its last axis is not P long.
        """
        if not hasattr(theta, "shape"):
            raise TypeError(f"Layout.unpack: theta must be an array, got a {type(theta).__name__}")
        if theta.shape[-1:] != (self.size,):
            raise ValueError(f"Layout.unpack: theta must have shape (..., {self.size}), got shape {np.shape(theta)}")
        return dict(zip(self.shapes, self._split(theta), strict=True))

    def pack(self, tensors: Mapping[str, Any]) -> Any:
        """{name: tensor (..., *shape)} -> theta (..., P), the inverse of `unpack`.

        Raises TypeError if `tensors` is no dict, ValueError for a missing or unknown name, for a tensor whose shape
        does not end in the layout's, and for tensors whose leading axes differ.
        """
        if not isinstance(tensors, Mapping):
            raise TypeError(f"Layout.pack: tensors must be a dict of names and arrays, got a {type(tensors).__name__}")
        if set(tensors) != set(self.shapes):
            raise ValueError(f"Layout.pack: tensors must be named {sorted(self.shapes)}, got {sorted(tensors)}")
        flat, leads = [], {}
        for name, shape in self.shapes.items():
            tensor = tensors[name]
            lead = np.shape(tensor)[: np.ndim(tensor) - len(shape)]
            if np.shape(tensor) != lead + shape:
                raise ValueError(
                    f"Layout.pack: {name!r} must have shape (..., {', '.join(map(str, shape))}), got {np.shape(tensor)}"
                )
            flat.append(np.reshape(tensor, (*lead, math.prod(shape))))
            leads[name] = lead
        if len(set(leads.values())) > 1:
            raise ValueError(f"Layout.pack: all tensors must have the same leading axes, got {leads}")
        return np.concatenate(flat, axis=-1)

    def _tensors(self, theta: Any) -> tuple[tuple[Any, ...], Any]:
        lead = theta.shape[:-1]
        tensors = tuple(theta[..., self.slices[name]].reshape(lead + shape) for name, shape in self.shapes.items())
        return tensors, (lead, theta.dtype)

    def _cotangent(self, saved: Any, bars: tuple[Any, ...]) -> tuple[Any]:
        lead, dtype = saved
        named = zip(self.shapes.items(), bars, strict=True)
        return (
            self.pack({name: np.zeros(lead + shape, dtype) if bar is None else bar for (name, shape), bar in named}),
        )
