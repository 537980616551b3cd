"""The independent rules beside the reference, on cases of its own; and each bug of them is one."""

import ast
import itertools
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

import sophia_ref as sr
from sophia_ref.conformance import DIALECTS
from tests.conformance import independent
from tests.conformance.mutants import MUTANTS, SOURCE, build

PROFILES = tuple(independent.SETTINGS)
SOPHIA = PROFILES[:5]
DTYPES = ("float32", "float64")
TOLERANCE = {"float32": dict(rtol=1e-5, atol=1e-7), "float64": dict(rtol=1e-12, atol=1e-14)}


@dataclass(frozen=True)
class Given:
    g: Any = None
    h_hat: Any = None
    sampled_grad: Any = None
    hutchinson: Any = None
    gnb: Any = None


@dataclass(frozen=True)
class Case:
    id: str
    profile: str
    theta: Any
    settings: dict
    steps: tuple = ()
    dtype: str = "float64"
    decay_mask: Any = None
    t: int = 0
    m: Any = None
    h: Any = None
    layout: str = "C"
    resume_after: int | None = None


# -- cases -------------------------------------------------------------------------------------------------------------


def settings_of(profile, **changed):
    """Settings in which some coordinates are clipped and others are not."""
    first = dict(lr=0.1, beta1=0.7, beta2=0.9)
    rest = dict(eps=1e-3, weight_decay=0.25, every=3)
    sophia = first | rest | dict(gamma=0.5, clip=0.75)
    by_profile = {
        "official-G": first | dict(rho=0.25, bs=3.0, weight_decay=0.25, every=3),
        "Adam": first | dict(eps=1e-3),
        "AdamW": first | dict(eps=1e-3, weight_decay=0.25),
        "Lion": first | dict(weight_decay=0.25),
    }
    return by_profile.get(profile, sophia) | changed


def random_case(profile, dtype="float64", shape=(5,), n=8, seed=0, **changed):
    """A case whose steps all offer an estimate, due or not. settings: changes of those above; the rest: of the case."""
    rng = np.random.default_rng(seed)

    def normal(shape=shape, scale=1.0):
        return readonly(scale * rng.standard_normal(shape), dtype)

    estimate = "sampled_grad" if profile == "official-G" else "h_hat"
    steps = tuple(Given(g=normal(), **{estimate: normal(scale=2.0)}) for _ in range(n))
    settings = settings_of(profile, **changed.pop("settings", {}))
    return replace(Case("random", profile, normal(), settings, steps, dtype), **changed)


def readonly(array, dtype=None):
    array = np.array(array, dtype)
    array.setflags(write=False)
    return array


def changed_steps(case, **changed):
    """The case with this in all its steps."""
    return replace(case, steps=tuple(replace(step, **changed) for step in case.steps))


FEATURES = {
    "plain": {},
    "two axes, column-major": dict(shape=(3, 4), layout="F"),
    "two axes, strided": dict(shape=(3, 4), layout="strided"),
    "three axes": dict(shape=(2, 3, 2)),
    "empty": dict(shape=(0,)),
    "the gradient is theta": dict(shape=(3, 2), layout="alias"),
    "rates": dict(settings=dict(lr=(0.0, 0.1, 0.2, 0.3, 0.2, 0.1, 0.05, 0.0))),
    "large rate": dict(settings=dict(lr=0.9)),
    "mask": dict(decay_mask=readonly([True, False, True, False, True])),
    "state": dict(t=4, m=[0.5, -1.0, 0.0, 2.0, 1.0], h=[1.0, 0.5, 2.0, 0.0, 3.0]),
    "late": dict(t=2049),
    "every step": dict(settings=dict(every=1)),
    "every other step": dict(settings=dict(every=2)),
    "betas of zero": dict(settings=dict(beta1=0.0, beta2=0.0)),
    "no clipping": dict(settings=dict(clip=np.inf)),
    "no decay": dict(settings=dict(weight_decay=0.0)),
}


def featured_cases():
    """A case of each profile, dtype and feature, but where the profile lacks the setting."""
    for profile, dtype, feature in itertools.product(PROFILES, DTYPES, FEATURES):
        changed = dict(FEATURES[feature])
        for name in {"m", "h"} & changed.keys():
            changed[name] = readonly(changed[name], dtype)
        if changed.get("settings", {}).keys() <= settings_of(profile).keys():
            yield replace(random_case(profile, dtype, **changed), id=f"{profile} {dtype} {feature}")


