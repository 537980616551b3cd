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
    quadratic,
    saddle,
    scale,
    spread,
    where,
    wrong_curvature,
)
from sophia_ref.claims.budgets import FULL, TINY
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
from sophia_ref.claims.methods import cost_a_step, parsed
from sophia_ref.claims.runs import POINTS, Result
from sophia_ref.claims.statistics import Tuned
from sophia_ref.claims.tuning import text_arm

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
    assert "it is better in 2, worse in 0 and not told apart in 0." in verdict.why


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


def frequency_numbers(pair, signum=BELOW, minus_best=BOTH):
    rows = [
        {"method": m, "length": 8, "every": k, "minus_best": minus_best, "ten_minus_this": signum if k == 0 else d}
        for m, d in zip(SOPHIAS, pair, strict=True)
        for k in (1, 10, frequency.NEVER)
    ]
    return {"rows": rows, "lengths": [8]}


@each_outcome
def test_frequency(outcome, pair):
    verdict = frequency.verdict(frequency_numbers(pair))
    assert verdict.outcome == outcome
    assert len(verdict.answers) == 2  # neither k = 10 itself nor Signum is on trial
    assert ("Sophia-G, T = 8: k = 1 is better" in verdict.why) == (outcome == PARTLY)  # what k = 10 loses is named


def test_every_k_that_is_not_told_apart_from_the_best_is_named():
    numbers = frequency_numbers((BOTH, BOTH))
    for row, minus in zip(numbers["rows"], ([0, 0, 0], [0.03, 0.005, 0.06], BOTH, ABOVE, [0, 0, 0], BOTH), strict=True):
        row["minus_best"] = minus
    assert frequency.as_good_as_the_best(numbers, "SophiaH", 8) == [1, 10]  # worse, but perhaps by less than TOLERANCE
    assert frequency.as_good_as_the_best(numbers, "SophiaG", 8) == [10]
    assert frequency.headline(numbers) == (
        "not shown to be worse than the best k at T = 8: Sophia-H k = 1, 10; Sophia-G k = 10"
    )


@pytest.mark.parametrize(("signum", "worse"), [(BELOW, 2), (BOTH, 0), (ABOVE, 0)])
def test_where_signum_is_as_good_the_frequency_may_not_matter(signum, worse):
    why = frequency.verdict(frequency_numbers((BELOW, BELOW), signum)).why
    assert f"is worse than k = 10 for the same cost in {worse} of 2 comparisons" in why
    assert ("curvature does not matter" in why) == (worse < 2)


def test_arms_of_equal_cost_cost_the_same():
    for length in FULL.ablated:
        for method in SOPHIAS:
            arms = [frequency.arm(FULL, method, k, length) for k in (*frequency.EVERY, frequency.NEVER)]
            costs = [arm.steps * cost_a_step(arm.method, arm.batch) for arm in arms]
            assert max(costs) - min(costs) < 2  # gradients: steps are whole
            assert arms[3] == text_arm(FULL, method, length)  # the arm of the other claims
            assert arms[-1].method == "Signum"


WRONG = {"method": "SophiaH", "steps": 8, "kind": "noise", "level": 1.0, "clipped": BOTH, "unclipped": ABOVE,
         "diverged": [0, 0], "diverged_clean": [0, 0]}  # fmt: skip


@each_outcome
def test_wrong_curvature(outcome, pair):
    rows = [WRONG | {"method": m, "saved": flip(d)} for m, d in zip(SOPHIAS, pair, strict=True)]
    clean = [{"method": m, "steps": 8, "unclipped_minus_clipped": d} for m, d in zip(SOPHIAS, pair, strict=True)]
    verdict = wrong_curvature.verdict({"rows": rows, "clean": clean, "lengths": [8]})
    assert verdict.outcome == outcome
    assert f"is better than the clipped one in {pair.count(BELOW)} of 2" in verdict.why


