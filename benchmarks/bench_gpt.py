"""Gradient and Hessian-vector product of the tiny GPT, here and in PyTorch eager, from the same weights, on one thread.

    python benchmarks/bench_gpt.py [--torch PYTHON] [--repetitions 40]

PYTHON is an interpreter that has PyTorch (default: this one). Each side runs in a process of its own and waits while
the other works. They take turns of five repetitions, the first of which is not counted, so that a change of the
machine's clock or load meets both. Times are CPU time, which on one thread is the time on the wall of an idle machine.
PyTorch's attention is its fused one for the gradient and written out for the HVP, since the fused one has no second
derivative.
"""

import argparse
import math
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ONE_THREAD = {f"{library}_NUM_THREADS": "1" for library in ("OPENBLAS", "OMP", "MKL")}
VOCAB, CONTEXT, WIDTH, HEADS, LAYERS, BATCH = 96, 64, 64, 4, 2, 16
JOBS = ("gradient", "hvp")
TURN = 5


def numpy_jobs(theta, v, tokens, targets):
    import sophia_ref as sr
    from toy_problems.transformer import TinyGPT

    model = TinyGPT(VOCAB, CONTEXT, WIDTH, HEADS, LAYERS)

    def loss(theta):
        return model.loss(theta, (tokens, targets))

    return {"gradient": lambda: sr.grad(loss)(theta), "hvp": lambda: sr.hvp(loss, theta, v)}


def torch_jobs(theta, v, tokens, targets):
    import torch
    from torch.nn import functional as F

    torch.set_num_threads(1)
    tokens, targets = torch.tensor(tokens), torch.tensor(targets)
    shapes = [(VOCAB, WIDTH), (CONTEXT, WIDTH)]
    for _ in range(LAYERS):
        shapes += [(WIDTH,), (WIDTH, 3 * WIDTH), (WIDTH, WIDTH), (WIDTH,), (WIDTH, 4 * WIDTH), (4 * WIDTH, WIDTH)]
    shapes.append((WIDTH,))
    sizes = [math.prod(shape) for shape in shapes]

    def split(flat):
        return [part.reshape(shape) for part, shape in zip(torch.tensor(flat).split(sizes), shapes, strict=True)]

    weights, vs = [part.clone().requires_grad_() for part in split(theta)], split(v)
    later = torch.full((CONTEXT, CONTEXT), -math.inf).triu(1)

    def attention(qkv, fused):
        q, k, v = (a.view(BATCH, CONTEXT, HEADS, -1).transpose(1, 2) for a in qkv.split(WIDTH, dim=-1))
        if fused:
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        else:
            y = (q @ k.transpose(-2, -1) / math.sqrt(WIDTH // HEADS) + later).softmax(-1) @ v
        return y.transpose(1, 2).reshape(BATCH, CONTEXT, WIDTH)

    def loss(fused):
        words, positions, *blocks, gain = weights
        x = F.embedding(tokens, words) + positions
        for i in range(0, len(blocks), 6):
            g1, qkv, out, g2, up, down = blocks[i : i + 6]
            x = x + attention(F.layer_norm(x, (WIDTH,), g1) @ qkv, fused) @ out
            x = x + F.gelu(F.layer_norm(x, (WIDTH,), g2) @ up, approximate="tanh") @ down
        return F.cross_entropy((F.layer_norm(x, (WIDTH,), gain) @ words.T).view(-1, VOCAB), targets.view(-1))

    def flat(parts):
        return torch.cat([part.reshape(-1) for part in parts]).numpy()

    def hvp():
        grads = torch.autograd.grad(loss(fused=False), weights, create_graph=True)
        return flat(torch.autograd.grad(grads, weights, vs))

    return {"gradient": lambda: flat(torch.autograd.grad(loss(fused=True), weights)), "hvp": hvp}


def work(side, directory):
    """Take a turn for every line of stdin, which names the job; answer with the seconds of each repetition. A result of
    each job is saved at first, for the comparison of values."""
    import numpy as np

    directory = Path(directory)
    jobs = {"sophia_ref": numpy_jobs, "torch": torch_jobs}[side](**np.load(directory / "inputs.npz"))
    for job in JOBS:
        np.save(directory / f"{side}_{job}.npy", jobs[job]())
    for line in sys.stdin:
        stamps = [time.process_time()]
        for _ in range(TURN):
            jobs[line.strip()]()
            stamps.append(time.process_time())
        print(*np.diff(stamps), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--torch", default=sys.executable, metavar="PYTHON", help="an interpreter that has PyTorch")
    parser.add_argument("--repetitions", type=int, default=40)
    parser.add_argument("--work", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        return work(*options.work)

    os.environ.update(ONE_THREAD)
    import numpy as np

    root = Path(__file__).parents[1]
    sys.path.insert(0, str(root))
    from toy_problems.transformer import TinyGPT

    rng = np.random.default_rng(0)
    theta = TinyGPT(VOCAB, CONTEXT, WIDTH, HEADS, LAYERS).init(rng)
    v = rng.standard_normal(len(theta), np.float32)
    tokens, targets = rng.integers(VOCAB, size=(2, BATCH, CONTEXT))
    with tempfile.TemporaryDirectory() as directory:
        np.savez(Path(directory, "inputs.npz"), theta=theta, v=v, tokens=tokens, targets=targets)
        workers = {
            side: subprocess.Popen(
                [python, __file__, "--work", side, directory],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env={**os.environ, **ONE_THREAD, "PYTHONPATH": str(root)},
            )
            for side, python in (("sophia_ref", sys.executable), ("torch", options.torch))
        }
        seconds = {(side, job): [] for job in JOBS for side in workers}
        for _ in range(math.ceil(options.repetitions / (TURN - 1))):
            for side, job in seconds:
                workers[side].stdin.write(job + "\n")
                workers[side].stdin.flush()
                seconds[side, job] += [float(answer) for answer in workers[side].stdout.readline().split()[1:]]
        for worker in workers.values():
            worker.communicate()
        results = {key: np.load(Path(directory, "_".join(key) + ".npy")) for key in seconds}

    print(f"TinyGPT({VOCAB}, {CONTEXT}, {WIDTH}, {HEADS}, {LAYERS}), {len(theta)} parameters, batch {BATCH}, float32")
    print(f"milliseconds, one thread, {len(seconds['torch', 'hvp'])} repetitions in alternating turns\n")
    print(f"{'':10}{'sophia_ref':>20}{'PyTorch eager':>20}{'ratio':>16}{'difference':>12}")
    print(f"{'':10}{'median     fastest':>20}{'median     fastest':>20}{'median  fastest':>16}{'largest':>12}")
    for job in JOBS:
        ours, theirs = (1e3 * np.array(seconds[side, job]) for side in ("sophia_ref", "torch"))
        times = "".join(f"{np.median(t):10.2f}{t.min():10.2f}" for t in (ours, theirs))
        a, b = results["sophia_ref", job], results["torch", job]
        ratios = f"{np.median(ours) / np.median(theirs):8.2f}{ours.min() / theirs.min():8.2f}"
        print(f"{job:10}{times}{ratios}{np.abs(a - b).max() / np.abs(b).max():12.1e}")


if __name__ == "__main__":
    main()
