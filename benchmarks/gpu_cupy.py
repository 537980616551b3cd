"""The NumPy reference itself on a GPU: the same optimizers, derivatives and tiny GPT, on CuPy's arrays.

    python benchmarks/gpu_cupy.py [--output out/gpu_cupy.json] [--preset 10m] [--starts 1000000]

First every result is compared with NumPy's on this machine: optimizers and derivatives to a few roundings, the GPT to
those that its sums gather. Then both are timed. What goes to the GPU is theta and what is computed from it; tokens stay
on the host, and probes and labels are drawn there, so that both sides draw the same. `sophia_ref.run`, which records in
NumPy, is not part of it: the loop is written out.
"""

import argparse
import importlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import side_by_side
from tqdm import tqdm

import sophia_ref as sr
from sophia_ref.files import replacing
from toy_problems.landscapes import REGISTRY
from toy_problems.transformer import PRESETS, TinyGPT

OPTIMIZERS = [
    sr.Sophia(0.1, gamma=0.5, weight_decay=0.1, every=2), sr.Adam(0.1), sr.AdamW(0.1), sr.AdaHessian(0.1),
    sr.Lion(0.1), sr.GradientDescent(0.1), sr.Momentum(0.1), sr.SignGD(0.1), sr.Signum(0.1),
    sr.Newton(0.1), sr.DampedNewton(0.1, damping=0.1), sr.ClippedNewton(0.1, rho=1.0), sr.SaddleFreeNewton(0.1),
]  # fmt: skip
FEW = 1e-12  # of the largest entry, in float64: a few roundings
GATHERED = 1e-9  # those of sums over a batch, in another order
SECOND_ORDER = (sr.Newton, sr.DampedNewton, sr.ClippedNewton, sr.SaddleFreeNewton)


class Draws:
    """A np.random.Generator that draws on the host and hands over arrays of the device."""

    def __init__(self, seed: int, moved: Callable[[Any], Any]) -> None:
        self._rng, self._moved = np.random.default_rng(seed), moved

    def __getattr__(self, name: str) -> Any:
        return lambda *args, **kwargs: self._moved(getattr(self._rng, name)(*args, **kwargs))


def cupy_device() -> SimpleNamespace:
    """CuPy and its GPU, as `main` uses them. Ends the program, in one line, where there is none."""
    try:
        cupy = importlib.import_module("cupy")
    except ImportError:
        raise SystemExit("error: CuPy is needed: pip install -e '.[gpu]', or make gpu") from None
    try:
        name = cupy.cuda.runtime.getDeviceProperties(0)["name"].decode()
        cupy.ones(1).sum().item()
    except Exception as error:  # CuPy's own kinds
        said = (str(error) or type(error).__name__).splitlines()[0]
        raise SystemExit(f"error: CuPy finds no GPU here; expected one ({said})") from None
    if not hasattr(cupy, "vecdot"):  # of NumPy 2's functions, the one that CuPy 14 lacks and the tiny GPT asks for
        cupy.vecdot = lambda a, b: cupy.einsum("...i,...i->...", a, b)
    return SimpleNamespace(
        name=f"{name}, CuPy {cupy.__version__}",
        moved=cupy.asarray,
        back=lambda x: x.get(),
        wait=cupy.cuda.Device().synchronize,
    )


def off(device: Any, got: Any, expected: Any) -> float:
    """The largest difference, in units of the largest entry; infinite for another shape or dtype, or a lone NaN."""
    got, expected = np.asarray(device.back(got)), np.asarray(expected)
    if (got.shape, got.dtype) != (expected.shape, expected.dtype):
        return float("inf")
    if not np.array_equal(np.isfinite(got), np.isfinite(expected)):
        return float("inf")
    finite = np.isfinite(expected)
    return float(np.abs(got - expected)[finite].max(initial=0) / max(np.abs(expected[finite]).max(initial=0), 1e-300))


def checks(device: Any) -> list[tuple[str, float, float]]:
    """(what, how far it is from NumPy's, how far it may be)."""
    rows = [(f"{opt.name}, five steps", steps_off(device, opt), FEW) for opt in OPTIMIZERS]
    rng = np.random.default_rng(0)
    for name, landscape in REGISTRY.items():
        low, high = np.array(landscape.domain).T
        x, v = rng.uniform(low, high, (100, 2)), rng.normal(size=(100, 2))

        def total(theta: Any, f: Any = landscape.f) -> Any:
            return f(theta).sum()

        g, product = sr.grad(total)(x), sr.hvp(total, x, v)
        there, v_there = device.moved(x), device.moved(v)
        worst = max(off(device, sr.grad(total)(there), g), off(device, sr.hvp(total, there, v_there), product))
        rows.append((f"gradient and Hessian-vector product of {name}", worst, FEW))
    model = TinyGPT(37, 16, 32, 4, 2)
    theta = model.init(rng, np.float64)
    batch = tokens, targets = tuple(rng.integers(37, size=(2, 4, 16)))
    targets[0, :3] = -1
    there = device.moved(theta)
    rows.append(
        ("logits of the tiny GPT", off(device, model.logits(there, tokens), model.logits(theta, tokens)), GATHERED)
    )
    for estimator in (sr.Oracle.grad, sr.gnb, sr.hutchinson, sr.empirical_fisher):
        expected = estimator(sr.Oracle(model, theta, batch, np.random.default_rng(1)))
        found = estimator(sr.Oracle(model, there, batch, Draws(1, device.moved)))
        rows.append((f"{estimator.__name__} of the tiny GPT", off(device, found, expected), GATHERED))
    return rows


