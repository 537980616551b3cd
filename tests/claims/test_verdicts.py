"""Verdicts are functions of numbers: made-up numbers with a known answer."""

import pytest

from sophia_ref.claims import (
    clipping_ablation,
    domains,
    estimator_ablation,
    estimators,
    frequency,
    gamma,
    half_the_steps,
    hessian_cost,
    heterogeneous,
    learning_rate,
    norm_clipping,
    overhead,
    saddle,
    scale,
    spread,
    where,
    wrong_curvature,
)
from sophia_ref.claims.claim import (
    MAP,
    NO,
    NOT,
    OPEN,
    PARTLY,
    REPRODUCED,
    UNDERPOWERED,
    YES,
    Verdict,
    above,
    answer,
    combine,
)

BELOW, ABOVE, BOTH = [-0.2, -0.3, -0.1], [0.2, 0.1, 0.3], [0.0, -0.1, 0.1]
OUTCOMES = {REPRODUCED: (BELOW, BELOW), PARTLY: (BELOW, ABOVE), NOT: (ABOVE, BOTH), UNDERPOWERED: (BOTH, BOTH)}
each_outcome = pytest.mark.parametrize(("outcome", "pair"), OUTCOMES.items(), ids=list(OUTCOMES))
SOPHIAS = ("SophiaH", "SophiaG")


def flip(interval):
    value, low, high = interval
    return [-value, -high, -low]


def test_an_interval_answers_where_it_lies_on_one_side():
    assert [answer(x) for x in (BELOW, ABOVE, BOTH)] == [YES, NO, OPEN]
    assert answer(ABOVE, 0.3) == YES
    assert [above(x) for x in (BELOW, ABOVE, BOTH)] == [NO, YES, OPEN]
    assert above(ABOVE, 0.1) == OPEN  # it ends at the threshold
    assert answer([None, None, None]) == OPEN


@pytest.mark.parametrize(
    ("answers", "outcome"),
    [
        ([YES, YES], REPRODUCED),
        ([YES, OPEN], PARTLY),
        ([YES, NO], PARTLY),
        ([NO, NO], NOT),
        ([NO, OPEN], NOT),
        ([NO, OPEN, OPEN], UNDERPOWERED),
        ([YES, *[NO] * 9], NOT),  # one in ten comes by chance
        ([YES, YES, *[NO] * 9], PARTLY),
        ([YES, *[OPEN] * 6, *[NO] * 5], UNDERPOWERED),
        ([OPEN], UNDERPOWERED),
    ],
)
def test_answers_combine(answers, outcome):
    assert combine(answers) == outcome


def test_a_verdict_counts_its_answers_and_a_map_has_none():
    verdict = Verdict([YES, NO, NO, OPEN], "why.", "regime")
    assert (verdict.outcome, verdict.counts) == (PARTLY, "1 of 4 as claimed, 2 not, 1 open")
    assert Verdict([], "why.", "regime").outcome == MAP


def test_no_answer_is_no_verdict():
    with pytest.raises(ValueError, match="answers: none"):
        combine([])


@each_outcome
def test_half_the_steps(outcome, pair):
    rows = [
        {"method": m, "steps": 8, "against_double": d, "against_same": BELOW, "time": 1.05, "ends": [0.5, 2.0],
         "speedup": {0.2: [0.6, 0.5, 0.7], -0.2: [2.0, 1.95, 2.0], 0.0: [1.5, 1.0, 2.0]}[d[0]]}
        for m, d in zip(SOPHIAS, pair, strict=True)
    ]  # fmt: skip
    rows.append(rows[0] | {"method": "Lion", "against_double": ABOVE})  # is not on trial
    verdict = half_the_steps.verdict({"lengths": [8], "judged": rows, "trends": dict.fromkeys(SOPHIAS, ABOVE)})
    assert verdict.outcome == outcome
    assert verdict.answers[:2] == verdict.answers[2:]  # in steps and in time
    if outcome == PARTLY:
        assert "worth is ≥ 2.00 [1.95, ≥ 2.00] of AdamW's" in verdict.why


