"""The PyTorch port under DistributedDataParallel and FSDP2, on ranks that are processes, against one process."""

import subprocess

import numpy as np
import pytest

from tests.distributed.launch import torchrun
from tests.distributed.mutants import EDITS

pytest.importorskip("torch", reason="PyTorch is not installed here; `make test-distributed` installs it")

import torch

from sophia_ref.ports.torch_distributed import stream
from tests.distributed import problem

ENGINES = ("ddp", "fsdp")
engines = pytest.mark.parametrize("engine", ENGINES)
methods = pytest.mark.parametrize("method", "GH")
EXACT = dict(rtol=1e-9, atol=1e-13)  # float64


def same(found, expected, **tolerance):
    for part, (a, b) in zip(("theta", "h_hat", "unclipped"), zip(found, expected, strict=True), strict=True):
        np.testing.assert_allclose(a, b, **tolerance or EXACT, err_msg=part)


@engines
@methods
@pytest.mark.parametrize("mask", problem.MASKS)
@pytest.mark.parametrize("each", [1, 3], ids=["one-part", "accumulated"])
def test_every_step_and_estimate_is_that_of_one_process(results, world, engine, method, mask, each):
    expected = problem.train(method, mask, each * world)
    for of_rank in results(world):
        same(of_rank["trainings"][engine, method, mask, each], expected)


@engines
def test_gradients_exchanged_after_every_micro_batch_give_the_same(results, world, engine):
    for of_rank in results(world):
        same(of_rank["trainings"][engine, "synced"], problem.train("G", "unequal", 3 * world))


def test_the_gnb_of_one_process_may_be_averaged_under_ddp(results, world):
    for of_rank in results(world):
        same(of_rank["trainings"]["ddp, GNB as in one process"], problem.train("G", "unequal", 3 * world))


@engines
def test_the_foreach_path_takes_shards(results, world, engine):
    same(results(world)[0]["trainings"][engine, "foreach"], problem.train("G", "unequal", world))


@engines
@methods
def test_in_float32_it_is_within_1e_6(results, world, engine, method):
    found, expected = results(world)[0]["trainings"][engine, method, "float32"], problem.train(method, "unequal", world)
    assert found[0].dtype == torch.float32
    same(found, expected, rtol=1e-5, atol=1e-6)
    assert (found[0] - expected[0]).abs().max() < 1e-6


@engines
def test_the_mean_over_all_labels_is_the_diagonal_of_the_gauss_newton_matrix(results, world, engine):
    for of_rank in results(world):
        theta, x, mean = of_rank["enumeration"][engine]
        p = (x @ theta[:6].view(3, 2).T + theta[6:]).softmax(-1)  # (B, 2) -> (B, 3)
        # 1/B sum over b of x_bj^2 p_bc (1 - p_bc) for the weight W_cj; x is 1 for the bias
        x = torch.cat([x, torch.ones(world, 1)], 1)
        exact = torch.einsum("bj,bc->cj", x**2, p * (1 - p)) / world
        np.testing.assert_allclose(mean, torch.cat([exact[:, :2].flatten(), exact[:, 2]]), rtol=1e-12)


def bias(found):
    """How far the mean of drawn GNB estimates is from the diagonal that it estimates, in standard errors."""
    _, gnbs, _, _ = found
    exact = 1 / 3 * (1 - 1 / 3)  # p (1 - p), where the logits are the parameters
    return ((gnbs.mean(0) - exact) / (gnbs.std(0) / len(gnbs) ** 0.5)).abs().max()


def spread(found, world):
    """The variance of the averaged Hutchinson estimate over what independent probes would give."""
    _, _, products, H = found
    exact = (2 * H.diag() ** 2 + (H**2).sum(1) - H.diag() ** 2) / world
    return products.var(0) / exact


def test_labels_and_probes_that_are_drawn_are_independent_of_rank(results, world):
    found = [of_rank["drawn"] for of_rank in results(world)]
    assert all(torch.equal(a, b) for a, b in zip(found[1][1:3], found[0][1:3], strict=True))
    labels = np.array([of_rank[0] for of_rank in found])  # (world, estimates)
    for i, j in np.array(np.triu_indices(world, 1)).T:
        # two ranks agree in a third of 400; the standard deviation is 0.024
        assert abs((labels[i] == labels[j]).mean() - 1 / 3) < 0.1
    # labels in common would make the mean of estimates `world` times the diagonal, probes in common their variance
    assert bias(found[0]) < 4
    np.testing.assert_allclose(spread(found[0], world), 1, atol=0.4)