def test_where_clipping_diverges_without_harm_to_the_other_the_sentence_says_so():
    rows = [WRONG | {"saved": ABOVE}, WRONG | {"saved": BOTH, "unclipped": BOTH, "diverged": [1, 0]}]
    clean = [{"method": m, "steps": 8, "unclipped_minus_clipped": BOTH} for m in SOPHIAS]
    for given, words in ((rows, "but for 1 in which more runs diverged with clipping."), (rows[:1], "are open. ")):
        verdict = wrong_curvature.verdict({"rows": given, "clean": clean, "lengths": [8]})
        assert "Of those 1, clipping saved" in verdict.why
        assert words in verdict.why


def test_where_nothing_is_harmed_nothing_can_be_saved():
    clean = [{"method": m, "steps": 8, "unclipped_minus_clipped": BOTH} for m in SOPHIAS]
    numbers = {"rows": [WRONG | {"saved": ABOVE, "unclipped": BOTH}], "clean": clean, "lengths": [8]}
    verdict = wrong_curvature.verdict(numbers)
    assert verdict.outcome == UNDERPOWERED
    assert (
        "in 0 of 1 settings. So there is nothing shown that clipping could save it from, and all are open. "
        in verdict.why
    )
    assert (
        wrong_curvature.headline(numbers)
        == "wrong estimates are shown to harm the unclipped rule in none of 1 settings"
    )


def test_harm_to_the_clipped_rule_counts_too_and_a_rule_without_curvature_is_told():
    rows = [WRONG | {"saved": BOTH, "unclipped": [0.0, -0.0004, 0.0], "clipped": ABOVE}, WRONG | {"saved": BOTH}]
    clean = [{"method": m, "steps": 8, "unclipped_minus_clipped": BOTH} for m in SOPHIAS]
    why = wrong_curvature.verdict({"rows": rows, "clean": clean, "lengths": [8]}).why
    assert "The clipped rule is shown to be harmed by more than 0.02 nats in 1; it lost most" in why
    assert "In 1 of 2 settings wrong estimates change the unclipped rule's loss by less than 0.001 nats" in why
    assert "no use of curvature" not in wrong_curvature.verdict({"rows": rows[1:], "clean": clean, "lengths": [8]}).why


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"saved": ABOVE}, YES),
        ({"saved": ABOVE, "unclipped": BOTH}, OPEN),  # nothing to be saved from
        ({"saved": BELOW, "unclipped": BELOW}, OPEN),
        ({"saved": ABOVE, "unclipped": [0.02, 0.01, 0.03]}, OPEN),  # not beyond HARM
        ({"saved": BOTH, "diverged": [0, 2]}, YES),
        ({"saved": BOTH, "diverged": [1, 2], "unclipped": BOTH}, YES),  # harm enough
        ({"saved": ABOVE, "diverged": [0, 2], "diverged_clean": [0, 2], "unclipped": BOTH}, OPEN),  # not by the error
        ({"saved": BOTH, "diverged": [2, 2]}, OPEN),
        ({"saved": ABOVE, "diverged": [2, 1]}, NO),
        ({"saved": BOTH, "diverged": [1, 0], "unclipped": BOTH}, NO),
    ],
)
def test_clipping_guards_only_where_there_is_harm_without_it(change, expected):
    assert wrong_curvature.guarded(WRONG | change) == expected


def test_harm_is_the_loss_above_that_of_the_same_seed_without_error():
    class Runs:
        """A loss that the seed, tuning's luck and the error make; unclipped, the error counts double."""

        def __getitem__(self, spec):
            _, options = parsed(spec.method)
            error = sum(float(options.get(kind, 0)) for kind in wrong_curvature.WRONG)
            luck = sum(dict(spec.settings).values()) if spec.tuning else 0.1 * spec.seed
            loss = 2 + luck + error * (0.02 if "clip" in options else 0.01)
            return Result(loss, (None,) * POINTS, 1.0, 0.0, (1.0, 1.0, 1.0), 0.0, None)

    rows = wrong_curvature.measure(Runs(), TINY)["rows"]
    assert len(rows) == 2 * 3 * 9
    for row in rows:  # the luck of tuning, which is large here, has no part in it
        assert row["clipped"] == pytest.approx([0.01 * row["level"]] * 3, rel=1e-4)
        assert row["saved"] == pytest.approx([0.01 * row["level"]] * 3, rel=1e-4)


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
    # what keeps Sophia from saddles is said only where the numbers have it so
    assert ("The floor under h keeps" in verdict.why) == (newton > 0 and unclipped == 0)
    assert "The clip keeps" not in verdict.why
    shares["Sophia unclipped"]["diverged"] = 0.3
    assert "The clip keeps" in saddle.verdict({"shares": {"sophia_fig2": shares}, "grid": [8, 8]}).why


