"""What becomes a target, how its settings and its state are found, and what is said of what cannot be driven."""

from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pytest

import sophia_ref as sr
from sophia_ref.conformance import DIALECTS, Variant, examine, vectors
from sophia_ref.conformance.compare import ask
from sophia_ref.conformance.recipes.orders import Order, evaluate
from sophia_ref.conformance.targets import Fault, NotAsked, TargetError, load
from sophia_ref.conformance.targets.doors import Doors
from sophia_ref.optimizers import lion_update

PLAIN = "paper-H/plain-float64"
SETTINGS = dict(lr=0.5, beta1=0.75, beta2=0.5, gamma=0.25, clip=1.0, eps=1.0, weight_decay=2.0, every=4)


def statuses(target, profile):
    return {outcome.status for outcome in (ask(target, vector) for vector in vectors.load(profile))}


# -- settings by their names -------------------------------------------------------------------------------------------


def test_settings_are_found_under_the_names_of_each_library():
    def torch_like(params, lr=1e-3, betas=(0.9, 0.99), gamma=1.0, clip=1.0, eps=1e-12, weight_decay=0.0, every=10): ...
    def optax_like(learning_rate, b1, b2, gamma, clip_threshold, eps, weight_decay, update_interval): ...

    assert Doors(torch_like, {}).arguments(SETTINGS) == (
        0.5,
        dict(betas=(0.75, 0.5), gamma=0.25, clip=1.0, eps=1.0, weight_decay=2.0, every=4),
    )
    assert Doors(optax_like, {}).arguments(SETTINGS) == (
        0.5,
        dict(b1=0.75, b2=0.5, gamma=0.25, clip_threshold=1.0, eps=1.0, weight_decay=2.0, update_interval=4),
    )


def test_the_first_form_is_given_settings_that_mean_the_same():
    def first_form(params, lr, betas, p, eps, weight_decay, update_period): ...

    lr, arguments = Doors(first_form, {}).arguments(SETTINGS | {"clip": 2.0})
    # η clip(m / max(γ h, ε), c) = η/γ clip(m / max(h, ε/γ), γ c)
    assert lr == 2.0
    assert arguments == dict(betas=(0.75, 0.5), p=0.5, eps=4.0, weight_decay=0.5, update_period=4)
    rates, _ = Doors(first_form, {}).arguments(SETTINGS | {"lr": (0.5, 0.25)})
    assert rates == (2.0, 1.0)


def test_the_official_form_has_rho_for_gamma_and_the_batch_size_in_its_step():
    def official(params, lr, betas, rho, weight_decay): ...

    doors = Doors(official, {}, squares_at_step=True)
    assert doors.form == "official"
    assert doors.arguments(SETTINGS) == (0.5, dict(betas=(0.75, 0.5), rho=0.25, weight_decay=2.0))
    given = dict(lr=0.5, beta1=0.75, beta2=0.5, rho=0.125, bs=8.0, weight_decay=0.0, every=4)
    assert doors.arguments(given) == (0.5, dict(betas=(0.75, 0.5), rho=0.125, weight_decay=0.0))


def test_a_name_that_nobody_foresaw_is_given():
    def odd(params, rate, one, beta2, gamma): ...

    doors = Doors(odd, {"lr": "rate", "beta1": "one"})
    doors.require("lr", "beta1", "beta2")
    assert doors.arguments(dict(lr=0.5, beta1=0.75, beta2=0.5, gamma=0.25))[1] == dict(one=0.75, beta2=0.5, gamma=0.25)


def test_a_class_that_hands_settings_on_has_those_of_its_base_too():
    class Root:
        def __init__(self, params, defaults, **settings): ...

    class Base(Root):
        def __init__(self, params, lr, *, betas=(0.9, 0.99), gamma=1.0, every=10, **more):
            super().__init__(params, {"lr": lr}, **more)

    class Derived(Base):
        def __init__(self, params, lr, *, gamma=0.05, **settings):
            super().__init__(params, lr, gamma=gamma, **settings)

    class Twice(Derived):
        def __init__(self, *arguments, **settings):
            super().__init__(*arguments, **settings)

    for cls in (Base, Derived, Twice, partial(Derived, every=3)):
        assert Doors(cls, {}).arguments(dict(lr=0.5, beta1=0.75, beta2=0.5, gamma=0.25, every=4)) == (
            0.5,
            dict(betas=(0.75, 0.5), gamma=0.25, every=4),
        )
        Doors(cls, {}).complete("params")