def test_streams_differ_by_seed_step_and_part_and_come_back():
    def numbers(*key):
        return torch.randn(4000, generator=stream(*key), dtype=torch.float64)

    keys = [
        (0, 0, 0),
        (0, 0, 1),
        (0, 1, 0),
        (1, 0, 0),
        (0, 1, 1),
        (1, 1, 0),
        (7, 2**31, 3),
        (7, 3, 2**31),
        (5, 7, 9),
        (5 + 7 * 2**32, 9, 0),
    ]
    drawn = torch.stack([numbers(*key) for key in keys])
    assert torch.equal(drawn[4], numbers(*keys[4]))
    others = torch.corrcoef(drawn) - torch.eye(len(keys), dtype=torch.float64)
    assert others.abs().max() < 5 / 4000**0.5
    with pytest.raises(ValueError, match="stream: part must be an integer >= 0, got -1"):
        stream(0, 0, -1)


@methods
@pytest.mark.parametrize("now", [1, 4], ids=["one-process", "4-ranks"])
@pytest.mark.parametrize("saved", ENGINES)
@pytest.mark.parametrize("loaded", ENGINES)
def test_what_two_ranks_saved_goes_on_elsewhere_with_the_same_numbers(results, now, saved, loaded, method):
    expected, *_ = problem.train(method, "unequal", 4)
    for of_rank in results(now):
        found = of_rank["checkpoints"][saved, loaded, method]
        np.testing.assert_allclose(found, expected[-len(found) :], **EXACT)


@pytest.mark.parametrize("edit", EDITS, ids=lambda edit: edit.name)
def test_a_wrong_average_is_seen(results, edit):
    found = results(2)[0]["broken"][edit.name]
    if edit.case == "drawn":
        assert bias(found) > 8
        assert (spread(found, 2) > 1.5).all()
    else:
        _, expected, _ = problem.train(edit.case[1], "unequal", 4)
        assert ((found - expected[:1]).abs() > 0.01 * expected[:1].abs().max()).any()


def test_bad_input_gets_one_line(results, world):
    rest = ", ".join(map(str, [0, *range(2, world)]))
    later = ", ".join(map(str, range(1, world)))
    expected = {
        "same": "not refused",
        "gamma": f"ValueError: ranks must agree on gamma, got, by rank: 0.05 on {rest}; 0.01 on 1",
        "missing": f"ValueError: ranks must agree on clip, got, by rank: not there on 0; 1.0 on {later}",
        "shapes": "ValueError: ranks must agree on parameter 'weight', got, by rank: "
        f"(2, 2) torch.float32 on {rest}; (3, 2) torch.float32 on 1",
        "dtypes": "ValueError: ranks must agree on parameter '0.weight', got, by rank: "
        f"(7, 5) torch.float64 on 0; (7, 5) torch.float32 on {later}",
        "parts": f"ValueError: own_parts: parts must be a multiple of the world size, {world}, got {3 * world + 1}",
        "gradient": "RuntimeError: EngineGNB: gradients must be None before the first add: zero_grad() must come first",
        "masked": "RuntimeError: GNB: no prediction to estimate from: every position was masked",
        "nothing": "RuntimeError: EngineGNB: nothing to estimate from: add(...) must come before estimate()",
        "nothing to average": "RuntimeError: Hutchinson: nothing to estimate from: "
        "add(...) must come before estimate()",
        "others": "ValueError: averaged: params must be those of the estimator, in its order, got others",
    }
    for of_rank in results(world):
        assert of_rank["refusals"] == expected


@pytest.mark.parametrize(("world", "engine"), [(2, "fsdp"), (2, "ddp")])
def test_a_killed_rank_ends_the_job_with_an_error_that_names_it(tmp_path, world, engine):
    try:
        done = torchrun(world, "tests/distributed/worker.py", str(tmp_path), engine, timeout=120)
    except subprocess.TimeoutExpired:
        pytest.fail("the other ranks went on waiting")
    assert done.returncode
    assert not [*tmp_path.iterdir()]
    assert "rank      : 1" in done.stderr
    assert "SIGKILL" in done.stderr