def regression(dtype, likelihood="categorical", N=9, d=3, C=4, lengths=(4, 2, 3), scale=1.0, seed=1):
    """gnb of a step: rows of which some are masked, in uneven micro-batches."""
    rng = np.random.default_rng(seed)
    if likelihood == "gaussian":
        labels, true_labels = (readonly(rng.standard_normal((N, C)), dtype) for _ in range(2))
    else:
        labels, true_labels = (readonly(rng.integers(0, C, N)) for _ in range(2))
    mask = readonly(np.arange(N) % 4 != 1)
    x = readonly(scale * rng.standard_normal((N, d)), dtype)
    return dict(
        x=x, labels=labels, true_labels=true_labels, mask=mask, micro_batches=lengths, likelihood=likelihood
    )  # fmt: skip


def gnb_case(dtype="float64", layout="C", shape=(3, 4), **data):
    case = random_case("paper-G", dtype, shape, layout=layout, settings=dict(gamma=2.0, eps=1e-6))
    steps = [replace(step, h_hat=None, gnb=regression(dtype, seed=i, **data)) for i, step in enumerate(case.steps)]
    return replace(case, id=f"gnb {dtype} {layout} {data}", steps=tuple(steps))


def hutchinson_case(dtype="float64", shape=(2, 3), micro_batches=3, profile="paper-H", layout="C"):
    case, rng, P = random_case(profile, dtype, shape, layout=layout), np.random.default_rng(2), int(np.prod(shape))
    steps = []
    for step in case.steps:
        pairs = []
        for _ in range(micro_batches):
            A, u = rng.standard_normal((P, P)), rng.standard_normal(P)
            pairs.append((readonly(A + A.T, dtype), readonly(u, dtype)))
        steps.append(replace(step, h_hat=None, hutchinson=pairs))
    return replace(case, id=f"hutchinson {dtype} {layout} {micro_batches}", steps=tuple(steps))


def estimated_cases():
    for dtype in DTYPES:
        for profile in SOPHIA[:2] + SOPHIA[3:]:
            yield hutchinson_case(dtype, profile=profile)
        yield hutchinson_case(dtype, layout="strided", micro_batches=1)
        yield hutchinson_case(dtype, layout="F", micro_batches=2)
        for likelihood in ("categorical", "gaussian"):
            for layout in ("C", "F", "strided", "alias"):
                yield gnb_case(dtype, layout, likelihood=likelihood)
        yield gnb_case(dtype, lengths=(9,))
        yield gnb_case(dtype, shape=(12,), lengths=(0, 5, 4))


# -- the reference -----------------------------------------------------------------------------------------------------


@dataclass
class Regression:
    """Softmax or Gaussian regression with the labels of a case for drawn ones."""

    data: dict

    def loss(self, theta, batch):
        return self.sampled_loss(theta, batch, None)[0]

    def sampled_loss(self, theta, batch, rng):
        x, labels, mask = (self.data[name] for name in ("x", "labels", "mask"))
        outputs = x[mask] @ theta.reshape(x.shape[1], -1)
        if self.data["likelihood"] == "gaussian":
            losses = ((outputs - labels[mask]) ** 2).sum(axis=1) / 2
        else:
            top = np.log(np.exp(outputs).sum(axis=1))
            losses = top - outputs[np.arange(mask.sum()), labels[mask]]
        return losses.mean(), mask.sum()


def reference_estimate(step, theta):
    """h_hat from sophia_ref's own automatic differentiation."""
    flat = theta.ravel()
    if step.hutchinson is not None:
        oracles = [(u, sr.Oracle(lambda z, A=A: z @ A @ z / 2, flat)) for A, u in step.hutchinson]
        return np.mean([u * oracle.hvp(u) for u, oracle in oracles], axis=0).reshape(theta.shape)
    if step.gnb is not None:
        return sr.gnb(sr.Oracle(Regression(step.gnb), flat, rng=np.random.default_rng(0))).reshape(theta.shape)
    if step.sampled_grad is not None:
        return step.sampled_grad * step.sampled_grad
    return step.h_hat


def reference_optimizer(case):
    settings = dict(case.settings)
    if case.decay_mask is not None and "weight_decay" in settings:
        settings["weight_decay"] = np.where(case.decay_mask, settings["weight_decay"], 0.0).astype(case.dtype)
    if isinstance(settings["lr"], tuple):
        settings["lr"] = lambda t, rates=settings["lr"]: rates[t - 1 - case.t]
    dialects = {"official-G": "official", "optax-H": "optax", "Levanter-H": "levanter"}
    if case.profile in dialects:
        dialect = DIALECTS[dialects[case.profile]]
        return dialect.optimizer(**{dialect.own(name): value for name, value in settings.items()})
    kinds = {"paper-H": sr.SophiaH, "paper-G": sr.SophiaG, "Adam": sr.Adam, "AdamW": sr.AdamW, "Lion": sr.Lion}
    return kinds[case.profile](**settings)


