"""When an estimate is due, what is saved and what is loaded."""

import copy
import io
import pickle

import numpy as np
import pytest

import sophia_ref as sr

torch = pytest.importorskip("torch", reason="PyTorch is not installed here; `make test-ports` installs it")
port = pytest.importorskip("sophia_ref.ports.torch")

EVERY = 3


def made(theta, split, dtype=torch.float32, **settings):
    params = [torch.nn.Parameter(x.to(dtype)) for x in split(theta)]
    return params, port.Sophia(params, 0.1, gamma=0.05, weight_decay=0.1, every=EVERY, **settings)


def go(opt, params, times, draw, split, finish=True):
    """Steps t of `times`, each with an estimate if one is due; the last without `step` unless finish."""
    for t in times:
        for p, g in zip(params, split(draw(f"g{t}")), strict=True):
            p.grad = g.to(p.dtype)
        if opt.curvature_due:
            h = opt.state[params[0]]["h"]
            opt.update_curvature([x.to(h.dtype) for x in split(draw(f"h{t}"))])
        if finish or t != times[-1]:
            opt.step()


def through_a_file(state_dict):
    file = io.BytesIO()
    torch.save(state_dict, file)
    file.seek(0)
    return torch.load(file)


def assert_same_state(one, other):
    params, others = (opt.param_groups[0]["params"] for opt in (one, other))
    for p, q in zip(params, others, strict=True):
        assert torch.equal(p, q)
        assert one.state[p].keys() == other.state[q].keys()
        for name, x in one.state[p].items():
            assert x.dtype == other.state[q][name].dtype
            assert torch.equal(x, other.state[q][name]), name


@pytest.mark.parametrize(("every", "at"), [(1, [1, 2, 3, 4, 5, 6, 7]), (3, [1, 4, 7]), (10, [1])])
def test_an_estimate_is_due_before_the_first_step_and_every_so_many_after(every, at):
    p = torch.nn.Parameter(torch.ones(2))
    opt, due = port.Sophia([p], 0.1, every=every), []
    for t in range(1, 8):
        p.grad = torch.ones(2)
        if opt.curvature_due:
            due.append(t)
            opt.update_curvature([torch.ones(2)])
        assert not opt.curvature_due
        opt.step()
    assert due == at


def test_a_step_without_the_estimate_that_is_due_is_refused_and_changes_nothing(draw, split):
    params, opt = made(draw("theta"), split)
    for p in params:
        p.grad = torch.ones_like(p)
    before = copy.deepcopy(opt)
    with pytest.raises(RuntimeError, match=r"Sophia: a curvature estimate is due: update_curvature\(h_hat\) must"):
        opt.step()
    assert_same_state(opt, before)


@pytest.mark.parametrize("steps", [0, 1, 2])
def test_an_estimate_that_is_not_due_is_refused_and_changes_nothing(draw, split, steps):
    params, opt = made(draw("theta"), split)
    go(opt, params, range(1, steps + 1), draw, split)
    if steps == 0:
        opt.update_curvature(split(draw("h", "float32")))
    before = copy.deepcopy(opt)
    with pytest.raises(RuntimeError, match="Sophia: no estimate is due: update_curvature must come once"):
        opt.update_curvature(split(draw("h", "float32")))
    assert_same_state(opt, before)


@pytest.mark.parametrize("finish", [True, False], ids=["after_a_step", "between_estimate_and_step"])
@pytest.mark.parametrize("stop", range(1, 2 * EVERY + 2))
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_run_that_was_saved_goes_on_as_one_that_was_not(draw, split, dtype, stop, finish):
    dtype = getattr(torch, dtype)
    params, opt = made(draw("theta"), split, dtype)
    go(opt, params, range(1, stop + 1), draw, split, finish)
    new_params, new = made(draw("other"), split, dtype)
    with torch.no_grad():
        for p, q in zip(params, new_params, strict=True):
            q.copy_(p)
    new.load_state_dict(through_a_file(opt.state_dict()))
    assert_same_state(opt, new)
    for each, some in ((opt, params), (new, new_params)):
        go(each, some, range(stop + finish, 3 * EVERY), draw, split)
    assert_same_state(opt, new)


def test_torch_alone_would_round_the_state_of_a_bfloat16_parameter(draw, split):
    params, opt = made(draw("theta"), split, torch.bfloat16)
    go(opt, params, range(1, 4), draw, split)
    new_params, new = made(draw("theta"), split, torch.bfloat16)
    torch.optim.Optimizer.load_state_dict(new, opt.state_dict())
    assert new.state[new_params[0]]["m"].dtype == torch.bfloat16
    new.load_state_dict(opt.state_dict())
    assert new.state[new_params[0]]["m"].dtype == torch.float32


