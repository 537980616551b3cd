# %% [markdown]
# # 12 · Does it really work? The claims
#
# *What you see is stored. To run it: Run ▸ Run All Cells first, then change what you like.*

# %% tags=["hide-input"]
import json
from collections import Counter
from itertools import product
from pathlib import Path

import numpy as np
from lesson import check

from sophia_ref import plots
from sophia_ref.claims import NAMES, load
from sophia_ref.claims.budgets import FULL
from sophia_ref.claims.cells import wins
from sophia_ref.claims.claim import answer, within
from sophia_ref.claims.half_the_steps import MARGIN
from sophia_ref.claims.methods import label, space
from sophia_ref.claims.pictures import log_ticks, look_of, whiskers
from sophia_ref.claims.runs import Table
from sophia_ref.claims.statistics import Tuned, difference
from sophia_ref.claims.trials import expected_best
from sophia_ref.claims.tuning import results, text_arm
from sophia_ref.claims.where import arm as arm_of
from sophia_ref.plots.style import dress
from sophia_ref.study import sobol

FOLDER = Path("../docs/claims")
numbers = {name: json.loads((FOLDER / f"{name}.json").read_text())["numbers"] for name in NAMES}
half = numbers["half_the_steps"]
lengths = half["lengths"]

fig = plots.figure(8.4, 3.8)
ax = fig.subplots()
for i, method in enumerate(("Lion", "Signum", "SophiaH", "SophiaG")):
    rows = [row for row in half["judged"] if row["method"] == method]
    look = look_of(method) | {"linestyle": "none"}
    whiskers(ax, [row["steps"] * 1.06 ** (i - 1.5) for row in rows], [row["speedup"] for row in rows], **look)
ax.axhline(1, color="gray", linewidth=0.8)
ax.axhline(2, color="gray", linewidth=0.8, linestyle=":")
ax.annotate("the claim", (lengths[0] * 0.72, 2), fontsize=8, va="bottom")
ax.annotate("AdamW", (lengths[0] * 0.72, 1), fontsize=8, va="bottom")
ax.set(xscale="log", yscale="log", xlabel="steps, each run fully decayed", ylabel="steps of AdamW that a step is worth")
ax.set_xticks(lengths, map(str, lengths))
ax.set_yticks([0.5, 1, 2, 4], ["0.5", "1", "2", "4"])
ax.minorticks_off()
ax.set_xlim(lengths[0] * 0.7, lengths[-1] * 1.4)
ax.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
dress(ax)
fig

# %% [markdown]
# **The claim.** "Sophia achieves the same loss with half the steps." If that were so here, its marks would lie on the dotted line: one of its steps would be
# worth two of AdamW's. The bars are 95% intervals, of which more below. A GPT of about 30,000 parameters on real text, each method tuned anew for each length
# with the same number of trials, five seeds that tuning has not seen.
#
# This notebook does not run the study, which takes some hours (`sophia-ref claims --full`). It opens what the study left, and shows how a number becomes a
# verdict, so that you can disagree with it on good grounds. The whole page: [the claims, tried](../docs/claims.md).

# %% [markdown]
# ## What is the verdict, claim by claim?
#
# No sentence below was written by hand: outcome and reason are functions of the stored numbers.

# %%
claims = {name: load(name) for name in NAMES}
verdicts = {name: claim.verdict(numbers[name]) for name, claim in claims.items()}
for outcome, count in Counter(verdict.outcome for verdict in verdicts.values()).most_common():
    print(f"{outcome} ({count})")
    for name, verdict in verdicts.items():
        if verdict.outcome == outcome:
            counts = f" ({verdict.counts})" if verdict.answers else ""
            print(f"   {claims[name].number:2}  {claims[name].title}{counts}")

# %% [markdown]
# ## How does an interval become a verdict?
#
# Every claim is cut into comparisons that a number answers. For the first: do Sophia's $T$ steps come to the loss of AdamW's $2T$, give or take a hundredth
# of a nat? The difference is taken seed by seed, as one seed means the same start and the same batches. Its interval lies below that hundredth (yes), above
# it (no), or holds it (open).

# %%
for row in half["judged"]:
    if row["method"].startswith("Sophia"):
        value, low, high = row["against_double"]
        print(
            f"{label(row['method'])} {row['steps']:5} steps minus AdamW {2 * row['steps']:5}: {value:+.4f} [{low:+.4f}, {high:+.4f}]  {answer(row['against_double'], MARGIN)}"
        )