def steps_off(device: Any, opt: Any) -> float:
    """How far theta is from NumPy's after five steps from given gradients, curvatures and Hessians."""
    rng = np.random.default_rng(0)
    shape = (6,) if isinstance(opt, SECOND_ORDER) else (4, 1000)
    theta = rng.normal(size=shape)
    there = device.moved(theta)
    state, state_there = opt.init(theta), opt.init(there)
    for _ in range(5):
        given = [rng.normal(size=shape), rng.normal(size=shape), np.diag([3.0, -2.0, 1.0, 0.5, 4.0, 7.0]) + 0.1]
        theta, state, _ = opt.step(theta, state, sr.Given(*given))
        there, state_there, _ = opt.step(there, state_there, sr.Given(*map(device.moved, given)))
    return off(device, there, theta)


def jobs(moved: Callable[[Any], Any], preset: str, starts: int, batch_size: int) -> dict[str, Callable[[], Any]]:
    """What is timed, with arrays that `moved` puts where they belong; float32."""
    rng = np.random.default_rng(0)
    model = PRESETS[preset]
    batch = tuple(rng.integers(model.vocab, size=(2, batch_size, model.context)))
    theta = moved(model.init(rng))
    g, h_hat, v = (moved(rng.standard_normal(model.size, np.float32)) for _ in range(3))
    opt = sr.SophiaG(1e-3, every=1)
    state, given = opt.init(theta), sr.Given(g, h_hat)
    landscape = REGISTRY["sophia_fig2"]
    low, high = np.array(landscape.domain).T
    many = moved(rng.uniform(low, high, (starts, 2)).astype(np.float32))
    draws = Draws(0, moved)
    shape = f"GPT of {model.size:,} parameters, {batch_size} x {model.context} tokens"

    def surface(theta: Any) -> Any:
        return landscape.f(theta).sum()

    return {
        f"a step of Sophia on {model.size:,} parameters": lambda: opt.step(theta, state, given).theta,
        f"gradient at {starts:,} points of Figure 2's surface": lambda: sr.grad(surface)(many),
        f"gradient of a {shape}": lambda: sr.Oracle(model, theta, batch).grad(),
        "its Hessian-vector product": lambda: sr.Oracle(model, theta, batch).hvp(v),
        "its GNB estimate": lambda: sr.gnb(sr.Oracle(model, theta, batch, draws)),
    }


def seconds(job: Callable[[], Any], wait: Callable[[], Any], repetitions: int) -> float:
    """The median of some repetitions, after one that does not count."""
    job()
    wait()
    found = []
    for _ in range(repetitions):
        start = time.perf_counter()
        job()
        wait()
        found.append(time.perf_counter() - start)
    return float(np.median(found))


def main(argv: list[str] | None = None, device: Any = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("out/gpu_cupy.json"), metavar="FILE")
    parser.add_argument("--preset", default="10m", choices=PRESETS)
    parser.add_argument("--starts", type=int, default=1_000_000, metavar="N")
    parser.add_argument("--batch", type=int, default=8, metavar="N")
    parser.add_argument("--repetitions", type=int, default=5, metavar="N")
    options = parser.parse_args(argv)
    device = device or cupy_device()

    rows = checks(device)
    if wrong := [row for row in rows if not row[1] <= row[2]]:
        lines = "\n".join(f"{what}: off by {found:.2g}, {allowed:g} are allowed" for what, found, allowed in wrong)
        raise SystemExit(f"{lines}\nerror: {len(wrong)} of {len(rows)} comparisons with NumPy failed on {device.name}")
    print(f"{len(rows)} comparisons with NumPy hold on {device.name}; the worst is {max(row[1] for row in rows):.2g}\n")

    here = jobs(lambda x: x, options.preset, options.starts, options.batch)
    there = jobs(device.moved, options.preset, options.starts, options.batch)
    timed = []
    for what, job in tqdm(here.items(), "timing", leave=False, disable=None):
        ours = seconds(job, lambda: None, options.repetitions)
        timed.append((what, ours, seconds(there[what], device.wait, options.repetitions)))
    cells = [(what, f"{1e3 * a:.2f}", f"{1e3 * b:.2f}", f"{a / b:.1f}") for what, a, b in timed]
    print(f"NumPy on one thread of {side_by_side.machine()}\n")
    print(side_by_side.table(("", "NumPy, ms", "CuPy, ms", "times as fast"), cells))
    results = {
        "device": device.name,
        "host": side_by_side.machine(),
        "checks": [dict(zip(("what", "off", "allowed"), row, strict=True)) for row in rows],
        "seconds": [dict(zip(("what", "numpy", "cupy"), row, strict=True)) for row in timed],
    }
    with replacing(options.output) as file:
        file.write(json.dumps(results, indent=1).encode() + b"\n")
    print(f"\nwrote {options.output}")


if __name__ == "__main__":
    main()