def test_half_the_steps_in_more_than_half_the_time_is_not_half_the_time():
    row = {"steps": 8, "against_double": BELOW, "against_same": BELOW, "ends": [0.5, 2.0], "speedup": [2.0, 2.0, 2.0]}
    rows = [{"method": m, "time": time, **row} for m, time in zip(SOPHIAS, (1.05, 1.2), strict=True)]
    verdict = half_the_steps.verdict({"lengths": [8], "judged": rows, "trends": dict.fromkeys(SOPHIAS, ABOVE)})
    assert verdict.answers == [YES, YES, YES, NO]
    assert verdict.outcome == PARTLY


def test_as_good_within_the_margin_is_as_good():
    near = [0.002, -0.004, 0.009]
    row = {"steps": 8, "against_double": near, "against_same": BELOW, "ends": [0.5, 2.0], "speedup": [2.0, 1.9, 2.0]}
    rows = [{"method": m, "time": 1.0, **row} for m in SOPHIAS]
    verdict = half_the_steps.verdict({"lengths": [8], "judged": rows, "trends": dict.fromkeys(SOPHIAS, ABOVE)})
    assert verdict.outcome == REPRODUCED


@each_outcome
def test_frequency(outcome, pair):
    rows = [
        {"method": m, "every": k, "steps": 5, "loss": [1.0 + k / 100, 0.9, 1.2], "ten_minus_this": d}
        for m, d in zip(SOPHIAS, pair, strict=True)
        for k in (1, 10)
    ]
    verdict = frequency.verdict({"rows": rows})
    assert verdict.outcome == outcome
    assert "best with k = 1 " in verdict.why


@each_outcome
def test_wrong_curvature(outcome, pair):
    rows = [
        {"method": m, "kind": "noise", "level": 1.0, "clipped": BOTH, "unclipped": ABOVE, "saved": flip(d),
         "diverged": [0, 0]}
        for m, d in zip(SOPHIAS, pair, strict=True)
    ]  # fmt: skip
    assert wrong_curvature.verdict({"rows": rows, "steps": 8}).outcome == outcome


def test_clipping_guards_where_runs_diverge_only_without_it():
    row = {"saved": [None, None, None], "diverged": [0, 2]}
    assert wrong_curvature.guarded(row) == YES
    assert wrong_curvature.guarded(row | {"diverged": [2, 2]}) == OPEN


@pytest.mark.parametrize(
    ("newton", "unclipped", "clipped", "outcome"),
    [(0.28, 0.1, 0.0, REPRODUCED), (0.28, 0.0, 0.0, PARTLY), (0.0, 0.0, 0.2, NOT)],
)
def test_saddle(newton, unclipped, clipped, outcome):
    def share(saddle):
        return {"minimum": 1 - saddle, "saddle": saddle, "maximum": 0.0, "nowhere": 0.0, "diverged": 0.0}

    rules = ("Newton", "Newton, small steps", "Newton by coordinates", "Sophia unclipped", "Sophia")
    shares = dict(zip(rules, map(share, (newton, newton, newton, unclipped, clipped)), strict=True))
    verdict = saddle.verdict({"shares": {"sophia_fig2": shares}, "grid": [8, 8]})
    assert verdict.outcome == outcome
    assert f"Newton {newton:.1%}" in verdict.why


@pytest.mark.parametrize(("full", "gnb", "outcome"), [(9e4, 0.5, REPRODUCED), (9e4, 5.0, PARTLY), (2.0, 5.0, NOT)])
def test_hessian_cost(full, gnb, outcome):
    names = ["full", "Hutchinson", "GNB, half of the batch"]
    ways = [{"name": n, "measured": x} for n, x in zip(names, (full, 3.0, gnb), strict=True)]
    assert hessian_cost.verdict({"ways": ways, "parameters": 10}).outcome == outcome


