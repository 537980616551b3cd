"""What holds for every optimizer: rows are runs, inputs stay as they are, dtype is kept, bad input is refused."""

import copy
import math
import pickle
from typing import NamedTuple

import numpy as np
import pytest

from sophia_ref import Given, Layout, optimizers
from sophia_ref.optimizers import (
    AdaHessian,
    Adam,
    AdamW,
    ClippedNewton,
    DampedNewton,
    GradientDescent,
    Lion,
    Momentum,
    Newton,
    Optimizer,
    SaddleFreeNewton,
    SignGD,
    Signum,
    Sophia,
    SophiaG,
    SophiaH,
    Step,
    cosine,
)

P = 6
LAYOUT = Layout({"w": (2, 2), "b": (2,)})
ELEMENTWISE = [
    GradientDescent(0.1),
    SignGD(0.1),
    Momentum(0.1),
    Signum(0.1, weight_decay=0.1),
    Lion(0.1, weight_decay=0.1),
    Adam(0.1),
    AdamW(0.1, weight_decay=0.1),
    AdaHessian(0.1, weight_decay=0.1),
    AdaHessian(0.1, layout=LAYOUT),
    Sophia(0.1, gamma=0.5, every=2, weight_decay=0.1),
    Sophia(0.1, gamma=np.linspace(0.1, 2, P), clip=np.inf, every=1),
    SophiaH(cosine(0.1, steps=5), every=3),
    SophiaG(np.linspace(0.01, 0.1, P)),
]
SECOND_ORDER = [Newton(0.5), DampedNewton(0.5, damping=3.0), SaddleFreeNewton(0.5), ClippedNewton(0.5, rho=0.25)]
ALL = ELEMENTWISE + SECOND_ORDER


def name(opt):
    return opt.name


every_optimizer = pytest.mark.parametrize("opt", ALL, ids=name)


def given_at(shape, t, dtype=np.float64):
    """An oracle of random arrays for theta of this shape at step t."""
    rng = np.random.default_rng([t, *shape])
    A = rng.normal(size=(*shape, shape[-1])).astype(dtype)
    g, h_hat = rng.normal(size=(2, *shape)).astype(dtype)
    return Given(g, h_hat, A + np.swapaxes(A, -1, -2))


def rows_of(oracle, index):
    return Given(oracle.grad()[index], oracle.hessian_diag()[index], oracle.hessian()[index])


def follow(opt, theta, oracles):
    state, steps = opt.init(theta), []
    for oracle in oracles:
        steps.append(opt.step(theta, state, oracle))
        theta, state = steps[-1].theta, steps[-1].state
    return steps


@pytest.mark.parametrize("lead", [(3,), (2, 3)])
@every_optimizer
def test_a_batch_gives_row_by_row_what_single_runs_give(opt, lead):
    theta = np.random.default_rng(0).normal(size=(*lead, P))
    oracles = [given_at(theta.shape, t) for t in range(5)]
    together = follow(opt, theta, oracles)
    for index in np.ndindex(lead):
        alone = follow(opt, theta[index], [rows_of(oracle, index) for oracle in oracles])
        for one, many in zip(alone, together, strict=True):
            assert one.terms.keys() == many.terms.keys()
            pairs = [
                (one.theta, many.theta[index]),
                *((a, b[index]) for a, b in zip(one.state[1:], many.state[1:], strict=True)),
            ]
            pairs += [(one.terms[key], many.terms[key][index]) for key in one.terms]
            for a, b in pairs:
                if opt in SECOND_ORDER:
                    np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)
                else:
                    np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@every_optimizer
def test_everything_has_thetas_shape_and_dtype(opt, dtype):
    theta = np.random.default_rng(0).normal(size=(3, P)).astype(dtype)
    for step in follow(opt, theta, [given_at(theta.shape, t, dtype) for t in range(3)]):
        assert isinstance(step, Step)
        for key, array in {"theta": step.theta, **step.state._asdict(), **step.terms}.items():
            if key != "t":
                assert array.shape == ((3, P, P) if key == "eigenvectors" else (3, P)), key
                assert array.dtype == (bool if key == "clipped" else dtype), key