def reference(case):
    """What the optimizers of sophia_ref do in the case."""
    opt, theta = reference_optimizer(case), case.theta
    second = {"h": case.h, "v": case.h, "m": case.m}
    state = opt.init(theta)
    given = {name: second[name] for name in state._fields if second.get(name) is not None}
    state = state._replace(t=case.t, **given)
    rows = []
    for step in case.steps:
        g = theta if case.layout == "alias" else step.g
        h_hat = reference_estimate(step, theta)
        theta, state, terms = opt.step(theta, state, sr.Given(g, h_hat))
        kept = {name: value for name, value in state._asdict().items() if name in ("m", "h", "v")}
        rows.append({"theta": theta} | terms | kept)
    return rows


def assert_rows_agree(actual, expected, **tolerance):
    assert len(actual) == len(expected)
    for i, (row, wanted) in enumerate(zip(actual, expected, strict=True)):
        assert set(row) <= set(wanted)
        assert set(row) >= set(wanted) - {"g", "h_corrected"}
        for name, value in row.items():
            assert value.dtype == wanted[name].dtype, f"step {i}: {name}"
            np.testing.assert_allclose(value, wanted[name], err_msg=f"step {i}: {name}", **tolerance)


@pytest.mark.parametrize("case", list(featured_cases()), ids=lambda case: case.id)
def test_it_agrees_with_the_reference(case):
    expected = reference(case)
    for n in (None, 0, 1, 4, 8):  # saving and going on changes nothing
        assert_rows_agree(independent.run(replace(case, resume_after=n)), expected, **TOLERANCE[case.dtype])


def test_it_agrees_with_the_reference_where_numbers_are_extreme():
    for case in special_cases():
        with np.errstate(all="ignore"):
            expected = reference(case)
        assert_rows_agree(independent.run(case), expected, **TOLERANCE[case.dtype] | dict(atol=0))


@pytest.mark.parametrize("profile", PROFILES)
def test_it_has_the_defaults_of_the_reference(profile):
    case = random_case(profile, n=12)
    case = replace(case, settings=dict(lr=0.1))
    if profile == "paper-H":  # where the gammas differ by estimator, the reference has them in its classes
        assert sr.SophiaH(0.1).gamma == 0.01
        assert sr.SophiaG(0.1).gamma == 0.05
    assert_rows_agree(independent.run(case), reference(case), **TOLERANCE["float64"])


@pytest.mark.parametrize("case", list(estimated_cases()), ids=lambda case: f"{case.profile} {case.id}")
def test_its_estimates_agree_with_automatic_differentiation(case):
    tolerance = dict(rtol=2e-4, atol=1e-5) if case.dtype == "float32" else TOLERANCE["float64"]
    assert_rows_agree(independent.run(case), reference(case), **tolerance)


@pytest.mark.parametrize("layout", ["F", "strided"])
@pytest.mark.parametrize("profile", PROFILES)
def test_it_reads_arrays_however_they_lie(profile, layout):
    case = random_case(profile, shape=(3, 4))
    assert_rows_agree(independent.run(replace(case, layout=layout)), independent.run(case), rtol=0)


def test_it_imports_numpy_alone():
    imported = set()
    for node in ast.walk(ast.parse(SOURCE)):
        imported |= {alias.name for alias in node.names} if isinstance(node, ast.Import) else set()
        imported |= {node.module} if isinstance(node, ast.ImportFrom) else set()
    assert imported == {"numbers", "numpy"}


# -- what it refuses ---------------------------------------------------------------------------------------------------


def with_settings(profile="paper-H", dtype="float64", **settings):
    return random_case(profile, dtype, settings=settings)


def with_gnb(drawn="categorical", **changed):
    case = gnb_case(likelihood=drawn)
    return changed_steps(case, gnb=case.steps[0].gnb | changed)


def with_first(**changed):
    """paper-H, whose first step has these instead."""
    case = random_case("paper-H", shape=(2, 3))
    return replace(case, steps=(replace(case.steps[0], **changed), *case.steps[1:]))


