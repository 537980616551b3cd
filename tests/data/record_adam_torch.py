"""Writes adam_torch.json: steps of PyTorch's Adam and AdamW, as hexadecimal floats. Run: python record_adam_torch.py

Needs PyTorch, which the tests do not.
"""

import json
from pathlib import Path

import numpy as np

CASES = [
    ("Adam", {"lr": 0.01}),
    ("Adam", {"lr": 0.1, "betas": (0.5, 0.75), "eps": 0.01}),
    ("AdamW", {"lr": 0.01}),
    ("AdamW", {"lr": 0.003, "betas": (0.9, 0.95), "weight_decay": 0.1}),
    ("AdamW", {"lr": 0.1, "betas": (0.0, 0.9), "eps": 1e-3, "weight_decay": 0.5}),
]


def hexadecimal(array):
    return [float(x).hex() for x in array]


def record(name, hyper, dtype):
    import torch

    rng = np.random.default_rng(7)
    theta = torch.tensor(rng.normal(size=5), dtype=getattr(torch, dtype), requires_grad=True)
    optimizer = getattr(torch.optim, name)([theta], foreach=False, **hyper)
    case = {"optimizer": name, "hyper": hyper, "dtype": dtype, "theta0": hexadecimal(theta.detach()), "steps": []}
    for scale in (1.0, 10.0, 0.1, 0.0, 1e-6, 1e3, 1.0, 1.0, 1.0, 1.0):
        theta.grad = torch.tensor(scale * rng.normal(size=5), dtype=theta.dtype)
        optimizer.step()
        case["steps"].append({"grad": hexadecimal(theta.grad), "theta": hexadecimal(theta.detach())})
    return case


def main():
    import torch

    cases = [record(name, hyper, dtype) for name, hyper in CASES for dtype in ("float32", "float64")]
    recorded = {"source": f"PyTorch {torch.__version__}, recorded by record_adam_torch.py", "cases": cases}
    Path(__file__).with_name("adam_torch.json").write_text(json.dumps(recorded, indent=1) + "\n")


if __name__ == "__main__":
    main()
