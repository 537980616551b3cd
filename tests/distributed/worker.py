"""What every rank does: torchrun ... worker.py FOLDER [CASE ...]. The results go into FOLDER, a file for each rank."""

import importlib.util
import os
import signal
import sys
from datetime import timedelta
from itertools import product
from pathlib import Path

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch import nn
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.func import functional_call
from torch.nn.parallel import DistributedDataParallel

from sophia_ref.ports import torch_distributed
from sophia_ref.ports.torch import GNB, Hutchinson, Sophia
from tests.distributed import mutants
from tests.distributed.problem import DRAWN, EVERY, MASKS, ROWS, SETTINGS, STEPS, X, Y, flat, losses, net, probes

ENGINES = ("ddp", "fsdp")


class Run:
    """A model under an engine, its optimizer, and a training that can be taken up at any step.

    parts: micro-batches of the whole batch. port: the module under test, or a broken copy of it. plain: the GNB of a
    single process, and `averaged`, in place of EngineGNB. sync: gradients are exchanged after every micro-batch.
    """

    def __init__(self, engine, method, mask, parts, port=torch_distributed, plain=False, sync=False, **given):
        self.engine, self.method, self.parts = engine, method, parts
        self.port, self.plain, self.sync = port, plain, sync
        dtype = given.pop("dtype", torch.float64)
        self.mask, self.dtype, self.inner = torch.tensor(MASKS[mask]), dtype, net(dtype)
        self.model = wrapped(self.inner, engine)
        with torch.device("meta"):
            self.twin = net(dtype)
        self.params = list(self.model.parameters())
        self.opt = Sophia(self.params, **SETTINGS | given)
        self.thetas, self.estimates = [], []

    def train(self, first, last):
        for t in range(first, last):
            x, y = torch.tensor(X[t], dtype=self.dtype), torch.tensor(Y[t])
            rows = torch.arange(ROWS).view(self.parts, -1)
            own = [(i, rows[i]) for i in self.port.own_parts(self.parts)]
            self.opt.zero_grad()
            if self.opt.curvature_due:
                estimate = self.gnb(t, x, own) if self.method == "G" else self.hutchinson(t, x, y, own)
                self.estimates.append(flat(gathered(estimate)))
                self.opt.update_curvature(estimate)
            for _, r in self.exchanging_last(own):
                share = (losses(self.model(x[r]), y[r]) * self.mask[r]).sum()
                (share * dist.get_world_size() / self.mask.sum()).backward()
            self.opt.step()
            self.thetas.append(flat(gathered(self.params)))
        return self

    def gnb(self, t, x, own):
        gnb = GNB(self.params) if self.plain else self.port.EngineGNB(self.params)
        for _, r in own if self.plain else self.exchanging_last(own):
            gnb.add(self.model(x[r]), self.mask[r], torch.tensor(DRAWN[t])[r])
        return self.port.averaged(gnb, self.params) if self.plain else gnb.estimate()

    def hutchinson(self, t, x, y, own):
        params = self.port.whole(self.inner)
        hutchinson = Hutchinson(params.values())
        for i, r in own:
            total = (losses(functional_call(self.twin, params, x[r]), y[r]) * self.mask[r]).sum()
            hutchinson.add(total * self.parts / self.mask.sum(), probes(params.values(), t, i))
        return self.port.averaged(hutchinson, self.params)

    def exchanging_last(self, own):
        """own, with the engine told to exchange gradients after the last only."""
        for n, part in enumerate(own):
            now = self.sync or n == len(own) - 1
            if self.engine == "ddp":
                self.model.require_backward_grad_sync = now  # what no_sync() sets
            else:
                self.model.set_requires_gradient_sync(now)
            yield part

    @property
    def results(self):
        return torch.stack(self.thetas), torch.stack(self.estimates), self.port.unclipped(self.opt)


def wrapped(model, engine):
    if engine == "ddp":
        return DistributedDataParallel(model)
    for layer in model:
        if list(layer.parameters()):
            fully_shard(layer)
    return fully_shard(model)


def gathered(tensors):
    return [x.full_tensor() if isinstance(x, DTensor) else x for x in tensors]


def refused(function, *arguments, **given):
    """What it says when it refuses, with the kind of error."""
    try:
        function(*arguments, **given)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "not refused"


# -- cases, by name ----------------------------------------------------------------------------------------------------


def trainings(folder):
    """The whole run under each engine."""
    world, found = dist.get_world_size(), {}
    for engine, method, mask, each in product(ENGINES, "GH", MASKS, (1, 3)):
        run = Run(engine, method, mask, each * world).train(0, STEPS)
        found[engine, method, mask, each] = run.results
    found["ddp, GNB as in one process"] = Run("ddp", "G", "unequal", 3 * world, plain=True).train(0, STEPS).results
    for engine in ENGINES:
        found[engine, "synced"] = Run(engine, "G", "unequal", 3 * world, sync=True).train(0, STEPS).results
        found[engine, "foreach"] = Run(engine, "G", "unequal", world, foreach=True).train(0, STEPS).results
        for method in "GH":
            found[engine, method, "float32"] = (
                Run(engine, method, "unequal", world, dtype=torch.float32).train(0, STEPS).results
            )
    return found


