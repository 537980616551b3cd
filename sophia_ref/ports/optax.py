"""Sophia for JAX: an optax transformation, and the estimators that give it curvature.

    optimizer = optax.chain(optax.clip_by_global_norm(1.0), sophia_g(3e-4, weight_decay=0.1))
    state = optimizer.init(params)

    @jax.jit
    def step(params, state, batch):
        grads = jax.grad(loss)(params, batch)
        curvature = gnb(logits, batch.tokens)  # or hutchinson(lambda params: loss(params, batch))
        updates, state = optimizer.update(grads, state, params, curvature=curvature)
        return optax.apply_updates(params, updates), state

`sophia_ref.Sophia` is the same rule in NumPy, and the tests compare the two. What is another here:

- A compiled a * b + c may be rounded once, where NumPy rounds twice: an ulp an operation. Where no rounding happens the
  two agree to the bit. On a CPU, XLA takes denormal numbers for zero, so eps must not be one.
- A traced step cannot refuse numbers. NaN is not hidden: it arrives in the parameters. Infinity in h_hat would hold its
  coordinate for good, in silence.
- float16 and bfloat16 parameters are stepped in float32, with m and h in float32; the update has their own dtype.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from sophia_ref.optimizers.base import EXPECTED, integer, number
from sophia_ref.ports.optax_curvature import check_kind, fitted, gnb, hutchinson, named, traced, wide

__all__ = ["SophiaState", "gnb", "hutchinson", "sophia", "sophia_g", "sophia_h"]

Array = Any  # a jax.Array, or a tracer in its place
Tree = Any  # of arrays, as JAX has it

# What a setting must be, in words of its own where sophia_ref.Sophia takes arrays too, and as it judges it.
_EXPECTED: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "learning_rate": ("a finite number >= 0, or a schedule count -> number", EXPECTED["lr"][1]),
    "learning_rate(count)": ("a finite number >= 0", EXPECTED["lr"][1]),
    "b1": EXPECTED["beta1"],
    "b2": EXPECTED["beta2"],
    "gamma": ("a finite number > 0", EXPECTED["gamma"][1]),
    "clip": ("a number > 0 (jnp.inf turns clipping off)", EXPECTED["clip"][1]),
    "eps": EXPECTED["eps"],
    "weight_decay": ("a finite number >= 0", EXPECTED["weight_decay"][1]),
}


class SophiaState(NamedTuple):
    count: Array  # steps taken
    m: Tree  # running average of gradients, at least float32
    h: Tree  # running average of curvature estimates, at least float32
    key: Array  # what the keys of all estimates come from; it stays as it is


def sophia(
    learning_rate: Any,
    b1: Any = 0.96,
    b2: Any = 0.99,
    gamma: Any = 0.01,
    clip: Any = 1.0,
    eps: Any = 1e-12,
    weight_decay: Any = 0.0,
    mask: Any = None,
    every: Any = 10,
    seed: Any = 0,
) -> optax.GradientTransformationExtraArgs:
    """Algorithm 3 of Liu, Li, Hall, Liang, Ma (2023), arXiv 2305.14342, in its later form: momentum decay b1, curvature
    decay b2, curvature scale gamma, greatest ratio clip, least denominator eps, decoupled weight decay, mask of what
    decays, every how many steps curvature is estimated, seed of the estimates.

    learning_rate: a number, or a schedule, asked for count = 0, 1, ... mask: as optax has it, a tree of True and False
    like params, or a prefix of it, or a function params -> tree; None: all decay. All but the mask may be traced.

    `update(grads, state, params, curvature=...)` wants curvature in every step, as a traced step does not know whether
    it is due: a function (params, key) -> h_hat, such as `gnb` and `hutchinson` make, which is asked in the steps
    t = 1, 1 + every, ... alone (`lax.cond`), or h_hat itself, ignored in the others. Where `jax.vmap` maps states with
    their counts, cond becomes a select, and every step pays for an estimate.

    The estimate of step t draws from fold_in(state.key, t - 1), so a state that was saved goes on as if nothing had
    happened. Runs under vmap share a key unless they are given one each: state._replace(key=jax.random.split(key, n)).

    In `optax.MultiSteps` h takes the estimate of the last micro-batch, on its part of the batch; those of the others
    are paid for and forgotten. For one of the whole batch, hand `gnb(..., micro_batches=...)` to the last.
    In `optax.masked` and `optax.multi_transform` params lack what is masked: close over all of them, as in
    curvature=lambda _, key: hutchinson(loss)(params, key). Of such an h_hat the part that is needed is taken.

    Raises TypeError or ValueError, by name, for settings out of range, leaves that are not real floating point or are
    0-d (reshape those to (1,)), trees that do not fit params, and missing curvature.

    >>> params = {"w": jnp.array([3.0])}  # 2 w^2
    >>> newton = sophia(0.5, b1=0.0, b2=0.0, gamma=1.0, clip=2.0)
    >>> curvature = {"w": jnp.array([4.0])}
    >>> updates, state = newton.update({"w": jnp.array([12.0])}, newton.init(params), params, curvature=curvature)
    >>> updates["w"].tolist()  # 12/4 is clipped at 2
    [-1.0]
    """
    if not callable(learning_rate):
        learning_rate = _judged("learning_rate", learning_rate)
    given = dict(b1=b1, b2=b2, gamma=gamma, clip=clip, eps=eps, weight_decay=weight_decay, every=every)
    b1, b2, gamma, clip, eps, weight_decay, every = (_judged(name, value) for name, value in given.items())

    def init(params: Tree) -> SophiaState:
        for name, x in named("sophia: params", params):
            check_kind(name, x)
            if jnp.ndim(x) == 0:
                raise ValueError(f"{name} must have an axis, got a 0-d array; reshape it to (1,)")
            least = float(jnp.finfo(wide(x)).tiny)
            if not traced(eps) and eps < least:
                expected = f"must be >= {least:.3g}, as XLA may take less for zero in {wide(x)}"
                raise ValueError(f"sophia: eps {expected}, got {eps!r}")
        m, h = (jax.tree.map(lambda x: jnp.zeros_like(x, dtype=wide(x)), params) for _ in "mh")
        return SophiaState(jnp.zeros((), jnp.int32), m, h, jax.random.PRNGKey(seed))

    def decaying(params: Tree) -> Tree:
        """A tree like params: whether a leaf decays."""
        tree = True if mask is None else mask(params) if _is_function(mask) else mask
        for name, x in named("sophia: mask", tree):
            if not isinstance(x, bool | np.bool_):
                raise TypeError(f"{name} must be True or False, got {x!r}")
        zero = isinstance(weight_decay, float) and weight_decay == 0
        try:
            return jax.tree.map(lambda x, below: jax.tree.map(lambda _: x and not zero, below), tree, params)
        except ValueError:
            expected = f"have the structure of params, {jax.tree.structure(params)}, or of a prefix"
            raise ValueError(f"sophia: mask must {expected}, got {jax.tree.structure(tree)}") from None

    def update(grads: Tree, state: SophiaState, params: Tree = None, *, curvature: Any = None, **_: Any) -> Any:
        if not isinstance(state, SophiaState):
            raise TypeError(f"sophia: state must be a SophiaState, as init returns it, got {state!r}")
        for name, value in dict(params=params, curvature=curvature).items():
            if value is None:
                expected = "update(grads, state, params, curvature=...), in every step"
                raise ValueError(f"sophia: {name} must be given, got None; expected {expected}")
        theta, g = fitted("sophia: params", params, state.m), fitted("sophia: grads", grads, state.m)
        decays, lr = decaying(params), learning_rate
        if callable(learning_rate):
            lr = _judged("learning_rate(count)", learning_rate(state.count))

        def estimated() -> Tree:
            h_hat = curvature
            if _is_function(curvature):
                h_hat = curvature(params, jax.random.fold_in(state.key, state.count))
            # h_t = β₂ h_{t-k} + (1 - β₂) ĥ_t
            h_hat = fitted("sophia: curvature", h_hat, state.h)
            return jax.tree.map(lambda h, h_hat: (b2 * h + (1 - b2) * h_hat).astype(h.dtype), state.h, h_hat)

        def change(theta: Array, m: Array, h: Array, decays: bool) -> Array:
            # m_t / max(γ h_t, ε)
            ratio = m / jnp.maximum(gamma * h, eps)
            # clip(z, ρ) = max(min(z, ρ), -ρ),  ρ = 1
            step = lr * jnp.clip(ratio, -clip, clip)
            if not decays:
                return -step
            # θ_t ← θ_t - η_t λ θ_t
            # θ_{t+1} = θ_t - η_t clip(m_t / max(γ h_t, ε), 1)
            new = theta - lr * weight_decay * theta - step
            # optax adds this to θ, which gives new to the bit where it lies between θ/2 and 2θ (Sterbenz 1974), and
            # elsewhere all but half an ulp of the difference. -(η_t λ θ + step) would be an ulp off in a quarter of all
            # coordinates.
            return new - theta

        # t = count + 1 = 1, 1 + k, 1 + 2k, ...
        h = lax.cond(state.count % every == 0, estimated, lambda: state.h)
        # m_t = β₁ m_{t-1} + (1 - β₁) g_t
        m = jax.tree.map(lambda m, g: (b1 * m + (1 - b1) * g).astype(m.dtype), state.m, g)
        updates = jax.tree.map(change, theta, m, h, decays)
        updates = jax.tree.map(lambda x, p: x.astype(jnp.result_type(p)), updates, params)
        return updates, SophiaState(optax.safe_int32_increment(state.count), m, h, state.key)

    return optax.GradientTransformationExtraArgs(init, update)


# Partial functions, as optax.inject_hyperparams looks at signatures. The gammas are those of the paper's experiments
# (from memory, not checked).
sophia_h = functools.partial(sophia, gamma=0.01)
sophia_g = functools.partial(sophia, gamma=0.05)


def _judged(name: str, value: Any) -> Any:
    """A setting as a Python number, once it is known to be in range; a tracer as it is."""
    if traced(value):
        return value
    if hasattr(value, "item") and jnp.ndim(value) == 0:
        value = value.item()
    return integer("sophia: every", value, 1) if name == "every" else number(f"sophia: {name}", value, *_EXPECTED[name])


def _is_function(x: Any) -> bool:
    return callable(x) and all(map(callable, jax.tree.leaves(x)))  # an Equinox model is a tree that can be called
