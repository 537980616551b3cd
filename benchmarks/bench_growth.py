"""How time and memory of a gradient grow with parameters, context and batch, here and in PyTorch with the same softmax.

    python benchmarks/bench_growth.py [--output growth.png]

Every measurement is a process of its own, one thread, so that memory is that of one model: the most the process held
during the gradients, less what it held before the first, and after one of a tiny model (needs Linux). An exponent is
the slope of a straight line through the logarithms of all sizes.
"""

import argparse
import json
import subprocess
import sys
import time

import side_by_side  # first: it sets the number of threads

side_by_side.pin(1)

import numpy as np  # noqa: E402
from tqdm import tqdm  # noqa: E402

from toy_problems.transformer import TinyGPT  # noqa: E402

VOCAB = 96
SIDES = {"sophia_ref": "sophia_ref", "torch": "PyTorch eager"}
#              batch, context, width, heads, layers
SWEEPS = {
    "parameters": [(4, 64, width, max(2, width // 32), layers) for width, layers in (
        (16, 2), (32, 2), (64, 2), (96, 3), (144, 4), (256, 4), (384, 6))],
    "context": [(4, context, 64, 4, 2) for context in (32, 64, 128, 256, 512)],
    "batch": [(batch, 64, 64, 4, 2) for batch in (1, 2, 4, 8, 16, 32, 64)],
}  # fmt: skip
AT_LEAST = 1.0  # seconds of repetitions


def model_of(context, width, heads, layers):
    return TinyGPT(VOCAB, context, width, heads, layers)


def held(what):
    """Bytes that this process holds in memory now, "VmRSS", or held at most, "VmHWM"."""
    with open("/proc/self/status") as file:
        return 1024 * next(int(line.split()[1]) for line in file if line.startswith(what))


def gradient_of(side, batch, context, width, heads, layers):
    """A function without arguments that computes the gradient of a model of this shape."""
    model, rng = model_of(context, width, heads, layers), np.random.default_rng(0)
    theta, (tokens, targets) = model.init(rng), rng.integers(VOCAB, size=(2, batch, context))
    theta.flags.writeable = False  # so that no derivative copies it
    if side == "torch":
        import gpt_twins

        twin = gpt_twins.Torch(model, theta, tokens, targets, theta)
        twin.torch.set_num_threads(1)
        return twin.explicit
    import sophia_ref as sr

    return lambda: sr.grad(lambda theta: model.loss(theta, (tokens, targets)))(theta)


def one(side, *shape):
    """Print the median seconds of a gradient and the bytes that it took."""
    gradient_of(side, 1, 8, 16, 2, 1)()  # loads libraries and buffers that no model adds to
    gradient = gradient_of(side, *shape)
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # the most that was held starts from here
    before, seconds = held("VmRSS"), []
    while sum(seconds) < AT_LEAST or len(seconds) < 4:
        start = time.perf_counter()
        gradient()
        seconds.append(time.perf_counter() - start)
    print(json.dumps([float(np.median(seconds[1:])), held("VmHWM") - before]))


def measured(side, shape):
    command = [sys.executable, __file__, "--one", side, *map(str, shape)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def exponent(sizes, values):
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", default="growth.png")
    parser.add_argument("--one", nargs=6, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        return one(options.one[0], *map(int, options.one[1:]))
    side_by_side.library("torch")

    from sophia_ref.plots.style import dress, figure, save

    rows, slopes = [], []
    fig = figure(11, 6.5)
    panels = fig.subplots(2, 3)
    with tqdm(total=2 * sum(map(len, SWEEPS.values())), disable=None) as bar:
        for column, (what, shapes) in enumerate(SWEEPS.items()):
            sizes = {
                "parameters": [model_of(*shape[1:]).size for shape in shapes],
                "context": [shape[1] for shape in shapes],
                "batch": [shape[0] for shape in shapes],
            }[what]
            results = {side: [] for side in SIDES}
            for shape in shapes:
                for side, found in results.items():
                    found.append(measured(side, shape))
                    bar.update()
            ours, theirs = (np.array(results[side]) for side in SIDES)
            for size, (s, m), (s_t, m_t) in zip(sizes, ours, theirs, strict=True):
                rows.append(
                    (f"{what} {size:,}", f"{s * 1e3:.1f}", f"{s_t * 1e3:.1f}", f"{m / 1e6:.0f}", f"{m_t / 1e6:.0f}")
                )
            for row, quantity in enumerate(("time", "memory")):
                a, b = exponent(sizes, ours[:, row]), exponent(sizes, theirs[:, row])
                slopes.append((f"{quantity} by {what}", f"{a:.2f}", f"{b:.2f}", f"{a - b:+.2f}"))
                ax = panels[row, column]
                dress(ax)
                for (side, name), marker, color in zip(SIDES.items(), "os", ("#0072B2", "#D55E00"), strict=True):
                    values = np.array(results[side])[:, row] * (1e3 if row == 0 else 1e-6)
                    ax.loglog(sizes, values, marker=marker, color=color, label=name)
                ax.set(xlabel=what, ylabel=("time (ms)", "memory (MB)")[row])
                if what != "parameters":
                    ax.set_xticks(sizes, sizes)
                ax.minorticks_off()
    panels[0, 0].legend(frameon=False)
    print(side_by_side.machine() + "\n")
    print(side_by_side.table(("", "ms, sophia_ref", "ms, PyTorch", "MB, sophia_ref", "MB, PyTorch"), rows) + "\n")
    print(side_by_side.table(("exponent of", "sophia_ref", "PyTorch", "difference"), slopes))
    print(f"\nwrote {save(fig, options.output)}")


if __name__ == "__main__":
    main()