def with_theta(theta):
    theta = np.asarray(theta)
    settings = settings_of("Lion")
    return Case("theta", "Lion", theta, settings, (Given(g=np.ones_like(theta)),), str(theta.dtype))


NAN, ROWS = np.full((2, 3), np.nan), np.ones((2, 3))
BAD = {
    **{f"{name} is NaN": with_settings(**{name: np.nan}) for name in settings_of("paper-H") if name != "every"},
    **{f"{name} is negative": with_settings(**{name: -0.5}) for name in settings_of("paper-H") if name != "every"},
    **{f"{name} is infinite": with_settings(**{name: np.inf}) for name in ("lr", "gamma", "eps", "weight_decay")},
    **{f"{name} is 0": with_settings(**{name: 0.0}) for name in ("gamma", "eps", "clip")},
    **{f"{name} is 1": with_settings(**{name: 1.0}) for name in ("beta1", "beta2")},
    **{f"every is {value!r}": with_settings(every=value) for value in (0, -1, 2.0, True)},
    "rho is NaN": with_settings("official-G", rho=np.nan),
    "bs is 0": with_settings("official-G", bs=0.0),
    "lr is text": with_settings(lr="0.1"),
    "lr is NaN in step 3": with_settings(lr=(0.1, 0.1, np.nan, *(0.1,) * 5)),
    "lr ends early": with_settings(lr=(0.1, 0.1)),
    "eps is 0 in float32": with_settings(dtype="float32", eps=1e-50),
    "a setting that Adam lacks": with_settings("Adam", weight_decay=0.1),
    "theta is 0-d": with_theta(1.0),
    "theta holds NaN": with_theta([1.0, np.nan]),
    "theta is int64": with_theta([1, 2]),
    "theta is float16": with_theta(np.ones(2, np.float16)),
    "theta is complex": with_theta([1j]),
    "g is missing": with_first(g=None),
    "g has another shape": with_first(g=np.ones((1, 3))),
    "g has another dtype": with_first(g=ROWS.astype(np.float32)),
    "g holds NaN": with_first(g=NAN),
    "g is infinite": with_first(g=np.full((2, 3), np.inf)),
    "no estimate": with_first(h_hat=None),
    "h_hat has another shape": with_first(h_hat=np.ones(6)),
    "h_hat has another dtype": with_first(h_hat=ROWS.astype(np.float32)),
    "h_hat holds NaN": with_first(h_hat=NAN),
    "m has another shape": random_case("paper-H", m=np.ones((1, 5))),
    "h has another dtype": random_case("paper-H", h=np.ones(5, np.float32)),
    "t is negative": random_case("paper-H", t=-1),
    "the mask of decay holds numbers": random_case("paper-H", decay_mask=np.ones(5)),
    "no micro-batch": with_first(h_hat=None, hutchinson=[]),
    "the probe has another shape": with_first(h_hat=None, hutchinson=[(np.eye(6), np.ones((6, 1)))]),
    "the matrix has another shape": with_first(h_hat=None, hutchinson=[(np.ones((1, 6)), np.ones(6))]),
    "a label is -1": with_gnb(labels=np.full(9, -1)),
    "a label is C": with_gnb(labels=np.full(9, 4)),
    "labels are of floats": with_gnb(labels=np.zeros(9)),
    "labels are too few": with_gnb(labels=np.zeros(8, int)),
    "labels of a Gaussian are classes": with_gnb("gaussian", labels=np.zeros(9, int)),
    "every row is masked": with_gnb(mask=np.zeros(9, bool)),
    "the mask has another shape": with_gnb(mask=np.ones(8, bool)),
    "micro-batches sum to less": with_gnb(micro_batches=(4, 2)),
    "micro-batches sum to more": with_gnb(micro_batches=(4, 2, 4)),
    "x does not fit theta": with_gnb(x=np.ones((9, 5))),
    "x holds NaN": with_gnb(x=np.full((9, 3), np.nan)),
    "an unknown likelihood": with_gnb(likelihood="poisson"),
}


# what is read from a case before the reference is called
OURS = {"lr ends early", "the mask of decay holds numbers"}
OURS |= {name for name, case in BAD.items() if any(step.gnb or step.hutchinson is not None for step in case.steps)}


@pytest.mark.parametrize("name", BAD)
def test_it_refuses(name):
    with pytest.raises((TypeError, ValueError)):
        independent.run(BAD[name])


