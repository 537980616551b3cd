"""Copies of the optax port, each broken in one line, for what is to find that out.

Each bug is one that a published implementation has or had, or that its users reported.
"""

from pathlib import Path
from typing import NamedTuple

PORTS = Path(__file__).parents[3] / "sophia_ref" / "ports"


class Edit(NamedTuple):
    name: str
    file: str  # in sophia_ref/ports
    old: str  # a part of one line, which is there once
    new: str
    bug: str
    diagnosis: tuple[str, str]  # what the checker calls it in paper-H and in paper-G; "" where it does not show


BROKEN = (
    Edit(
        "added-eps",
        "optax.py",
        "m / jnp.maximum(gamma * h, eps)",
        "m / (gamma * h + eps)",
        "eps is added, as in the official SophiaG, so that a negative h turns the step round",
        ("eps added", "eps added"),
    ),
    Edit(
        "no-floor",
        "optax.py",
        "jnp.clip(ratio, -clip, clip)",
        "jnp.minimum(ratio, clip)",
        "the ratio is clipped from above alone, as a minimum of it and 1 does",
        ("clipped from above alone", "clipped from above alone"),
    ),
    Edit(
        "absolute-curvature",
        "optax.py",
        "jnp.maximum(gamma * h, eps)",
        "jnp.maximum(gamma * jnp.abs(h), eps)",
        "negative curvature counts as positive, as in AdaHessian",
        ("abs(h)", ""),
    ),
    Edit(
        "late-by-a-step",
        "optax.py",
        "jax.tree.map(change, theta, m, h, decays)",
        "jax.tree.map(change, theta, m, state.h, decays)",
        "an estimate is used from the next step on, as in optax.contrib.sophia",
        ("estimate used one step late", "estimate used one step late"),
    ),
    Edit(
        "first-estimate-at-k",
        "optax.py",
        "state.count % every == 0",
        "(state.count + 1) % every == 0",
        "estimates at t = k, 2k, ..., as in Levanter: the first k - 1 steps have h = 0",
        ("first estimate at step k", "first estimate at step k"),
    ),
    Edit(
        "literal-modulus",
        "optax.py",
        "state.count % every == 0",
        "(state.count + 1) % every == 1",
        "t mod k = 1 as the paper prints it, which never holds for k = 1",
        ("t mod k = 1, literally", "t mod k = 1, literally"),
    ),
    Edit(
        "corrected-momentum",
        "optax.py",
        "ratio = m / jnp.maximum",
        "ratio = m / (1 - b1 ** (state.count + 1)) / jnp.maximum",
        "m is bias-corrected, as in optax.contrib.sophia, Levanter and somax",
        ("m bias-corrected", "m bias-corrected"),
    ),
    Edit(
        "first-estimate-whole",
        "optax.py",
        "(b2 * h + (1 - b2) * h_hat)",
        "jnp.where(state.count == 0, h_hat, b2 * h + (1 - b2) * h_hat)",
        "h starts with the first estimate instead of with zero",
        ("h from the first estimate", "h from the first estimate"),
    ),
    Edit(
        "decay-last",
        "optax.py",
        "theta - lr * weight_decay * theta - step",
        "theta - step - lr * weight_decay * (theta - step)",
        "weights decay after the step, not before it",
        ("decay after the update", "decay after the update"),
    ),
    Edit(
        "decay-without-rate",
        "optax.py",
        "theta - lr * weight_decay * theta - step",
        "theta - weight_decay * theta - step",
        "the decay is not multiplied by the learning rate",
        ("decay not multiplied by lr", "decay not multiplied by lr"),
    ),
    Edit(
        "without-b",
        "optax_curvature.py",
        "B * (total / B) * (total / B)",
        "(total / B) * (total / B)",
        "B is missing in GNB, as where a batch size that belongs to the step was left out",
        ("", "B left out"),
    ),
    Edit(
        "masked-tokens-count",
        "optax_curvature.py",
        "B = jnp.sum(batch[1])",
        "B = batch[1].size",
        "B is the number of all tokens, also of the masked ones",
        ("", "mask ignored in the mean"),
    ),
    Edit(
        "square-of-each-part",
        "optax_curvature.py",
        "jax.tree.map(jnp.add, total, g)",
        "jax.tree.map(lambda total, g: jnp.sqrt(total**2 + g**2), total, g)",
        "the squares of micro-batches are added up, instead of the square of their sum",
        ("", "micro-batches each squared"),
    ),
    Edit(
        "mean-of-squared-errors",
        "optax_curvature.py",
        "jnp.sum((f - y) ** 2, -1) / 2",
        "jnp.mean((f - y) ** 2, -1)",
        "a mean squared error stands for the Gaussian likelihood",
        ("", "mean squared error"),
    ),
    Edit(
        "product-alone",
        "optax_curvature.py",
        "u.astype(wide(u)) * hu",
        "hu.astype(wide(u))",
        "H u itself, not u * (H u)",
        ("H u not multiplied by u", ""),
    ),
)


def write(edit: Edit, folder: Path) -> str:
    """Write a broken copy into folder. Returns the name of its module, which has all that the port has."""
    module = f"broken_{edit.name.replace('-', '_')}"
    for file in ("optax_curvature.py", "optax.py"):
        source = (PORTS / file).read_text(encoding="utf-8")
        if file == edit.file:
            if source.count(edit.old) != 1:
                raise ValueError(
                    f"{edit.name}: {edit.old!r} is {source.count(edit.old)} times in {file}; expected once"
                )
            source = source.replace(edit.old, edit.new)
        source = source.replace("sophia_ref.ports.optax_curvature", f"{module}_curvature")
        (folder / file.replace("optax", module, 1)).write_text(source, encoding="utf-8")
    return module
