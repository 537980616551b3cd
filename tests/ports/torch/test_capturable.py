"""What a CUDA graph needs, as far as it can be seen without a GPU: nothing waits for the device or lies elsewhere, and
the steps and the rate are tensors. Fake tensors say they are on a GPU; like those on the device "meta" they hold no
numbers, so that whoever asks for one fails."""

from contextlib import nullcontext

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed here; `make test-ports` installs it")
port = pytest.importorskip("sophia_ref.ports.torch")

from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode  # noqa: E402
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402


class Reads(TorchDispatchMode):
    """Notes whoever takes a number out of a tensor."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if "_local_scalar_dense" in str(function) or "nonzero" in str(function):
            self.seen.append(function)
        return function(*args, **kwargs or {})


def loop(opt, p, estimator=None):
    for t in range(4):
        if t % 3 == 0:
            if estimator is None:
                opt.update_curvature([torch.ones_like(p, dtype=opt.state[p]["h"].dtype)])
            else:
                opt.update_curvature(estimator())
        p.grad = torch.ones_like(p)
        opt.step()


@pytest.mark.parametrize("foreach", [None, False, True])
@pytest.mark.parametrize(("device", "dtype"), [("cuda:0", "float32"), ("meta", "float32"), ("meta", "bfloat16")])
@pytest.mark.parametrize("tensor_lr", [True, False])
def test_on_a_device_nothing_is_read_and_nothing_lies_elsewhere(foreach, device, dtype, tensor_lr):
    with FakeTensorMode() if device == "cuda:0" else nullcontext():
        p = torch.nn.Parameter(torch.ones(3, 2, device=device, dtype=getattr(torch, dtype)))
        lr = torch.tensor(0.1, device=device) if tensor_lr else 0.1
        opt = port.Sophia([p], lr, every=3, weight_decay=0.1, foreach=foreach, capturable=True)
        for _ in range(2):
            assert {str(x.device) for x in opt.state[p].values()} == {device}
            loop(opt, p)
        with pytest.raises((DataDependentOutputException, RuntimeError)):
            opt.curvature_due  # noqa: B018, the one that waits


def test_estimates_on_a_device_read_nothing_either():
    p = torch.nn.Parameter(torch.ones(4, 3, device="meta"))
    gnb, hutchinson = port.GNB([p], loss_scale=torch.ones((), device="meta")), port.Hutchinson([p])
    x, mask = torch.ones(2, 5, 4, device="meta"), torch.ones(2, 5, device="meta") > 0

    def by_gnb():
        gnb.add(x @ p, mask)
        gnb.add(x @ p, likelihood="gaussian")
        return gnb.estimate()

    def by_hutchinson():
        hutchinson.add((x @ p).square().sum())
        return hutchinson.estimate()

    for estimator in (by_gnb, by_hutchinson):
        loop(port.Sophia([p], torch.tensor(0.1, device="meta"), every=3, capturable=True), p, estimator)


def test_without_capturable_steps_are_counted_on_the_cpu_where_reading_is_free():
    p = torch.nn.Parameter(torch.ones(3, device="meta"))
    opt = port.Sophia([p], 0.1, every=3)
    assert str(opt.state[p]["step"].device) == "cpu"
    loop(opt, p)
    assert opt.state[p]["step"].item() == 4
    assert opt.curvature_due is False


@pytest.mark.parametrize("settings", [dict(), dict(foreach=True), dict(fused=True)])
def test_on_a_cpu_no_number_is_taken_out_of_a_tensor(settings):
    p = torch.nn.Parameter(torch.ones(3))
    opt = port.Sophia([p], torch.tensor(0.1), every=3, capturable=True, **settings)
    loop(opt, p)  # compiled here, if at all
    fresh = port.Sophia([p], torch.tensor(0.1), every=3, capturable=True, **settings | {"fused": None})
    with Reads() as reads:
        loop(fresh, p)
    assert reads.seen == []


def test_the_rate_is_read_from_its_tensor_in_every_step(path):
    p, lr = torch.nn.Parameter(torch.zeros(2, dtype=torch.float64)), torch.tensor(0.5, dtype=torch.float64)
    opt = port.Sophia([p], lr, capturable=True, **path)
    opt.update_curvature([torch.zeros(2, dtype=torch.float64)])
    values = []
    for rate in (0.5, 0.25, 0.0):
        lr.fill_(rate)
        p.grad = torch.ones_like(p)
        opt.step()
        values.append(p[0].item())
    assert values == [-0.5, -0.75, -0.75]


@pytest.mark.parametrize("shape", [(), (1,)])
def test_a_rate_in_a_tensor_does_what_the_number_does(path, shape):
    results = []
    for lr in (0.125, torch.full(shape, 0.125)):
        p = torch.nn.Parameter(torch.tensor([1.0, 2.0]))
        opt = port.Sophia([p], lr, gamma=1.0, weight_decay=0.3, **path)
        opt.update_curvature([torch.tensor([1.0, -1.0])])
        p.grad = torch.tensor([0.1, 0.2])
        opt.step()
        results.append(p)
    assert torch.equal(*results)


def test_a_scheduler_of_torch_writes_to_the_tensor():
    p, lr = torch.nn.Parameter(torch.zeros(1)), torch.tensor(0.5)
    opt = port.Sophia([p], lr, capturable=True)
    schedule = torch.optim.lr_scheduler.ExponentialLR(opt, gamma=0.5)
    opt.update_curvature([torch.zeros(1)])
    p.grad = torch.ones(1)
    opt.step()
    schedule.step()
    assert lr.item() == 0.25
    assert opt.param_groups[0]["lr"] is lr


def test_what_is_due_is_asserted_where_the_steps_are_counted():
    p = torch.nn.Parameter(torch.ones(2))
    opt = port.Sophia([p], 0.1, capturable=True)
    p.grad = torch.ones(2)
    with pytest.raises(RuntimeError, match="a curvature estimate is due"):
        opt.step()
    opt.update_curvature([torch.ones(2)])
    with pytest.raises(RuntimeError, match="no estimate is due"):
        opt.update_curvature([torch.ones(2)])
    assert p.tolist() == [1.0, 1.0]


def test_the_count_goes_to_where_what_is_loaded_is_captured():
    saved, loaded = (torch.nn.Parameter(torch.ones(2, device="meta")) for _ in range(2))
    opt = port.Sophia([saved], 0.1)
    new = port.Sophia([loaded], 0.1, capturable=True)
    assert str(new.state[loaded]["step"].device) == "meta"
    new.load_state_dict(opt.state_dict())  # the settings are loaded too
    assert str(new.state[loaded]["step"].device) == "cpu"


def test_a_step_that_cannot_be_captured_refuses_to_be(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
    p = torch.nn.Parameter(torch.ones(2))
    opt = port.Sophia([p], 0.1)
    opt.update_curvature([torch.ones(2)])
    p.grad = torch.ones(2)
    with pytest.raises(RuntimeError, match="Sophia: capturable must be True for a step that a CUDA graph captures"):
        opt.step()
    assert p.tolist() == [1.0, 1.0]