@pytest.mark.parametrize("saved", ["bfloat16", "float16", "float32", "float64"])
@pytest.mark.parametrize("loaded", ["bfloat16", "float16", "float32", "float64"])
def test_state_is_converted_to_what_the_parameters_are(draw, split, saved, loaded):
    params, opt = made(draw("theta"), split, getattr(torch, saved))
    go(opt, params, range(1, 3), draw, split)
    new_params, new = made(draw("theta"), split, getattr(torch, loaded))
    new.load_state_dict(opt.state_dict())
    exact = torch.float64 if loaded == "float64" else torch.float32
    for p, q in zip(params, new_params, strict=True):
        old, state = opt.state[p], new.state[q]
        assert state["step"] == old["step"] == 2
        assert torch.equal(state["m"], old["m"].to(exact))
        assert torch.equal(state["h"], old["h"].to(exact))
        assert ("theta" in state) == (loaded in ("bfloat16", "float16"))
    go(new, new_params, range(3, 6), draw, split)


def test_what_is_loaded_is_not_shared_with_what_was_saved(draw, split):
    params, opt = made(draw("theta"), split)
    go(opt, params, range(1, 3), draw, split)
    new_params, new = made(draw("theta"), split)
    new.load_state_dict(opt.state_dict())
    kept = opt.state[params[0]]["m"].clone()
    go(new, new_params, range(3, 5), draw, split)
    assert torch.equal(opt.state[params[0]]["m"], kept)


def test_settings_come_from_what_is_loaded(draw, split):
    _, opt = made(draw("theta"), split)
    new = port.Sophia([torch.nn.Parameter(x) for x in split(draw("theta"))], 0.5, every=7, clip=2.0)
    new.load_state_dict(opt.state_dict())
    assert {name: new.param_groups[0][name] for name in ("lr", "every", "clip")} == {"lr": 0.1, "every": 3, "clip": 1.0}


def test_hooks_see_the_exact_state_and_may_change_what_is_loaded(draw, split):
    params, opt = made(draw("theta"), split, torch.bfloat16)
    go(opt, params, range(1, 3), draw, split)
    new_params, new = made(draw("theta"), split, torch.bfloat16)
    seen = []

    def negate_m(_, state_dict):
        state = {key: {**each, "m": -each["m"]} for key, each in state_dict["state"].items()}
        return {**state_dict, "state": state}

    new.register_load_state_dict_pre_hook(negate_m)
    new.register_load_state_dict_post_hook(lambda opt: seen.append(opt.state[new_params[0]]["m"].clone()))
    new.load_state_dict(opt.state_dict())
    assert torch.equal(seen[0], -opt.state[params[0]]["m"])


def spoiled(**changes):
    def spoil(state_dict):
        state_dict["param_groups"][0].update(changes)

    return spoil


def of_adamw(state_dict):
    del state_dict["param_groups"][0]["gamma"]


def without_h(state_dict):
    del state_dict["state"][1]["h"]


def without_state(state_dict):
    del state_dict["state"][1]


def of_another_shape(state_dict):
    state_dict["state"][1]["m"] = torch.zeros(1)  # which would broadcast


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (of_adamw, "state_dict must hold this optimizer's settings, got no gamma"),
        (without_h, r"state_dict must hold h of parameter 1 as a tensor of shape \(7,\), got None"),
        (without_state, r"state_dict must hold step of parameter 1 as a tensor of shape \(\), got None"),
        (of_another_shape, r"state_dict must hold m of parameter 1 as a tensor of shape \(7,\), got \(\(1,\)"),
        (spoiled(lr=-1.0), "lr must be a finite number >= 0, or a tensor of one, got -1.0"),
        (spoiled(every=0), "every must be an integer >= 1, got 0"),
        (spoiled(params=[0, 1]), "parameter group that doesn't match the size"),
    ],
)
def test_what_does_not_fit_is_refused_and_changes_nothing(draw, split, spoil, message):
    params, opt = made(draw("theta"), split)
    go(opt, params, range(1, 3), draw, split)
    _, new = made(draw("theta"), split)
    before, state_dict = copy.deepcopy(new), copy.deepcopy(opt.state_dict())
    spoil(state_dict)
    with pytest.raises((ValueError, TypeError), match=message):
        new.load_state_dict(state_dict)
    assert_same_state(new, before)
    assert new.param_groups[0]["lr"] == 0.1
    assert not new._optimizer_load_state_dict_pre_hooks
    assert not new._optimizer_load_state_dict_post_hooks


def test_a_theta_of_another_shape_is_refused_too(draw, split):
    _, opt = made(draw("theta"), split, torch.bfloat16)
    before, state_dict = copy.deepcopy(opt), copy.deepcopy(opt.state_dict())
    state_dict["state"][1]["theta"] = torch.zeros(1)
    with pytest.raises(ValueError, match=r"state_dict must hold theta of parameter 1 as a tensor of shape \(7,\), got"):
        opt.load_state_dict(state_dict)
    assert_same_state(opt, before)


