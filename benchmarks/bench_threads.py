"""Two threads: the batch of a tiny GPT in two shards, beside one thread, and beside PyTorch with two.

    python benchmarks/bench_threads.py [--repetitions 60]

BLAS has one thread in each shard. It needs two idle cores.
"""

import argparse

import side_by_side  # first: it sets the number of threads

side_by_side.pin(2)

import gpt_twins  # noqa: E402
import numpy as np  # noqa: E402

import sophia_ref as sr  # noqa: E402
from toy_problems.transformer import PRESETS, TinyGPT  # noqa: E402

MODELS = {
    "the default TinyGPT": (TinyGPT(96, 64, 64, 4, 2), 16),
    "300k": (PRESETS["300k"], 8),
    "1m": (PRESETS["1m"], 4),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=60)
    repetitions = parser.parse_args().repetitions
    torch, rows = side_by_side.library("torch"), []
    torch.set_num_threads(2)
    for name, (model, batch_size) in MODELS.items():
        rng = np.random.default_rng(0)
        theta, batch = model.init(rng), tuple(rng.integers(model.vocab, size=(2, batch_size, model.context)))
        twin = gpt_twins.Torch(model, theta, *batch, theta)

        def gradient(threads, model=model, theta=theta, batch=batch):
            return sr.grad(lambda theta: model.loss(theta, batch, threads))(theta)

        expected = gpt_twins.flat(twin.gradient())
        assert np.abs(gradient(2) - expected).max() < 1e-5 * np.abs(expected).max(), name
        jobs = {"two": lambda: gradient(2), "one": lambda: gradient(1), "torch": twin.gradient}
        seconds = side_by_side.measure(jobs, repetitions, name)
        two, one, torchs = (seconds[job] for job in jobs)
        times = (f"{s * 1e3:.1f}" for s in (one, two, torchs))
        rows.append((f"{name}, batch {batch_size}", *times, f"{one / two:.2f}", f"{two / torchs:.2f}"))
    print(side_by_side.machine() + "\n")
    header = ("gradient, ms", "one thread", "two threads", "PyTorch, two", "one / two", "two / PyTorch's")
    print(side_by_side.table(header, rows))


if __name__ == "__main__":
    main()
