"""The published vectors: their format, their hashes, and every number in them, from its exact value."""

import json
from decimal import Decimal, localcontext
from fractions import Fraction

import numpy as np
import pytest
from jsonschema import Draft202012Validator

from sophia_ref.conformance import vectors as v
from sophia_ref.conformance.recipes import __main__ as generator

MANIFEST = json.loads((v.FOLDER / "manifest.json").read_text())
# The profiles as this test reads them: (denominator, bias-corrected m, first estimate, taken in after the step)
KINDS = {
    "paper-H": ("max", False, "1", False),
    "paper-G": ("max", False, "1", False),
    "official-G": ("add", False, "k+1", False),
    "optax-H": ("max", True, "1", True),
    "Levanter-H": ("max", True, "k", True),
}


@pytest.mark.parametrize("profile", v.PROFILES)
def test_each_file_is_of_the_schema_and_as_the_manifest_has_it(profile):
    plain = json.loads((v.FOLDER / f"{profile}.json").read_text())
    schema = json.loads((v.FOLDER / "schema.json").read_text())
    Draft202012Validator.check_schema(schema)
    errors = list(Draft202012Validator(schema).iter_errors(plain))
    assert not errors, errors[0].message
    for vector in plain["vectors"]:
        assert v.digest(vector) == MANIFEST["vectors"][vector["id"]]["sha256"]
    assert {x["id"] for x in plain["vectors"]} == {id for id in MANIFEST["vectors"] if id.startswith(f"{profile}/")}


def test_there_are_as_many_as_were_asked_for():
    every = list(v.every())
    assert len(every) == len({x.id for x in every}) >= 200
    assert sum("adversarial" in x.flags for x in every) >= 60
    assert sum(x.verdict == "invalid" for x in every) >= 40
    assert all(x.note for x in every)


def test_a_file_that_was_edited_is_refused(tmp_path, monkeypatch):
    for path in v.FOLDER.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    lion = tmp_path / "Lion.json"
    lion.write_bytes(lion.read_bytes().replace(b"0x1p", b"0x1.8p", 1))
    monkeypatch.setattr(v, "FOLDER", tmp_path)
    v._load.cache_clear()
    with pytest.raises(ValueError, match=r"Lion\.json: SHA-256 .*vectors are never edited"):
        v.load("Lion")
    v._load.cache_clear()


def test_an_unknown_profile_or_id_is_refused_by_name():
    with pytest.raises(ValueError, match=r"profile: 'paper' is not known; expected one of paper-H"):
        v.load("paper")
    with pytest.raises(ValueError, match=r"id: 'Lion/none' is not among the vectors of Lion"):
        v.find("Lion/none")


def test_every_case_has_arrays_of_its_own():
    vector = v.find("paper-H/plain-float64")
    vector.case().theta[:] = 0
    assert vector.case().theta.all()


@pytest.mark.parametrize("recipe", generator.RECIPES, ids=lambda module: module.__name__.rsplit(".")[-1])
def test_the_recipes_still_make_what_was_published(recipe):
    made = {vector["id"]: v.digest(vector) for vector in recipe.vectors()}
    assert made
    assert made == {id: MANIFEST["vectors"][id]["sha256"] for id in made}


def test_vectors_are_added_and_never_changed():
    a, b, c = ({"id": f"Lion/{x}", "x": x} for x in "abc")
    published = generator.manifest_of({"Lion/a": a, "Lion/b": b}, {}, "1.0.0")
    again = generator.manifest_of({"Lion/b": b, "Lion/a": a}, published, "1.0.0")
    assert again == published
    more = generator.manifest_of({"Lion/a": a, "Lion/b": b, "Lion/c": c}, published, "1.1.0")
    assert more["version"] == "1.1.0"
    assert {id: each["since"] for id, each in more["vectors"].items()} == {
        "Lion/a": "1.0.0",
        "Lion/b": "1.0.0",
        "Lion/c": "1.1.0",
    }
    with pytest.raises(ValueError, match=r"Lion/b: was published in 1\.0\.0; expected to be made still"):
        generator.manifest_of({"Lion/a": a}, published)
    with pytest.raises(ValueError, match=r"Lion/a: is not what was published in 1\.0\.0"):
        generator.manifest_of({"Lion/a": a | {"x": 1}, "Lion/b": b}, published)
    with pytest.raises(ValueError, match=r"VERSION: 1\.0\.0; expected more than 1\.0\.0, as Lion/c is new"):
        generator.manifest_of({"Lion/a": a, "Lion/b": b, "Lion/c": c}, published, "1.0.0")