def costs(full, gnb, window=(0.5, 0.4, 0.6)):
    ways = [
        {"name": name, "measured": list(measured), "counted": 0.2}
        for name, measured in (
            ("full Hessian, P products", full), ("Hutchinson", [3.0] * 3), (hessian_cost.WINDOW, window),
            ("GNB, half of the batch", gnb),
        )
    ]  # fmt: skip
    return hessian_cost.verdict({"ways": ways, "parameters": 10, "batch": 16, "window": 1})


@pytest.mark.parametrize(
    ("full", "gnb", "answers"),
    [
        ((9e4, 8e4, 1e5), (0.5, 0.4, 0.6), [YES, YES, YES]),
        ((9e4, 8e4, 1e5), (5.0, 4.0, 6.0), [YES, YES, NO]),
        ((2.0, 1.0, 3.0), (0.9, 0.7, 1.1), [NO, YES, OPEN]),  # the median alone would be cheap
    ],
)
def test_hessian_cost(full, gnb, answers):
    verdict = costs(full, gnb)
    assert verdict.answers == answers
    assert "is 1 window, which takes Hutchinson 2.5 times its count, most of it" in verdict.regime
    assert costs(full, gnb, window=(0.2, 0.1, 0.3)).regime.endswith("Hutchinson 1.0 times its count")


def bowls(steps, most=4000):
    """Made-up medians: (rotated, method) -> the steps at condition number 1, 1e3 and 1e6; 5 everywhere else."""
    rows = [
        {"method": m, "rotated": rotated, "condition": c, "median": n, "arrive": 0 if n is None else 5}
        for m in heterogeneous.SPACES
        for rotated in (False, True)
        for c, n in zip((1.0, 1e3, 1e6), steps.get((rotated, m), (5.0, 5.0, 5.0)), strict=True)
    ]
    return {"rows": rows, "conditions": [1.0, 1e3, 1e6], "most": most}


SLOW = (5.0, 50.0, None)


@pytest.mark.parametrize(
    ("steps", "outcome"),
    [
        (dict.fromkeys([(False, "GradientDescent"), (False, "SignGD"), (False, "Adam"), (True, "Adam")], SLOW),
         REPRODUCED),
        (dict.fromkeys([(False, "GradientDescent"), (False, "SignGD"), (True, "Adam"), (True, "Sophia")], SLOW),
         PARTLY),
        (dict.fromkeys([(False, "Sophia"), (False, "Newton"), (True, "Sophia")], SLOW), NOT),
    ],
)  # fmt: skip
def test_heterogeneous(steps, outcome):
    assert heterogeneous.verdict(bowls(steps)).outcome == outcome


def test_heterogeneous_compares_sophia_and_adam_at_every_condition_number():
    numbers = bowls({(True, "Sophia"): (4.0, 56.0, None), (True, "Adam"): (6.0, 42.0, None)})
    numbers["rows"][-1]["arrive"] = 2
    verdict = heterogeneous.verdict(numbers)
    assert "Axes aligned, Sophia takes as many steps as Adam; rotated" in verdict.why
    assert (
        "rotated, Sophia takes fewer steps than Adam at 1 (4 against 6) and more at 1000 (56 against 42)."
        in verdict.why
    )
    # where neither arrives, the last at which one does
    assert (
        heterogeneous.headline(numbers)
        == "steps with axes aligned, condition number 1e+06: Adam 5, Sophia 5; rotated, condition number 1000: "
        "Adam 42, Sophia 56"
    )
    assert heterogeneous._count(numbers["rows"][-1]) == "2 of 5 arrive"


def test_what_did_not_arrive_in_the_steps_that_were_tried_may_still_have_grown_little_or_much():
    grown = {
        most: heterogeneous.verdict(bowls({(True, "Adam"): (5.0, 5.0, None)}, most)).answers[5] for most in (20, 40)
    }
    assert grown == {20: OPEN, 40: YES}
    assert heterogeneous.verdict(bowls({(True, "Adam"): (None, None, None)})).answers[5] == OPEN


