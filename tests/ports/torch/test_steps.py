"""Steps of the port beside those of sophia_ref.Sophia, bit for bit, on all three paths."""

import numpy as np
import pytest

import sophia_ref as sr

torch = pytest.importorskip("torch", reason="PyTorch is not installed here; `make test-ports` installs it")
port = pytest.importorskip("sophia_ref.ports.torch")

SETTINGS = dict(gamma=0.05, weight_decay=0.1, eps=1e-8, clip=1.5, every=4)


def rate(t):
    return 0.03 / t


def both(opt, params, reference, theta, grads, h_hats, split):
    """Steps of both from theta; yields (t, theta, state) of the reference after each."""
    state = reference.init(theta)
    for t, (g, h_hat) in enumerate(zip(grads, h_hats, strict=True), start=1):
        theta, state, _ = reference.step(theta, state, sr.Given(g, h_hat))
        for p, x in zip(params, split(g), strict=True):
            p.grad = x.to(p.dtype)
        if opt.curvature_due:
            opt.update_curvature(split(h_hat))
        for group in opt.param_groups:
            group["lr"] = rate(t)
        opt.step()
        yield t, theta, state


def assert_same_bits(x, y, what):
    assert x.dtype == y.dtype, what
    np.testing.assert_array_equal(x, y, err_msg=what)
    np.testing.assert_array_equal(np.signbit(x), np.signbit(y), err_msg=f"sign of {what}")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_twelve_steps_are_those_of_the_reference_to_the_bit(path, dtype, draw, split, joined):
    theta = draw("theta", dtype)
    theta[3] = -0.0
    params = [torch.nn.Parameter(x) for x in split(theta)]
    opt = port.Sophia(params, rate(1), betas=(0.9, 0.8), **SETTINGS, **path)
    reference = sr.Sophia(rate, beta1=0.9, beta2=0.8, **SETTINGS)
    grads, h_hats = ([draw(f"{name}{t}", dtype) for t in range(12)] for name in "gh")
    for t, theta, state in both(opt, params, reference, theta, grads, h_hats, split):  # noqa: B020
        assert_same_bits(joined(params), theta, f"theta after step {t}")
        for name in "mh":
            assert_same_bits(joined([opt.state[p][name] for p in params]), getattr(state, name), f"{name} after {t}")
        assert {opt.state[p]["step"].item() for p in params} == {t}


def test_the_fused_path_is_compiled_once_for_all_learning_rates(draw, split):
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    params = [torch.nn.Parameter(x) for x in split(draw("theta"))]
    opt = port.Sophia(params, rate(1), fused=True, every=100)
    opt.update_curvature(split(draw("h")))
    for t in range(1, 11):
        for p, g in zip(params, split(draw(f"g{t}")), strict=True):
            p.grad = g
        opt.param_groups[0]["lr"] = rate(t)
        opt.step()
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_a_low_precision_parameter_is_the_rounded_theta_of_a_float32_run(path, dtype, draw, split, joined):
    low = getattr(torch, dtype)
    params = [torch.nn.Parameter(x.to(low)) for x in split(draw("theta", "float32"))]
    theta = joined([p.float() for p in params])
    opt = port.Sophia(params, rate(1), betas=(0.9, 0.8), **SETTINGS, **path)
    reference = sr.Sophia(rate, beta1=0.9, beta2=0.8, **SETTINGS)
    grads = [joined([x.to(low).float() for x in split(draw(f"g{t}", "float32"))]) for t in range(12)]
    h_hats = [draw(f"h{t}", "float32") for t in range(12)]
    for t, theta, state in both(opt, params, reference, theta, grads, h_hats, split):  # noqa: B020
        assert_same_bits(joined([opt.state[p]["theta"] for p in params]), theta, f"theta after step {t}")
        for p, x in zip(params, split(theta), strict=True):
            assert p.dtype == low
            assert torch.equal(p, x.to(low))
        for name in "mh":
            assert_same_bits(joined([opt.state[p][name] for p in params]), getattr(state, name), f"{name} after {t}")


def test_steps_too_small_for_bfloat16_add_up_in_the_theta_behind_it():
    p = torch.nn.Parameter(torch.ones(1, dtype=torch.bfloat16))
    opt = port.Sophia([p], lr=2.0**-11, every=1000)  # 1/8 of the spacing below 1
    opt.update_curvature([torch.zeros(1)])
    values = []
    for _ in range(9):
        p.grad = torch.ones_like(p)
        opt.step()
        values.append(p.item())
    assert values == [1.0] * 4 + [1 - 2.0**-8] * 5  # 4/2048 and 12/2048 lie halfway between two bfloat16


