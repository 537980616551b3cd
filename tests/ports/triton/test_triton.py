"""The Triton kernel beside sophia_ref.sophia_update, in Triton's interpreter: the same bits."""

import os
import subprocess
import sys

import numpy as np
import pytest

from sophia_ref import sophia_update

os.environ["TRITON_INTERPRET"] = "1"  # before the kernel's module is imported

if os.environ.get("SOPHIA_REF_PORTS") != "required":
    pytest.importorskip("torch", reason="torch is not installed here; `make test-ports` installs it")
    pytest.importorskip("triton", reason="triton is not installed here; `make test-ports` installs it")

import torch

from sophia_ref.ports.triton import BLOCK, update_triton

SETTINGS = dict(lr=0.01, beta1=0.96, gamma=0.01, clip=1.0, eps=1e-12, weight_decay=0.1)


def draw(dtype, *shape):
    """theta, m, h, g: h has negative, zero and large entries, so that both the floor and the clip are met."""
    rng = np.random.default_rng(0)
    theta, m, h, g = (rng.normal(size=shape).astype(dtype) for _ in range(4))
    h *= 300
    h.flat[::7] = 0
    return theta, m, h, g


def step(arrays, **changes):
    tensors = [torch.tensor(x) for x in arrays]
    update_triton(*[[x] for x in tensors], **SETTINGS | changes)
    return [x.numpy() for x in tensors]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(1,), (BLOCK,), (2 * BLOCK + 3,), (40, 70)])
def test_a_step_has_the_bits_of_the_reference(dtype, shape):
    theta, m, h, g = arrays = draw(dtype, *shape)
    new_theta, new_m, terms = sophia_update(theta, m, h, g, **SETTINGS)
    assert shape == (1,) or 0 < terms["clipped"].sum() < terms["clipped"].size
    got = step(arrays)
    for x, y in zip(got, (new_theta, new_m, h, g), strict=True):
        assert x.dtype == dtype
        np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize("name", ["theta", "m", "h", "g"])
def test_nan_is_not_hidden(name):
    arrays = draw("float32", 50)
    arrays["theta m h g".split().index(name)][3] = np.nan
    with np.errstate(invalid="ignore"):
        expected = sophia_update(*arrays, **SETTINGS)[0]
    assert np.isnan(expected).nonzero()[0].tolist() == [3]
    np.testing.assert_array_equal(step(arrays)[0], expected)


def test_a_gradient_in_thetas_own_memory_is_read_before_it_is_written():
    theta, m, h, _ = draw("float64", 100)
    expected = sophia_update(theta, m, h, theta, **SETTINGS)[0]
    x = torch.tensor(theta)
    update_triton([x], [torch.tensor(m)], [torch.tensor(h)], [x], **SETTINGS)
    np.testing.assert_array_equal(x.numpy(), expected)


def test_arrays_with_gaps_and_a_rate_in_a_tensor():
    theta, m, h, g = arrays = draw("float32", 6, 10)
    x, mean, curvature, gradient = (torch.tensor(a.T.copy()).T for a in arrays)  # column by column
    update_triton([x], [mean], [curvature], [gradient], **SETTINGS | {"lr": torch.tensor(0.01, dtype=torch.float64)})
    new_theta, new_m, _ = sophia_update(theta, m, h, g, **SETTINGS)
    np.testing.assert_array_equal(x.numpy(), new_theta)
    np.testing.assert_array_equal(mean.numpy(), new_m)


COMPILES = """
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from sophia_ref.ports.triton import BLOCK, sophia_kernel

arrays = dict.fromkeys(("theta_at", "m_at", "h_at", "g_at"), "*fp32")
kinds = arrays | {"settings_at": "*fp64", "size": "i64", "BLOCK": "constexpr"}
made = triton.compile(ASTSource(sophia_kernel, kinds, {"BLOCK": BLOCK}), target=GPUTarget("cuda", 90, 32))
print(made.asm["ptx"])
"""


def test_the_kernel_compiles_for_an_h100():
    """The interpreter takes what the compiler refuses. No GPU is needed for it."""
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    done = subprocess.run([sys.executable, "-c", COMPILES], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert ".target sm_90" in done.stdout