@pytest.mark.parametrize("how", [copy.deepcopy, lambda opt: pickle.loads(pickle.dumps(opt))])
def test_a_copy_goes_on_as_the_original(draw, split, how):
    params, opt = made(draw("theta"), split, torch.bfloat16)
    go(opt, params, range(1, 3), draw, split)
    twin = how(opt)
    for each in (opt, twin):
        go(each, each.param_groups[0]["params"], range(3, 6), draw, split)
    assert_same_state(opt, twin)


def test_distributed_checkpoints_hold_the_state(draw, split):
    from torch.distributed.checkpoint.state_dict import get_optimizer_state_dict, set_optimizer_state_dict

    torch.manual_seed(0)
    models = [torch.nn.Linear(3, 2) for _ in range(2)]
    opts = [port.Sophia(model.parameters(), 0.1) for model in models]
    opts[0].update_curvature([torch.ones(2, 3), torch.ones(2)])
    models[0](torch.ones(1, 3)).sum().backward()
    opts[0].step()
    set_optimizer_state_dict(models[1], opts[1], get_optimizer_state_dict(models[0], opts[0]))
    for p, q in zip(models[0].parameters(), models[1].parameters(), strict=True):
        assert torch.equal(opts[0].state[p]["h"], opts[1].state[q]["h"])
        assert opts[1].state[q]["step"] == 1


def test_parameters_that_join_later_keep_the_others_time():
    first, later = torch.nn.Parameter(torch.ones(2)), torch.nn.Parameter(torch.ones(3))
    opt = port.Sophia([first], 0.1, every=3)
    for _ in range(2):
        if opt.curvature_due:
            opt.update_curvature([torch.ones(2)])
        first.grad = torch.ones(2)
        opt.step()
    opt.add_param_group({"params": [later], "lr": 0.5})
    later.grad = torch.ones(3)
    opt.step()  # the third, which needs no estimate
    assert later.tolist() == [0.5] * 3  # no curvature yet: a step of lr
    assert opt.curvature_due
    assert opt.state[later]["step"] == opt.state[first]["step"] == 3
    opt.update_curvature([torch.ones(2), torch.ones(3)])
    assert opt.state[later]["h"].tolist() == pytest.approx([0.01] * 3)


def test_a_reference_run_can_be_gone_on_with(draw, split, joined):
    """The state of sophia_ref.Sophia, put into a state_dict."""
    theta = draw("theta")
    reference = sr.Sophia(0.1, gamma=0.05, weight_decay=0.1, every=EVERY)
    state = reference.init(theta)
    for t in range(1, 3):
        theta, state, _ = reference.step(theta, state, sr.Given(draw(f"g{t}"), draw(f"h{t}")))
    params, opt = made(theta, split, torch.float64)
    state_dict = opt.state_dict()
    for i, (m, h) in enumerate(zip(split(state.m), split(state.h), strict=True)):
        state_dict["state"][i] = {"step": torch.tensor(2), "h_step": torch.tensor(1), "m": m, "h": h}
    opt.load_state_dict(state_dict)
    for t in range(3, 8):
        theta, state, _ = reference.step(theta, state, sr.Given(draw(f"g{t}"), draw(f"h{t}")))
    go(opt, params, range(3, 8), draw, split)
    np.testing.assert_array_equal(joined(params), theta)


def test_a_grad_scaler_may_skip_a_step_and_the_estimate_is_kept_for_the_next():
    p = torch.nn.Parameter(torch.ones(2))
    opt = port.Sophia([p], 0.1, every=5)
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    opt.update_curvature([torch.ones(2)])
    for scale in (torch.inf, 1.0):
        opt.zero_grad()
        scaler.scale((p * scale).sum()).backward()
        scaler.step(opt)
        scaler.update()
    assert opt.state[p]["step"] == 1
    assert opt.state[p]["m"].tolist() == pytest.approx([0.04, 0.04])  # (1 - 0.96) times the unscaled gradient
    assert not opt.curvature_due


def test_no_parameters_at_all_are_no_reason_to_fail():
    opt = port.Sophia([{"params": []}], 0.1)
    assert not opt.curvature_due
    opt.step()


def test_no_parameters_in_a_group_are_no_reason_to_fail():
    p = torch.nn.Parameter(torch.ones(2))
    opt = port.Sophia([{"params": []}, {"params": [p]}], 0.1)
    assert opt.curvature_due
    opt.update_curvature([torch.ones(2)])
    p.grad = torch.ones(2)
    opt.step()
    assert p.tolist() == pytest.approx([0.9, 0.9])
