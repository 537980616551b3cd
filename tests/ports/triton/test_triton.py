"""The Triton kernels beside sophia_ref, in Triton's interpreter: the same bits. And what the compiler makes of them."""

import os
import re
import subprocess
import sys
from functools import lru_cache
from itertools import product

import numpy as np
import pytest

from sophia_ref import sophia_update
from sophia_ref.conformance import examine

os.environ["TRITON_INTERPRET"] = "1"  # before the kernel's module is imported

if os.environ.get("SOPHIA_REF_PORTS") != "required":
    pytest.importorskip("torch", reason="torch is not installed here; `make test-ports` installs it")
    pytest.importorskip("triton", reason="triton is not installed here; `make test-ports` installs it")

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Shard

from sophia_ref.ports import torch as torch_port
from sophia_ref.ports import triton as port
from sophia_ref.ports.triton import BLOCK, CHUNK, renew_triton, update_triton

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


SHAPES = [(1,), (CHUNK,), (0, 3), (2 * CHUNK + BLOCK + 5,), (40, 70), (BLOCK - 1,)]
SIZES = [int(np.prod(shape)) for shape in SHAPES]


def split(x):
    parts = np.split(x, np.cumsum(SIZES)[:-1])
    return [torch.tensor(part.reshape(shape)) for part, shape in zip(parts, SHAPES, strict=True)]


def joined(tensors):
    return np.concatenate([x.detach().numpy().ravel() for x in tensors])