print(f"with as many comparisons in time: {verdicts['half_the_steps'].counts}: {verdicts['half_the_steps'].outcome}")

# %% [markdown]
# All yes: *reproduced*. More than one in ten, which is what chance may bring: *partly*, be it five of 36 or seven of eight, so read the counts. No more than
# that, and at least half are no: *not reproduced at this scale*. No more than that, and most are open: *underpowered*. An open comparison is counted for nobody.
#
# ## Where does an interval come from?
#
# The table of runs is there. Take the longest runs of AdamW and of Sophia-G, five seeds each:

# %%
table = Table(FOLDER / "runs.jsonl")
print(f"{len(table):,} runs")


def arm(method, steps):
    """A method on the text of this claim, for runs of so many steps: 16 trials, the best of which is shown."""
    return text_arm(FULL, method, steps)


def shown(method, steps):
    """Losses of the runs with the best settings, one a seed."""
    return np.array([run.loss for run in results(table, arm(method, steps), FULL.seeds)])


T = lengths[-1]
a, b = shown("SophiaG", T), shown("AdamW", T)
print("Sophia-G  ", *(f"{x:.4f}" for x in a))
print("AdamW     ", *(f"{x:.4f}" for x in b))
print("difference", *(f"{x:+.4f}" for x in a - b))
print(f"spread of the seeds {a.std(ddof=1):.4f} and {b.std(ddof=1):.4f}, of the difference {(a - b).std(ddof=1):.4f}")

# %% [markdown]
# Where a seed is bad for both, the difference does not see it; here little cancels, and the differences are spread as AdamW's losses are.
#
# The bootstrap asks: what if we had drawn other seeds? It draws five of these five, with replacement, again and again, and looks where the means fall. With
# five there are $5^5 = 3125$ such draws, so we can look at all of them. The middle 95% are too narrow for so few values: they miss a factor
# $\sqrt{n / (n - 1)}$, and that Student's quantiles are wider than the normal's. So the means are spread by both:

# %%
means = np.sort([(a - b)[list(draw)].mean() for draw in product(range(len(a)), repeat=len(a))])
plain = means[[int(0.025 * len(means)), int(0.975 * len(means))]]
value, low, high = difference(Tuned(a), Tuned(b))
print(
    f"mean {value:+.4f}, the middle 95% of the means [{plain[0]:+.4f}, {plain[1]:+.4f}], widened [{low:+.4f}, {high:+.4f}]"
)

# %% [markdown]
# Seeds are half of the luck. The other half is the tuning: of a few trials the best was taken, and with other trials it would have been another. Here are the
# scores of the trials, best first:


# %%
def trials(method, steps):
    """Losses of the trials."""
    return arm(method, steps).scores(table)


for method in ("SophiaG", "AdamW"):
    print(f"{label(method):9}", *(f"{score:.3f}" for score in np.sort(trials(method, T))[:8]), "...")

# %% [markdown]
# The bootstrap asks the same of them: had we drawn these trials anew with replacement, how much worse would the best have been? What it finds is added to the
# means. A method whose best trial stands alone gets a wide interval, and one with many good trials hardly a wider one:

# %%
value, low, high = difference(Tuned(a, trials("SophiaG", T)), Tuned(b, trials("AdamW", T)))
print(f"{value:+.4f}, with the luck of the tuning [{low:+.4f}, {high:+.4f}]")
reported = next(row["against_same"] for row in half["judged"] if (row["method"], row["steps"]) == ("SophiaG", T))
print("on the page: {:+.4f} [{:+.4f}, {:+.4f}]".format(*reported))

# %% [markdown]
# ## Were all treated alike?
#
# Each method has its own settings and its own ranges, and the same number of trials for each length of run: the first points of one Sobol sequence. Here
# are those of two methods, in two of their settings.

# %%
fig = plots.figure(7.2, 3.2)
for ax, method, second in zip(fig.subplots(1, 2), ("AdamW", "SophiaG"), ("1-beta1", "gamma"), strict=True):
    points = sobol(space(method), 16)
    ax.loglog([p["lr"] for p in points], [p[second] for p in points], **look_of(method) | {"linestyle": "none"})
    best = next(row for row in half["losses"] if (row["method"], row["steps"]) == (method, T))["settings"]
    ax.plot(best["lr"], best[second], "o", markersize=14, markerfacecolor="none", markeredgecolor="gray")
    ax.set(xlabel="lr", ylabel=second, title=label(method))
    log_ticks(ax, [0.001, 0.003, 0.01, 0.03])
    ax.set_xlim(space(method)["lr"][0] * 0.9, space(method)["lr"][1] * 1.1)
    ax.yaxis.set_minor_formatter("")
    dress(ax)