def test_what_is_written_to_a_low_precision_parameter_from_outside_is_taken_over():
    p = torch.nn.Parameter(torch.tensor([1.0, 2.0], dtype=torch.bfloat16))
    opt = port.Sophia([p], lr=2.0**-10, every=1000)
    opt.update_curvature([torch.zeros(2)])
    p.grad = torch.ones_like(p)
    opt.step()
    with torch.no_grad():
        p[1] = 8.0
    opt.step()
    assert opt.state[p]["theta"].tolist() == [1 - 2 * 2.0**-10, 8 - 2.0**-10]


@pytest.mark.parametrize("clip", [float("inf"), 1e300])
def test_no_clip_and_one_beyond_float32_are_the_same(path, clip):
    p = torch.nn.Parameter(torch.zeros(2))
    opt = port.Sophia([p], lr=1.0, betas=(0.0, 0.0), gamma=1.0, clip=clip, **path)
    opt.update_curvature([torch.tensor([2.0, 0.25])])
    p.grad = torch.tensor([6.0, -8.0])
    opt.step()
    assert p.tolist() == [-3.0, 32.0]


def test_each_group_has_its_own_settings(path, draw, split, joined):
    theta = draw("theta")
    params = [torch.nn.Parameter(x) for x in split(theta)]
    first = dict(betas=(0.5, 0.25), gamma=0.5, clip=0.75, eps=1e-3, weight_decay=0.5)
    second = dict(betas=(0.9, 0.8), gamma=0.05, clip=2.0, eps=1e-6, weight_decay=0.0)
    groups = [{"params": params[:2], "lr": 0.5} | first, {"params": params[2:], "lr": 0.25} | second]
    opt = port.Sophia(groups, lr=1.0, every=2, **path)
    grads, h_hats = ([draw(f"{name}{t}") for t in range(5)] for name in "gh")
    for g, h_hat in zip(grads, h_hats, strict=True):
        for p, x in zip(params, split(g), strict=True):
            p.grad = x
        if opt.curvature_due:
            opt.update_curvature(split(h_hat))
        opt.step()
    for lr, settings, some in ((0.5, first, slice(2)), (0.25, second, slice(2, None))):
        beta1, beta2 = settings["betas"]
        rest = {name: settings[name] for name in ("gamma", "clip", "eps", "weight_decay")}
        reference, x = sr.Sophia(lr, beta1, beta2, **rest, every=2), theta
        state = reference.init(x)
        for g, h_hat in zip(grads, h_hats, strict=True):
            x, state, _ = reference.step(x, state, sr.Given(g, h_hat))
        np.testing.assert_array_equal(joined(params[some]), joined(split(x)[some]))


def test_a_gradient_in_the_parameters_own_memory_is_read_before_the_parameter_is_written(path, draw, split, joined):
    theta = draw("theta", "float32")
    params = [torch.nn.Parameter(x) for x in split(theta)]
    opt, reference = port.Sophia(params, 0.1, weight_decay=0.5, **path), sr.Sophia(0.1, weight_decay=0.5)
    state = reference.init(theta)
    for t in range(3):
        h_hat = draw(f"h{t}", "float32")
        theta, state, _ = reference.step(theta, state, sr.Given(theta, h_hat))
        if opt.curvature_due:
            opt.update_curvature(split(h_hat))
        for p in params:
            p.grad = p.data
        opt.step()
        np.testing.assert_array_equal(joined(params), theta)
        np.testing.assert_array_equal(joined([opt.state[p]["m"] for p in params]), state.m)


def test_memory_layouts_and_empty_parameters_make_no_difference(path):
    x, g, h_hat = torch.randn(3, 2, 4, 5, 6, generator=torch.Generator().manual_seed(0))
    layouts = [lambda x: x, lambda x: x.contiguous(memory_format=torch.channels_last), lambda x: x.mT.contiguous().mT]
    results = []
    for layout in layouts:
        p, empty = torch.nn.Parameter(layout(x.clone())), torch.nn.Parameter(torch.zeros(0, 3))
        opt = port.Sophia([empty, p], 0.1, gamma=1.0, weight_decay=0.1, **path)
        opt.update_curvature([torch.zeros(0, 3), h_hat[:, :1].expand_as(h_hat)])
        p.grad, empty.grad = g[:, :, :1].expand_as(g), torch.zeros(0, 3)
        opt.step()
        results.append(p)
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])