def test_a_vector_that_is_withdrawn_stays_in_its_file_and_is_asked_no_more():
    published = generator.manifest_of({"Lion/a": {"id": "Lion/a"}}, {}, "1.0.0")
    after = generator.manifest_of({"Lion/a": {"id": "Lion/a"}}, published, "1.0.0", {"Lion/a": "too tight"})
    assert after["vectors"]["Lion/a"] == {**published["vectors"]["Lion/a"], "withdrawn": "too tight"}
    for id in generator.WITHDRAWN:
        assert MANIFEST["vectors"][id]["withdrawn"]
        with pytest.raises(ValueError, match="is not among the vectors"):
            v.find(id)


# -- every number, from exact values -----------------------------------------------------------------------------------


def exact(x):
    return [Fraction(float(y)) for y in np.ravel(x)]


def root(x):
    """The square root with 60 digits."""
    with localcontext() as context:
        context.prec = 60
        return Fraction((Decimal(x.numerator) / Decimal(x.denominator)).sqrt())


def each(f, *lists):
    return [f(*items) for items in zip(*lists, strict=True)]


def sign(x):
    return (x > 0) - (x < 0)


def estimate_of(step, theta, shape):
    """h_hat as a list of exact numbers; None for a softmax, which has a test of its own."""
    if step.h_hat is not None:
        return exact(step.h_hat)
    if step.sampled_grad is not None:
        return [g * g for g in exact(step.sampled_grad)]
    if step.hutchinson is not None:
        total = [Fraction(0)] * theta.size
        for A, u in step.hutchinson:
            rows, u = [exact(row) for row in A], exact(u)
            total = each(
                lambda old, row, x, u=u: old + x * sum(a * b for a, b in zip(row, u, strict=True)), total, rows, u
            )
        return [x / len(step.hutchinson) for x in total]
    return None


def one_step(case, i, theta, m, h, due_h_hat):
    """The exact fields of step i from the floats that the step before has left."""
    s, t = case.settings, case.t + i + 1
    theta0, m0, h0 = exact(theta), exact(m), exact(h)
    g = theta0 if case.layout == "alias" else exact(case.steps[i].g)
    lr, b1, b2 = (Fraction(x) for x in (case.lr(i + 1), s["beta1"], s["beta2"]))
    wd = [Fraction(s.get("weight_decay", 0.0)) * (1 if case.decay_mask is None else int(keep)) for keep in
          (np.ravel(case.decay_mask) if case.decay_mask is not None else [1] * theta.size)]  # fmt: skip
    decayed = each(lambda x, w: x * (1 - lr * w), theta0, wd)
    if case.profile == "Lion":
        c = each(lambda a, b: b1 * a + (1 - b1) * b, m0, g)
        new_m = each(lambda a, b: b2 * a + (1 - b2) * b, m0, g)
        update = each(lambda a, x, w: sign(a) + w * x, c, theta0, wd)
        return {"c": c, "m": new_m, "update": update, "theta": each(lambda x, a: x - lr * sign(a), decayed, c)}
    new_m = each(lambda a, b: b1 * a + (1 - b1) * b, m0, g)
    if case.profile in ("Adam", "AdamW"):
        v_ = each(lambda a, b: b2 * a + (1 - b2) * b * b, h0, g)
        m_hat, v_hat = [x / (1 - b1**t) for x in new_m], [x / (1 - b2**t) for x in v_]
        denominator = [root(x) + Fraction(s["eps"]) for x in v_hat]
        update = each(lambda a, b: a / b, m_hat, denominator)
        theta1 = each(lambda x, u: x - lr * u, decayed, update)
        return {
            "m": new_m,
            "v": v_,
            "m_hat": m_hat,
            "v_hat": v_hat,
            "denominator": denominator,
            "update": update,
            "theta": theta1,
        }
    form, corrected, _, late = KINDS[case.profile]
    official = case.profile == "official-G"
    gamma = Fraction(s["rho"]) * Fraction(s["bs"]) if official else Fraction(s["gamma"])
    eps, clip = Fraction(s.get("eps", 1e-15)), s.get("clip", 1.0)
    taken = h0 if due_h_hat is None else each(lambda a, b: b2 * a + (1 - b2) * b, h0, due_h_hat)
    used = h0 if late else taken
    denominator = [gamma * x + eps if form == "add" else max(gamma * x, eps) for x in used]
    m_hat = [x / (1 - b1**t) for x in new_m] if corrected else new_m
    ratio = each(lambda a, d: a / d, m_hat, denominator)
    update = ratio if clip == np.inf else [max(-Fraction(clip), min(Fraction(clip), r)) for r in ratio]
    found = {"m": new_m, "h": taken, "denominator": denominator, "ratio": ratio, "update": update}
    found |= {"m_hat": m_hat} if corrected else {}
    found |= {"h_hat": due_h_hat} if due_h_hat is not None else {}
    found["clipped"] = [abs(r) > clip for r in ratio]
    return found | {"theta": each(lambda x, u: x - lr * u, decayed, update)}