def largest(trial, loss):
    """Losses of the largest model: AdamW's are 1.5 and 2, Sophia's as given."""
    own = {"AdamW": (1.5, 2.0), **dict.fromkeys(SOPHIAS, (trial, loss))}
    return [{"method": m, "steps": 8, "size": 100_000, "trial": t, "loss": [x, x, x]} for m, (t, x) in own.items()]


@pytest.mark.parametrize(("trial", "loss", "turned"), [(1.4, 2.1, True), (1.6, 2.1, False), (1.4, 1.9, False)])
def test_scale_says_where_the_seed_of_the_tuning_and_the_others_disagree(trial, loss, turned):
    rows = [{"method": m, "steps": 8, "slope": BOTH, "gains": [BOTH, BOTH]} for m in SOPHIAS]
    why = scale.verdict({"trends": rows, "sizes": [10, 100_000], "losses": largest(trial, loss)}).why
    assert f"have AdamW 1.500, Sophia-H {trial:.3f}" in why
    assert f"the other seeds have means of AdamW 2.000, Sophia-H {loss:.3f}" in why
    assert ("Sophia-H and Sophia-G" in why) == turned


@pytest.mark.parametrize(
    ("slopes", "last", "outcome"),
    [
        ((ABOVE, ABOVE), ABOVE, REPRODUCED),
        ((ABOVE, ABOVE), BELOW, NOT),  # a deficit that shrinks
        ((ABOVE, ABOVE), BOTH, UNDERPOWERED),
        ((ABOVE, BOTH), ABOVE, PARTLY),
        ((BELOW, BOTH), ABOVE, NOT),
        ((BOTH, BOTH), ABOVE, UNDERPOWERED),
    ],
)
def test_scale(slopes, last, outcome):
    rows = [{"method": m, "steps": 8, "slope": s, "gains": [BOTH, last]} for m, s in zip(SOPHIAS, slopes, strict=True)]
    verdict = scale.verdict({"trends": rows, "sizes": [10, 100_000], "losses": largest(2.0, 2.0)})
    assert verdict.outcome == outcome
    assert ("deficit" in verdict.why) == (last == BELOW)
    assert verdict.regime == "10, 100,000 parameters, T = 8 steps"


@pytest.mark.parametrize(
    ("slope", "last", "words"),
    [
        (ABOVE, ABOVE, scale.GROWS),
        (ABOVE, BELOW, scale.SHRINKS),
        (ABOVE, BOTH, scale.RISES),
        (BELOW, BELOW, scale.FALLS),
        (BOTH, BELOW, scale.UNCLEAR),
    ],
)
def test_what_an_advantage_does_with_size(slope, last, words):
    assert scale.course({"slope": slope, "gains": [ABOVE, last]}) == words


@each_outcome
def test_domains(outcome, pair):
    rows = [
        {"task": t, "method": m, "steps": 8, "minus_adamw": d}
        for m, d in zip(SOPHIAS, pair, strict=True)
        for t in ("digits", "captions")
    ]
    rows += [row | {"method": "Signum", "minus_adamw": BELOW} for row in rows]  # is not on trial
    assert domains.verdict({"rows": rows}).outcome == outcome


@pytest.mark.parametrize(("task", "answers"), [("digits", [OPEN, OPEN]), ("captions", [YES, NO])])
def test_what_other_images_could_turn_is_open(task, answers):
    small = [-0.01, -0.011, -0.009]
    rows = [{"task": task, "method": "SophiaH", "minus_adamw": d} for d in (small, flip(small))]
    assert [domains.better(row) for row in rows] == answers


@pytest.mark.parametrize(("bias", "fisher", "outcome"), [(0.0, 3.0, REPRODUCED), (0.0, 0.0, PARTLY), (0.4, 0.0, NOT)])
def test_estimators(bias, fisher, outcome):
    def row(name, value):
        return {"name": name, "bias": [value, value - 0.01, value + 0.01], "error": 2.0}

    rows = [row("Hutchinson", bias), row("Rademacher", bias), row("GNB", bias), row("empirical Fisher", fisher)]
    numbers = {"stages": {"trained": {"rows": rows, "apart": 0.5}}, "parameters": 9, "predictions": 9, "draws": 9}
    assert estimators.verdict(numbers).outcome == outcome


