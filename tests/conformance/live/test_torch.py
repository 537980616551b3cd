"""The official SophiaG, kyegomez's and labml's, as published on PyPI, beside their dialects."""

import importlib.metadata
import importlib.util
import sys

import numpy as np
import pytest

from sophia_ref import Given
from sophia_ref.conformance import DIALECTS
from sophia_ref.conformance.estimators import norm_clipped_gnb

KINDS = ("dyadic", "float64", "float32")
# Powers of two; few steps, so that no sum outgrows 53 bits.
DYADIC = dict(lr=0.25, beta1=0.5, beta2=0.5, weight_decay=0.5)
PLAIN = dict(lr=0.01, beta1=0.965, beta2=0.99, weight_decay=0.1)


def torch_parameter(torch, theta):
    return torch.nn.Parameter(torch.tensor(theta))


def arrays(parameter, state, m, h):
    return tuple(x.detach().numpy().copy() for x in (parameter, state[m], state[h]))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("every", [1, 3])
def test_official(library, gives, assert_same_steps, kind, every):
    torch, SophiaG = library("torch"), library("sophia_opt").SophiaG
    settings = DYADIC | dict(rho=0.5, bs=4) if kind == "dyadic" else PLAIN | dict(rho=0.04, bs=64)
    grads, roots, theta = gives(kind, 8 if kind == "dyadic" else 30)
    roots = roots / 16  # gradients of sampled labels
    parameter = torch_parameter(torch, theta)
    betas, bs = (settings["beta1"], settings["beta2"]), settings["bs"]
    theirs = SophiaG([parameter], settings["lr"], betas, settings["rho"], settings["weight_decay"])
    opt = DIALECTS["official"].optimizer(**settings, every=every)

    def other(t, g, h_hat):
        # its training script estimates after step k, 2k, ...; here that is done right before the step that follows
        if t > 1 and (t - 1) % every == 0:
            parameter.grad = torch.tensor(roots[t - 1])
            theirs.update_hessian()
        parameter.grad = torch.tensor(g)
        theirs.step(bs=bs)
        return arrays(parameter, theirs.state[parameter], "exp_avg", "hessian")

    assert_same_steps(opt, other, kind, grads, roots**2, theta)


def test_official_with_negative_curvature_climbs_without_bound(library):
    """Nothing but squares ever enters its h; here a negative h is put there."""
    torch, SophiaG = library("torch"), library("sophia_opt").SophiaG
    theta, g, h = np.zeros(4), np.array([1.0, -1.0, 1.0, 1.0]), np.array([-1.0, -1.0, 2.0**-20, -(2.0**-20)])
    parameter = torch_parameter(torch, theta)
    theirs = SophiaG([parameter], 0.25, (0.5, 0.5), rho=0.5, weight_decay=0.0)
    parameter.grad = torch.zeros_like(parameter)
    theirs.step(bs=1)
    theirs.state[parameter]["hessian"] = torch.tensor(h)
    parameter.grad = torch.tensor(g)
    theirs.step(bs=1)
    opt = DIALECTS["official"].optimizer(lr=0.25, beta1=0.5, beta2=0.5, rho=0.5, weight_decay=0.0, bs=1)
    step = opt.step(theta, opt.State(1, theta, h, theta), Given(g))
    np.testing.assert_array_equal(step.theta, parameter.detach().numpy())
    assert step.theta[0] > 0  # against a gradient of 1
    assert step.theta[3] > 1e5  # hundreds of thousands of lr


def test_official_defaults(library):
    parameter = torch_parameter(library("torch"), np.zeros(2))
    (group,) = library("sophia_opt").SophiaG([parameter]).param_groups
    known = DIALECTS["official"].settings
    assert {name: group[name] for name in ("lr", "rho", "weight_decay")} == {
        name: known[name] for name in ("lr", "rho", "weight_decay")
    }
    assert group["betas"] == (known["beta1"], known["beta2"])