@every_optimizer
def test_float32_and_float64_take_the_same_steps_up_to_rounding(opt):
    theta = np.random.default_rng(0).normal(size=P).astype(np.float32)
    exact = [given_at(theta.shape, t, np.float32) for t in range(4)]
    wide = [
        Given(*(a.astype(np.float64) for a in (o.grad(), o.hessian_diag(), o.hessian())))
        for o in exact
    ]  # fmt: skip
    single = follow(opt, theta, exact)[-1].theta
    double = follow(opt, theta.astype(np.float64), wide)[-1].theta
    np.testing.assert_allclose(single, double, rtol=1e-4, atol=1e-4)


@every_optimizer
def test_inputs_stay_as_they_are_and_results_share_no_memory_with_them(opt):
    theta = np.random.default_rng(0).normal(size=(2, P))
    state = opt.init(theta)
    for t in range(4):
        oracle = given_at(theta.shape, t)
        arrays = [theta, *state[1:], oracle.grad(), oracle.hessian_diag(), oracle.hessian()]
        before = copy.deepcopy(arrays)
        for array in arrays:
            array.setflags(write=False)
        step = opt.step(theta, state, oracle)
        for array, kept in zip(arrays, before, strict=True):
            np.testing.assert_array_equal(array, kept)
        for array in [*arrays, *step.state[1:], *step.terms.values()]:
            assert not np.shares_memory(step.theta, array)
        theta, state = step.theta, step.state


@every_optimizer
def test_states_are_read_only_and_count_steps(opt):
    theta = np.ones(P)
    states = [opt.init(theta)] + [s.state for s in follow(opt, theta, [given_at((P,), t) for t in range(3)])]
    assert [state.t for state in states] == [0, 1, 2, 3]
    for state in states:
        assert isinstance(state, opt.State)
        for array in state[1:]:
            assert not array.flags.writeable
    assert all(not array.any() for array in states[0][1:])


@every_optimizer
def test_going_back_to_a_kept_state_repeats_the_steps_exactly(opt):
    theta = np.random.default_rng(0).normal(size=(2, P))
    oracles = [given_at(theta.shape, t) for t in range(6)]
    first = follow(opt, theta, oracles)
    kept = first[2]
    theta, state = kept.theta, kept.state
    for oracle, expected in zip(oracles[3:], first[3:], strict=True):
        theta, state, _ = opt.step(theta, state, oracle)
        np.testing.assert_array_equal(theta, expected.theta)
        for a, b in zip(state, expected.state, strict=True):
            np.testing.assert_array_equal(a, b)


@every_optimizer
def test_a_learning_rate_of_zero_moves_nothing(opt):
    still = type(opt)(**{**vars(opt), "lr": 0.0})
    theta = np.random.default_rng(0).normal(size=P)
    assert follow(still, theta, [given_at((P,), 0)])[0].theta.tolist() == theta.tolist()


