"""The broken copies are broken, each on its own."""

import importlib
import sys

import numpy as np
import pytest

from tests.ports.torch.broken import EDITS, NAMES, write

torch = pytest.importorskip("torch", reason="PyTorch is not installed here; `make test-ports` installs it")
pytest.importorskip("sophia_ref.ports.torch")


@pytest.fixture
def trace(tmp_path, monkeypatch):
    """trace(edit): what the port, so edited, makes of a few steps: every theta, and where it wants estimates."""

    def run(edit):
        monkeypatch.syspath_prepend(tmp_path)
        for name in NAMES.values():
            sys.modules.pop(name, None)
        port = importlib.import_module(write(edit, tmp_path))
        rng, thetas, due = np.random.default_rng(0), [], []
        for every in (1, 3):
            w = torch.nn.Parameter(torch.tensor(rng.normal(size=(3, 2))))
            opt = port.Sophia([w], 0.1, gamma=0.5, eps=0.5, clip=0.75, weight_decay=0.5, every=every)
            gnb, hutchinson = port.GNB([w]), port.Hutchinson([w])
            for t in range(1, 8):
                x, g, u = (torch.tensor(3 * rng.normal(size=(4, 3))) for _ in range(3))
                if t == 3:
                    state_dict = opt.state_dict()
                    opt = port.Sophia([w], 0.1)
                    opt.load_state_dict(state_dict)
                wanted = opt.curvature_due
                due.append(wanted)
                if wanted and t % 2:
                    for rows in (slice(1), slice(1, 4)):
                        mask, labels = torch.tensor([True, True, False, True]), torch.tensor([0, 1, 1, 0])
                        gnb.add(x[rows] @ w, mask[rows], labels[rows])
                    opt.update_curvature(gnb.estimate())
                elif wanted:
                    for sign in (1, -1):
                        hutchinson.add(sign * torch.sin(x @ w).sum(), [sign * u[:3, :2] + 1])
                    opt.update_curvature([-x for x in hutchinson.estimate()])
                w.grad = g[:3, :2]
                opt.step()
                thetas.append(w.detach().clone())
        return torch.stack(thetas), due

    yield run
    for name in NAMES.values():
        sys.modules.pop(name, None)


@pytest.mark.parametrize("edit", EDITS, ids=lambda edit: edit.name)
def test_each_broken_copy_differs_from_the_port(trace, edit):
    thetas, due = trace(None)
    broken_thetas, broken_due = trace(edit)
    assert due != broken_due or (thetas - broken_thetas).abs().max() > 1e-6


def test_the_copy_without_an_edit_does_not(trace):
    (thetas, due), (again, due_again) = trace(None), trace(None)
    assert torch.equal(thetas, again)
    assert due == due_again


def test_edits_are_of_one_line_and_have_names_of_their_own():
    assert len({edit.name for edit in EDITS}) == len(EDITS) >= 10
    assert not any("\n" in edit.old + edit.new for edit in EDITS)
