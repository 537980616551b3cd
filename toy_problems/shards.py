"""A loss over a batch in shards, each on a thread of its own.

NumPy lets go of Python's lock while it computes, so threads that work on different examples run at the same time. The
loss of the batch is the weighted mean of theirs, added up in the order of the shards: the same number each time,
though not to the last bit that of one shard. BLAS should have one thread (OPENBLAS_NUM_THREADS=1, set before Python
starts), or each shard waits for the others' products.
"""

import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import cache
from typing import Any

from sophia_ref.autodiff import primitive, vjp
from sophia_ref.autodiff.dispatch import Box

Array = Any


def in_shards(loss: Callable[..., Array], theta: Array, shards: Sequence[tuple[Any, ...]], weights: list[float]) -> Any:
    """The sum of weights[i] * loss(theta, *shards[i]), 0-d, differentiable in theta (P,) to any order."""

    def forward(theta: Array) -> Any:
        pairs = together(lambda shard: vjp(lambda theta: loss(theta, *shard), theta), shards)
        return sum(w * value for w, (value, _) in zip(weights, pairs, strict=True)), [pullback for _, pullback in pairs]

    def backward(pullbacks: Any, y_bar: Array) -> Any:
        # theta_bar = the sum of the shards' gradients, pulled back from weights[i] y_bar
        terms = together(lambda pair: pair[0](pair[1] * y_bar), list(zip(pullbacks, weights, strict=True)))
        return (sum(terms),)

    if isinstance(theta, Box):
        return primitive(forward, backward)(theta)
    values = together(lambda shard: loss(theta, *shard), shards)
    return sum(w * value for w, value in zip(weights, values, strict=True))


def together(call: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
    """[call(item) for item in items]. The first is called on this thread, the others on one each, under NumPy's error
    settings of this one (np.errstate). In a browser, which has one thread, they are called in turn."""
    if sys.platform == "emscripten":
        return [call(item) for item in items]
    first, *others = items
    waiting = [_pool(len(others)).submit(copy_context().run, call, item) for item in others]
    return [call(first), *(future.result() for future in waiting)]


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="shard")