def finite(vector):
    case = vector.case()
    given = [x for step in case.steps for x in (step.g, step.h_hat, step.sampled_grad) if x is not None]
    return all(np.isfinite(x).all() for fields in vector.expected for x in [*fields.values(), *given])


EXACTLY = [x for x in v.every() if x.verdict != "invalid" and finite(x)]


@pytest.mark.parametrize("vector", EXACTLY, ids=lambda x: x.id)
def test_what_must_come_out_is_the_exact_value_of_each_step_rounded(vector):
    """Each step from the numbers of the one before, in rational arithmetic, which shares nothing with the reference."""
    case = vector.case()
    zeros = np.zeros(case.theta.shape)
    theta, m, h = case.theta, zeros if case.m is None else case.m, zeros if case.h is None else case.h
    units, every = v.units_of(case, vector.expected), case.settings.get("every", 1)
    for i, fields in enumerate(vector.expected):
        t = case.t + i + 1
        due = None
        if case.profile in KINDS:
            first = {"1": 1, "k": every, "k+1": every + 1}[KINDS[case.profile][2]]
            if t >= first and (t - first) % every == 0:
                due = estimate_of(case.steps[i], theta, case.theta.shape)
                due = exact(fields["h_hat"]) if due is None else due
            assert ("h_hat" in fields) == (due is not None)
        found = one_step(case, i, theta, m, h, due)
        assert set(found) == set(fields)
        for name, x in fields.items():
            free = vector.free[i].get(name, np.zeros(x.shape, bool)).ravel()
            assert x.dtype == (bool if name == "clipped" else case.dtype)
            for got, want, unit, anything in zip(
                x.ravel(), found[name], (units[i][name] if name != "clipped" else x).ravel(), free, strict=True
            ):
                if name == "clipped":
                    assert anything or bool(got) == want
                else:
                    allowed = max(vector.ulps[name], 1e-30) * Fraction(float(unit))
                    assert anything or abs(Fraction(float(got)) - want) <= allowed, (i, name, float(got), float(want))
        theta, m, h = fields["theta"], fields["m"], fields.get("h", fields.get("v", h))


def test_hardly_a_vector_is_left_out_of_that():
    assert len(EXACTLY) > 0.9 * sum(x.verdict != "invalid" for x in v.every())


@pytest.mark.parametrize(
    "vector",
    [x for x in v.every() if any(step.gnb for step in x.case().steps) and x.verdict == "valid"],
    ids=lambda x: x.id,
)
def test_gnb_estimates_are_B_times_the_square_of_a_mean_gradient_by_finite_differences(vector):
    case = vector.case()
    theta = case.theta.astype(np.float64).ravel()
    for step, fields in zip(case.steps, vector.expected, strict=True):
        gnb = step.gnb
        rows = gnb["mask"].astype(bool)

        def loss(theta, gnb=gnb, rows=rows):
            outputs = gnb["x"].astype(np.float64)[rows] @ theta.reshape(gnb["x"].shape[1], -1)
            labels = gnb["labels"][rows]
            if gnb["likelihood"] == "gaussian":
                return ((outputs - labels) ** 2).sum(-1).mean() / 2
            top = outputs.max(-1)
            return (
                top + np.log(np.exp(outputs - top[:, None]).sum(-1)) - outputs[np.arange(len(labels)), labels]
            ).mean()

        e = 1e-6 * np.eye(theta.size)
        g = np.array([(loss(theta + d) - loss(theta - d)) / 2e-6 for d in e])
        expected, scale = rows.sum() * g**2, np.abs(fields["h_hat"]).max()
        np.testing.assert_allclose(fields["h_hat"].ravel(), expected, rtol=1e-4, atol=1e-7 * scale)
        theta = fields["theta"].astype(np.float64).ravel()