def enumeration(folder):
    """The mean of the estimates over all tuples of labels, one prediction a rank, each tuple with its probability."""
    rank, world, found = dist.get_rank(), dist.get_world_size(), {}
    for engine in ENGINES:
        torch.manual_seed(1)
        model = nn.Sequential(nn.Linear(2, 3)).double()
        start = flat(model.parameters())
        x = torch.randn(world, 2, dtype=torch.float64)
        p = model(x).softmax(-1).detach()
        model = wrapped(model, engine)
        params, mean = list(model.parameters()), 0
        gnb = torch_distributed.EngineGNB(params)
        for labels in product(range(3), repeat=world):
            gnb.add(model(x[rank : rank + 1]), labels=torch.tensor(labels[rank : rank + 1]))
            mean = mean + p[range(world), labels].prod() * flat(gathered(gnb.estimate()))
        found[engine] = start, x, mean
    return found


def drawn(folder, port=torch_distributed, count=400):
    """Estimates with labels and probes that are drawn, from the same data on every rank."""
    rank = dist.get_rank()
    logits = nn.Parameter(torch.zeros(1, 3, dtype=torch.float64))
    theta = nn.Parameter(torch.zeros(2, dtype=torch.float64))
    H = torch.tensor([[2.0, 1.0], [1.0, 3.0]], dtype=torch.float64)
    gnb, labels, gnbs, hutchinsons = GNB([logits]), [], [], []
    for t in range(count):
        gnb.generator = port.stream(0, t, rank)
        labels.append(torch.multinomial(torch.ones(3), 1, generator=port.stream(0, t, rank)).item())
        gnb.add(logits * 1)
        gnbs.append(flat(port.averaged(gnb, [logits])))
        hutchinson = Hutchinson([theta], generator=port.stream(1, t, rank))
        hutchinson.add(theta @ H @ theta / 2)
        hutchinsons.append(flat(port.averaged(hutchinson, [theta])))
    return labels, torch.stack(gnbs), torch.stack(hutchinsons), H


def checkpoints(folder):
    """Two ranks save in the middle of an interval; whoever loads goes on."""
    world, found, middle = dist.get_world_size(), {}, EVERY + 2
    for engine, method in product(ENGINES, "GH"):
        place = Path(folder) / f"{engine}-{method}"
        if world == 2:
            run = Run(engine, method, "unequal", 4).train(0, middle)
            model, opt = get_state_dict(run.inner, run.opt)
            dcp.save({"model": model, "opt": opt}, checkpoint_id=place)
        else:
            for other in ENGINES:
                run = Run(other, method, "unequal", 4)
                model, opt = get_state_dict(run.inner, run.opt)
                state = {"model": model, "opt": opt}
                dcp.load(state, checkpoint_id=place)
                set_state_dict(run.inner, run.opt, model_state_dict=state["model"], optim_state_dict=state["opt"])
                found[engine, other, method] = run.train(middle, STEPS).results[0]
    return found


def refusals(folder):
    rank, port = dist.get_rank(), torch_distributed
    model, odd = net(), nn.Linear(2, 2 + (rank == 1))
    params = list(model.parameters())

    def gnb(mask, gradient=None, add=True):
        gnb = port.EngineGNB(params)
        params[0].grad = gradient
        if add:
            gnb.add(model(torch.ones(1, 5, dtype=torch.float64)), torch.tensor([mask]))
        return gnb.estimate()

    return {
        "same": refused(port.check_agreement, net(), gamma=0.05, seed=0),
        "gamma": refused(port.check_agreement, net(), seed=0, gamma=0.01 if rank == 1 else 0.05),
        "missing": refused(port.check_agreement, net(), **{"clip": 1.0} if rank else {}),
        "shapes": refused(port.check_agreement, odd, seed=0),
        "dtypes": refused(port.check_agreement, net(torch.float32 if rank else torch.float64)),
        "parts": refused(port.own_parts, 3 * dist.get_world_size() + 1),
        "gradient": refused(gnb, True, gradient=torch.zeros_like(params[0])),
        "masked": refused(gnb, False),
        "nothing": refused(gnb, True, add=False),
        "nothing to average": refused(port.averaged, Hutchinson(params), params),
        "others": refused(port.averaged, added(Hutchinson(params), model), params[::-1]),
    }


def added(hutchinson, model):
    hutchinson.add(model(torch.ones(1, 5, dtype=torch.float64)).square().sum())
    return hutchinson


def broken(folder):
    """The estimates of broken copies of the port, on ranks with unequal masks."""
    found = {}
    for edit in mutants.EDITS:
        path = Path(folder) / f"broken_{dist.get_rank()}.py"
        path.write_text(mutants.edited(edit))
        spec = importlib.util.spec_from_file_location("broken", path)
        port = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(port)
        if edit.case == "drawn":
            found[edit.name] = drawn(folder, port)
        else:
            engine, method, plain = edit.case
            run = Run(engine, method, "unequal", 2 * dist.get_world_size(), port=port, plain=plain)
            found[edit.name] = run.train(0, 1).results[1]
    return found


def killed(folder, engine):
    """Rank 1 dies in the middle of a training, as of the system's out-of-memory killer."""
    run = Run(engine, "G", "all", dist.get_world_size()).train(0, 2)
    if dist.get_rank() == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    run.train(2, STEPS)
    Path(folder, f"went-on-{dist.get_rank()}").touch()


def main():
    folder, *asked = sys.argv[1:]
    torch.set_num_threads(1)
    dist.init_process_group("gloo", timeout=timedelta(seconds=120))
    if asked:
        killed(folder, *asked)
    else:
        cases = {1: [checkpoints], 2: [checkpoints, trainings, enumeration, drawn, refusals, broken]}
        cases[4] = [*cases[2][:-1]]
        found = {case.__name__: case(folder) for case in cases[dist.get_world_size()]}
        torch.save(found, Path(folder) / f"{dist.get_world_size()}-{dist.get_rank()}.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
