"""The dialects as data: each is what its source does, its settings have its own names, and others are refused."""

import numpy as np
import pytest

import sophia_ref as sr
from sophia_ref.conformance import DIALECTS, Knobs, dialect
from sophia_ref.conformance.estimators import (
    ESTIMATORS,
    norm_clipped_gnb,
    row_sums,
    sampled_square,
    training_square,
)
from toy_problems.landscapes import REGISTRY
from toy_problems.regression import SoftmaxRegression

SPOKEN = [(name, estimator) for name, spoken in DIALECTS.items() for estimator in spoken.estimators]


@pytest.fixture(scope="module")
def task():
    return SoftmaxRegression(examples=64, features=4, classes=3, batch_size=32)


def oracle(task, seed=0):
    theta = np.random.default_rng(seed).normal(size=task.layout.size)
    return sr.Oracle(task, theta, task.batch(np.random.default_rng(7), ()), np.random.default_rng(seed))


@pytest.mark.parametrize(("name", "estimator"), SPOKEN)
def test_every_dialect_trains_and_its_terms_have_the_papers_names(task, name, estimator):
    settings = {"lr": 0.01} | ({"bs": 32} if "bs" in DIALECTS[name].settings else {})
    opt, terms = DIALECTS[name].optimizer(estimator, **settings), {}
    run = sr.run(task, opt, 22, callback=lambda t, step, oracle: terms.update(step.terms))
    assert run.diverged_at is None
    assert run.losses[-1] < run.losses[0]
    assert {"g", "m", "h", "h_hat", "denominator", "ratio", "clipped", "update"} <= terms.keys()


def test_the_papers_dialect_is_sophia_with_either_estimator(task):
    for estimator, opt in (("gaussian", sr.SophiaH(0.1, weight_decay=0.2)), ("gnb", sr.SophiaG(0.1, weight_decay=0.2))):
        spoken = DIALECTS["paper-v2"].optimizer(estimator, lr=0.1, gamma=opt.gamma)
        runs = [sr.run(task, each, 25) for each in (spoken, opt)]
        np.testing.assert_array_equal(runs[0].trajectory, runs[1].trajectory)


# Settings that each dialect calls by a name of its own, beside the knobs that its source turns; from the sources.
DEFAULTS = {
    "paper-v2": dict(beta1=0.96, beta2=0.99, gamma=0.01, clip=1, eps=1e-12, weight_decay=0.2, every=10),
    "paper-v1": dict(beta1=0.96, beta2=0.99, gamma=1, clip=0.01, eps=1e-12, weight_decay=0.2, every=10),
    "official": dict(lr=1e-4, beta1=0.965, beta2=0.99, gamma=0.04, clip=1, eps=1e-15, weight_decay=0.1, bs=5120),
    "optax": dict(beta1=0.965, beta2=0.99, gamma=0.01, clip=1, eps=1e-8, weight_decay=1e-4, every=10),
    "levanter": dict(beta1=0.96, beta2=0.99, gamma=0.01, clip=1, eps=1e-12, weight_decay=0.1, every=10),
    "labml": dict(lr=1e-4, beta1=0.9, beta2=0.95, gamma=1, clip=0.03, eps=1e-12, weight_decay=0, every=10),
    "kozistr-4": dict(lr=6e-2, beta1=0.96, beta2=0.99, gamma=1, clip=0.01, eps=1e-12, weight_decay=0, every=10),
    "kozistr-3.9": dict(lr=6e-2, beta1=0.96, beta2=0.99, gamma=1, clip=0.01, eps=1e-12, weight_decay=0, every=10),
    "kyegomez": dict(lr=1e-4, beta1=0.965, beta2=0.99, gamma=0.04, clip=1, eps=1e-15, weight_decay=0.1, every=1),
    "somax": dict(lr=1, beta1=0.965, beta2=0.99, gamma=0.01, clip=1, eps=1e-8, weight_decay=0.2, every=10),
    "sciml": dict(lr=1e-3, beta1=0.9, beta2=0.999, gamma=1, clip=0.04, eps=1e-8, weight_decay=0.1, every=10),
}  # fmt: skip
KNOBS = {
    "paper-v2": Knobs(),
    "paper-v1": Knobs(),
    "official": Knobs(first="k+1", batch_at_step=True, denominator="add", floor=False, decay="factor"),
    "optax": Knobs(absorbed="after", m_corrected=True, decay="added"),
    "levanter": Knobs(first="k", absorbed="after", m_corrected=True, decay="added"),
    "labml": Knobs(replaces=True, denominator="add", decay="factor", rate_over_clip=True),
    "kozistr-4": Knobs(decay="factor"),
    "kozistr-3.9": Knobs(first="k+1", absorbed="late", decay="factor"),
    "kyegomez": Knobs(averagings=2, batch_at_step=True, denominator="add", floor=False, decay="factor"),
    "somax": Knobs(m_corrected=True, h_corrected=True, decay="added"),
    "sciml": Knobs(literal=True),
}


