"""Sophia on the surface of Figure 2: a million starts at once, and one start for ten thousand steps.

    python benchmarks/bench_landscapes.py [--starts 1000000] [--steps 10000] [--repetitions 3]

The million go through sr.run, from a plain function and from the registered landscape, with exact curvature every 10
steps; beside it the same arithmetic by hand in NumPy, and as jax.jit(vmap(scan)) in float64. The single start is the
loop that a user would write, with derivatives from here, from PyTorch and from HIPS/autograd. End points are compared
first.
"""

import argparse

import side_by_side  # first: it sets the number of threads

side_by_side.pin(1)

import numpy as np  # noqa: E402

import sophia_ref as sr  # noqa: E402
from toy_problems.landscapes import REGISTRY  # noqa: E402

LR, BETA1, BETA2, GAMMA, EVERY, STEPS = 0.3, 0.9, 0.9, 1.0, 10, 100
SOPHIA = sr.Sophia(lr=LR, beta1=BETA1, beta2=BETA2, gamma=GAMMA, every=EVERY, estimator=sr.exact_diagonal)
ADAM = sr.Adam(lr=0.01)


def figure_2(theta):
    x, y = theta[..., 0], theta[..., 1]
    return 8 * (x - 1) ** 2 * (1.3 * x**2 + 2 * x + 1) + (y - 4) ** 2 / 2


def by_hand(theta):
    """100 steps with both derivatives worked out by hand, in blocks like those of sr.run."""
    end = np.empty_like(theta)
    for rows in (slice(i, i + 2**15) for i in range(0, len(theta), 2**15)):
        x, y = theta[rows].T.copy()
        mx, my, hx, hy = np.zeros((4, len(x)))
        for t in range(STEPS):
            a, q, slope = x - 1, 1.3 * x * x + 2 * x + 1, 2.6 * x + 2
            if t % EVERY == 0:
                hx = BETA2 * hx + (1 - BETA2) * (16 * q + 32 * a * slope + 20.8 * a * a)
                hy = BETA2 * hy + (1 - BETA2)
            mx = BETA1 * mx + (1 - BETA1) * (16 * a * q + 8 * a * a * slope)
            my = BETA1 * my + (1 - BETA1) * (y - 4)
            x = x - LR * np.clip(mx / np.maximum(GAMMA * hx, 1e-12), -1, 1)
            y = y - LR * np.clip(my / np.maximum(GAMMA * hy, 1e-12), -1, 1)
        end[rows, 0], end[rows, 1] = x, y
    return end


def in_jax(theta):
    """A function without arguments that returns the end points."""
    import jax
    from jax import numpy as jnp

    jax.config.update("jax_enable_x64", True)
    gradient = jax.grad(figure_2)

    def curvature(p):
        return jnp.stack([jax.jvp(gradient, (p,), (e,))[1] @ e for e in jnp.eye(2)])

    def step(state, t):
        p, m, h = state
        m = BETA1 * m + (1 - BETA1) * gradient(p)
        h = jnp.where(t % EVERY == 0, BETA2 * h + (1 - BETA2) * curvature(p), h)  # vmap computes both branches
        return (p - LR * jnp.clip(m / jnp.maximum(GAMMA * h, 1e-12), -1, 1), m, h), None

    def run(p):
        return jax.lax.scan(step, (p, jnp.zeros(2), jnp.zeros(2)), jnp.arange(STEPS))[0][0]

    compiled, start = jax.jit(jax.vmap(run)), jnp.asarray(theta)
    return lambda: np.asarray(compiled(start))


