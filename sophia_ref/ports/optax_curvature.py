"""Curvature for the optax port: h_hat by Hutchinson and by Gauss-Newton-Bartlett, and what trees must be.

Each estimator makes a function (params, key) -> h_hat, a tree like params, at least float32, which `sophia` asks when
an estimate is due. It is closed over a batch, so it is made anew in every step, inside the function that is compiled.
"""

from __future__ import annotations

import contextlib
import itertools
import operator
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from sophia_ref.optimizers.base import integer

Array = Any  # a jax.Array, or a tracer in its place
Tree = Any  # of arrays, as JAX has it
Curvature = Callable[[Tree, Array], Tree]


def hutchinson(loss: Callable[[Tree], Array], probes: Tree = None, axis_name: Any = None) -> Curvature:
    """h_hat = u * (H u), u ~ N(0, I): the paper's Algorithm 1 (Hutchinson 1989), forward over reverse. May be negative.

    loss: params -> a scalar, closed over its batch. probes: u, a tree like params, for tests. axis_name: the axis of
    `jax.shard_map`, `jax.pmap` or `jax.vmap` over which data are parallel, each device with a mean loss and a u of its
    own: h_hat is the mean over devices. Raises ValueError or TypeError for probes that do not fit.
    """

    def curvature(params: Tree, key: Array) -> Tree:
        params, key = _own(params, key, axis_name)
        leaves, structure = jax.tree.flatten(params)
        keys = jax.random.split(key, max(1, len(leaves)))
        u = structure.unflatten(jax.random.normal(k, x.shape, x.dtype) for k, x in zip(keys, leaves, strict=False))
        if probes is not None:
            u = fitted("hutchinson: probes", probes, params)
        # H u = d/ds ∇L(θ + s u) at s = 0
        _, product = jax.jvp(jax.grad(loss), (params,), (u,))
        h_hat = jax.tree.map(lambda u, hu: u.astype(wide(u)) * hu, u, product)
        return h_hat if axis_name is None else lax.pmean(h_hat, axis_name)

    return curvature


