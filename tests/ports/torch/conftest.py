"""The PyTorch port. `make test-ports` makes an environment that has PyTorch; elsewhere these tests are skipped, with a
reason, by the importorskip at the head of each file."""

import importlib
import os

import numpy as np
import pytest

if os.environ.get("SOPHIA_REF_PORTS") == "required":
    importlib.import_module("sophia_ref.ports.torch")  # there its absence, or what it imports in vain, is a failure

os.environ["TRITON_INTERPRET"] = "1"  # before the kernels' module is imported

PATHS = {"single": {"foreach": False}, "foreach": {"foreach": True}}
PATHS |= {name: {"fused": True} for name in ("fused", "kernels")}
SHAPES = [(5, 3), (7,), (2, 3, 4), (1,)]


@pytest.fixture(params=PATHS)
def path(request, monkeypatch):
    """The settings that choose one of the computations. torch.compile starts with an empty cache; the Triton kernels,
    which are for GPUs, run in Triton's interpreter."""
    if request.param == "kernels":
        monkeypatch.setattr("sophia_ref.ports.torch._on_gpu", lambda params: True)
    if request.param == "fused":
        import torch

        torch._dynamo.reset()
    return PATHS[request.param]


@pytest.fixture
def draw():
    """draw(name): an array by name, the same in every test: "theta", "g3", ... of all coordinates of SHAPES."""

    def drawn(name, dtype=np.float64):
        rng = np.random.default_rng([*name.encode()])
        x = rng.normal(size=sum(map(np.prod, SHAPES)))
        if name.startswith("g"):
            x[::7] = 0  # no gradient under momentum, of either sign
            x[7::14] *= -1
        if name.startswith("h"):
            x *= 10.0 ** rng.integers(-3, 3, len(x))  # negative ones among them, and ratios on both sides of the clip
        return x.astype(dtype)

    return drawn


@pytest.fixture
def split():
    """split(x): all coordinates as one tensor for each of SHAPES."""
    import torch

    def tensors(x):
        parts = np.split(x, np.cumsum([np.prod(shape) for shape in SHAPES])[:-1])
        return [torch.tensor(part.reshape(shape)) for part, shape in zip(parts, SHAPES, strict=True)]

    return tensors


@pytest.fixture
def joined():
    """joined(tensors): the inverse."""

    def array(tensors):
        return np.concatenate([x.detach().cpu().numpy().ravel() for x in tensors])

    return array