@pytest.fixture
def launches(monkeypatch):
    """(the number of programs, the constants) of every launch."""
    found = []

    class Counted:
        def __init__(self, kernel):
            self.kernel = kernel

        def __getitem__(self, grid):
            def launch(*arguments, **constants):
                found.append((*grid, constants))
                self.kernel[grid](*arguments, **constants)

            return launch

    for name in ("sophia_kernel", "renewal_kernel"):
        monkeypatch.setattr(port, name, Counted(getattr(port, name)))
    return found


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_list_of_tensors_is_one_launch_with_the_bits_of_the_reference(dtype, launches):
    theta, m, h, g = draw(dtype, sum(SIZES))
    expected = sophia_update(theta, m, h, g, **SETTINGS)[:2]
    lists = [split(x) for x in (theta, m, h, g)]
    update_triton(*lists, **SETTINGS)
    for x, y in zip(lists, (*expected, h, g), strict=True):
        np.testing.assert_array_equal(joined(x), y)
    assert [programs for programs, _ in launches] == [sum(-(-size // CHUNK) for size in SIZES)]


def test_each_dtype_is_a_launch(launches):
    arrays = [draw(dtype, 50) for dtype in ("float32", "float64", "float32")]
    lists = [list(map(torch.tensor, x)) for x in zip(*arrays, strict=True)]
    update_triton(*lists, **SETTINGS)
    for x, drawn in zip(lists[0], arrays, strict=True):
        np.testing.assert_array_equal(x.numpy(), sophia_update(*drawn, **SETTINGS)[0])
    assert [constants["KIND"].name for _, constants in launches] == ["fp32", "fp64"]


def test_tensors_that_begin_between_two_words_are_not_read_as_if_they_did_not(launches):
    arrays = draw("float32", 100)
    even, odd = [[torch.zeros(104)[start : start + 100] for _ in range(4)] for start in (0, 1)]
    for views in (even, odd):
        for view, x in zip(views, arrays, strict=True):
            view.copy_(torch.tensor(x))
        update_triton(*[[view] for view in views], **SETTINGS)
        np.testing.assert_array_equal(views[0].numpy(), sophia_update(*arrays, **SETTINGS)[0])
    assert [constants["ALIGNED"] for _, constants in launches] == [True, False]


def test_the_table_is_made_once_and_anew_for_gradients_elsewhere():
    theta, m, h, g = (split(x) for x in draw("float32", sum(SIZES)))
    elsewhere = [x.clone() for x in g]
    port._table.cache_clear()
    made = []
    for gradients in (g, g, elsewhere, g):
        update_triton(theta, m, h, gradients, **SETTINGS)
        made.append(port._table.cache_info().misses)
    assert made == [1, 1, 2, 2]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", ["estimate", "GNB", "Hutchinson"])
@pytest.mark.parametrize("place", [float, torch.tensor])
def test_h_is_renewed_in_one_launch(dtype, kind, place, launches):
    h, _, u, product = draw(dtype, sum(SIZES))
    count = {"estimate": 1, "GNB": 480, "Hutchinson": 3}[kind]
    h_hat = {"estimate": u, "GNB": u * u / u.dtype.type(count), "Hutchinson": u * product / u.dtype.type(count)}[kind]
    hs, a, b = split(h), split(u), split(product)
    renew_triton(hs, a, {"estimate": None, "GNB": a, "Hutchinson": b}[kind], beta2=0.99, count=place(count))
    np.testing.assert_array_equal(joined(hs), 0.99 * h + (1 - 0.99) * h_hat)
    np.testing.assert_array_equal(joined(a), u)
    assert len(launches) == 1


@pytest.mark.parametrize("estimator", ["GNB", "Hutchinson", "estimate"])
def test_the_optimizer_renews_h_and_steps_in_one_launch_each(estimator, launches, monkeypatch):
    def run(**settings):
        torch.manual_seed(0)
        params = [torch.nn.Parameter(torch.randn(3, 4, dtype=torch.float64)) for _ in range(3)]
        groups = [{"params": params[:2]}, {"params": params[2:], "gamma": 0.5}]
        opt = torch_port.Sophia(groups, lr=0.1, every=1, **settings)
        gnb, hutchinson = torch_port.GNB(params), torch_port.Hutchinson(params)
        for _ in range(3):
            x = torch.randn(5, 3, dtype=torch.float64)
            outputs = torch.tanh(x @ params[0]) * (x @ params[1] + x @ params[2])
            if estimator == "GNB":
                gnb.add(outputs[:2])
                gnb.add(torch.tanh(x[2:] @ params[0]) * (x[2:] @ (params[1] + params[2])))
                opt.update_curvature(gnb)
            else:
                hutchinson.add(outputs.square().mean())
                opt.update_curvature(hutchinson if estimator == "Hutchinson" else hutchinson.estimate())
            for p in params:
                p.grad = torch.randn(p.shape, dtype=p.dtype)
            opt.step()
        return [x.detach().numpy() for p in params for x in (p, opt.state[p]["m"], opt.state[p]["h"])]

    plain = run()
    assert not launches
    monkeypatch.setattr(torch_port, "_on_gpu", lambda params: True)
    for x, y in zip(run(fused=True), plain, strict=True):
        np.testing.assert_array_equal(x, y)
    assert len(launches) == 3 * (1 + 2)  # a step is a launch for each group


@pytest.fixture
def mesh():
    """A mesh of this process alone."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield init_device_mesh("cpu", (1,))
    dist.destroy_process_group()


def test_a_rank_takes_its_own_shards(mesh):
    def shards(arrays):
        return [DTensor.from_local(torch.tensor(x), mesh, [Shard(0)]) for x in arrays]

    arrays = draw("float32", 40, 7)
    h, g = arrays[2:]
    new_theta, new_m, _ = sophia_update(*arrays, **SETTINGS)
    sharded = shards(arrays)
    update_triton(*[[x] for x in sharded], **SETTINGS)
    renew_triton([sharded[2]], [sharded[3]], beta2=0.99)
    expected = (new_theta, new_m, np.float32(0.99) * h + np.float32(1 - 0.99) * g)
    for x, y in zip(sharded, expected, strict=False):
        np.testing.assert_array_equal(x.to_local(), y)
    with pytest.raises(ValueError, match="must be of one size on a rank"):
        update_triton(*[[x] for x in (*sharded[:3], *shards([g[:39]]))], **SETTINGS)


def test_an_estimator_that_is_given_when_none_is_due_keeps_what_it_has():
    p = torch.nn.Parameter(torch.ones(1, 2))
    opt, gnb = torch_port.Sophia([p], 0.1), torch_port.GNB([p])
    opt.update_curvature([torch.ones(1, 2)])
    gnb.add(torch.ones(3, 1) @ p)
    with pytest.raises(RuntimeError, match="no estimate is due"):
        opt.update_curvature(gnb)
    assert gnb.count == 3


def test_without_triton_the_error_says_what_is_missing(monkeypatch):
    monkeypatch.setattr(torch_port, "_on_gpu", lambda params: True)
    monkeypatch.setitem(sys.modules, "triton", None)
    monkeypatch.delitem(sys.modules, "sophia_ref.ports.triton")
    monkeypatch.delattr("sophia_ref.ports.triton")
    torch_port._kernels.cache_clear()
    p = torch.nn.Parameter(torch.ones(2))
    opt = torch_port.Sophia([p], 0.1, fused=True)
    with pytest.raises(ModuleNotFoundError, match="fused=True on a GPU needs triton: pip install triton"):
        opt.update_curvature([torch.ones(2)])
    torch_port._kernels.cache_clear()


def test_the_kernels_pass_the_whole_kit(monkeypatch, launches):
    monkeypatch.setattr(torch_port, "_on_gpu", lambda params: True)
    monkeypatch.setattr(port, "BLOCK", 4)  # for arrays as short as the vectors'
    monkeypatch.setattr(port, "CHUNK", 8)
    for cached in (port._table, port._owners):
        monkeypatch.setattr(port, cached.__name__, lru_cache(cached.__wrapped__))
    report = examine("torch:sophia_ref.ports.triton.Sophia")
    assert not report.failed, report.text()
    assert {report.verdict(p) for p in ("paper-H", "paper-G")} == {"conforms: update rule and estimators"}
    assert len(launches) > len(report.passed)


# Tensors that begin at a word, and between two; and one tensor alone, for which Triton takes n as a constant.
VARIANTS = ({"ALIGNED": True}, {"ALIGNED": False}, {"ALIGNED": True, "n": 1})
COMPILES = """
import triton
import triton.language as tl
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from sophia_ref.ports.triton import BLOCK, CHUNK, renewal_kernel, sophia_kernel

VARIANTS = ()
known = {"owners_at": "*i16", "tensors_at": "*i64", "n": "i32"} | dict.fromkeys(("rate_at", "count_at"), "*fp64")
for kernel, more in [
    (sophia_kernel, {}),
    (renewal_kernel, {"FACTORS": 1, "SQUARE": True}),
    (renewal_kernel, {"FACTORS": 1, "SQUARE": False}),
    (renewal_kernel, {"FACTORS": 2, "SQUARE": False}),
]:
    for variant in VARIANTS:
        constants = {"KIND": tl.KIND, "CHUNK": CHUNK, "BLOCK": BLOCK} | variant | more
        kinds = {"settings_at": "*fp64"} | known | dict.fromkeys(constants, "constexpr")
        source = ASTSource(kernel, {name: kinds[name] for name in kernel.arg_names}, constants)
        made = triton.compile(source, target=GPUTarget("cuda", 90, 32), options={"enable_fp_fusion": False})
        print(made.asm["ptx"], "END OF KERNEL")
"""


@pytest.mark.parametrize(("kind", "words", "bits"), [("float32", "v4.b32", 32), ("float64", "v2.b64", 64)])
def test_the_kernels_compile_for_an_h100_and_round_as_numpy_does(kind, words, bits):
    """The interpreter takes what the compiler refuses, and rounds each operation. No GPU is needed for this."""
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    code = COMPILES.replace("tl.KIND", f"tl.{kind}").replace("VARIANTS = ()", f"VARIANTS = {VARIANTS}")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    *kernels, _ = done.stdout.split("END OF KERNEL")
    for kernel, (loads, variant) in zip(kernels, product((4, 2, 2, 3), VARIANTS), strict=True):
        assert ".target sm_90" in kernel
        # no product is fused with a sum, by this compiler or by the assembler behind it, which leaves .rn alone
        arithmetic = set(re.findall(rf"\b((?:add|sub|mul|fma|div|mad)\.\S*f{bits})\b", kernel))
        assert arithmetic <= {f"{name}.rn.f{bits}" for name in ("add", "sub", "mul", "div")}, arithmetic
        assert f"div.rn.f{bits}" in kernel
        # each array is read once, 16 bytes at a time: twice as many or four times, as a program's threads do
        whole = len(re.findall(rf"ld\.global\.{words}", kernel))
        assert whole == variant["ALIGNED"] * loads * BLOCK * bits // 8 // 16 // 128
    assert f"max.NaN.f{bits}" in kernels[0] or bits == 64  # float64 has no such instruction, and is compared