def test_estimators_tells_both_stages_and_the_correlation():
    row = {"name": "empirical Fisher", "error": 2.0, "enough": 16, "variance": None, "negative": 0.0}
    start = [row | {"bias": [0.6, 0.5, 0.7], "correlation": 0.774}]
    trained = [row | {"bias": [-0.05, -0.07, -0.03], "correlation": 0.992}]
    stages = {"start": {"rows": start, "apart": 1.0}, "trained": {"rows": trained, "apart": 0.5}}
    numbers = {"stages": stages, "parameters": 9, "predictions": 9, "draws": 9}
    verdict = estimators.verdict(numbers)
    assert verdict.answers == [YES, OPEN]
    assert "unbiased within 5% in 0 of 0 cases, and the empirical Fisher is biased by more in 1 of 2." in verdict.why
    said = "bias at the start empirical Fisher +60%; after training empirical Fisher -5%"
    assert estimators.headline(numbers) == said
    assert ["0.774", "0.992"] == [rows[0][3] for _, _, rows in estimators.tables(numbers)]


@each_outcome
def test_estimator_ablation(outcome, pair):
    order = [{"better": "SophiaG", "worse": "SophiaE", "minus": d, "margin": 0.0} for d in pair]
    rows = [{"method": m, "steps": t, "loss": [x, x, x]}
            for m, t, x in (("SophiaE", 8, 2.1), ("SophiaG", 8, 2.0), ("SophiaE", 4, 1.0))]  # fmt: skip
    verdict = estimator_ablation.verdict({"order": order, "rows": rows, "lengths": [4, 8]})
    assert verdict.outcome == outcome
    assert "at T = 8, the least first, which is no order where intervals overlap: Sophia-G 2.000, " in verdict.why


def test_at_least_as_good_has_a_margin_and_better_has_none():
    near = [0.002, -0.004, 0.009]
    order = [{"better": a, "worse": b, "minus": near, "margin": margin} for a, b, margin in estimator_ablation.ORDER]
    assert estimator_ablation.verdict({"order": order, "rows": [], "lengths": [8]}).answers == [YES, *[OPEN] * 4]


def clipping_numbers(pair, signs=(BELOW, BELOW), diverged=(0, 0)):
    rows = []
    for base, minus, sign in zip(SOPHIAS, pair, signs, strict=True):
        for option in clipping_ablation.ABLATED:
            rows.append({"method": base + option, "steps": 8, "minus_clipped": flip(minus) if option else [0, 0, 0],
                         "minus_signum": sign, "diverged": diverged[bool(option)]})  # fmt: skip
    return {"rows": rows, "seeds": 5, "lengths": [8]}


@each_outcome
def test_clipping_ablation(outcome, pair):
    assert clipping_ablation.verdict(clipping_numbers(pair, pair)).outcome == outcome


def test_clipping_alone_must_be_worse_than_sophia():
    verdict = clipping_ablation.verdict(clipping_numbers((BELOW, BELOW), (ABOVE, BOTH)))
    assert verdict.answers == [*[YES] * 4, NO, OPEN]
    assert "sign momentum, is worse than Sophia in 0 of 2 and better in 1" in verdict.why


@pytest.mark.parametrize(("diverged", "expected"), [((0, 1), YES), ((1, 1), NO), ((2, 1), NO), ((0, 0), NO)])
def test_a_rule_that_diverges_counts_if_the_clipped_one_does_so_less(diverged, expected):
    verdict = clipping_ablation.verdict(clipping_numbers((ABOVE, ABOVE), diverged=diverged))
    assert verdict.answers[:4] == [expected] * 4
    headline = clipping_ablation.headline(clipping_numbers((ABOVE, ABOVE), diverged=diverged))
    assert ("diverges with" in headline) == (expected == YES)
    assert "Signum: +0.200 [+0.100, +0.300] nats" in headline  # of Sophia's loss minus Signum's the other sign