@pytest.mark.parametrize("opt", [opt for opt in ALL if isinstance(opt.lr, float)], ids=name)
def test_a_per_coordinate_learning_rate_scales_each_coordinate(opt):
    theta = np.random.default_rng(0).normal(size=(2, P))
    factor = np.array([0.0, 0.5, 1.0, 2.0, 4.0, 0.25])
    oracle = given_at(theta.shape, 0)
    plain = follow(opt, theta, [oracle])[0].theta - theta
    scaled = follow(type(opt)(**{**vars(opt), "lr": opt.lr * factor}), theta, [oracle])[0].theta - theta
    np.testing.assert_allclose(scaled, factor * plain, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("opt", [opt for opt in ALL if not isinstance(opt, AdaHessian)], ids=name)
def test_an_optimizer_and_its_states_survive_pickling(opt):
    theta = np.ones(P)
    step = follow(opt, theta, [given_at((P,), 0)])[0]
    again, state = pickle.loads(pickle.dumps((opt, step.state)))
    assert repr(again) == repr(opt)
    oracle = given_at((P,), 1)
    assert again.step(step.theta, state, oracle).theta.tolist() == opt.step(*step[:2], oracle).theta.tolist()


class Foreign(np.lib.mixins.NDArrayOperatorsMixin):
    """An array of another library, as CuPy's are: it speaks NumPy's protocols and refuses to become an ndarray."""

    def __init__(self, array):
        self.array = array

    shape, ndim, dtype = (
        property(lambda self, key=key: getattr(self.array, key)) for key in ("shape", "ndim", "dtype")
    )

    def __array__(self, *args, **kwargs):
        raise TypeError("implicit conversion to ndarray")

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        return abroad(getattr(ufunc, method)(*home(inputs), **kwargs))

    def __array_function__(self, function, types, args, kwargs):
        return abroad(function(*home(args), **kwargs))

    def __getitem__(self, index):
        return abroad(self.array[index])

    def __len__(self):
        return len(self.array)

    def __float__(self):
        return float(self.array)

    def __int__(self):
        return int(self.array)

    def astype(self, *args, **kwargs):
        return abroad(self.array.astype(*args, **kwargs))

    def copy(self):
        return abroad(self.array.copy())

    def max(self, axis, keepdims):  # CuPy's has no `initial`
        return abroad(self.array.max(axis=axis, keepdims=keepdims))


def home(x):
    """Foreign arrays in a tuple, list or dict, or x itself, as ndarrays."""
    if isinstance(x, (tuple, list)):
        return type(x)(home(y) for y in x)
    return x.array if isinstance(x, Foreign) else x


def abroad(x):
    if isinstance(x, tuple):
        return tuple(abroad(y) for y in x)
    return Foreign(x) if isinstance(x, (np.ndarray, np.generic)) else x


@pytest.mark.parametrize("opt", [opt for opt in ALL if repr(LAYOUT) not in repr(opt)], ids=name)
def test_arrays_of_another_library_pass_through(opt):
    theta = np.random.default_rng(0).normal(size=(2, P))
    answers = [given_at(theta.shape, t)._given for t in range(3)]
    foreign = [Given(**{key: Foreign(a) for key, a in given.items() if a is not None}) for given in answers]
    per_coordinate = {key: Foreign(a) for key, a in vars(opt).items() if isinstance(a, np.ndarray)}
    abroad_opt = type(opt)(**{**vars(opt), **per_coordinate})
    for one, other in zip(
        follow(opt, theta, [Given(**given) for given in answers]),
        follow(abroad_opt, Foreign(theta), foreign),
        strict=True,
    ):
        np.testing.assert_array_equal(other.theta.array, one.theta)
        assert all(isinstance(array, Foreign) for array in (*other.state[1:], *other.terms.values()))
    spoilt = Given(**{key: Foreign(np.full_like(a, np.nan)) for key, a in answers[0].items() if a is not None})
    with pytest.raises(ValueError, match=r"grad must be finite, got grad\[0, 0\] = "):
        abroad_opt.step(Foreign(theta), abroad_opt.init(Foreign(theta)), spoilt)


def test_equal_settings_make_equal_optimizers():
    assert Sophia(0.1, every=5) == Sophia(0.1, every=5) != Sophia(0.1)
    assert len({Adam(0.1), Adam(0.1), AdamW(0.1)}) == 2


def test_numbers_of_numpy_are_kept_as_pythons():
    opt = Sophia(np.float64(0.5), gamma=np.float32(0.25), every=np.int64(3), clip=2)
    assert [type(x) for x in (opt.lr, opt.gamma, opt.every, opt.clip)] == [float, float, int, float]
    theta = np.ones(2, np.float32)
    assert opt.step(theta, opt.init(theta), Given(theta, theta)).theta.dtype == np.float32


def test_arrays_are_copied_when_the_optimizer_is_made():
    lr = np.array([0.5, 0.25])
    opt = GradientDescent(lr)
    lr[:] = 9
    assert opt.lr.tolist() == [0.5, 0.25]
    assert not opt.lr.flags.writeable
    theta = np.ones(2, np.float32)
    assert opt.step(theta, opt.init(theta), Given(theta)).theta.tolist() == [0.5, 0.75]


def test_optimizers_cannot_be_changed():
    with pytest.raises(AttributeError):
        Adam(0.1).lr = 0.2


# ---- bad hyperparameters ----

BAD_NONNEGATIVE = [(-0.5, "-0.5"), (math.nan, "nan"), (math.inf, "inf"), (-math.inf, "-inf")]
BAD_POSITIVE = [*BAD_NONNEGATIVE, (0.0, "0.0"), (0, "0")]
BAD_DECAY = [(-0.1, "-0.1"), (1.0, "1.0"), (1.5, "1.5"), (math.nan, "nan"), (math.inf, "inf")]
BAD_KIND = [(True, "True"), ("0.1", "'0.1'"), (0.1 + 0j, r"\(0.1\+0j\)"), (None, "None"), ([0.1], r"\[0.1\]"),
            (np.bool_(True), "True")]  # fmt: skip

RANGES = {
    (GradientDescent, "lr"): (BAD_NONNEGATIVE, "a finite number >= 0, or an array or a schedule"),
    (AdamW, "weight_decay"): (BAD_NONNEGATIVE, "a finite number >= 0, or an array"),
    (Signum, "weight_decay"): (BAD_NONNEGATIVE, "a finite number >= 0, or an array"),
    (Lion, "weight_decay"): (BAD_NONNEGATIVE, "a finite number >= 0, or an array"),
    (AdaHessian, "weight_decay"): (BAD_NONNEGATIVE, "a finite number >= 0, or an array"),
    (Sophia, "weight_decay"): (BAD_NONNEGATIVE, "a finite number >= 0, or an array"),
    (SaddleFreeNewton, "damping"): (BAD_NONNEGATIVE, "a finite number >= 0"),
    (DampedNewton, "damping"): (BAD_NONNEGATIVE, "a finite number >= 0"),
    (Sophia, "gamma"): (BAD_POSITIVE, "a finite number > 0, or an array"),
    (Sophia, "eps"): (BAD_POSITIVE, "a finite number > 0"),
    (Adam, "eps"): (BAD_POSITIVE, "a finite number > 0"),
    (AdaHessian, "eps"): (BAD_POSITIVE, "a finite number > 0"),
    (ClippedNewton, "rho"): (BAD_POSITIVE, "a finite number > 0"),
    (Sophia, "clip"): ([bad for bad in BAD_POSITIVE if bad[0] != math.inf], "a number > 0"),
    (Sophia, "beta1"): (BAD_DECAY, r"a number in \[0, 1\)"),
    (Sophia, "beta2"): (BAD_DECAY, r"a number in \[0, 1\)"),
    (Adam, "beta1"): (BAD_DECAY, r"a number in \[0, 1\)"),
    (Adam, "beta2"): (BAD_DECAY, r"a number in \[0, 1\)"),
    (AdaHessian, "beta1"): (BAD_DECAY, r"a number in \[0, 1\)"),
    (AdaHessian, "beta2"): (BAD_DECAY, r"a number in \[0, 1\)"),
    (Lion, "beta1"): (BAD_DECAY, r"a number in \[0, 1\)"),
    (Lion, "beta2"): (BAD_DECAY, r"a number in \[0, 1\)"),
    (Momentum, "beta"): (BAD_DECAY, r"a number in \[0, 1\)"),
    (Signum, "beta"): (BAD_DECAY, r"a number in \[0, 1\)"),
    (Sophia, "every"): ([(0, "0"), (-3, "-3")], "an integer >= 1"),
}
OUT_OF_RANGE = [(*key, *bad, expected) for key, (bads, expected) in RANGES.items() for bad in bads]
WRONG_KIND = [(*key, *bad, expected) for key, (_, expected) in RANGES.items() for bad in BAD_KIND]


def make(cls, name, value):
    required = {ClippedNewton: {"rho": 1.0}, DampedNewton: {"damping": 1.0}}.get(cls, {})
    return cls(**{"lr": 0.1, **required, name: value})


@pytest.mark.parametrize(("cls", "argument", "value", "shown", "expected"), OUT_OF_RANGE)
def test_a_hyperparameter_out_of_range_is_refused_by_name_and_value(cls, argument, value, shown, expected):
    with pytest.raises(ValueError, match=f"^{cls.__name__}: {argument} must be {expected}.*, got {shown}$"):
        make(cls, argument, value)


@pytest.mark.parametrize(("cls", "argument", "value", "shown", "expected"), WRONG_KIND)
def test_a_hyperparameter_of_the_wrong_kind_is_refused_by_name_and_value(cls, argument, value, shown, expected):
    with pytest.raises(TypeError, match=f"^{cls.__name__}: {argument} must be {expected}.*, got .*{shown}"):
        make(cls, argument, value)


def test_a_whole_number_of_steps_given_as_a_float_is_refused():
    with pytest.raises(TypeError, match=r"Sophia: every must be an integer >= 1, got 10\.0"):
        Sophia(0.1, every=10.0)


@pytest.mark.parametrize("cls", [Sophia, AdaHessian])
def test_an_estimator_that_is_not_a_function_is_refused(cls):
    with pytest.raises(TypeError, match=f"{cls.__name__}: estimator must be a function .*, got 'gnb'"):
        cls(0.1, estimator="gnb")


@pytest.mark.parametrize("argument", ["lr", "gamma", "weight_decay"])
@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (np.array([[1.0, 1.0], [1.0, -2.0]]), ValueError, r"got ARG\[1, 1\] = -2\.0"),
        (np.array([1.0, math.nan]), ValueError, r"got ARG\[1\] = nan"),
        (np.array([math.inf, 1.0]), ValueError, r"got ARG\[0\] = inf"),
        (np.array([True, False]), TypeError, "got an array of dtype bool"),
        (np.array([1j]), TypeError, "got an array of dtype complex128"),
        (np.array(["1"]), TypeError, "got an array of dtype <U1"),
    ],
)
def test_a_bad_array_of_hyperparameters_is_refused_by_entry(argument, value, error, message):
    with pytest.raises(error, match=f"Sophia: {argument} must be .*, {message.replace('ARG', argument)}"):
        make(Sophia, argument, value)