def gnb(
    apply: Callable[[Tree, Tree], Array],
    inputs: Tree,
    mask: Array = None,
    labels: Array = None,
    likelihood: str = "categorical",
    micro_batches: int | tuple[int, ...] = 1,
    axis_name: Any = None,
) -> Curvature:
    """h_hat = B g_hat * g_hat, the Gauss-Newton-Bartlett estimator: the paper's Algorithm 2. Never negative.

    g_hat is the gradient of the mean loss over B predictions whose labels are drawn from the model. It is squared once,
    however many parts the batch has.

    apply: (params, inputs) -> outputs (N, ..., C), for a tree of inputs (N, ...). likelihood: "categorical", where
    outputs are logits and the loss is -log softmax(f)[y], one prediction for each index before C; or "gaussian", where
    they are means, y ~ N(f, I), and the loss is |f - y|^2 / 2, which squared errors stand for.
    mask: bool (N, ...), which predictions count, B of them; None: all. labels: those drawn, (N, ...), or (N, ..., C)
    for "gaussian"; None: draw. Labels are drawn, and losses taken, in float32 at least.
    micro_batches: into how many equal parts the N examples are cut, or the length of each; one is in memory at a time.
    axis_name: the axis over which data are parallel: sums of gradients and counts are added up over it.

    Raises ValueError or TypeError, by name, for arguments that do not fit. Where all is masked, h_hat is 0/0 = NaN.
    """
    if likelihood not in ("categorical", "gaussian"):
        raise ValueError(f"gnb: likelihood must be 'categorical' or 'gaussian', got {likelihood!r}")

    def loss(params: Tree, inputs: Tree, kept: Array, labels: Array, key: Array) -> Array:
        """The sum over the unmasked of n examples."""
        f = apply(params, inputs)  # (n, ..., C)
        f = f.astype(wide(f))
        constant = lax.stop_gradient(f)
        if likelihood == "categorical":
            # ŷ_b ~ softmax(f(θ, x_b))
            y = jax.random.categorical(key, constant) if labels is None else labels  # (n, ...)
            losses = -jnp.take_along_axis(jax.nn.log_softmax(f), y[..., None], -1)[..., 0]  # (n, ...)
        else:
            # ŷ_b ~ N(f(θ, x_b), I)
            y = constant + jax.random.normal(key, f.shape, f.dtype) if labels is None else labels  # (n, ..., C)
            losses = jnp.sum((f - y) ** 2, -1) / 2  # (n, ...)
        return jnp.sum(jnp.where(kept, losses, 0))

    def curvature(params: Tree, key: Array) -> Tree:
        params, key = _own(params, key, axis_name)
        outputs = jax.eval_shape(apply, params, inputs).shape  # (N, ..., C)
        _check_batch(outputs, inputs, mask, labels, likelihood, micro_batches)
        batch = (inputs, jnp.ones(outputs[:-1], bool) if mask is None else mask, labels)

        def add(total: Tree, part: Any) -> tuple[Tree, None]:
            i, examples = part
            g = jax.grad(loss)(params, *examples, jax.random.fold_in(key, i))
            return jax.tree.map(jnp.add, total, g), None

        total = jax.tree.map(lambda x: jnp.zeros_like(x, dtype=wide(x)), params)
        if isinstance(micro_batches, tuple):
            for i, end in enumerate(itertools.accumulate(micro_batches)):
                rows = slice(end - micro_batches[i], end)
                total, _ = add(total, (i, jax.tree.map(operator.itemgetter(rows), batch)))
        else:
            shape = (micro_batches, outputs[0] // micro_batches)
            parts = jax.tree.map(lambda x: jnp.reshape(x, (*shape, *x.shape[1:])), batch)
            total, _ = lax.scan(add, total, (jnp.arange(micro_batches), parts))
        B = jnp.sum(batch[1])
        if axis_name is not None:
            total, B = lax.psum((total, B), axis_name)
        # ĝ = ∇ (1/B) Σ_b loss(f(θ, x_b), ŷ_b),  ĥ = B ĝ ĝ
        return jax.tree.map(lambda total: B * (total / B) * (total / B), total)

    return curvature


def _check_batch(outputs: tuple[int, ...], inputs: Tree, mask: Array, labels: Array, kind: str, parts: Any) -> None:
    """Raise unless everything fits outputs (N, ..., C)."""
    if len(outputs) < 2:
        raise ValueError(f"gnb: apply must return (N, ..., C), got shape {outputs}; where there is one output, C is 1")
    n, classes = outputs[0], outputs[-1]
    for name, x in named("gnb: inputs", inputs):
        if jnp.shape(x)[:1] != (n,):
            raise ValueError(f"{name} must have shape ({n}, ...), as apply's outputs have, got shape {jnp.shape(x)}")
    label = (outputs[:-1], jnp.integer) if kind == "categorical" else (outputs, jnp.floating)
    for name, x, (shape, dtype) in (("mask", mask, (outputs[:-1], jnp.bool_)), ("labels", labels, label)):
        got = f"{x.dtype} {x.shape}" if hasattr(x, "dtype") else type(x).__name__
        if x is not None and not (hasattr(x, "dtype") and x.shape == shape and jnp.issubdtype(x.dtype, dtype)):
            raise ValueError(f"gnb: {name} must be an array, {dtype.__name__} {shape}, got {got}")
    if kind == "categorical" and labels is not None and not traced((mask, labels)):
        kept = np.asarray(labels)[... if mask is None else np.asarray(mask)]
        if (wrong := kept[(kept < 0) | (kept >= classes)]).size:
            raise ValueError(f"gnb: labels must be in 0, ..., {classes - 1} where they count, got {wrong[0]}")
    lengths = [integer("gnb: micro_batches", x, 1) for x in (parts if isinstance(parts, tuple) else (parts,))]
    if sum(lengths) != n and (isinstance(parts, tuple) or n % parts):
        expected = f"a number that divides N = {n}, or a tuple of lengths that add up to it"
        raise ValueError(f"gnb: micro_batches must be {expected}, got {parts!r}")


def _own(params: Tree, key: Array, axis_name: Any) -> tuple[Tree, Array]:
    """params and key as each device's own. In `jax.shard_map` a gradient for parameters that all devices share is
    summed over them already, and would be summed twice."""
    params = jax.tree.map(jnp.asarray, params)
    if axis_name is None:
        return params, key
    i = lax.axis_index(axis_name)
    return jax.tree.map(lambda x: x + (0 * i).astype(x.dtype), params), jax.random.fold_in(key, i)


# -- trees, here and in the rule ---------------------------------------------------------------------------------------


def fitted(name: str, tree: Tree, like: Tree) -> Tree:
    """tree in the dtypes of like, once structure and shapes are known to be the same; without what is masked there."""

    def masked(x: Any) -> bool:
        return isinstance(x, optax.MaskedNode)

    with contextlib.suppress(ValueError, TypeError):
        tree = jax.tree.map(lambda x, y: x if masked(x) else y, like, tree, is_leaf=masked)
    if (got := jax.tree.structure(tree)) != (expected := jax.tree.structure(like)):
        raise ValueError(f"{name} must have the structure {expected}, got {got}")
    for (path, x), y in zip(named(name, tree), jax.tree.leaves(like), strict=True):
        check_kind(path, x)
        if jnp.shape(x) != y.shape:
            raise ValueError(f"{path} must have shape {y.shape}, got shape {jnp.shape(x)}")
    return jax.tree.map(lambda x, y: jnp.asarray(x, y.dtype), tree, like)


def check_kind(name: str, x: Any) -> None:
    if not hasattr(x, "dtype") or jnp.dtype(x.dtype).name not in ("bfloat16", "float16", "float32", "float64"):
        got = f"dtype {x.dtype}" if hasattr(x, "dtype") else repr(x)
        raise TypeError(f"{name} must be an array of float32, float64, float16 or bfloat16, got {got}")


def traced(tree: Tree) -> bool:
    return any(isinstance(x, jax.core.Tracer) for x in jax.tree.leaves(tree))


def named(name: str, tree: Tree) -> list[tuple[str, Any]]:
    return [(name + jax.tree_util.keystr(path), x) for path, x in jax.tree_util.tree_leaves_with_path(tree)]


def wide(x: Any) -> Any:
    return jnp.promote_types(x.dtype, jnp.float32)