def norm_numbers(sophia, adamw, minus=BELOW, trials=(0.01, 0.1, 0.84)):
    rows = [
        {"method": m, "steps": 8, "share": [share, share - 0.01, share + 0.01], "minus_adamw": minus, "trials": trials}
        for m, share in (("AdamW", adamw), *((m, sophia) for m in SOPHIAS))
    ]
    return {"rows": rows, "lengths": [8]}


@pytest.mark.parametrize(
    ("sophia", "adamw", "minus", "outcome"),
    [
        (0.02, 0.7, BELOW, REPRODUCED),
        (0.02, 0.1, BELOW, PARTLY),  # less often, but AdamW's is not clipped most of the time
        (0.2, 0.7, BELOW, PARTLY),
        (0.2, 0.1, ABOVE, NOT),
        (0.05, 0.5, BOTH, UNDERPOWERED),
    ],
)
def test_norm_clipping(sophia, adamw, minus, outcome):
    verdict = norm_clipping.verdict(norm_numbers(sophia, adamw, minus))
    assert verdict.outcome == outcome
    assert len(verdict.answers) == 2 + 1 + 2


def test_half_of_adamws_share_is_not_hardly_ever():
    assert norm_clipping.verdict(norm_numbers(0.2, 0.4)).answers == [NO, NO, NO, YES, YES]


@pytest.mark.parametrize(
    ("trials", "words"),
    [
        ([0.01, 0.1, 0.84], "settings more than on the method: over the trials"),
        ([0.01, 0.1, 0.4], "depends on the settings: over the trials"),
        ([0.01, 0.02, 0.03], "it differs by 2.0% at most"),
        ([None] * 3, "it differs by 0.0% at most"),
    ],
)
def test_that_the_share_depends_on_the_settings_is_said_where_it_does(trials, words):
    assert words in norm_clipping.verdict(norm_numbers(0.1, 0.7, trials=trials)).why


def learning_rates(pair, sophia=(False, False), adamw=(False, False)):
    rows = [
        {"method": m, "steps": 8, "octaves": [3.0, 2.0, 4.0], "more_than_adamw": flip(d), "diverged": [0, 1],
         "ends": list(adamw if m == "AdamW" else sophia), "losses": [[2 + 0.1 * abs(j - 4)] * 3 for j in range(9)]}
        for m, d in zip(learning_rate.METHODS, (BOTH, BOTH, BOTH, *pair), strict=True)
    ]  # fmt: skip
    return {"rows": rows, "lengths": [8], "seeds": 5}


@each_outcome
def test_learning_rate(outcome, pair):
    verdict = learning_rate.verdict(learning_rates(pair))
    assert verdict.outcome == outcome
    assert "Of 45 runs each diverged: AdamW 1, Lion 1" in verdict.why


def test_a_range_that_goes_on_beyond_what_was_tried_is_at_least_as_wide_and_leaves_open_what_its_rest_could_turn():
    wider, narrower = [learning_rates([d, d], sophia=(True, False)) for d in (BELOW, ABOVE)]
    assert (learning_rate.verdict(wider).answers, learning_rate.verdict(narrower).answers) == ([YES] * 2, [OPEN] * 2)
    wider, narrower = [learning_rates([d, d], adamw=(False, True)) for d in (BELOW, ABOVE)]
    assert (learning_rate.verdict(wider).answers, learning_rate.verdict(narrower).answers) == ([OPEN] * 2, [NO] * 2)
    assert learning_rate.headline(wider) == "usable octaves at T = 8: AdamW ≥ 3.0, Sophia-H 3.0, Sophia-G 3.0"


def test_that_another_learning_rate_is_better_is_said():
    numbers = learning_rates((BOTH, BOTH))
    assert "tuning of all claims" not in learning_rate.verdict(numbers).why
    numbers["rows"][1]["losses"][7] = [1.875] * 3
    said = (
        "has the least mean in 1 of 5 rows, by up to 0.125 nats (Lion, T = 8): so coarse is the tuning of all claims."
    )
    assert said in learning_rate.verdict(numbers).why