# ---- bad input of a step ----


class Counting(Given):
    """Counts questions, to show that nothing was asked where theta or the state were refused."""

    asked = 0

    def _answer(self, name):
        self.asked += 1
        return super()._answer(name)


@pytest.mark.parametrize(
    ("theta", "error", "message"),
    [
        (np.array(1.0), ValueError, r"shape \(\.\.\., P\), got the 0-d array 1\.0"),
        (np.array([1, 2]), TypeError, "got dtype int64"),
        (np.array([1j, 2]), TypeError, "got dtype complex128"),
        (np.array([1, 2], np.float16), TypeError, "got dtype float16"),
        (np.array([True]), TypeError, "got dtype bool"),
        ([1.0, 2.0], TypeError, r"got \[1\.0, 2\.0\]"),
        (1.0, TypeError, r"got 1\.0"),
        (np.float64(1.0), TypeError, "got np.float64"),
        (None, TypeError, "got None"),
        (np.array([[1.0, math.nan], [0.0, 0.0]]), ValueError, r"finite, got theta\[0, 1\] = nan"),
        (np.array([1.0, -math.inf]), ValueError, r"finite, got theta\[1\] = -inf"),
    ],
)
@every_optimizer
def test_a_bad_theta_is_refused_by_init_and_step(opt, theta, error, message):
    with pytest.raises(error, match=f"^{opt.name}: theta must .*{message}"):
        opt.init(theta)
    state, oracle = opt.init(np.ones(2)), Counting(np.ones(2), np.ones(2), np.eye(2))
    with pytest.raises(error, match=f"^{opt.name}: theta must .*{message}"):
        opt.step(theta, state, oracle)
    assert oracle.asked == 0


