"""Where the time of a training step goes, layer by layer, and how near that is to what the machine allows.

A layer must do the flops of its matrix products, and move each of its inputs and outputs through memory once:

    floor = max(flops / rate of a large matrix product, bytes / rate of a large copy)        share = floor / time

Both rates are measured in the same run. Layers are not listed here: while a step is watched, every primitive that the
transformer calls is exchanged for one whose forward and backward pass are timed, or have their flops counted.
"""

import re
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from itertools import count
from statistics import fmean
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np

from sophia_ref.autodiff import primitive
from sophia_ref.guard import take_step
from sophia_ref.optimizers.base import frozen
from sophia_ref.oracle import Oracle
from toy_problems import layers, transformer

Array = Any
Call = Callable[..., Any]  # call(key, fun, *args) -> fun(*args), having watched it
Seconds = dict[Any, float]  # of a step's parts, by their keys

SECONDS, LEAST, MOST = 6.0, 3, 200  # for all repetitions, and how many there are at least and at most
SIDES, LARGE = (512, 1024), 2**26  # rows and columns of large products; bytes of an array beyond every cache
CALM = 4  # of so many steps one is looked at, that which other programs disturbed least
PASSES = ("forward", "backward")
BATCH, TAPE, GATHER, CURVATURE, UPDATE = "draw batch", "tape, other sums", "gather gradient", "curvature", "update"
WHOLE = "whole step"


class Part(NamedTuple):
    """A part of a step: its seconds, flops of matrix products and least bytes, each a step. `direction` is forward or
    backward in a layer and empty elsewhere; flops and bytes are 0 where they are not counted."""

    name: str
    direction: str
    seconds: float
    flops: int = 0
    bytes: int = 0


class Profile(NamedTuple):
    """The parts of a step, the seconds of a whole step that nobody watches, and what the machine does in a second."""

    parts: list[Part]
    seconds: float
    flop_rate: float
    byte_rate: float

    @property
    def unattributed(self) -> float:
        """What the whole step takes beyond its parts, in seconds; negative where watching costs more than that."""
        return self.seconds - sum(part.seconds for part in self.parts)

    def floor(self, part: Part) -> float:
        """The least seconds of a part."""
        return max(part.flops / self.flop_rate, part.bytes / self.byte_rate)


def measure(task: Any, opt: Any, seed: int = 0, progress: bool = False) -> Profile:
    """Where a step of `opt` on a LanguageTask of one thread spends its time, gradients clipped to norm 1 as in
    training: means over the calmest of many steps from one theta, each on a new batch. What not every step does, such
    as estimating curvature, is spread over all of them.

    progress: show a bar on a terminal (tqdm).
    """
    rng = np.random.default_rng(seed)
    theta = frozen(task.init(rng))

    def step(state: Any, watched: WatchedLayers | None = None) -> Any:
        """The state after a step."""
        call = watched.call if watched else _unwatched
        batch = call(BATCH, task.batch, rng)
        oracle = _WatchedOracle(watched, task, theta, batch, rng) if watched else Oracle(task, theta, batch, rng)
        take = partial(take_step, opt, theta, state, oracle, np.array(False), clip_norm=1.0, block=1)
        return call(UPDATE, take)[0].state

    every, counts, rates = getattr(opt, "every", 1), _Counts(task.model.layout), machine()
    state = opt.init(theta)
    # the first step estimates curvature; the second does not, unless every step does
    states = [state, step(state, WatchedLayers(task.model.layout, counts.call))][: min(every, 2)]
    plain, watched = _calm_steps(step, states, task.model.layout, progress)

    def seconds(key: Any, times: list[list[Seconds]] = watched) -> float:
        with_curvature, *without = [fmean(step.get(key, 0.0) for step in steps) for steps in times]
        return (with_curvature + (every - 1) * sum(without)) / every

    passes: dict[tuple[str, str], list[Any]] = defaultdict(list)  # a layer's in all blocks
    for i, name in enumerate(counts.names):
        for direction in PASSES:
            passes[name, direction].append((i, direction))
    parts = [
        Part(*which, sum(map(seconds, keys)), sum(counts.flops[k] for k in keys), sum(counts.bytes[k] for k in keys))
        for which, keys in passes.items()
    ]
    # an update reads theta, its gradient and what the optimizer remembers; it writes theta and what of that it renews
    memory = list(zip(states[-1][1:], step(states[-1])[1:], strict=True))
    moved = 3 + len(memory) + sum(new is not old for old, new in memory)
    rest = [
        Part(GATHER, "", seconds(GATHER), bytes=2 * theta.nbytes),
        Part(TAPE, "", seconds(TAPE)),
        Part(CURVATURE, "", seconds(CURVATURE)),
        Part(UPDATE, "", seconds(UPDATE), bytes=moved * theta.nbytes),
        Part(BATCH, "", seconds(BATCH)),
    ]
    parts = [part for part in parts + rest if part.seconds]  # not every optimizer asks for curvature
    return Profile(parts, seconds(WHOLE, plain), *map(max, zip(rates, machine(), strict=True)))