def test_names_and_parameters_that_are_not_there_are_refused():
    def odd(params, rate, beta1, beta2): ...

    with pytest.raises(TargetError, match=r"names: 'gama' is not a setting; did you mean 'gamma'\?"):
        Doors(odd, {"gama": "rate"})
    with pytest.raises(TargetError, match="names: odd has no parameter 'scale'; it has params, rate, beta1, beta2"):
        Doors(odd, {"gamma": "scale"})
    with pytest.raises(
        TargetError, match=r"odd\(params, rate, beta1, beta2\) has no parameter for lr; expected one of lr,"
    ):
        Doors(odd, {}).require("lr")


def test_a_setting_without_a_parameter_matters_where_it_changes_something():
    def bare(params, lr, beta1, beta2, gamma): ...

    doors = Doors(bare, {})
    quiet = SETTINGS | {"weight_decay": 0.0}
    assert doors.arguments(quiet)[1] == dict(beta1=0.75, beta2=0.5, gamma=0.25)
    for name, value in (("weight_decay", 0.5), ("clip", 2.0)):
        with pytest.raises(NotAsked, match=f"it has no setting {name}"):
            doors.arguments(quiet | {name: value})
    with pytest.raises(NotAsked, match="it has no setting every"):
        Doors(bare, {}, schedule=True).arguments(quiet)


# -- the three kinds in NumPy ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "profile"),
    [
        (sr.Sophia, "paper-H"),
        (sr.SophiaG, "paper-G"),
        (sr.Adam, "Adam"),
        (sr.AdamW, "AdamW"),
        (sr.Lion, "Lion"),
        (sr.sophia_update, "paper-H"),
        (lion_update, "Lion"),
    ],
)
def test_classes_and_rules_of_this_repository_pass_all_that_they_can_be_asked(target, profile):
    loaded = load(target)
    assert loaded.kind == "numpy"
    assert "passed" in statuses(loaded, profile) <= {"passed", "not asked"}


def test_a_function_of_a_case_may_be_anything():
    def run(case):
        return evaluate(case, Order())

    assert statuses(load(run), "Levanter-H") == {"passed"}


def test_a_rule_alone_is_asked_neither_estimators_nor_refusals():
    rule = load(sr.sophia_update)
    reasons = {
        "paper-H/hutchinson-diagonal-float32": "a rule alone has no estimators",
        "paper-H/refused-lr-negative-float32": "a rule alone refuses nothing",
    }
    for id, reason in reasons.items():
        outcome = ask(rule, vectors.find(id))
        assert (outcome.status, outcome.message) == ("not asked", reason)


def test_a_class_of_its_own_is_driven_with_a_state_of_another_kind():
    class Plain:
        """Its state is a dict; it returns no terms, and is told which entries decay."""

        def __init__(self, learning_rate, b1, b2, gamma, clip, eps, decay, decay_mask=None, every=10):
            self.__dict__.update(locals())

        def init(self, theta):
            return {"count": 0, "momentum": np.zeros_like(theta), "hess": np.zeros_like(theta)}

        def step(self, theta, state, oracle):
            g, m, h, t = oracle.grad(), state["momentum"], state["hess"], state["count"]
            m = self.b1 * m + (1 - self.b1) * g
            if t % self.every == 0:
                h = self.b2 * h + (1 - self.b2) * oracle.curvature(sr.hutchinson)
            lr = self.learning_rate(t + 1) if callable(self.learning_rate) else self.learning_rate
            decay = self.decay * (1 if self.decay_mask is None else self.decay_mask.astype(theta.dtype))
            theta = theta - lr * decay * theta
            theta = theta - lr * np.clip(m / np.maximum(self.gamma * h, self.eps), -self.clip, self.clip)
            return theta, {"count": t + 1, "momentum": m, "hess": h}

    target = load(Plain)
    failed = [o for o in (ask(target, v) for v in vectors.load("paper-H")) if o.status == "failed"]
    assert {outcome.vector.verdict for outcome in failed} == {"invalid", "acceptable"}  # it checks nothing
    # what it shows of its state is compared
    assert {"m", "h", "theta"} <= set(ask(target, vectors.find(PLAIN)).results[0])