def questions(opt):
    """argument name -> which array of a Given answers it, for what this optimizer asks at its first step."""
    asks = {"grad": "grad"}
    if isinstance(opt, (Sophia, AdaHessian)):
        asks["h_hat"] = "hessian_diag"
    if opt in SECOND_ORDER:
        asks["hessian"] = "hessian"
    return asks


ASKED = [(opt, argument, answer) for opt in ALL for argument, answer in questions(opt).items()]


@pytest.mark.parametrize(("opt", "argument", "answer"), ASKED, ids=lambda x: getattr(x, "name", str(x)))
def test_a_bad_answer_of_the_oracle_is_refused_and_the_state_stays(opt, argument, answer):
    theta = np.random.default_rng(0).normal(size=(2, P))
    state = opt.init(theta)
    good = given_at(theta.shape, 0)._given
    array = good[answer]

    def spoilt(value):
        bad = array.copy()
        bad[(1, *(2,) * (array.ndim - 1))] = value
        return bad

    at = r"\[1, 2\]" if array.ndim == 2 else r"\[1, 2, 2\]"
    shape = str(array.shape).replace("(", r"\(").replace(")", r"\)")
    cases = [
        (spoilt(math.nan), ValueError, f"must be finite, got {argument}{at} = nan"),
        (spoilt(-math.inf), ValueError, f"must be finite, got {argument}{at} = -inf"),
        (array[:1], ValueError, f"must have shape {shape}, got shape "),
        (array[0], ValueError, f"must have shape {shape}, got shape "),
        (array.astype(np.float32), TypeError, "must have theta's dtype float64, got dtype float32"),
        (array.astype(np.complex128), TypeError, "must have theta's dtype float64, got dtype complex128"),
        (array.tolist(), TypeError, r"must be an array, got \["),
        (0.0, TypeError, r"must be an array, got 0\.0"),
    ]
    before = copy.deepcopy((theta, state))
    for bad, error, message in cases:
        with pytest.raises(error, match=f"^{opt.name}: {argument} {message}"):
            opt.step(theta, state, Given(**{**good, answer: bad}))
    for a, b in zip((theta, *state), (before[0], *before[1]), strict=True):
        np.testing.assert_array_equal(a, b)
    opt.step(theta, state, Given(**good))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_large_finite_gradients_are_not_taken_for_infinite_ones(dtype):
    theta = np.zeros(3, dtype)
    opt = SignGD(1.0)
    g = np.array([np.finfo(dtype).max, -np.finfo(dtype).max, 1], dtype)
    assert opt.step(theta, opt.init(theta), Given(g)).theta.tolist() == [-1, 1, -1]