def kyegomez(library):
    """The class, from the file that holds it: the package's __init__ asks for a function that is a method now."""
    library("torch")
    try:
        files = importlib.metadata.files("Sophia-Optimizer")
    except importlib.metadata.PackageNotFoundError:
        return library("Sophia-Optimizer")  # skips, or fails where it must be there
    (path,) = (file.locate() for file in files if file.as_posix() == "sophia/sophia.py")
    spec = importlib.util.spec_from_file_location("kyegomez_sophia", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.SophiaG


@pytest.mark.parametrize("kind", KINDS)
def test_kyegomez(library, gives, assert_same_steps, kind):
    SophiaG, torch = kyegomez(library), library("torch")
    settings = DYADIC | dict(rho=0.5, bs=4) if kind == "dyadic" else PLAIN | dict(rho=0.04, bs=64)
    grads, _, theta = gives(kind, 6 if kind == "dyadic" else 30)
    parameter = torch_parameter(torch, theta)
    betas = (settings["beta1"], settings["beta2"])
    theirs = SophiaG([parameter], settings["lr"], betas, settings["rho"], settings["weight_decay"])

    def other(t, g, h_hat):
        parameter.grad = torch.tensor(g)
        theirs.step(bs=settings["bs"])
        return arrays(parameter, theirs.state[parameter], "exp_avg", "hessian")

    assert_same_steps(DIALECTS["kyegomez"].optimizer(**settings), other, kind, grads, grads**2, theta)


def test_kyegomez_as_published_does_not_import(library):
    kyegomez(library)
    with pytest.raises(ImportError, match="cannot import name 'sophiag'"):
        library("sophia")
    sys.modules.pop("sophia", None)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("every", [2, 3])
def test_labml(library, gives, assert_same_steps, kind, every):
    torch, module = library("torch"), library("labml_nn.optimizers.sophia")
    settings = DYADIC | dict(rho=0.25, eps=0.125) if kind == "dyadic" else PLAIN | dict(rho=0.03, eps=1e-12)
    grads, roots, theta = gives(kind, 9 if kind == "dyadic" else 30)
    roots, tokens = roots / 16, 32
    parameter = torch_parameter(torch, theta)
    betas, decay = (settings["beta1"], settings["beta2"]), module.WeightDecay(settings["weight_decay"])
    theirs = module.Sophia([parameter], settings["lr"], betas, settings["eps"], settings["rho"], decay)
    parameter.grad = torch.zeros_like(parameter)
    theirs.init_state(theirs.state[parameter], theirs.param_groups[0], parameter)

    def other(t, g, h_hat):
        # its loop, from reading: batch index 0, k, 2k, ... is used for the estimate and not for training
        if (t - 1) % every == 0:
            parameter.grad = torch.tensor(roots[t - 1])
            theirs.update_hessian(tokens)
        else:
            parameter.grad = torch.tensor(g)
            theirs.step()
        return arrays(parameter, theirs.state[parameter], "exp_avg", "hessian")

    opt = DIALECTS["labml"].optimizer(**settings, hess_interval=every)
    assert_same_steps(opt, other, kind, grads, tokens * roots**2, theta)


@pytest.mark.parametrize("scale", [0.01, 1.0, 100.0])
def test_labml_clips_the_norm_of_the_sampled_gradient_as_torch_does(library, scale):
    torch = library("torch")
    g = scale * np.random.default_rng(0).normal(size=50)
    parameter = torch_parameter(torch, np.zeros(50))
    parameter.grad = torch.tensor(g)
    torch.nn.utils.clip_grad_norm_([parameter], max_norm=1.0)

    class Sampled:
        def sampled_grad(self):
            return g, 32.0

    np.testing.assert_allclose(norm_clipped_gnb()(Sampled()), 32 * parameter.grad.numpy() ** 2, rtol=1e-14)


def test_labml_defaults(library):
    parameter = torch_parameter(library("torch"), np.zeros(2))
    (group,) = library("labml_nn.optimizers.sophia").Sophia([parameter]).param_groups
    known = DIALECTS["labml"].settings
    assert {name: group[name] for name in ("lr", "rho", "eps", "weight_decay")} == {
        name: known[name] for name in ("lr", "rho", "eps", "weight_decay")
    }
    assert group["betas"] == (known["beta1"], known["beta2"])
