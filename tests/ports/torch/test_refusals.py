"""Bad input is refused with its name and value, before anything changes; what sophia_ref.Sophia accepts is accepted."""

import copy
import math

import numpy as np
import pytest

import sophia_ref as sr

torch = pytest.importorskip("torch", reason="PyTorch is not installed here; `make test-ports` installs it")
port = pytest.importorskip("sophia_ref.ports.torch")


def parameter(*shape, **kind):
    return torch.nn.Parameter(torch.ones(shape or (2,), **kind))


VALUES = [-1.0, -0.0, 0.0, 1e-60, 1e-12, 0.5, 1 - 2**-53, 1.0, 2.0, math.inf, -math.inf, math.nan]
VALUES += [0, 1, 3, 10**400, True, None, "1", 1j, [0.5], np.float64(0.5), np.float32(0.25), np.int64(2)]
NAMES = ["lr", "beta1", "beta2", "gamma", "clip", "eps", "weight_decay", "every"]


@pytest.mark.parametrize("value", VALUES, ids=repr)
@pytest.mark.parametrize("name", NAMES)
def test_settings_are_judged_as_the_reference_judges_them(name, value):
    betas = {"beta1": (value, 0.9), "beta2": (0.9, value)}
    settings = {"betas": betas[name]} if name in betas else {name: value}

    def verdict(make):
        try:
            return make()
        except (TypeError, ValueError) as error:
            return type(error), f"{name} must be" in str(error), repr(value) in str(error)

    def reference():
        sr.Sophia(**{"lr": 0.1, name: value}).init(np.ones(2, np.float32))

    def mine():
        port.Sophia([parameter()], **{"lr": 0.1} | settings)

    assert verdict(mine) == verdict(reference)


@pytest.mark.parametrize("value", [-1.0, math.nan, True])
@pytest.mark.parametrize("name", ["lr", "gamma", "clip", "eps", "weight_decay", "every"])
def test_settings_changed_on_the_way_are_judged_before_the_step(name, value):
    p = parameter()
    opt = port.Sophia([p], 0.1)
    opt.update_curvature([torch.ones(2)])
    p.grad = torch.ones(2)
    opt.param_groups[0][name] = value
    with pytest.raises((TypeError, ValueError), match=f"Sophia: {name} must be"):
        opt.step()
    assert p.tolist() == [1.0, 1.0]
    assert opt.state[p]["m"].tolist() == [0.0, 0.0]
    assert opt.state[p]["step"] == 0


def test_eps_must_not_vanish_in_the_dtype_that_computes():
    for dtype in (torch.float32, torch.bfloat16):
        with pytest.raises(ValueError, match="eps must be > 0 in float32, got 1e-60, which is 0 there"):
            port.Sophia([parameter(dtype=dtype)], 0.1, eps=1e-60)
    port.Sophia([parameter(dtype=torch.float64)], 0.1, eps=1e-60)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: [torch.nn.Parameter(torch.tensor(1.0))], ValueError, r"parameter 0 must have an axis.* to \(1,\)"),
        (lambda: [parameter(), torch.ones(2).long()], TypeError, "parameter 1 must be a dense.*torch.int64"),
        (lambda: [parameter(dtype=torch.complex64)], TypeError, "parameter 0 must be a dense.*torch.complex64"),
        (lambda: [torch.eye(2).to_sparse()], TypeError, "parameter 0 must be a dense.*torch.sparse_coo"),
        (lambda: [("w", torch.tensor(1.0))], ValueError, "'w' must have an axis"),
        (lambda: [parameter()] * 2, ValueError, "params must hold each parameter once"),
        (list, ValueError, "empty parameter list"),
        (lambda: parameter(), TypeError, "params argument given to the optimizer should be an iterable"),
        (lambda: [1.0], TypeError, "can only optimize Tensors"),
        (lambda: [{"params": [parameter()]}, {"params": [parameter()], "every": 5}], ValueError, "every must be 10"),
        (lambda: [{"params": [parameter()], "gamma": 0}], ValueError, "gamma must be a finite number > 0, got 0"),
    ],
)  # fmt: skip
def test_parameters_that_are_none_are_refused(make, error, message):
    with pytest.raises(error, match=message):
        port.Sophia(make(), 0.1)


def test_integers_cannot_slip_in_later():
    p = parameter()
    opt = port.Sophia([p], 0.1)
    with pytest.raises(TypeError, match="parameter 1 must be a dense tensor"):
        opt.add_param_group({"params": [torch.ones(2, dtype=torch.int32)]})
    assert [group["params"] for group in opt.param_groups] == [[p]]
    assert list(opt.state) == [p]