class Impostor(NamedTuple):
    t: int
    m: np.ndarray
    h: np.ndarray


@every_optimizer
def test_a_state_of_another_kind_shape_or_dtype_is_refused(opt):
    theta = np.ones((2, P))
    state, oracle = opt.init(theta), Counting(**given_at((2, P), 0)._given)
    other = Adam(0.1) if "h" in opt.State._fields else Sophia(0.1)
    for bad in (None, (0, *state[1:]), 3, other.init(theta), Impostor(0, theta, theta), state._replace(t=-1),
                state._replace(t=1.0), state._replace(t=True)):  # fmt: skip
        with pytest.raises(TypeError, match=f"^{opt.name}: state must be a {opt.State.__name__} with t >= 0"):
            opt.step(theta, bad, oracle)
    for field in state._fields[1:]:
        for array, error, message in [
            (np.zeros(P), ValueError, rf"must have shape \(2, {P}\), got shape \({P},\)"),
            (np.zeros((2, P), np.float32), TypeError, "must have theta's dtype float64, got dtype float32"),
            ([0.0] * P, TypeError, "must be an array"),
        ]:
            with pytest.raises(error, match=rf"^{opt.name}: state\.{field} {message}"):
                opt.step(theta, state._replace(**{field: array}), oracle)
    assert oracle.asked == 0