def test_nan_in_a_gradient_or_an_estimate_is_nan_in_that_coordinate_alone(path):
    p = torch.nn.Parameter(torch.ones(70))  # long enough for vector instructions and what is left over
    opt = port.Sophia([p], 0.1, gamma=1.0, **path)
    h_hat, g = torch.ones(70), torch.ones(70)
    h_hat[[0, 40]], g[[1, 69]] = torch.nan, torch.nan
    opt.update_curvature([h_hat])
    p.grad = g
    opt.step()
    assert p.isnan().nonzero().flatten().tolist() == [0, 1, 40, 69]


def test_a_parameter_without_a_gradient_stays_as_it_is_and_counts_steps(path):
    stays, moves, frozen = (torch.nn.Parameter(torch.ones(2), requires_grad=i < 2) for i in range(3))
    opt = port.Sophia([stays, moves, frozen], 0.1, weight_decay=0.5, **path)
    opt.update_curvature([torch.ones(2), torch.ones(2), None])
    moves.grad = torch.ones(2)
    opt.step()
    assert stays.tolist() == frozen.tolist() == [1.0, 1.0]
    assert moves.tolist() != [1.0, 1.0]
    assert opt.state[stays]["m"].tolist() == opt.state[frozen]["h"].tolist() == [0.0, 0.0]
    assert opt.state[stays]["h"].tolist() == opt.state[moves]["h"].tolist() != [0.0, 0.0]
    assert [opt.state[p]["step"].item() for p in (stays, moves, frozen)] == [1, 1, 1]


def test_tied_weights_are_one_parameter():
    class Tied(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.words = torch.nn.Embedding(4, 3)
            self.out = torch.nn.Linear(3, 4, bias=False)
            self.out.weight = self.words.weight

        def forward(self, tokens):
            return self.out(self.words(tokens))

    torch.manual_seed(0)
    model = Tied()
    start = model.words.weight.detach().double().numpy()
    opt, gnb = port.SophiaG(model.parameters(), 0.1), port.GNB(model.parameters())
    assert len(opt.param_groups[0]["params"]) == 1
    tokens, labels = torch.tensor([0, 1, 1]), torch.tensor([3, 0, 2])
    gnb.add(model(tokens), labels=labels)
    (h_hat,) = gnb.estimate()

    def loss(w):  # with numpy: logits = w[tokens] w.T
        z = w[tokens.numpy()] @ w.T
        log_p = z - np.log(np.exp(z).sum(-1))[:, None]
        return -log_p[np.arange(3), labels.numpy()].mean()

    g = sr.grad(loss)(start)
    np.testing.assert_allclose(h_hat.numpy(), 3 * g * g, rtol=1e-4, atol=1e-7)


def test_a_closure_is_called_with_gradients_enabled_and_its_loss_comes_back():
    p = torch.nn.Parameter(torch.tensor([3.0]))
    opt = port.Sophia([p], 0.5)
    opt.update_curvature([torch.ones(1)])

    def closure():
        opt.zero_grad()
        loss = (p**2).sum()
        loss.backward()
        return loss

    with torch.no_grad():
        assert opt.step(closure).item() == 9.0
    assert p.item() == 2.5


def test_schedulers_of_torch_set_the_rate(draw, split, joined):
    params = [torch.nn.Parameter(x) for x in split(draw("theta"))]
    opt = port.Sophia(params, 0.5, every=100)
    schedule = torch.optim.lr_scheduler.ExponentialLR(opt, gamma=0.5)
    opt.update_curvature(split(draw("h")))
    moved = []
    for _ in range(3):
        before = joined(params)
        for p in params:
            p.grad = torch.ones_like(p)
        opt.state[params[0]]["h"].zero_()  # no curvature: a step of lr
        opt.step()
        schedule.step()
        moved.append(before[0] - joined(params)[0])
    np.testing.assert_allclose(moved, [0.5, 0.25, 0.125], rtol=1e-12)


def test_sophia_h_and_g_have_the_gamma_of_the_reference():
    p = torch.nn.Parameter(torch.zeros(1))
    for mine, other in ((port.Sophia, sr.Sophia), (port.SophiaH, sr.SophiaH), (port.SophiaG, sr.SophiaG)):
        (group,), reference = mine([p], 0.1).param_groups, other(0.1)
        assert group["betas"] == (reference.beta1, reference.beta2)
        for name in ("gamma", "clip", "eps", "weight_decay", "every"):
            assert group[name] == getattr(reference, name)