fig

# %% [markdown]
# The ring is the best trial at the longest runs. And what did tuning buy? The expected best of $n$ of the trials, which compares methods at *any* equal
# effort, not only at the whole of it:

# %%
fig = plots.figure(6.4, 3.4)
ax = fig.subplots()
for method in ("AdamW", "Signum", "SophiaH", "SophiaG"):
    best = expected_best(trials(method, T))  # one that diverged is as bad as the worst that did not
    ax.plot(np.arange(1, len(best) + 1), best, **look_of(method))
ax.set(xlabel="trials", ylabel="expected best loss", xscale="log")
ax.set_xticks([1, 2, 4, 8, 16], ["1", "2", "4", "8", "16"])
ax.minorticks_off()
ax.legend(frameon=False, fontsize=8)
dress(ax)
fig

# %% [markdown]
# ## Why three lengths?
#
# Because one alone may predetermine the verdict: in a short run whoever takes the largest steps may win, and in a long one whoever settles. Here the worth of a
# step is highest in the shortest runs; had the study stopped there, it would have reported the first group of the picture. But the intervals of all three
# lengths overlap, so this fall is a hint and no finding, and the verdict is the same at each.

# %%
for method in ("SophiaH", "SophiaG"):
    rows = [row for row in half["judged"] if row["method"] == method]
    print(label(method), *(f"   {row['steps']} steps: {row['speedup'][0]:.2f}" for row in rows))

# %% [markdown]
# ## Where does it win?
#
# The map that the last claim draws: speed-up over AdamW on the made-up language, by how unequal word frequencies are (an exponent of 0: all alike; 1.5: steep,
# so that curvature is spread widely) and by the tokens in a batch. A plus marks where Sophia is faster beyond the interval, a minus where it is slower.

# %%
where = numbers["where"]["cells"]
exponents = sorted({cell["exponent"] for cell in where})
tokens = sorted({cell["tokens"] for cell in where})
for method in ("SophiaH", "SophiaG"):
    print(f"{label(method)}, {max(cell['steps'] for cell in where)} steps")
    print("   exponent" + "".join(f"{n:>11} tokens" for n in tokens))
    for exponent in exponents:
        row = [
            cell
            for n in tokens
            for cell in where
            if (cell["method"], cell["exponent"], cell["tokens"]) == (method, exponent, n)
            and cell["steps"] == max(cell["steps"] for cell in where)
        ]
        marks = {"yes": "+", "no": "-", "open": " "}
        told = [within(c["speedup"], c["ends"]).partition(" [")[0] + f" {marks[wins(c)]}" for c in row]
        print(f"   {exponent:8g}" + "".join(f"{text:>18}" for text in told))
print(
    "+ loss below AdamW's beyond the interval and a speed-up above 1, - both the other way; ≥: more than AdamW's longest run can tell"
)
print(claims["where"].headline(numbers["where"]))

# %% [markdown]
# Of 54 intervals of 95% one or two lie wholly above, and as many below, by chance alone. So on the language two wins are no finding, and nine losses are more
# than chance brings, though not nine independent ones: both Sophias are held against the same runs of AdamW. And the two wins, what are they made of?

# %%
for cell in where:
    if wins(cell) == "yes":
        at = cell["exponent"], cell["tokens"] // FULL.zipf_model[0]
        own, other = (
            arm_of(FULL, *at, method, cell["steps"]).scores(table).min() for method in (cell["method"], "AdamW")
        )
        print(
            f"{label(cell['method'])}, exponent {cell['exponent']:g}, {cell['tokens']} tokens a step, {cell['steps']} steps"
        )
        print(f"   best trial      {own:.3f}, AdamW's {other:.3f}")
        print(f"   mean of 5 seeds {cell['loss'][0]:.3f}, AdamW's {cell['adamw'][0]:.3f}")

# %% [markdown]
# Where a best trial and the five seeds are far apart, settings that one seed chose do not carry to others, and who wins is more luck than merit. It hits either
# side: in claim 7 it is Sophia-H that it throws back, in the largest model.
#
# On the quadratic it matters whether the diagonal is the whole truth, as it is where the axes are the coordinates', and at a condition number of 1 in any case:

