"""kozistr's pytorch_optimizer.SophiaH beside the dialect of the version that is installed: 3.9 or at least 4.1."""

import importlib.metadata

import numpy as np
import pytest

from sophia_ref import Oracle
from sophia_ref.conformance import DIALECTS
from sophia_ref.conformance.estimators import row_sums

H = np.array([[2.0, -1.0, 0.5], [-1.0, 8.0, 0.25], [0.5, 0.25, -4.0]])


@pytest.fixture
def sophia_h(library):
    return library("pytorch_optimizer").SophiaH


@pytest.fixture
def version(sophia_h):
    return tuple(map(int, importlib.metadata.version("pytorch_optimizer").split(".")[:2]))


@pytest.fixture
def dialect(version):
    assert version == (3, 9) or version >= (4, 1)
    return DIALECTS["kozistr-3.9" if version == (3, 9) else "kozistr-4"]


@pytest.mark.parametrize("kind", ["dyadic", "float64", "float32"])
@pytest.mark.parametrize("period", [2, 3, 10])
def test_steps(library, sophia_h, dialect, gives, assert_same_steps, kind, period):
    torch = library("torch")
    if kind == "dyadic":
        settings = dict(lr=0.25, beta1=0.5, beta2=0.5, p=0.25, eps=0.125, weight_decay=0.5)
    else:
        settings = dict(lr=0.06, beta1=0.96, beta2=0.99, p=0.01, eps=1e-12, weight_decay=0.1)
    grads, h_hats, theta = gives(kind, {"dyadic": 9}.get(kind, 42))
    parameter = torch.nn.Parameter(torch.tensor(theta))
    theirs = sophia_h(
        [parameter], settings["lr"], (settings["beta1"], settings["beta2"]), settings["weight_decay"],
        p=settings["p"], eps=settings["eps"], update_period=period,
    )  # fmt: skip

    def other(t, g, h_hat):
        # the estimate is ours; when it is made and what it does is theirs
        def estimate(param_groups, state, **_):
            state[parameter]["hessian"].add_(torch.tensor(h_hat))

        theirs.compute_hutchinson_hessian = estimate
        parameter.grad = torch.tensor(g)
        theirs.step()
        state = theirs.state[parameter]
        return tuple(x.detach().numpy().copy() for x in (parameter, state["momentum"], state["hessian_moment"]))

    opt = dialect.optimizer(**settings, update_period=period)
    assert_same_steps(opt, other, kind, grads, h_hats, theta)


def estimate(torch, sophia_h, distribution):
    """What the first estimate of its own leaves in the state, at a quadratic with Hessian H."""
    parameter = torch.nn.Parameter(torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64))
    theirs = sophia_h([parameter], 1e-3, update_period=2, hessian_distribution=distribution)
    for _ in range(3):
        theirs.zero_grad()
        (parameter @ torch.tensor(H) @ parameter / 2).backward(create_graph=True)
        theirs.step()
        if "hessian" in theirs.state[parameter]:
            return theirs.state[parameter]["hessian"].numpy()
    raise AssertionError("no estimate in three steps")


@pytest.mark.filterwarnings("ignore:Using backward.. with create_graph=True")
def test_rademacher_probes_are_all_minus_one_in_3_9(library, sophia_h, version):
    h_hat = estimate(library("torch"), sophia_h, "rademacher")
    signs = np.stack(np.meshgrid([-1, 1], [-1, 1], [-1, 1]), axis=-1).reshape(-1, 3)
    possible = signs * (signs @ H)
    assert np.isclose(possible, h_hat, rtol=1e-14).all(axis=1).any()
    if version == (3, 9):
        ours = row_sums(Oracle(lambda theta: theta @ H @ theta / 2, np.array([1.0, 2.0, 3.0])))
        np.testing.assert_allclose(h_hat, ours, rtol=1e-14)
        np.testing.assert_array_equal(ours, H.sum(axis=1))
    else:
        torch = library("torch")
        seen = [tuple(estimate(torch, sophia_h, "rademacher")) for _ in range(20)]
        assert len(set(seen)) > 1


@pytest.mark.filterwarnings("ignore:Using backward.. with create_graph=True")
def test_gaussian_probes_are_u_hu(library, sophia_h, monkeypatch):
    torch, u = library("torch"), np.array([0.5, -2.0, 1.5])
    monkeypatch.setattr(torch, "randn_like", lambda p: torch.tensor(u))
    np.testing.assert_allclose(estimate(torch, sophia_h, "gaussian"), u * (H @ u), rtol=1e-14)


@pytest.mark.filterwarnings("ignore:Using backward.. with create_graph=True")
def test_an_estimate_in_every_step_stops_3_9_at_its_first(library, sophia_h, version):
    torch = library("torch")
    parameter = torch.nn.Parameter(torch.ones(3))
    theirs = sophia_h([parameter], update_period=1)
    (parameter @ parameter).backward(create_graph=True)
    if version == (3, 9):
        with pytest.raises(KeyError, match="momentum"):
            theirs.step()
    else:
        theirs.step()


def test_defaults(library, sophia_h, dialect):
    theirs, known = sophia_h([library("torch").nn.Parameter(library("torch").ones(2))]), dialect.settings
    (group,) = theirs.param_groups
    assert {name: group[name] for name in ("lr", "p", "eps", "weight_decay")} == {
        name: known[name] for name in ("lr", "p", "eps", "weight_decay")
    }
    assert (*group["betas"], theirs.update_period) == (known["beta1"], known["beta2"], known["update_period"])
    assert theirs.distribution == dialect.estimators[0]