def loops(start, steps):
    """Adam and Sophia from one start: (framework, method) -> a function that returns the end point."""
    import autograd
    import torch

    torch.set_num_threads(1)

    def adam(np_, gradient, p):
        m, v = 0 * p, 0 * p
        for t in range(1, steps + 1):
            g = gradient(p)
            m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
            p = p - 0.01 * (m / (1 - 0.9**t)) / (np_.sqrt(v / (1 - 0.999**t)) + 1e-8)
        return p

    def sophia(np_, gradient, curvature, p, floor):
        m, h = 0 * p, 0 * p
        for t in range(steps):
            m = BETA1 * m + (1 - BETA1) * gradient(p)
            if t % EVERY == 0:
                h = BETA2 * h + (1 - BETA2) * curvature(p)
            p = p - LR * np_.clip(m / floor(GAMMA * h), -1, 1)
        return p

    def torch_gradient(p):
        p = p.detach().requires_grad_()
        return torch.autograd.grad(figure_2(p), p)[0]

    def torch_curvature(p):
        p = p.detach().requires_grad_()
        (g,) = torch.autograd.grad(figure_2(p), p, create_graph=True)
        return torch.stack([torch.autograd.grad(g[i], p, retain_graph=True)[0][i] for i in range(2)])

    hips_gradient = autograd.grad(figure_2)

    def hips_curvature(p):
        return np.array([autograd.grad(lambda p, i=i: hips_gradient(p)[i])(p)[i] for i in range(2)])

    def torch_floor(h):
        return h.clamp(min=1e-12)

    def numpy_floor(h):
        return np.maximum(h, 1e-12)

    there = torch.tensor(start)
    return {
        "Adam": {
            "sophia_ref": lambda: sr.run(figure_2, ADAM, steps, start, record=steps).theta,
            "PyTorch eager": lambda: adam(torch, torch_gradient, there).numpy(),
            "HIPS/autograd": lambda: adam(np, hips_gradient, start),
        },
        "Sophia": {
            "sophia_ref": lambda: sr.run(figure_2, SOPHIA, steps, start, record=steps).theta,
            "PyTorch eager": lambda: sophia(torch, torch_gradient, torch_curvature, there, torch_floor).numpy(),
            "HIPS/autograd": lambda: sophia(np, hips_gradient, hips_curvature, start, numpy_floor),
        },
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--starts", type=int, default=1_000_000)
    parser.add_argument("--steps", type=int, default=10_000)
    parser.add_argument("--repetitions", type=int, default=3)
    options = parser.parse_args()
    for name in ("torch", "jax", "autograd"):
        side_by_side.library(name)
    starts = np.random.default_rng(0).uniform((-2, 2), (2, 6), (options.starts, 2))

    def million(problem):
        return lambda: sr.run(problem, SOPHIA, STEPS, starts, record=STEPS, trajectory=False).theta

    jobs = {
        "sophia_ref, a plain function": million(figure_2),
        "sophia_ref, the registered landscape": million(REGISTRY["sophia_fig2"]),
        "NumPy by hand": lambda: by_hand(starts),
        "jax.jit(vmap(scan))": in_jax(starts),
    }
    ends = [job() for job in jobs.values()]
    for name, end in zip(jobs, ends, strict=True):
        # where a path passes a point of zero curvature, two ways of rounding may end in two places
        assert (np.abs(end - ends[0]).max(-1) < 1e-6).mean() > 0.9999, name
    seconds = side_by_side.measure(jobs, options.repetitions, f"{options.starts:,} starts")
    ours = seconds["sophia_ref, a plain function"]
    rows = [(name, f"{s:.2f}", f"{ours / s:.2f}") for name, s in seconds.items()]
    print(f"{options.starts:,} starts x {STEPS} steps of Sophia, exact curvature every {EVERY}, float64, one thread")
    print(f"{side_by_side.machine()}\n")
    print(side_by_side.table(("", "s", "plain function / this"), rows))

    rows = []
    for method, ways in loops(np.array([0.2, 0.0]), options.steps).items():
        ends = [way() for way in ways.values()]
        assert all(np.abs(end - ends[0]).max() < 1e-8 for end in ends), (method, ends)
        seconds = side_by_side.measure(ways, options.repetitions, f"one start, {method}")
        ours = seconds["sophia_ref"]
        rows += [(method, name, f"{s:.2f}", f"{ours / s:.2f}") for name, s in seconds.items()]
    print(f"\none start, {options.steps:,} steps\n")
    print(side_by_side.table(("", "derivatives from", "s", "sophia_ref / this"), rows))


if __name__ == "__main__":
    main()
