"""The tiny GPT here, in PyTorch, JAX and HIPS/autograd, in one process: gradient, Hessian-vector product, GNB estimate,
and a whole training step of Sophia against one of AdamW.

    python benchmarks/bench_gpt.py [--repetitions 100]
"""

import argparse
import tracemalloc

import side_by_side  # first: it sets the number of threads

side_by_side.pin(1)

import gpt_twins  # noqa: E402
import numpy as np  # noqa: E402

import sophia_ref as sr  # noqa: E402
from toy_problems.text import load  # noqa: E402
from toy_problems.transformer import LanguageTask, TinyGPT  # noqa: E402

MODEL, BATCH = TinyGPT(vocab=96, context=64, width=64, heads=4, layers=2), 16
STEPS, EVERY = 20, 10


def products():
    """The matrix products of one gradient and nothing else, attention in full: y = x W, x_bar and W_bar of each."""
    rng, d, n, depth = np.random.default_rng(0), MODEL.width, BATCH * MODEL.context, MODEL.width // MODEL.heads
    shapes = [((n, a), (a, b)) for a, b in ((d, 3 * d), (d, d), (d, 4 * d), (4 * d, d)) for _ in range(MODEL.layers)]
    shapes.append(((n, d), (d, MODEL.vocab)))
    pairs = []
    for (n, a), (_, b) in shapes:
        pairs += [((n, a), (a, b)), ((n, b), (b, a)), ((a, n), (n, b))]
    time, stack = MODEL.context, (BATCH, MODEL.heads)
    scores, values = ((*stack, time, depth), (*stack, depth, time)), ((*stack, time, time), (*stack, time, depth))
    # forward S = Q K^T, Y = P V; backward P_bar = Y_bar V^T, then V_bar, Q_bar, K_bar
    pairs += [scores, values, scores, values, values, values] * MODEL.layers
    # all from the same three stretches of memory, which so stay in cache: a floor, not what a training step finds
    memory = rng.standard_normal((3, 2**21), np.float32)

    def view(which, shape):
        return memory[which, : np.prod(shape)].reshape(shape)

    calls = [(view(0, a), view(1, b), view(2, (*a[:-1], b[-1]))) for a, b in pairs]

    def multiply():
        for a, b, out in calls:
            np.matmul(a, b, out=out)

    return multiply


def step_jobs():
    """Training steps of AdamW, of Sophia-G and -H with the paper's share of the batch for curvature, and with all."""
    text = load()
    model = TinyGPT(text.vocab, MODEL.context, MODEL.width, MODEL.heads, MODEL.layers)
    task = LanguageTask(model, text, BATCH)
    settings = {"lr": 1e-3, "weight_decay": 0.1, "every": EVERY}
    optimizers = {
        "AdamW": sr.AdamW(lr=1e-3, weight_decay=0.1),
        "Sophia-G, half the batch": sr.SophiaG(**settings, estimator=sr.on_part(sr.gnb, 1 / 2)),
        "Sophia-H, a fifteenth": sr.SophiaH(**settings, estimator=sr.on_part(sr.hutchinson, 1 / 15)),
        "Sophia-G, full batch": sr.SophiaG(**settings),
        "Sophia-H, full batch": sr.SophiaH(**settings),
    }
    return {
        name: lambda opt=opt: sr.run(task, opt, STEPS, record=STEPS, clip_norm=1.0) for name, opt in optimizers.items()
    }


def peak(job):
    """The most memory that its arrays take at once, in bytes."""
    tracemalloc.start()
    job()
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return most


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=100)
    n = parser.parse_args().repetitions
    for name in ("torch", "jax", "autograd"):
        side_by_side.library(name)

    rng = np.random.default_rng(0)
    theta, v = MODEL.init(rng), rng.standard_normal(MODEL.size, np.float32)
    batch = tokens, targets = tuple(rng.integers(MODEL.vocab, size=(2, BATCH, MODEL.context)))
    twins = {kind.__name__: kind(MODEL, theta, tokens, targets, v) for kind in gpt_twins.TWINS}
    twins["Torch"].torch.set_num_threads(1)

    def loss(theta):
        return MODEL.loss(theta, batch)

    g, product = sr.grad(loss)(theta), sr.hvp(loss, theta, v)
    for name, twin in twins.items():
        assert abs(twin.loss() - loss(theta)) < 1e-5, name
        assert np.abs(gpt_twins.flat(twin.gradient()) - g).max() < 1e-5 * np.abs(g).max(), name
        if hasattr(twin, "hvp"):
            assert np.abs(gpt_twins.flat(twin.hvp()) - product).max() < 1e-5 * np.abs(product).max(), name

    rows = []

    def compare(what, seconds):
        (_, ours), *others = seconds.items()
        rows.extend((what, f"{ours * 1e3:.2f}", name, f"{s * 1e3:.2f}", f"{ours / s:.2f}") for name, s in others)

    gradients = {"sophia_ref": lambda: sr.grad(loss)(theta)}
    names = {"Torch": "PyTorch eager", "Jax": "jax.jit", "Autograd": "HIPS/autograd"}
    gradients |= {names[name]: twin.gradient for name, twin in twins.items()} | {
        "its matrix products alone": products()
    }
    compare("gradient", side_by_side.measure(gradients, n, "gradient"))

    hvps = {"sophia_ref": lambda: sr.hvp(loss, theta, v)}
    hvps |= {names[name]: twin.hvp for name, twin in twins.items() if hasattr(twin, "hvp")}
    compare("Hessian-vector product", side_by_side.measure(hvps, n // 2, "Hessian-vector product"))

    gnb = {
        "sophia_ref": lambda: sr.gnb(sr.Oracle(MODEL, theta, batch, rng)),
        "a gradient": lambda: sr.Oracle(MODEL, theta, batch).grad(),
    }
    compare("GNB estimate", side_by_side.measure(gnb, n, "GNB estimate"))

    steps = side_by_side.measure(step_jobs(), max(4, n // 10), "training steps")
    memory = {name: peak(job) for name, job in step_jobs().items()}
    base, most = steps.pop("AdamW"), memory.pop("AdamW")
    for name, seconds in steps.items():
        compare(f"training step, {name}", {"": seconds / STEPS, "AdamW's": base / STEPS})

    print(
        f"TinyGPT{(MODEL.vocab, MODEL.context, MODEL.width, MODEL.heads, MODEL.layers)}, {MODEL.size:,} parameters, ",
        end="",
    )
    print(f"batch {BATCH}, float32, medians of {n} repetitions, one thread\n{side_by_side.machine()}\n")
    print(side_by_side.table(("", "ms", "compared with", "ms", "ratio"), rows))
    print("\nPeak memory of arrays: AdamW's", f"{most / 1e6:.1f} MB;", end=" ")
    print("; ".join(f"{name} {100 * (m / most - 1):+.1f}%" for name, m in memory.items()))


if __name__ == "__main__":
    main()