@pytest.mark.parametrize(
    ("value", "error"),
    [(-1.0, ValueError), (math.nan, ValueError), (math.inf, ValueError), ("1", TypeError), (None, TypeError),
     (True, TypeError), (np.array([1.0]), TypeError)],
)  # fmt: skip
@every_optimizer
def test_a_schedule_that_returns_no_rate_is_refused_naming_the_step(opt, value, error):
    bad = type(opt)(**{**vars(opt), "lr": lambda t: 0.1 if t < 3 else value})
    theta = np.ones(P)
    oracles = [Counting(**given_at((P,), t)._given) for t in range(3)]
    step = follow(bad, theta, oracles[:2])[-1]
    with pytest.raises(error, match=rf"^{opt.name}: the schedule's lr\(3\) must be a finite number >= 0, got "):
        bad.step(step.theta, step.state, oracles[2])
    assert oracles[2].asked == 0


@pytest.mark.parametrize(
    ("cls", "argument"),
    [(cls, "lr") for cls in dict.fromkeys(map(type, ALL)) if cls not in (DampedNewton, ClippedNewton)]
    + [(cls, "weight_decay") for cls in (Sophia, AdamW, AdaHessian, Lion, Signum)]
    + [(Sophia, "gamma")],
    ids=lambda x: getattr(x, "__name__", x),
)
@pytest.mark.parametrize("shape", [(3,), (3, P), (1, 1, P), (4, 2, P)])
def test_an_array_that_does_not_broadcast_to_theta_is_refused_at_the_step(cls, argument, shape):
    opt = make(cls, argument, np.ones(shape))
    theta = np.ones((2, P))
    oracle = Counting(**given_at((2, P), 0)._given)
    message = rf"{argument} must broadcast to theta's shape \(2, {P}\), got shape \({shape[0]},"
    with pytest.raises(ValueError, match=f"^{cls.__name__}: {message}"):
        opt.step(theta, opt.init(theta), oracle)
    assert oracle.asked == 0


@pytest.mark.parametrize("cls", [Sophia, Adam, AdaHessian])
def test_an_eps_that_float32_rounds_to_zero_is_refused_for_float32(cls):
    opt = cls(0.1, eps=1e-60)
    opt.init(np.ones(2))
    with pytest.raises(ValueError, match=f"{cls.__name__}: eps must be > 0 in float32, theta's dtype, got 1e-60"):
        opt.init(np.ones(2, np.float32))


def test_the_common_parent_has_no_rule():
    with pytest.raises(NotImplementedError):
        Optimizer(0.1).step(np.ones(1), None, Given(np.ones(1)))


# -- comparison --------------------------------------------------------------------------------------------------------


def test_optimizers_are_equal_where_class_and_settings_are_arrays_included():
    for make in (Sophia, AdamW, Signum, Newton, GradientDescent):
        opt = make(np.ones(2))
        assert opt == make(np.ones(2))
        assert hash(opt) == hash(make(np.ones(2)))
        assert opt == pickle.loads(pickle.dumps(opt))
        assert make(0.5) == make(0.5)
        for other in (
            make(np.array([1.0, 2.0])),
            make(np.ones(3)),
            make(2.0),
            make(cosine(1.0, 10)),
            Lion(np.ones(2)),
            1,
        ):
            assert opt != other
    assert Sophia(np.ones(2), gamma=np.ones(2)) != Sophia(np.ones(2), gamma=np.zeros(2) + 2)
    assert Sophia(0.1, beta1=0.5) != Sophia(0.1)
    assert Sophia(0.1) != SophiaH(0.1)
    assert len({Sophia(0.1), Sophia(0.1), Sophia(0.2)}) == 2


# -- documentation -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in optimizers.__all__ if name.endswith("_update")])
def test_every_rule_says_what_goes_in_and_what_comes_out(name):
    doc = getattr(optimizers, name).__doc__ or ""
    assert "(..., P)" in doc or "newton_update" in doc or "adam_update" in doc