@pytest.mark.parametrize(("dialect", "profile"), [("official", "official-G"), ("optax", "optax-H")])
def test_a_class_of_another_dialect_passes_the_profile_of_that(dialect, profile):
    class Speaker(Variant):
        def __init__(self, lr, beta1, beta2, weight_decay, every, estimator, **rest):
            rest = {"gamma" if name == "rho" else name: x for name, x in rest.items()}
            settings = dict(lr=lr, beta1=beta1, beta2=beta2, weight_decay=weight_decay, every=every, **rest)
            fixed = DIALECTS[dialect].fixed
            super().__init__(**fixed | settings, estimator=estimator, knobs=DIALECTS[dialect].knobs)

    class Official(Speaker):
        def __init__(self, lr, beta1, beta2, rho, bs, weight_decay, every, estimator):
            super().__init__(lr, beta1, beta2, weight_decay, every, estimator, rho=rho, bs=bs)

    class Optax(Speaker):
        def __init__(self, lr, beta1, beta2, gamma, clip, eps, weight_decay, every, estimator):
            super().__init__(lr, beta1, beta2, weight_decay, every, estimator, gamma=gamma, clip=clip, eps=eps)

    cls = {"official": Official, "optax": Optax}[dialect]
    report = examine(cls, [profile])
    assert report.verdict(profile) == "conforms: update rule", report.text()
    assert not report.not_asked


def test_probes_and_labels_of_the_case_reach_the_estimators_of_a_class():
    seen = []

    def spy(oracle):
        seen.append(oracle.rng.standard_normal(3))
        return sr.hutchinson(oracle)

    class Spy(sr.Sophia):
        def __init__(self, **settings):
            super().__init__(**settings | {"estimator": spy})

    vector = vectors.find("paper-H/hutchinson-micro-batches-float64")
    target = load(lambda case: [])  # any; the class is driven by hand, as it takes its settings by keyword
    assert target.kind == "numpy"
    from sophia_ref.conformance.targets.plain import ClassTarget

    results = ClassTarget(Spy, Doors(sr.Sophia, {}, schedule=True))(vector.case())
    probes = [u for step in vector.case().steps for _, u in step.hutchinson]
    np.testing.assert_array_equal(seen, probes)
    np.testing.assert_allclose(results[0]["h_hat"], vector.expected[0]["h_hat"], rtol=1e-14)


def test_an_estimate_that_is_asked_for_out_of_turn_is_a_fault():
    class Eager(sr.Sophia):
        def step(self, theta, state, oracle):
            oracle.curvature(self.estimator)
            return super().step(theta, state, oracle)

    outcome = ask(load(Eager), vectors.find(PLAIN))
    assert (outcome.status, outcome.message) == ("failed", "step 2: asks for curvature, where none is due")


# -- what cannot be a target -------------------------------------------------------------------------------------------


@dataclass
class Nothing:
    lr: float = 0.1


def two(a, b):
    return a, b


class Demanding(sr.Lion):
    def __init__(self, lr, beta1, beta2, weight_decay, warmth):
        super().__init__(lr, beta1, beta2, weight_decay)


class NoRate:
    def init(self, theta): ...
    def step(self, theta, state, oracle): ...


@pytest.mark.parametrize(
    ("target", "words"),
    [
        (Nothing, r"Nothing has no init\(theta\) and step\(theta, state, oracle\)"),
        (two, r"two\(a, b\): expected one argument, a case, or a rule with theta, m, h, g"),
        (NoRate, r"NoRate\(\) has no parameter for lr; expected one of lr, learning_rate"),
        (
            Demanding,
            "Demanding has a parameter 'warmth' that is no known setting; expected a default for it, or --names",
        ),
        (sr.Lion(0.1), r"Lion\(.* is not callable; expected a function of a case, a class with init and step"),
        (3, "3 is not callable; expected a function of a case, a class with init and step, or a rule"),
        ("sophia", "'sophia' is not a target; expected numpy:module.name, torch:module.name, optax:module.name"),
        ("nunpy:a.b", r"'nunpy:a\.b' is not a target; did you mean 'numpy:a\.b'\?"),
        ("numpy:a", "'a'; expected module.name, such as my_package.optim.Sophia"),
        ("numpy:no_such_module.f", "there is no module 'no_such_module' here or on the path of Python"),
        ("numpy:sophia_ref.no_such.f", r"'sophia_ref' has no 'no_such'"),
        ("numpy:sophia_ref.Sofia", r"'sophia_ref' has no 'Sofia'; did you mean 'Sophia'\?"),
    ],
)
def test_what_is_not_a_target_is_refused_with_what_was_expected(target, words):
    with pytest.raises(TargetError, match=words):
        load(target)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("import no_such_dependency", "does not import: ModuleNotFoundError: No module named 'no_such_dependency'"),
        ("raise RuntimeError('needs a GPU')", "does not import: RuntimeError: needs a GPU"),
        ("import sys; sys.exit(3)", "does not import: SystemExit: 3"),
        ("def f(:", "does not import: SyntaxError"),
    ],
)
def test_a_module_that_does_not_import_is_refused_by_name(code, words, tmp_path, monkeypatch):
    (tmp_path / "broken_target.py").write_text(code)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(TargetError, match=f"'numpy:broken_target.f': module 'broken_target' {words}"):
        load("numpy:broken_target.f")