# %%
for axes in ("aligned", "rotated"):
    for condition in (1.0, 100.0, 10000.0):
        found = [wins(c) for c in numbers["where"]["quadratic"] if (c["axes"], c["condition"]) == (axes, condition)]
        print(
            f"{axes}, condition number {condition:5g}: faster in {found.count('yes')}, slower in {found.count('no')} of {len(found)}"
        )

# %% [markdown]
# With the axes along the coordinates Sophia loses less as the condition number grows, and wins most at the highest; rotated, it loses more. (Without noise some
# wins are of losses like 1e-150 over losses like 1e-30, which nobody needs.)
#
# ## What does this not say?
#
# Nothing about 125 million parameters. The models are small, the runs short, the curvature of small models is not that of large ones, and a difference that
# is there at scale may be absent here. It does say what can be had at this scale by anyone in an afternoon, that the same harness gives either answer, and
# which parts of the argument for Sophia stand on their own: those about saddles, about quadratics and about the bias of estimators do not wait for a large model.
#
# ## Exercises
#
# **1.** Five comparisons have the intervals below (of Sophia's loss minus the other's: negative is good for Sophia). Write the rule of this page:
# a function of a list of `(low, high)` that returns `"reproduced"`, `"partly"`, `"not reproduced at this scale"` or `"underpowered"`. An interval that
# ends at 0 from below counts as yes.

# %%
intervals = [(-0.02, -0.01), (-0.01, 0.03), (0.002, 0.05), (0.01, 0.02), (-0.004, 0.001)]


# %% tags=["exercise"]
def judge(intervals):
    return ...


check("12.1", judge)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def judge(intervals):
#     yes = [high <= 0 for low, high in intervals]
#     no = [low > 0 for low, high in intervals]
#     if all(yes):
#         return "reproduced"
#     if sum(yes) > len(intervals) / 10:
#         return "partly"
#     return "not reproduced at this scale" if 2 * sum(no) >= len(intervals) else "underpowered"
# ```
#
# </details>

# %% [markdown]
# **2.** Losses of two methods, by seed. Compute the *t* value of the mean difference, once as if the seeds had nothing to do with each other,
# $\bar d / \sqrt{(s_a^2 + s_b^2) / n}$, and once paired, $\bar d / (s_d / \sqrt n)$.

# %%
ours = np.array([2.31, 2.42, 2.25, 2.38, 2.34])
theirs = np.array([2.33, 2.45, 2.26, 2.41, 2.35])

# %% tags=["exercise"]
unpaired_t = ...
paired_t = ...

check("12.2", [unpaired_t, paired_t])

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# d = ours - theirs
# unpaired_t = d.mean() / np.sqrt((ours.var(ddof=1) + theirs.var(ddof=1)) / 5)
# paired_t = d.mean() / np.sqrt(d.var(ddof=1) / 5)
# ```
#
# The same ten numbers: no difference to speak of, or one that five seeds establish.
#
# </details>

# %% [markdown]
# **3.** AdamW reaches 2.40, 2.20, 2.05 in 300, 600, 1200 steps. Another method reaches 2.125 in 400. How many steps of AdamW is one of its steps worth,
# interpolated between the runs in the logarithm of the steps?

# %% tags=["exercise"]
worth = ...

check("12.3", worth)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# worth = 600 * 2 ** ((2.20 - 2.125) / (2.20 - 2.05)) / 400
# ```
#
# Half way from 600 to 1200 in the logarithm is 849 steps. (The page interpolates in the logarithm of the loss as well, which changes the third digit.)
#
# </details>

# %% [markdown]
# **4.** Write the plain bootstrap interval of a mean without any chance in it: go through *all* $n^n$ draws of $n$ of the $n$ values, sort their means, and
# return those at the places `int(0.025 * n**n)` and `int(0.975 * n**n)`.


# %% tags=["exercise"]
def interval(values):
    return ...


check("12.4", interval)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# from itertools import product
#
#
# def interval(values):
#     means = sorted(np.mean(draw) for draw in product(values, repeat=len(values)))
#     return means[int(0.025 * len(means))], means[int(0.975 * len(means))]
# ```
#
# </details>

# %% [markdown]
# Next: [13 · From here to PyTorch and JAX](13_from_here_to_pytorch_and_jax.ipynb).