def test_octaves_are_counted_by_lines_between_factors():
    import numpy as np

    # at factors 1/16 .. 16: within 0.1 of the best at four factors, and leaving it half-way to the next on each side
    means = np.array([[9.0, 9.0, 2.2, 2.0, 2.0, 2.05, 2.0, 2.2, 10.0]])
    assert np.isclose(learning_rate.octaves(means), 3 + 0.5 + 0.5)
    assert np.isclose(learning_rate.FACTORS[0] * learning_rate.FACTORS[-1], 1)  # as far down as up


GAMMA_SHARES = [0.9, 0.7, 0.3, 0.2, 0.05, 0.01] * 3  # the third and the fourth gamma obey the rule


def gammas(steep=0.0, memory=0.0, noise=0.001, at=2, shares=GAMMA_SHARES):
    """The verdict on losses that rise by `steep` for each factor of 4 in gamma from place `at` on, and by `memory` for
    each beta2, each seed off by up to `noise`."""
    import numpy as np

    from sophia_ref.claims.statistics import Tuned

    rng = np.random.default_rng(0)
    own = [
        Tuned(1 + steep * abs(j - at) + memory * i + noise * rng.uniform(-1, 1, 5)) for i in range(3) for j in range(6)
    ]
    judged = [{"method": m, "steps": 8, **gamma.compared(own, np.array(shares))} for m in SOPHIAS]
    return gamma.verdict({"judged": judged, "lengths": [8]})


@pytest.mark.parametrize(
    ("made", "answers", "outcome"),
    [
        (gammas(steep=0.015), [YES, YES, YES, YES], REPRODUCED),
        (gammas(steep=0.1), [NO, YES, YES, YES], PARTLY),
        (gammas(steep=0.015, memory=0.1), [YES, NO, YES, YES], PARTLY),
        (gammas(steep=0.1, memory=0.1, at=5), [NO, NO, NO, OPEN], NOT),
        (gammas(noise=0.3), [OPEN, OPEN, OPEN, OPEN], UNDERPOWERED),  # means alone would have an answer
        (gammas(steep=0.1, memory=0.1, shares=[0.9] * 18), [NO, NO, NO, OPEN], NOT),  # none obeys
    ],
    ids=["flat", "steep", "memory", "outside", "noise", "none"],
)
def test_gamma(made, answers, outcome):
    assert made.answers == answers * 2
    assert made.outcome == outcome


def test_gamma_has_its_intervals_in_a_few_words():
    rows = [{"method": "SophiaH", "steps": t, "flat": ABOVE, "memory": BOTH} for t in (4, 8)]
    said = "Sophia-H 0.200 [0.100, 0.300] over a factor of 4 in gamma, 0.000 [-0.100, 0.100] over beta2"
    assert gamma.headline({"judged": rows, "lengths": [4, 8]}) == f"nats lost at T = 8: {said}"


def test_gamma_says_where_the_best_has_one_neighbour():
    assert "compared to one side" not in gammas(steep=0.1).why
    assert "compared to one side" in gammas(steep=0.1, at=5).why


@pytest.mark.parametrize(
    ("over", "peak", "outcome"),
    [([0.04, 0.03, 0.05], 6.0, REPRODUCED), ([0.2, 0.1, 0.3], 6.0, PARTLY), ([0.2, 0.1, 0.3], 9.0, NOT)],
)
def test_overhead(over, peak, outcome):
    rows = [
        {"parameters": 9, "method": m, "overhead": over, "state": i + 2.0, "peak": 6.0 if m == "AdamW" else peak}
        for i, m in enumerate(("AdamW", *SOPHIAS))
    ]
    verdict = overhead.verdict({"rows": rows, "batch": 4})
    assert verdict.outcome == outcome
    assert "AdamW 2, Sophia-H 3, Sophia-G 4" in verdict.why
    larger = [row | {"parameters": 99, "overhead": [0.01, 0.0, 0.02]} for row in rows]
    ends = overhead.headline({"rows": rows + larger})  # where it costs most is not left out
    assert ends.startswith(f"at 9 parameters Sophia-H {over[0]:+.1%} [")
    assert "; at 99 parameters Sophia-H +1.0% [+0.0%, +2.0%]" in ends


@pytest.mark.parametrize(("decades", "outcome"), [((4.0, 3.0), REPRODUCED), ((4.0, 1.0), PARTLY), ((1.0, 1.0), NOT)])
def test_spread(decades, outcome):
    rows = [{"stage": i, "decades": d, "negative": 0.2} for i, d in enumerate(decades)]
    assert spread.verdict({"rows": rows, "parameters": 9}).outcome == outcome