def test_a_library_that_is_missing_is_named(monkeypatch):
    monkeypatch.setattr("sophia_ref.conformance.targets.find_spec", lambda name: None)
    with pytest.raises(TargetError, match=r"'torch:a\.B' needs torch, which is not installed: pip install"):
        load("torch:a.B")


def test_a_target_in_the_current_folder_is_found_and_its_source_and_versions_are_known(tmp_path, monkeypatch):
    (tmp_path / "here_target.py").write_text("from sophia_ref import Sophia\n\ndef run(case):\n    return []\n")
    monkeypatch.chdir(tmp_path)
    target = load("numpy:here_target.run")
    assert target.source == tmp_path / "here_target.py"
    assert target.label == "run"
    assert target.versions["numpy"] == np.__version__
    assert load("numpy:here_target.Sophia").source.name == "sophia.py"


@pytest.mark.parametrize(
    ("name", "profiles"),
    [
        ("Sophia", ("paper-H", "paper-G")),
        ("SophiaH", ("paper-H",)),
        ("sophia_g", ("paper-G",)),
        ("MyAdamW", ("AdamW",)),
        ("adam_update", ("Adam",)),
        ("Lion8bit", ("Lion",)),
    ],
)
def test_a_name_says_what_is_asked(name, profiles):
    from sophia_ref.conformance.targets.base import profiles_by_name

    assert profiles_by_name(name) == profiles


# -- faults that no number shows ---------------------------------------------------------------------------------------


def correct(case):
    return evaluate(case, Order())


def with_first(change):
    """A function of a case whose first step is changed."""

    def run(case):
        steps = correct(case)
        return [steps[0] | change(steps[0], case), *steps[1:]]

    return run


@pytest.mark.parametrize(
    ("run", "message"),
    [
        (lambda case: None, "returns NoneType; expected a list with one dict a step"),
        (lambda case: correct(case)[:-1], "returns 11 steps; expected 12, one a step of the case"),
        (lambda case: [(1, 2)] * 12, "step 1: returns tuple; expected a dict with theta in it"),
        (lambda case: [{"m": 0}] * 12, "step 1: returns a dict with m; expected a dict with theta in it"),
        (with_first(lambda s, c: {"theta": s["theta"][:-1]}), "step 1: theta has shape (5,); expected (6,)"),
        (with_first(lambda s, c: {"theta": s["theta"].astype("f")}), "step 1: theta is float32; expected float64"),
        (with_first(lambda s, c: {"m": s["m"].astype(int)}), "step 1: m is int64; expected float64"),
        (with_first(lambda s, c: {"h": "seven"}), "step 1: h has shape (); expected (6,)"),
    ],
)
def test_results_of_another_shape_are_told_by_step_and_field(run, message):
    outcome = ask(load(lambda case: run(case)), vectors.find(PLAIN))
    assert (outcome.status, outcome.message) == ("failed", message)


def changing(name):
    def run(case):
        steps = correct(case)
        x = getattr(case.steps[1], name) if name in ("g", "h_hat") else getattr(case, name)
        x += 1
        return steps

    return run


@pytest.mark.parametrize(
    ("name", "id", "message"),
    [
        ("theta", PLAIN, "changes theta of the case in place"),
        ("m", "paper-H/momentum-injected-float64", "changes m of the case in place"),
        ("g", PLAIN, "changes g in step 2 of the case in place"),
    ],
)
def test_an_input_that_was_changed_in_place_is_a_failure(name, id, message):
    outcome = ask(load(changing(name)), vectors.find(id))
    assert (outcome.status, outcome.message) == ("failed", message)


@pytest.mark.parametrize("name", ["g", "theta", "h_hat"])
def test_a_class_that_changes_what_it_was_given_is_told_so(name):
    class InPlace(sr.Sophia):
        def step(self, theta, state, oracle):
            step = super().step(theta, state, oracle)
            x = {"theta": theta, "g": oracle.grad()}.get(name)
            x = oracle.given.h_hat if x is None else x
            x *= 0.5
            return step

    outcome = ask(load(InPlace), vectors.find(PLAIN))
    assert (outcome.status, outcome.message) == ("failed", f"step 1: changes {name} in place")