def test_the_tests_know_every_dialect():
    assert DEFAULTS.keys() == KNOBS.keys() == DIALECTS.keys()


@pytest.mark.parametrize("name", DIALECTS)
def test_knobs_and_defaults_are_those_of_the_source(name):
    known = DEFAULTS[name]
    opt = DIALECTS[name].optimizer(**({} if "lr" in known else {"lr": 0.5}))
    assert {setting: getattr(opt, setting) for setting in known} == known
    assert opt.knobs == KNOBS[name]
    assert opt.estimator is ESTIMATORS[DIALECTS[name].estimators[0]][0]
    assert opt.name == name


def test_row_sums_are_the_sums_of_the_rows_and_not_the_diagonal():
    H = np.array([[2.0, -1.0], [-1.0, 8.0]])
    asked = sr.Oracle(lambda theta: theta @ H @ theta / 2, np.array([0.3, 0.7]))
    assert row_sums(asked).tolist() == [1, 7]


def test_squares_of_gradients_leave_out_b_take_true_labels_or_clip_first(task):
    g, B = oracle(task).sampled_grad()
    assert B == 32
    np.testing.assert_array_equal(sampled_square(oracle(task)), g * g)
    np.testing.assert_allclose(32 * sampled_square(oracle(task)), sr.gnb(oracle(task)), rtol=1e-15)
    true = oracle(task).grad()
    np.testing.assert_array_equal(training_square(oracle(task)), true * true)
    # a norm twice as large as allowed makes a quarter of the estimate, a smaller one changes nothing
    norm = np.linalg.norm(g)
    np.testing.assert_allclose(norm_clipped_gnb(norm / 2)(oracle(task)), 32 * g * g / 4, rtol=1e-4)
    np.testing.assert_allclose(norm_clipped_gnb(2 * norm)(oracle(task)), 32 * g * g, rtol=1e-15)


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("official", dict(gamma=0.05), "official: has no setting 'gamma'; did you mean 'rho'\\?"),
        ("official", dict(rhoo=0.05), "official: has no setting 'rhoo'; did you mean 'rho'\\?"),
        ("official", dict(eps=1e-8), "official: has no setting 'eps'"),
        ("optax", dict(lr=0.1, beta1=0.9), "optax: has no setting 'beta1'; did you mean 'b1'\\?"),
        ("kyegomez", dict(every=10), "kyegomez: has no setting 'every'"),
        ("kozistr-4", dict(rho=0.1), "kozistr-4: has no setting 'rho'"),
        ("paper-v2", dict(lr=0.1, bs=480), "paper-v2: has no setting 'bs'"),
        ("paper-v1", {}, "paper-v1: lr has no default; expected lr=..."),
    ],
)
def test_settings_that_a_dialect_does_not_have_are_refused_by_name(name, settings, message):
    with pytest.raises(TypeError, match=message):
        DIALECTS[name].optimizer(**settings)


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        (
            "official",
            dict(estimator="gnb"),
            "official: estimator: 'gnb'; expected one of sampled-square, or",
        ),
        ("official", dict(rho=-1.0), "official: rho must be a finite number > 0, .*got -1.0"),
        (
            "kozistr-3.9",
            dict(update_period=1),
            "kozistr-3.9: update_period must be .* >= 2, got 1; .* KeyError",
        ),
    ],
)
def test_values_that_a_dialect_refuses_are_refused_by_name(name, settings, message):
    with pytest.raises(ValueError, match=message):
        DIALECTS[name].optimizer(**settings)


def test_an_unknown_dialect_suggests_the_nearest():
    assert dialect("optax") is DIALECTS["optax"]
    with pytest.raises(ValueError, match=r"dialect: 'kozister-4' is not known; did you mean 'kozistr-4'\?"):
        dialect("kozister-4")
    with pytest.raises(ValueError, match="dialect: 'zzz' is not known; expected one of paper-v2, paper-v1, official"):
        dialect("zzz")


def test_rows_of_a_landscape_are_independent_runs():
    starts = REGISTRY["himmelblau"].start + np.linspace(-1, 1, 8).reshape(4, 2)
    opt = DIALECTS["labml"].optimizer(sr.exact_diagonal, lr=0.05, hess_interval=3)
    whole = sr.run(REGISTRY["himmelblau"].f, opt, 12, theta0=starts)
    for start, end in zip(starts, whole.theta, strict=True):
        np.testing.assert_array_equal(sr.run(REGISTRY["himmelblau"].f, opt, 12, theta0=start).theta, end)