def cell(minus, speedup, **more):
    return {"minus_adamw": minus, "speedup": [speedup] * 3, "cost": 1.2, "worse": False, "idle": False, **more}


@pytest.mark.parametrize(
    ("minus", "speedup", "answer"),
    [
        (BELOW, 1.5, YES),
        (ABOVE, 0.5, NO),
        (BOTH, 1.5, OPEN),
        (BELOW, 0.8, OPEN),
        (ABOVE, 1.2, OPEN),
        (BELOW, 1.0, OPEN),
    ],
)
def test_a_cell_counts_where_loss_and_speed_up_agree(minus, speedup, answer):
    assert where.wins(cell(minus, speedup)) == answer


def test_a_map_counts_wins_and_losses_and_says_where_most_are():
    at = [("SophiaH", 0.0, BELOW, 1.5), ("SophiaH", 1.0, BELOW, 1.1), ("SophiaG", 0.0, ABOVE, 0.5),
          ("SophiaG", 1.0, BELOW, 0.8)]  # fmt: skip
    language = [cell(m, s, method=name, exponent=x, tokens=64, steps=8) for name, x, m, s in at]
    other = {"axes": "aligned", "condition": 1.0, "noise": 0.0}
    quadratics = [cell(BOTH, 1.0, steps=16, **other), cell(ABOVE, 0.5, idle=True, steps=32, **other)]
    numbers = {"cells": language, "quadratic": quadratics, "trials": {"language": 8, "quadratic": 64}}
    verdict = where.verdict(numbers)
    assert verdict.outcome == MAP
    assert verdict.why == (
        "On the language Sophia is faster than AdamW in 2 of 4 cells and slower in 1; for the cost of its steps "
        "too, beyond the interval, in 1 of the 2; wins are nowhere more frequent than with Sophia-H (2 of 2 cells); "
        "losses are nowhere more frequent than with Sophia-G (1 of 2 cells). On the quadratic Sophia is faster "
        "than AdamW in 0 of 2 cells and slower in 1; in 1 of the 1 AdamW has learned next to nothing; losses are "
        "nowhere more frequent than with 32 steps (1 of 1 cells)."
    )
    assert "language: T = 8 steps, 8 trials" in verdict.regime
    assert "quadratic: T = 16, 32 steps, 64 trials" in verdict.regime


def test_a_win_for_its_cost_is_one_beyond_the_interval_and_one_over_a_failed_run_is_told():
    at = {"method": "SophiaH", "exponent": 0.0, "tokens": 64, "steps": 8}
    sure = cell(BELOW, 1.5, **at)  # its cost is 1.2
    told = [where.told("language", [sure, sure | change]) for change in ({"speedup": [1.5, 1.1, 2.0]}, {"worse": True})]
    assert "for the cost of its steps too, beyond the interval, in 1 of the 2;" in told[0]
    assert "in 1 of the 2 wins AdamW does worse than in a shorter run of its own" in told[1]
    assert "shorter run" not in told[0]


def test_a_map_marks_what_adamw_fails_at():
    adamw = [Tuned([x] * 5) for x in (1.459, 1.43)]  # at exponent 0, of 1.473 at the start
    found = [quadratic.compared(Tuned([1.4] * 5), steps, (1, 2), adamw, 0.98 * 1.473) for steps in (1, 2)]
    assert [where.marks(row) for row in found] == ["°", ""]
    assert where.marks(cell(BELOW, 2.0, worse=True)) == "†"


def test_adamw_is_worse_where_a_shorter_run_of_its_own_is_better():
    adamw = [Tuned([x] * 5) for x in (0.3, 0.2, 0.25, 0.1)]
    found = [quadratic.compared(Tuned([0.22] * 5), steps, (1, 2, 4, 8), adamw, 1.0) for steps in (2, 4, 8)]
    assert [row["worse"] for row in found] == [False, True, False]
    # below AdamW's loss after as many steps, which AdamW has after fewer
    assert [where.wins(row | {"cost": 1.0}) for row in found] == [NO, OPEN, NO]