def test_a_rule_that_changes_m_in_place_is_told_so():
    def rule(theta, m, h, g, *, lr, beta1, gamma, clip, eps, weight_decay):
        m *= beta1
        return sr.sophia_update(theta, m, h, g, lr=lr, beta1=beta1, gamma=gamma, clip=clip, eps=eps,
                                weight_decay=weight_decay)  # fmt: skip

    outcome = ask(load(rule), vectors.find("paper-H/momentum-injected-float64"))
    assert outcome.message == "step 1: changes m in place"


def test_one_array_for_all_steps_is_told_so():
    def run(case):
        steps = correct(case)
        theta = steps[-1]["theta"]
        return [step | {"theta": theta} for step in steps]

    assert ask(load(run), vectors.find(PLAIN)).message.endswith("; each step returns the same array")


def test_an_error_of_the_target_is_told_with_its_line(tmp_path, monkeypatch):
    (tmp_path / "raising_target.py").write_text("def run(case):\n    theta = case.theta\n    return theta.nonsense\n")
    monkeypatch.chdir(tmp_path)
    outcome = ask(load("numpy:raising_target.run"), vectors.find(PLAIN))
    assert outcome.status == "failed"
    assert outcome.message == (
        "refuses it: AttributeError: 'numpy.ndarray' object has no attribute 'nonsense' (raising_target.py, line 3)"
    )


def test_refusing_passes_where_it_must_and_where_it_may_and_nowhere_else():
    def refusing(case):
        raise ValueError("no")

    verdicts = {}
    for vector in vectors.load("paper-H"):
        verdicts.setdefault(vector.verdict, set()).add(ask(load(refusing), vector).status)
    assert verdicts == {"valid": {"failed"}, "invalid": {"passed"}, "acceptable": {"passed"}}


def test_nan_where_there_should_be_a_number_is_a_failure_and_free_numbers_are_not_compared():
    run = with_first(lambda s, c: {"theta": np.where(np.arange(6) == 2, np.nan, s["theta"])})
    message = ask(load(run), vectors.find(PLAIN)).message
    assert message.startswith("step 1: theta[2] is nan, expected -2.06")
    vector = vectors.find("paper-H/denormals-float64")
    assert vector.free[0]
    anything = {name: np.where(where, np.nan, vector.expected[0][name]) for name, where in vector.free[0].items()
                if name != "clipped"}  # fmt: skip
    outcome = ask(load(lambda case: [correct(case)[0] | anything]), vector)
    assert outcome.status == "passed"


def test_the_first_difference_is_in_the_order_of_computation():
    def run(case):
        steps = correct(case)
        return [replace_fields(step, ("theta", "m", "denominator")) if i == 3 else step for i, step in enumerate(steps)]

    def replace_fields(step, names):
        return step | {name: step[name] * 1.5 for name in names}

    divergence = ask(load(run), vectors.find(PLAIN)).divergence
    assert (divergence.step, divergence.field, divergence.index) == (4, "m", (0,))


@pytest.mark.parametrize("off", [1, 2, 3, 40])
def test_a_distance_is_counted_in_ulps_of_the_expected_number_and_compared_with_what_is_allowed(off):
    vector = vectors.find("paper-H/exact-float64")
    theta = vector.expected[0]["theta"][0]
    run = with_first(lambda s, c: {"theta": s["theta"] + off * np.spacing(2.0) * (np.arange(4) == 0)})
    assert 1 <= abs(theta) < 2 < abs(vector.case().theta[0]) or abs(vector.case().theta[0]) >= 1
    outcome = ask(load(run), vector)
    unit = vectors.units_of(vector.case(), vector.expected)[0]["theta"][0]
    expected = off * np.spacing(2.0) / unit
    if expected <= vector.ulps["theta"]:
        assert outcome.status == "passed"
    else:
        assert outcome.divergence.ulps == expected
        assert outcome.divergence.allowed == vector.ulps["theta"]


def test_a_case_handed_to_a_function_is_its_own():
    seen = []
    target = load(lambda case: seen.append(case) or correct(case))
    for _ in range(2):
        ask(target, vectors.find(PLAIN))
    assert seen[0].theta is not seen[1].theta
    assert isinstance(replace(seen[0], t=0), type(seen[0]))


def test_a_fault_and_a_refusal_are_different_things():
    assert not issubclass(Fault, ValueError)
    assert Fault("x", 3).step == 3
