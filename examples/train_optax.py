"""The tiny GPT trained by Sophia in JAX, beside the same training in NumPy.

    python examples/train_optax.py [--steps 20] [--output out/train_optax.png]

Sophia-H and Sophia-G, 200 steps in float32 and 50 in float64, from the same weights, on the same batches, with the same
labels and probes. It prints how far the losses are apart, draws both, and fails where they are further apart than
beside_numpy.py allows. The training loop is what one would write for a large model; only labels and probes would
be drawn by `gnb` and `hutchinson` themselves.
"""

import os

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ["JAX_ENABLE_X64"] = "1"

from collections.abc import Iterator
from typing import Any

import beside_numpy
import gpt_twins
import jax
import jax.numpy as jnp
import optax

from sophia_ref.ports.optax import gnb, hutchinson, sophia


def train(recorded: beside_numpy.Recorded) -> Iterator[float]:
    model, rates = recorded.model, jnp.asarray(recorded.rates)

    def named(theta):
        return {name: jnp.asarray(w) for name, w in model.layout.unpack(theta).items()}

    def logits(params, tokens):
        return gpt_twins.plain_logits(jnp, model, [params[name] for name in model.layout.shapes], tokens)

    def loss(params, tokens, targets):
        return optax.softmax_cross_entropy_with_integer_labels(logits(params, tokens), targets).mean()

    s = beside_numpy.SETTINGS
    rule = sophia(
        lambda count: rates[count], s["beta1"], s["beta2"], s["gamma"], s["clip"], s["eps"], s["weight_decay"],
        every=s["every"],
    )  # fmt: skip
    optimizer = optax.chain(optax.clip_by_global_norm(beside_numpy.CLIP_NORM), rule)

    @jax.jit
    def step(params, state, tokens, targets, drawn):
        value, grads = jax.value_and_grad(loss)(params, tokens, targets)
        if recorded.method == "SophiaG":
            curvature = gnb(logits, tokens, labels=drawn)
        else:
            curvature = hutchinson(lambda params: loss(params, tokens, targets), probes=drawn)
        updates, state = optimizer.update(grads, state, params, curvature=curvature)
        return value, optax.apply_updates(params, updates), state

    params: Any = named(recorded.theta0)
    state, drawn = optimizer.init(params), None
    for (tokens, targets), now in zip(recorded.batches[:-1], recorded.drawn, strict=True):
        # where no estimate is due, what was drawn before stands in, and is ignored
        drawn = drawn if now is None else named(now) if recorded.method == "SophiaH" else now
        value, params, state = step(params, state, tokens, targets, drawn)
        yield float(value)
    yield float(jax.jit(loss)(params, *recorded.batches[-1]))


if __name__ == "__main__":
    beside_numpy.main("optax", train, __doc__)