def _calm_steps(step: Call, states: list[Any], layout: Any, progress: bool) -> tuple[Any, Any]:
    """(plain, watched), each the `Seconds` of the calmest steps from every state, taken in turns."""
    from tqdm.auto import tqdm

    start = perf_counter()
    for state in states:
        step(state)
    rounds = int(np.clip(SECONDS / 2 / (perf_counter() - start), LEAST, MOST))
    plain: list[list[Seconds]] = [[] for _ in states]
    watched: list[list[Seconds]] = [[] for _ in states]
    watch = _Watch()
    timed = WatchedLayers(layout, watch.call)
    for turn in tqdm(range(rounds), disable=None if progress else True, unit="round", leave=False):
        for i, state in enumerate(states):
            for times in (plain, watched) if turn % 2 else (watched, plain):  # neither always comes first
                watch.seconds = defaultdict(float)
                watch.call(WHOLE, step, state, timed if times is watched else None)
                times[i].append(watch.seconds)
    for times in (plain, watched):
        for steps in times:
            steps.sort(key=lambda seconds: sum(seconds.values()))
            del steps[-(-rounds // CALM) :]
    return plain, watched


def machine() -> tuple[float, float]:
    """Flops a second of a large float32 matrix product, bytes read and written a second by a large copy."""
    squares = [np.ones((side, side), np.float32) for side in SIDES]
    flop_rate = max(2 * len(a) ** 3 / _least_seconds(np.matmul, a, a, np.empty_like(a)) for a in squares)
    source = np.ones(LARGE // 4, np.float32)
    return flop_rate, 2 * LARGE / _least_seconds(np.copyto, np.empty_like(source), source)


def _least_seconds(fun: Call, *args: Any) -> float:
    times = []
    for _ in range(10):
        start = perf_counter()
        fun(*args)
        times.append(perf_counter() - start)
    return min(times)


class _Watch:
    """A stopwatch for calls within calls: `seconds` of each without the calls within it, so that all add up."""

    def __init__(self) -> None:
        self.seconds: Seconds = defaultdict(float)
        self._within = 0.0

    def call(self, key: Any, fun: Call, *args: Any) -> Any:
        before, self._within = self._within, 0.0
        start = perf_counter()
        result = fun(*args)
        took = perf_counter() - start
        self.seconds[key] += took - self._within
        self._within = before + took
        return result


def _unwatched(key: Any, fun: Call, *args: Any) -> Any:
    return fun(*args)


class WatchedLayers:
    """A context in which layer number i of the transformer, in the order of calls, computes call((i, "forward"),
    forward, *args) and call((i, "backward"), backward, saved, y_bar), and a layout packs in call(GATHER, ...)."""

    def __init__(self, layout: Any, call: Call) -> None:
        self.call = call
        # layers.py names the two functions of a layer after it
        names = [name for name in vars(transformer) if hasattr(layers, f"{name}_backward")]
        self._changes = [(transformer, name, self._watched(name)) for name in names]
        self._changes.append((layout, "_split", primitive(layout._tensors, partial(call, GATHER, layout._cotangent))))
        self._usual = [(owner, name, getattr(owner, name)) for owner, name, _ in self._changes]

    def _watched(self, name: str) -> Call:
        forward, backward = (getattr(layers, f"{name}_{direction}") for direction in PASSES)

        def numbered_forward(*args: Any) -> Any:
            i = next(self._numbers)
            y, saved = self.call((i, "forward"), forward, *args)
            return y, (i, saved)

        def numbered_backward(numbered: Any, y_bar: Array) -> Any:
            i, saved = numbered
            return self.call((i, "backward"), backward, saved, y_bar)

        return primitive(numbered_forward, numbered_backward)

    def __enter__(self) -> None:
        self._numbers = count()
        for change in self._changes:
            setattr(*change)

    def __exit__(self, *error: object) -> None:
        for change in self._usual:
            setattr(*change)


class _WatchedOracle(Oracle):
    """An oracle whose gradients, with their layers, and curvature are watched."""

    def __init__(self, watched: WatchedLayers, *args: Any) -> None:
        super().__init__(*args)
        self._watched = watched

    def grad(self) -> Array:
        with self._watched:
            return self._watched.call(TAPE, super().grad)

    def curvature(self, estimator: Any) -> Array:
        return self._watched.call(CURVATURE, super().curvature, estimator)


class _Counts:
    """The names of the layers of one gradient, in the order of calls, with the flops and bytes of their passes."""

    def __init__(self, layout: Any) -> None:
        self.layout = layout
        self.names: list[str] = []
        self.flops: dict[Any, int] = {}
        self.bytes: dict[Any, int] = {}

    def call(self, key: Any, fun: Call, *args: Any) -> Any:
        if not isinstance(key, tuple):
            return fun(*args)
        before = CountingArray.flops
        result = fun(*(arg.view(CountingArray) if isinstance(arg, np.ndarray) else arg for arg in args))
        self.flops[key] = CountingArray.flops - before
        i, direction = key
        if direction == "forward":
            y, saved = result
            weights = {name: _bytes(arg) for arg in args if (name := self._weight(arg))}
            inputs = sum(map(_bytes, args))
            if any(getattr(arg, "dtype", None) == np.int64 for arg in args):
                # tokens pick rows of tables, which need not be read as a whole
                inputs, weights = inputs - sum(weights.values()), {}
            self.names.append(" ".join([fun.__name__.removesuffix("_forward"), *weights]))
            self.bytes[key] = inputs + _bytes(y)
            return _plain(y), saved
        # its inputs are y_bar, as large as y, and those of the forward pass
        self.bytes[key] = self.bytes[i, "forward"] + sum(map(_bytes, result))
        return tuple(map(_plain, result))

    def _weight(self, array: Any) -> str | None:
        """The name, without the block's number, of the matrix of theta that `array` shows."""
        theta = getattr(array, "base", None)
        if theta is None or array.ndim < 2 or theta.shape != (self.layout.size,):
            return None
        start = (array.ctypes.data - theta.ctypes.data) // array.itemsize
        (name,) = (name for name, place in self.layout.slices.items() if place.start == start)
        return re.sub(r"^\d+\.", "", name)


class CountingArray(np.ndarray):
    """An array that adds up the flops of products of two matrices; what is computed from it does so too. A product with
    a single row or column is a sum, limited by memory, and not counted."""

    flops = 0

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, out: Any = None, **kwargs: Any) -> Any:
        inputs = tuple(map(_plain, inputs))
        if out is not None:
            kwargs["out"] = tuple(map(_plain, out))
        y = getattr(ufunc, method)(*inputs, **kwargs)
        if ufunc is np.matmul:
            rows, inner = inputs[0].shape[-2:]
            if min(rows, inner, inputs[1].shape[-1]) > 1:
                CountingArray.flops += 2 * inner * y.size
        return out[0] if out is not None else y.view(CountingArray) if isinstance(y, np.ndarray) else y


def _plain(x: Any) -> Any:
    return x.view(np.ndarray) if isinstance(x, CountingArray) else x


def _bytes(x: Any) -> int:
    return int(getattr(x, "nbytes", 0))