@pytest.mark.parametrize(
    ("grows", "outcome"),
    [
        ({"GradientDescent", "SignGD", "Adam", "rotated Adam"}, REPRODUCED),
        ({"GradientDescent", "SignGD", "Adam", "rotated Adam", "rotated Sophia"}, PARTLY),
        ({"Sophia", "Newton", "rotated Sophia"}, NOT),
    ],
)
def test_heterogeneous(grows, outcome):
    rows = [
        {"method": m, "rotated": rotated, "condition": c,
         "median": None if ("rotated " * rotated + m) in grows and c > 1 else 5.0}
        for m in heterogeneous.SPACES
        for rotated in (False, True)
        for c in (1.0, 1e6)
    ]  # fmt: skip
    assert heterogeneous.verdict({"rows": rows, "conditions": [1.0, 1e6]}).outcome == outcome


@pytest.mark.parametrize(
    ("slopes", "last", "outcome"),
    [
        ((ABOVE, ABOVE), ABOVE, REPRODUCED),
        ((ABOVE, ABOVE), BELOW, PARTLY),  # a deficit that shrinks
        ((ABOVE, BOTH), ABOVE, PARTLY),
        ((BELOW, BOTH), ABOVE, NOT),
        ((BOTH, BOTH), ABOVE, UNDERPOWERED),
    ],
)
def test_scale(slopes, last, outcome):
    trends = {m: {"slope": s, "gains": [BOTH, last]} for m, s in zip(SOPHIAS, slopes, strict=True)}
    assert scale.verdict({"trends": trends, "sizes": [10, 100], "steps": 8}).outcome == outcome


@each_outcome
def test_domains(outcome, pair):
    rows = [
        {"task": t, "method": m, "steps": 8, "minus_adamw": d}
        for m, d in zip(SOPHIAS, pair, strict=True)
        for t in ("digits", "captions")
    ]
    assert domains.verdict({"rows": rows}).outcome == outcome


@pytest.mark.parametrize(("bias", "fisher", "outcome"), [(0.0, 3.0, REPRODUCED), (0.0, 0.0, PARTLY), (0.4, 0.0, NOT)])
def test_estimators(bias, fisher, outcome):
    def row(name, value):
        return {"name": name, "bias": [value, value - 0.01, value + 0.01], "error": 2.0}

    rows = [row("Hutchinson", bias), row("Rademacher", bias), row("GNB", bias), row("empirical Fisher", fisher)]
    numbers = {"stages": {"trained": {"rows": rows, "apart": 0.5}}, "parameters": 9, "predictions": 9, "draws": 9}
    assert estimators.verdict(numbers).outcome == outcome


@each_outcome
def test_estimator_ablation(outcome, pair):
    order = [{"better": "SophiaG", "worse": "SophiaE", "minus": d} for d in pair]
    rows = [{"method": "SophiaE", "loss": [2.0, 1.9, 2.1]}, {"method": "SophiaG", "loss": [None, None, None]}]
    verdict = estimator_ablation.verdict({"order": order, "rows": rows, "steps": 8})
    assert verdict.outcome == outcome


@each_outcome
def test_clipping_ablation(outcome, pair):
    def row(method, minus, diverged=0):
        return {"method": method, "loss": [1.0, 0.9, 1.1], "minus_clipped": minus, "minus_signum": BOTH,
                "diverged": diverged}  # fmt: skip

    rows = []
    for base, d in zip(SOPHIAS, pair, strict=True):
        rows += [row(base, BOTH)] + [row(base + option, flip(d)) for option in ("/clip=off", "/clip=off/floor")]
    assert clipping_ablation.verdict({"rows": rows, "seeds": 5, "steps": 8}).outcome == outcome