@pytest.mark.parametrize("name", [name for name in BAD if name not in OURS])
def test_the_reference_refuses_it_too(name):
    with pytest.raises((TypeError, ValueError)):
        reference(BAD[name])


# -- mutants -----------------------------------------------------------------------------------------------------------


def special_cases():
    """What a bug may need beyond the features."""
    for profile in PROFILES:
        for scale in (1e-4, 1e-9, 1e-17):  # so small that eps matters
            case = random_case(profile)
            small = [
                replace(
                    step,
                    g=readonly(scale * step.g),
                    h_hat=None if step.h_hat is None else readonly(1e-3 * scale * step.h_hat),
                    sampled_grad=None if step.sampled_grad is None else readonly(scale * step.sampled_grad),
                )
                for step in case.steps
            ]
            yield replace(case, steps=tuple(small))
        yield changed_steps(random_case(profile), g=readonly(np.zeros(5)))
        for t in (130, 2047):
            yield random_case(
                profile, t=t, resume_after=2, settings={} if profile == "Adam" else dict(weight_decay=0.5)
            )
        large = readonly([1e25, -1e25, 1.0, 1.0, 1.0], "float32")
        yield changed_steps(random_case(profile, "float32"), g=large)
        yield changed_steps(random_case(profile), g=readonly([2.0, -2.0, 0.0, 1.0, 3.0]))
        yield random_case(profile, settings=dict(beta2=0.999))
    # a ratio of exactly clip: 2 / (0.5 * 4) = 1
    exact = dict(beta1=0.0, beta2=0.0, gamma=0.5, clip=1.0)
    case = random_case("paper-H", settings=exact)
    yield changed_steps(case, g=readonly([2.0, -2.0, 0.0, 1.0, 3.0]), h_hat=readonly(np.full(5, 4.0)))
    # rho bs h, and m, about as large as the official form's 1e-15
    case = random_case("official-G", t=3, settings=dict(every=1))
    small = [replace(step, g=1e-15 * step.g, sampled_grad=5e-8 * step.sampled_grad) for step in case.steps]
    yield replace(case, steps=tuple(small))
    # h just above zero, below eps / gamma
    case = random_case("paper-H", settings=dict(eps=1.0, clip=2.0))
    yield changed_steps(case, h_hat=readonly(np.full(5, 0.01)))


def special_regressions():
    yield gnb_case(scale=1000.0)
    yield replace(gnb_case(C=200, shape=(3, 200)), settings=settings_of("paper-G", gamma=2.0))
    wide = gnb_case()
    x = np.array(wide.steps[0].gnb["x"])
    x[0] *= 1e6
    yield changed_steps(wide, gnb=wide.steps[0].gnb | {"x": readonly(x)})
    yield changed_steps(wide, gnb=wide.steps[0].gnb | {"x": readonly(10 * x[:, ::-1])})


def outcome(f, case):
    """Its rows, or the fact that it refused."""
    try:
        return f(case)
    except Exception:
        return None


def differ(rows, others, dtype):
    """Whether a target with these rows would be told from one with the others."""
    if rows is None or others is None:
        return (rows is None) != (others is None)
    tolerance = dict(rtol=1e-5, atol=1e-12) if dtype == "float32" else dict(rtol=1e-9, atol=1e-15)
    for row, other in zip(rows, others, strict=True):
        for name in row.keys() & other.keys():
            a, b = row[name], other[name]
            if a.dtype != b.dtype or a.shape != b.shape or not np.allclose(a, b, equal_nan=True, **tolerance):
                return True
    return False


@pytest.fixture(scope="module")
def pool():
    """Cases with what is right in them."""
    resumed = [replace(case, resume_after=4) for case in featured_cases()]
    cases = [*featured_cases(), *resumed, *special_cases(), *special_regressions(), *estimated_cases(), *BAD.values()]
    np.random.default_rng(0).shuffle(cases)
    return [(case, outcome(independent.run, case)) for case in cases]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_each_mutant_is_a_bug(mutant, pool):
    with np.errstate(all="ignore"):
        f = build(mutant)
        assert any(differ(outcome(f, case), right, case.dtype) for case, right in pool)


def test_the_mutants_have_names_and_reasons_and_most_are_our_own():
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS) >= 50
    assert sum(not mutant.public for mutant in MUTANTS) >= 35
    assert all(mutant.why and mutant.old != mutant.new for mutant in MUTANTS)


def test_an_edit_that_is_not_found_once_is_refused():
    with pytest.raises(ValueError, match="occurs 0 times"):
        build(replace(MUTANTS[0], old="nowhere"))