def test_a_group_of_the_callers_is_not_written_to():
    group = {"params": (p for p in [parameter()])}
    port.Sophia([group], 0.1)
    assert list(group) == ["params"]


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        (dict(betas=0.9), TypeError, r"betas must be a pair of numbers in \[0, 1\), got 0.9"),
        (dict(betas=(0.9,)), TypeError, r"betas must be a pair of numbers in \[0, 1\), got \(0.9,\)"),
        (dict(foreach=True, fused=True), ValueError, "foreach and fused must not both be True"),
        (dict(lr=torch.ones(2)), TypeError, r"lr must be a finite number >= 0, or a tensor of one, got \(\(2,\)"),
        (dict(lr=torch.tensor(1)), TypeError, "lr must be .*torch.int64"),
        (dict(lr=torch.tensor(-0.5)), ValueError, "lr must be .* got -0.5"),
        (dict(lr=torch.tensor(math.nan), capturable=True), ValueError, "lr must be .* got nan"),
        (dict(lr=lambda t: 0.1), TypeError, "lr must be a finite number >= 0, or a tensor of one, got <function"),
        (dict(lr=np.ones(2)), TypeError, "lr must be .* got array"),
    ],
)
def test_settings_of_another_kind_are_refused(settings, error, message):
    with pytest.raises(error, match=f"Sophia: {message}"):
        port.Sophia([parameter()], **{"lr": 0.1} | settings)


@pytest.mark.parametrize(
    ("estimates", "error", "message"),
    [
        ([], ValueError, "h_hat must hold 2 tensors, one for each parameter, got 0"),
        ([torch.ones(2)], ValueError, "h_hat must hold 2 tensors, one for each parameter, got 1"),
        ([torch.ones(2), torch.ones(3), torch.ones(1)], ValueError, "h_hat must hold 2 tensors.*got 3"),
        ([torch.ones(2), torch.ones(1)], ValueError, r"h_hat of parameter 1 must be.*\(3,\).*got \(\(1,\)"),
        ([torch.ones(2, 1), torch.ones(3)], ValueError, r"h_hat of parameter 0 must be.*\(2,\).*got \(\(2, 1\)"),
        ([torch.ones(2), torch.ones(3, dtype=torch.float64)], TypeError, "h_hat of parameter 1 must.*got.*float64"),
        ([torch.ones(2), torch.ones(3, dtype=torch.bfloat16)], TypeError, "h_hat of parameter 1 must.*got.*bfloat16"),
        ([torch.ones(2), torch.ones(3).to_sparse()], ValueError, "h_hat of parameter 1 must.*got.*sparse"),
        ([torch.ones(2), torch.ones(3, device="meta")], ValueError, "h_hat of parameter 1 must.*got.*meta"),
        ([torch.ones(2), None], ValueError, "h_hat of parameter 1 must be a tensor.*got None"),
        ([np.ones(2), torch.ones(3)], ValueError, r"h_hat of parameter 0 must be a tensor.*got array"),
    ],
)
def test_estimates_that_do_not_fit_are_refused(estimates, error, message):
    params = [parameter(), parameter(3)]
    opt = port.Sophia(params, 0.1)
    with pytest.raises(error, match=f"Sophia: {message}"):
        opt.update_curvature(estimates)
    assert opt.curvature_due
    assert [opt.state[p]["h"].abs().sum() for p in params] == [0, 0]


def test_an_estimate_for_a_low_precision_parameter_is_float32():
    p = parameter(dtype=torch.bfloat16)
    opt = port.Sophia([p], 0.1)
    with pytest.raises(TypeError, match=r"h_hat of parameter 0 must.*float32.*got.*bfloat16"):
        opt.update_curvature([torch.ones(2, dtype=torch.bfloat16)])
    opt.update_curvature([torch.ones(2)])


def test_sparse_gradients_are_refused_before_anything_changes(path):
    dense, sparse = parameter(), parameter(3, 2)
    opt = port.Sophia([dense, sparse], 0.1, **path)
    opt.update_curvature([torch.ones(2), torch.ones(3, 2)])
    dense.grad, sparse.grad = torch.ones(2), torch.ones(3, 2).to_sparse()
    before = copy.deepcopy(opt.state_dict())
    with pytest.raises(RuntimeError, match=r"Sophia: the gradient of parameter 1 must be dense, got torch\.sparse"):
        opt.step()
    assert dense.tolist() == [1.0, 1.0]
    assert all(torch.equal(opt.state[dense][name], before["state"][0][name]) for name in ("m", "h", "step"))


@pytest.mark.parametrize("cast", [lambda m: m.double(), lambda m: m.bfloat16(), lambda m: m.to_empty(device="meta")])
def test_a_model_moved_or_cast_after_the_optimizer_was_made_is_refused(cast):
    model = torch.nn.Linear(2, 1, bias=False)
    opt = port.Sophia(model.parameters(), 0.1)
    opt.update_curvature([torch.ones(1, 2)])
    cast(model)
    p = next(model.parameters())
    state = opt.state[next(iter(opt.state))]
    opt.param_groups[0]["params"] = [p]  # the same one, but for to_empty
    opt.state[p] = state
    p.grad = torch.ones_like(p)
    with pytest.raises(RuntimeError, match="Sophia: parameter 0 was moved or cast"):
        opt.step()
    assert state["m"].tolist() == [[0.0, 0.0]]


def test_names_of_parameters_are_said():
    model = torch.nn.Linear(2, 1)
    opt = port.Sophia(model.named_parameters(), 0.1)
    with pytest.raises(ValueError, match="h_hat of 'bias' must be a tensor"):
        opt.update_curvature([torch.ones(1, 2), None])