def test_a_rule_that_diverges_without_clipping_is_unstable():
    rows = []
    for base in SOPHIAS:
        for option in ("", "/clip=off", "/clip=off/floor"):
            loss, diverged = ([None] * 3, 3) if option else ([1.0] * 3, 0)
            rows.append({"method": base + option, "loss": loss, "minus_clipped": [None] * 3, "minus_signum": BOTH,
                         "diverged": diverged})  # fmt: skip
    assert clipping_ablation.verdict({"rows": rows, "seeds": 5, "steps": 8}).outcome == REPRODUCED


@each_outcome
def test_norm_clipping(outcome, pair):
    rows = [
        {"method": m, "steps": 8, "share": [0.1, 0.0, 0.2], "minus_adamw": d}
        for m, d in zip(SOPHIAS, pair, strict=True)
    ]
    assert norm_clipping.verdict({"rows": rows}).outcome == outcome


@each_outcome
def test_learning_rate(outcome, pair):
    rows = [
        {"method": m, "octaves": [3.0, 2.0, 4.0], "more_than_adamw": flip(d), "diverged": [0, 1]}
        for m, d in zip(SOPHIAS, pair, strict=True)
    ]
    verdict = learning_rate.verdict({"rows": rows, "steps": 8})
    assert verdict.outcome == outcome
    assert "Runs diverged with Sophia-H, Sophia-G" in verdict.why


def test_octaves_are_counted_by_lines_between_factors():
    import numpy as np

    # at factors 1/8 .. 16: within 0.1 of the best at four factors, and leaving it half-way to the next on each side
    losses = np.array([[[9.0, 2.2, 2.0, 2.0, 2.05, 2.0, 2.2, np.inf]]])
    assert np.isclose(learning_rate.octaves(losses), 3 + 0.5 + 0.5)


@pytest.mark.parametrize(
    ("steep", "best_share", "outcome"), [(0.0, 0.3, REPRODUCED), (0.3, 0.3, PARTLY), (0.3, 0.9, NOT)]
)
def test_gamma(steep, best_share, outcome):
    rows = []
    for method in SOPHIAS:
        for i, g in enumerate((0.01, 0.04, 0.16, 0.64)):
            inside = (best_share <= 0.5) == (i < 3)
            rows.append({"method": method, "beta2": 0.99, "gamma": g, "unclipped": 0.3 if inside else 0.9,
                         "loss": [1 + steep * abs(i - 1) + 0.001 * (i - 1) ** 2] * 3})  # fmt: skip
    assert gamma.verdict({"rows": rows, "steps": 8}).outcome == outcome


@pytest.mark.parametrize(
    ("over", "peak", "outcome"),
    [([0.04, 0.03, 0.05], 6.0, REPRODUCED), ([0.2, 0.1, 0.3], 6.0, PARTLY), ([0.2, 0.1, 0.3], 9.0, NOT)],
)
def test_overhead(over, peak, outcome):
    rows = [
        {"parameters": 9, "method": m, "overhead": over, "peak": 6.0 if m == "AdamW" else peak}
        for m in ("AdamW", *SOPHIAS)
    ]
    assert overhead.verdict({"rows": rows, "batch": 4}).outcome == outcome


@pytest.mark.parametrize(("decades", "outcome"), [((4.0, 3.0), REPRODUCED), ((4.0, 1.0), PARTLY), ((1.0, 1.0), NOT)])
def test_spread(decades, outcome):
    rows = [{"stage": i, "decades": d, "negative": 0.2} for i, d in enumerate(decades)]
    assert spread.verdict({"rows": rows, "parameters": 9}).outcome == outcome


@each_outcome
def test_where(outcome, pair):
    cell = {"exponent": 1.0, "tokens": 64, "steps": 8, "speedup": [1.25, 0.5, 2.0]}
    cells = [cell | {"method": m, "minus_adamw": d} for m, d in zip(SOPHIAS, pair, strict=True)]
    numbers = {"cells": cells, "quadratic": [{"minus_adamw": d} for d in pair], "lengths": [4, 8, 16]}
    verdict = where.verdict(numbers)
    assert verdict.outcome == outcome
    assert ("1.25" in verdict.why) == (BELOW in pair)
