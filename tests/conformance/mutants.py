"""Bugs: each an edit of `independent.py` that an engineer could make when writing Sophia, Adam, AdamW or Lion.

    for mutant in MUTANTS:
        f = build(mutant)  # the `run` of the edited source

`old` is found once in the source. `why` says what is wrong, and after "Seen" which legitimate input shows it.
`public`: known from a published implementation or a bug report; the others are inventions.
"""

from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

SOURCE = Path(__file__).with_name("independent.py").read_text(encoding="utf-8")


@dataclass(frozen=True)
class Mutant:
    name: str
    old: str
    new: str
    why: str
    public: bool = False


def build(mutant):
    """`run` of the source with this bug. Raises ValueError unless `old` is found exactly once."""
    if SOURCE.count(mutant.old) != 1:
        raise ValueError(f"{mutant.name}: old occurs {SOURCE.count(mutant.old)} times, expected 1:\n{mutant.old}")
    module = ModuleType(f"mutant: {mutant.name}")
    exec(compile(SOURCE.replace(mutant.old, mutant.new), f"<{mutant.name}>", "exec"), module.__dict__)
    return module.run


# Where a line occurs in several rules, it is found together with the head of its own.
PAPER = "def paper(self, theta, g, h_hat, lr, t, beta1, beta2, gamma, clip, eps, **_):\n        "
OFFICIAL = "def official(self, theta, g, h_hat, lr, t, beta1, beta2, rho, bs, **_):\n        "
OPTAX = "def optax(self, theta, g, h_hat, lr, t, beta1, beta2, gamma, clip, eps, **_):\n        "
ADAM = "def adam(self, theta, g, h_hat, lr, t, beta1, beta2, eps, **_):\n        "
LION = "def lion(self, theta, g, h_hat, lr, t, beta1, beta2, **_):\n        "
MOMENTUM = "self.m = beta1 * self.m + (1 - beta1) * g\n"
ABSORB = """\
        if h_hat is not None:
            self.h = beta2 * self.h + (1 - beta2) * h_hat
"""
SOPHIA_DENOMINATOR = "        denominator = np.maximum(gamma * self.h, eps)\n"
PAPER_RATIO = "        ratio = self.m / denominator\n        update = np.clip(ratio, -clip, clip)\n"
PAPER_STEP = """\
        theta = theta - lr * self.decay * theta
        theta = theta - lr * update
        fields = {"m": self.m, "h": self.h, "denominator": denominator, "ratio": ratio}
"""
PAPER_RULE = (
    PAPER
    + MOMENTUM
    + ABSORB
    + SOPHIA_DENOMINATOR
    + PAPER_RATIO
    + "        clipped = np.abs(ratio) > clip\n"
    + "        theta = theta - lr * self.decay * theta\n"
)
PAPER_FIELDS = '        fields = {"m": self.m, "h": self.h, "denominator": denominator, "ratio": ratio}\n'
ADAM_AVERAGES = MOMENTUM + "        self.h = beta2 * self.h + (1 - beta2) * g**2\n"
ADAM_RULE = (
    ADAM
    + ADAM_AVERAGES
    + """\
        m_hat = self.m / (1 - beta1**t)
        v_hat = self.h / (1 - beta2**t)
        denominator = np.sqrt(v_hat) + eps
        update = m_hat / denominator
        theta = theta - lr * self.decay * theta
"""
)
ADAM_STEP = """\
        theta = theta - lr * self.decay * theta
        theta = theta - lr * update
        fields = {"m": self.m, "v": self.h, "m_hat": m_hat, "v_hat": v_hat}
"""
ADAM_FIELDS = '        fields = {"m": self.m, "v": self.h, "m_hat": m_hat, "v_hat": v_hat}\n'
ACCUMULATE = "        total = total + summed_gradient(W, x[rows], labels[rows], mask[rows], likelihood)\n"
GNB_MEAN = """\
        start = start + length
    B = int(mask.sum())
    if B == 0:
        raise ValueError("mask: every row is masked")
    g_hat = total / B
"""
LABEL = "        residual[np.arange(len(labels)), labels] -= 1\n"


WHEN = [
    Mutant(
        "refresh-literal-t-mod-k-is-1",
        "return (t - 1) % every == 0",
        "return t % every == 1",
        "The paper's condition as written. Seen with every = 1, where it never holds.",
        public=True,
    ),
    Mutant(
        "refresh-at-multiples-of-k",
        "return (t - 1) % every == 0",
        "return t % every == 0",
        "Sophia-H of the paper at Levanter's phase, k, 2k, ... Seen with every >= 2.",
        public=True,
    ),
    Mutant(
        "refresh-every-k-plus-1",
        "return (t - 1) % every == 0",
        "return (t - 1) % (every + 1) == 0",
        "A counter that goes from 0 to k before it is reset. Seen after k + 1 steps.",
    ),
    Mutant(
        "refresh-floor-for-mod",
        "return (t - 1) % every == 0",
        "return (t - 1) // every == 0",
        "// for %: every step estimates up to k, none later. Seen with every >= 2, or after k steps.",
    ),
    Mutant(
        "refresh-only-once",
        "return (t - 1) % every == 0",
        "return t == 1",
        "The estimate of the first step is kept for good. Seen after more than k steps.",
    ),
    Mutant(
        "refresh-counted-from-construction",
        'if due(self.profile, t, self.settings.get("every")):',
        'if due(self.profile, t - self.first, self.settings.get("every")):',
        "The phase counts the optimizer's own steps, not t. Seen from an initial t that is no multiple of k.",
    ),
    Mutant(
        "refresh-forced-at-first-step-of-an-object",
        '        if due(self.profile, t, self.settings.get("every")):',
        """\
        restarted = self.__dict__.setdefault("seen", t) == t and "every" in self.settings and step.h_hat is not None
        if restarted or due(self.profile, t, self.settings.get("every")):""",
        "A new object always estimates in its first step. Seen after a resume between two refreshes.",
    ),
    Mutant(
        "refresh-whenever-offered",
        'if due(self.profile, t, self.settings.get("every")):',
        'if "every" in self.settings and (step.h_hat is not None or due(self.profile, t, self.settings["every"])):',
        "Whatever estimate is at hand is absorbed. Seen where one is offered in a step where none is due.",
    ),
    Mutant(
        "official-refresh-in-step-1-too",
        "return t > every and (t - 1) % every == 0",
        "return (t - 1) % every == 0",
        "SophiaG with the paper's phase: an estimate before the first step. Seen in step 1.",
        public=True,
    ),
    Mutant(
        "official-refresh-from-k-on",
        "return t > every and (t - 1) % every == 0",
        "return t >= every and (t - 1) % every == 0",
        ">= for >. Seen with every = 1 only, where step 1 must still have h = 0.",
    ),
    Mutant(
        "official-refresh-before-step-k",
        "return t > every and (t - 1) % every == 0",
        "return t % every == 0",
        "The estimate that is made after step k is used in it. Seen with every >= 2.",
        public=True,
    ),
    Mutant(
        "levanter-refresh-in-step-1",
        "return t % every == 0",
        "return t % every == 1 % every",
        "Levanter with optax's phase. Seen with every >= 2.",
        public=True,
    ),
    Mutant(
        "levanter-refresh-one-early",
        "return t % every == 0",
        "return (t + 1) % every == 0",
        "t is read before it is counted up, and corrected the wrong way. Seen with every >= 2.",
    ),
    Mutant(
        "estimate-replaces-the-step",
        """\
        theta, fields = rule(self, theta, g, h_hat, lr, t, **self.settings)
""",
        """\
        if h_hat is not None:
            self.h = self.settings["beta2"] * self.h + (1 - self.settings["beta2"]) * h_hat
            theta, fields = theta, {"h": self.h}
        else:
            theta, fields = rule(self, theta, g, h_hat, lr, t, **self.settings)
""",
        "The batch of the estimate is not trained on, as in labml's loop. Seen in any step that estimates.",
        public=True,
    ),
    Mutant(
        "momentum-skips-steps-that-estimate",
        PAPER + MOMENTUM,
        PAPER + "self.m = beta1 * self.m + (1 - beta1) * g if h_hat is None else self.m\n",
        "The gradient of a step that estimates is lost, the step is made. Seen in any step that estimates.",
    ),
]

SCHEDULE = [
    Mutant(
        "schedule-one-ahead",
        "lr = self.rates[t - 1 - self.first]",
        "lr = self.rates[min(t - self.first, len(self.rates) - 1)]",
        "The rate of step t + 1. Seen with rates that change.",
    ),
    Mutant(
        "schedule-one-behind",
        "lr = self.rates[t - 1 - self.first]",
        "lr = self.rates[max(t - 2 - self.first, 0)]",
        "The rate of step t - 1, as when a scheduler steps after the optimizer. Seen with rates that change.",
    ),
    Mutant(
        "schedule-read-once",
        "lr = self.rates[t - 1 - self.first]",
        "lr = self.rates[0]",
        "The rate is taken at construction. Seen with rates that change.",
    ),
    Mutant(
        "schedule-restarts-at-resume",
        'self.t = int(saved["t"])',
        'self.t = self.first = int(saved["t"])',
        "The schedule's own counter is not saved. Seen with rates that change and a resume.",
    ),
    Mutant(
        "schedule-zero-is-falsy",
        "lr = self.rates[t - 1 - self.first]",
        "lr = self.rates[t - 1 - self.first] or 1e-3",
        "A rate of 0 is taken for none. Seen with lr = 0, as warm-up begins.",
    ),
    Mutant(
        "schedule-refused-zero",
        '"lr": lambda x: 0 <= x < np.inf,',
        '"lr": lambda x: 0 < x < np.inf,',
        "A rate of 0 is refused. Seen with lr = 0, as warm-up begins.",
    ),
]

MOMENTUM_BUGS = [
    Mutant(
        "momentum-weights-swapped",
        PAPER + MOMENTUM,
        PAPER + "self.m = (1 - beta1) * self.m + beta1 * g\n",
        "beta1 weighs the new. Seen unless beta1 = 1/2.",
    ),
    Mutant(
        "momentum-heavy-ball",
        PAPER + MOMENTUM,
        PAPER + "self.m = beta1 * self.m + g\n",
        "A sum, not an average. Seen where something is not clipped, and in m.",
    ),
    Mutant(
        "momentum-with-beta2",
        PAPER + MOMENTUM,
        PAPER + "self.m = beta2 * self.m + (1 - beta2) * g\n",
        "The averages' betas are mixed up. Seen unless beta1 = beta2.",
    ),
    Mutant(
        "momentum-applied-twice",
        PAPER + MOMENTUM,
        PAPER + MOMENTUM + "        " + MOMENTUM,
        "m takes every gradient twice, as in Sophia-Optimizer. Seen with beta1 > 0.",
        public=True,
    ),
    Mutant(
        "momentum-bias-corrected",
        PAPER_RATIO + "        clipped",
        PAPER_RATIO.replace("self.m /", "self.m / (1 - beta1**t) /") + "        clipped",
        "The paper's rule with optax's correction. Seen where something is not clipped.",
        public=True,
    ),
    Mutant(
        "momentum-starts-with-first-gradient",
        PAPER + MOMENTUM,
        PAPER + "self.m = g if t == 1 else beta1 * self.m + (1 - beta1) * g\n",
        "m_1 = g_1, as torch.optim.SGD's buffer starts. Seen from t = 0 with beta1 > 0.",
    ),
    Mutant(
        "momentum-stale-in-the-step",
        PAPER_RULE,
        PAPER_RULE.replace(MOMENTUM, "before = self.m\n        " + MOMENTUM).replace(
            "ratio = self.m", "ratio = before"
        ),
        "The step is taken with the momentum of the step before. Seen where gradients change.",
    ),
    Mutant(
        "momentum-nesterov",
        PAPER_RATIO + "        clipped",
        PAPER_RATIO.replace("self.m /", "(beta1 * self.m + (1 - beta1) * g) /") + "        clipped",
        "The gradient enters a second time on the way to the ratio. Seen where something is not clipped.",
    ),
    Mutant(
        "momentum-in-place",
        PAPER + MOMENTUM,
        PAPER + "self.m *= beta1\n        self.m += (1 - beta1) * g\n",
        "One buffer is changed and handed out in every step. Seen in m of all but the last step.",
    ),
    Mutant(
        "gradient-scaled-in-place",
        PAPER + MOMENTUM,
        PAPER + "g *= 1 - beta1\n        self.m = beta1 * self.m + g\n",
        "The caller's gradient is changed. Seen where it shares memory with theta.",
    ),
    Mutant(
        "gradient-read-by-pointer",
        '        finite("theta", theta, theta)\n',
        """\
        finite("theta", theta, theta)
        g = np.lib.stride_tricks.as_strided(g, g.shape, np.empty(g.shape, g.dtype).strides)
""",
        "A kernel takes the pointer and ignores the strides. Seen with strided or column-major arrays.",
    ),
    Mutant(
        "gradient-nan-becomes-zero",
        'laid_out(finite("g", step.g, theta), case.layout)',
        'laid_out(finite("g", np.nan_to_num(step.g), theta), case.layout)',
        "A gradient that is not finite is mended, not refused. Seen with NaN in it.",
    ),
]

CURVATURE = [
    Mutant(
        "h-with-beta1",
        ABSORB + SOPHIA_DENOMINATOR,
        ABSORB.replace("beta2", "beta1") + SOPHIA_DENOMINATOR,
        "The averages' betas are mixed up. Seen unless beta1 = beta2.",
    ),
    Mutant(
        "h-weights-swapped",
        ABSORB + SOPHIA_DENOMINATOR,
        ABSORB.replace("beta2 * self.h + (1 - beta2) * h_hat", "(1 - beta2) * self.h + beta2 * h_hat")
        + SOPHIA_DENOMINATOR,
        "beta2 weighs the new. Seen unless beta2 = 1/2.",
    ),
    Mutant(
        "h-is-a-sum",
        ABSORB + SOPHIA_DENOMINATOR,
        ABSORB.replace("(1 - beta2) * h_hat", "h_hat") + SOPHIA_DENOMINATOR,
        "No 1 - beta2. Seen with beta2 > 0.",
    ),
    Mutant(
        "h-is-the-last-estimate",
        ABSORB + SOPHIA_DENOMINATOR,
        ABSORB.replace("beta2 * self.h + (1 - beta2) * h_hat", "h_hat") + SOPHIA_DENOMINATOR,
        "No average at all. Seen with beta2 > 0.",
    ),
    Mutant(
        "h-starts-with-first-estimate",
        ABSORB + SOPHIA_DENOMINATOR,
        ABSORB.replace("= beta2", "= h_hat if t == 1 else beta2") + SOPHIA_DENOMINATOR,
        "h_1 = h_hat_1. Seen from t = 0 with beta2 > 0.",
        public=True,
    ),
    Mutant(
        "h-bias-corrected",
        ABSORB + SOPHIA_DENOMINATOR,
        ABSORB + '        n = (t - 1) // self.settings["every"] + 1\n'
        "        denominator = np.maximum(gamma * self.h / (1 - beta2**n), eps)\n",
        "Corrected by the number of estimates, as in somax. Seen where something is not clipped.",
        public=True,
    ),
    Mutant(
        "h-used-one-step-late",
        ABSORB + SOPHIA_DENOMINATOR,
        SOPHIA_DENOMINATOR + ABSORB,
        "The paper's rule with optax's lag: an estimate works from the next step on. Seen in steps that estimate.",
        public=True,
    ),
    Mutant(
        "h-decays-without-estimate",
        ABSORB + SOPHIA_DENOMINATOR,
        ABSORB + "        else:\n            self.h = beta2 * self.h\n" + SOPHIA_DENOMINATOR,
        "A missing estimate counts as zero. Seen between refreshes.",
    ),
    Mutant(
        "h-absorbs-stale-estimate-every-step",
        ABSORB + SOPHIA_DENOMINATOR,
        """\
        if h_hat is not None:
            self.latest = h_hat
        if hasattr(self, "latest"):
            self.h = beta2 * self.h + (1 - beta2) * self.latest
"""
        + SOPHIA_DENOMINATOR,
        "The average runs in every step, on the latest estimate. Seen between refreshes.",
    ),
    Mutant(
        "h-decay-to-the-power-k",
        ABSORB + SOPHIA_DENOMINATOR,
        '        beta2 = beta2 ** self.settings["every"]\n' + ABSORB + SOPHIA_DENOMINATOR,
        "beta2 is taken as a decay per step, for k steps. Seen with every >= 2 and beta2 > 0.",
    ),
    Mutant(
        "h-of-absolute-estimates",
        ABSORB + SOPHIA_DENOMINATOR,
        ABSORB.replace("* h_hat", "* np.abs(h_hat)") + SOPHIA_DENOMINATOR,
        "|h_hat| is averaged. Seen where an estimate is negative.",
    ),
    Mutant(
        "h-of-estimates-cut-at-zero",
        ABSORB + SOPHIA_DENOMINATOR,
        ABSORB.replace("* h_hat", "* np.maximum(h_hat, 0)") + SOPHIA_DENOMINATOR,
        "Negative estimates are cut before the average, not after. Seen where an estimate is negative.",
    ),
    Mutant(
        "h-ignores-negative-estimates",
        ABSORB + SOPHIA_DENOMINATOR,
        ABSORB.replace(
            "= beta2 * self.h + (1 - beta2) * h_hat",
            "= np.where(h_hat < 0, self.h, beta2 * self.h + (1 - beta2) * h_hat)",
        )
        + SOPHIA_DENOMINATOR,
        "Where an estimate is negative h stays as it is. Seen where one is.",
    ),
    Mutant(
        "h-refuses-negative-estimates",
        "        if h_hat is not None:\n            fields[",
        '        if h_hat is not None and (h_hat < 0).any():\n            raise ValueError("negative curvature")\n'
        "        if h_hat is not None:\n            fields[",
        "Negative curvature is taken for an error. Seen where an estimate is negative.",
    ),
    Mutant(
        "h-is-a-root-mean-square",
        ABSORB + SOPHIA_DENOMINATOR,
        ABSORB.replace("beta2 * self.h + (1 - beta2) * h_hat", "np.sqrt(beta2 * self.h**2 + (1 - beta2) * h_hat**2)")
        + SOPHIA_DENOMINATOR,
        "AdaHessian's average. Seen with beta2 > 0.",
    ),
    Mutant(
        "h-kept-in-float32",
        ABSORB + SOPHIA_DENOMINATOR,
        ABSORB + "        self.h = self.h.astype(np.float32)\n" + SOPHIA_DENOMINATOR,
        "Curvature is kept in single precision. Seen in float64, from the eighth digit on.",
    ),
    Mutant(
        "h-is-one-number-a-row",
        ABSORB + SOPHIA_DENOMINATOR,
        ABSORB.replace("* h_hat", "* h_hat.mean(axis=-1, keepdims=True)") + SOPHIA_DENOMINATOR,
        "The estimate is averaged over coordinates, as AdaHessian does in space. Seen with P >= 2.",
    ),
    Mutant(
        "h-starts-as-m",
        '        self.h = state("h", case.h, case)\n',
        '        self.h = state("m", case.m, case)\n',
        "Copy and paste: h starts as m. Seen from an initial state.",
    ),
]

DENOMINATOR = [
    Mutant(
        "denominator-added-eps",
        ABSORB + SOPHIA_DENOMINATOR,
        ABSORB + "        denominator = gamma * self.h + eps\n",
        "gamma h + eps for Hutchinson. Seen where h < 0: the denominator is negative and the step goes uphill.",
        public=True,
    ),
    Mutant(
        "denominator-eps-times-gamma",
        ABSORB + SOPHIA_DENOMINATOR,
        ABSORB + "        denominator = gamma * np.maximum(self.h, eps)\n",
        "eps is held against h, not against gamma h. Seen where gamma h < eps and |m| is below clip eps.",
    ),
    Mutant(
        "denominator-without-gamma",
        ABSORB + SOPHIA_DENOMINATOR,
        ABSORB + "        denominator = np.maximum(self.h, eps)\n",
        "gamma is lost. Seen where something is not clipped.",
    ),
    Mutant(
        "denominator-minimum",
        ABSORB + SOPHIA_DENOMINATOR,
        ABSORB + "        denominator = np.minimum(gamma * self.h, eps)\n",
        "min for max. Seen where gamma h > eps.",
    ),
    Mutant(
        "denominator-root",
        ABSORB + SOPHIA_DENOMINATOR,
        ABSORB + "        denominator = np.maximum(gamma * np.sqrt(np.maximum(self.h, 0)), eps)\n",
        "The root that Adam takes. Seen where something is not clipped.",
    ),
    Mutant(
        "denominator-absolute",
        ABSORB + SOPHIA_DENOMINATOR,
        ABSORB + "        denominator = np.maximum(gamma * np.abs(self.h), eps)\n",
        "|h| in the step. Seen where h < 0 and |m| < clip gamma |h|.",
    ),
    Mutant(
        "denominator-eps-only-where-h-is-not-positive",
        ABSORB + SOPHIA_DENOMINATOR,
        ABSORB + "        denominator = np.where(self.h > 0, gamma * self.h, eps)\n",
        "A tiny positive gamma h may lie below eps. Seen where 0 < gamma h < eps and |m| < clip eps.",
    ),
    Mutant(
        "denominator-one-number",
        ABSORB + SOPHIA_DENOMINATOR,
        ABSORB + "        denominator = np.full_like(theta, np.maximum(gamma * self.h, eps).max(initial=eps))\n",
        "The largest curvature for all coordinates. Seen where h differs between them.",
    ),
    Mutant(
        "sign-step-where-h-is-not-positive",
        PAPER_RATIO + "        clipped",
        PAPER_RATIO.replace(
            "np.clip(ratio, -clip, clip)", "np.where(self.h > 0, np.clip(ratio, -clip, clip), np.sign(self.m))"
        )
        + "        clipped",
        "The story in place of the formula. Seen where h <= 0 and clip is not 1, or |m| < eps.",
    ),
]

CLIP = [
    Mutant(
        "clip-one-sided",
        PAPER_RATIO + "        clipped",
        PAPER_RATIO.replace("np.clip(ratio, -clip, clip)", "np.minimum(ratio, clip)") + "        clipped",
        "No bound below. Seen where m < 0 is to be clipped.",
    ),
    Mutant(
        "clip-loses-the-sign",
        PAPER_RATIO + "        clipped",
        PAPER_RATIO.replace("np.clip(ratio, -clip, clip)", "np.minimum(np.abs(ratio), clip)") + "        clipped",
        "|ratio| is clipped, its sign forgotten. Seen where m < 0.",
    ),
    Mutant(
        "clip-by-norm",
        PAPER_RATIO + "        clipped",
        PAPER_RATIO.replace(
            "np.clip(ratio, -clip, clip)", "ratio * min(1.0, clip / max(float(np.linalg.norm(ratio)), 1e-30))"
        )
        + "        clipped",
        "The whole ratio is scaled to a norm of clip. Seen with two coordinates of which one is clipped.",
    ),
    Mutant(
        "clip-by-largest-entry",
        PAPER_RATIO + "        clipped",
        PAPER_RATIO.replace(
            "np.clip(ratio, -clip, clip)", "ratio * min(1.0, clip / max(float(np.abs(ratio).max(initial=0)), 1e-30))"
        )
        + "        clipped",
        "The whole ratio is scaled until it fits. Seen where one coordinate of several is clipped.",
    ),
    Mutant(
        "clip-at-one",
        PAPER_RATIO + "        clipped",
        PAPER_RATIO.replace("-clip, clip", "-1.0, 1.0") + "        clipped",
        "The setting is ignored. Seen with clip other than 1.",
    ),
    Mutant(
        "clip-at-gamma",
        PAPER_RATIO + "        clipped",
        PAPER_RATIO.replace("-clip, clip", "-gamma, gamma") + "        clipped",
        "The two forms of the paper mixed: gamma in the denominator and as the bound. Seen where something is clipped.",
        public=True,
    ),
    Mutant(
        "clip-of-the-momentum",
        PAPER_RATIO + "        clipped",
        PAPER_RATIO.replace("np.clip(ratio, -clip, clip)", "np.clip(self.m, -clip, clip) / denominator")
        + "        clipped",
        "Clipped before the division. Seen wherever |ratio| > clip.",
    ),
    Mutant(
        "clip-to-the-sign",
        PAPER_RATIO + "        clipped",
        PAPER_RATIO.replace("np.clip(ratio, -clip, clip)", "np.where(np.abs(ratio) > clip, np.sign(ratio), ratio)")
        + "        clipped",
        "What is beyond clip becomes 1. Seen with clip other than 1.",
    ),
    Mutant(
        "clip-scales-the-rate-down",
        PAPER_STEP,
        PAPER_STEP.replace("lr * update", "lr / clip * update"),
        "lr is taken for the longest step, as labml does. Seen with clip other than 1.",
        public=True,
    ),
    Mutant(
        "clip-scales-the-rate-up",
        PAPER_STEP,
        PAPER_STEP.replace("lr * update", "lr * clip * update"),
        "The conversion between the paper's forms, applied where it is none. Seen with clip other than 1.",
    ),
    Mutant(
        "clip-infinite-refused",
        '"clip": lambda x: x > 0,',
        '"clip": lambda x: 0 < x < np.inf,',
        "Clipping cannot be turned off. Seen with clip = infinity.",
    ),
    Mutant(
        "clipped-one-sided",
        PAPER_RATIO + "        clipped = np.abs(ratio) > clip\n",
        PAPER_RATIO + "        clipped = ratio > clip\n",
        "Coordinates that are clipped from below are not counted. Seen in clipped alone, where m < 0.",
    ),
    Mutant(
        "clipped-at-equality",
        PAPER_RATIO + "        clipped = np.abs(ratio) > clip\n",
        PAPER_RATIO + "        clipped = np.abs(ratio) >= clip\n",
        ">= for >: a ratio of exactly clip is not changed. Seen in clipped alone, with numbers such as 2 / 2.",
    ),
]

DECAY = [
    Mutant(
        "decay-after-the-step",
        PAPER_STEP,
        "        theta = theta - lr * update\n        theta = theta - lr * self.decay * theta\n" + PAPER_FIELDS,
        "The new theta is decayed. Seen in the order lr^2 weight_decay: with large lr.",
    ),
    Mutant(
        "decay-in-the-gradient",
        PAPER_RULE,
        PAPER
        + "g = g + self.decay * theta\n        "
        + PAPER_RULE.removeprefix(PAPER).replace("        theta = theta - lr * self.decay * theta\n", ""),
        "Coupled decay, as in Adam with L2. Seen with weight_decay > 0.",
    ),
    Mutant(
        "decay-inside-the-clip",
        PAPER_RULE,
        PAPER_RULE.replace("np.clip(ratio,", "np.clip(ratio + self.decay * theta,").replace(
            "        theta = theta - lr * self.decay * theta\n", ""
        ),
        "Decay is added before clipping. Seen where the sum is clipped.",
    ),
    Mutant(
        "decay-without-rate",
        PAPER_STEP,
        PAPER_STEP.replace("lr * self.decay", "self.decay"),
        "Not multiplied by lr. Seen with weight_decay > 0 and lr other than 1.",
    ),
    Mutant(
        "decay-at-first-rate",
        PAPER_STEP,
        PAPER_STEP.replace("lr * self.decay", "self.rates[0] * self.decay"),
        "Decay does not follow the schedule. Seen with rates that change and weight_decay > 0.",
    ),
    Mutant(
        "decay-twice",
        PAPER_STEP,
        PAPER_STEP.replace("lr * update", "lr * (update + self.decay * theta)"),
        "First, as in the paper, and added, as in optax. Seen with weight_decay > 0.",
    ),
    Mutant(
        "decay-towards-infinity",
        PAPER_STEP,
        PAPER_STEP.replace("theta - lr * self.decay", "theta + lr * self.decay"),
        "The sign. Seen with weight_decay > 0.",
    ),
    Mutant(
        "decay-mask-inverted",
        "np.where(mask, decay, 0.0)",
        "np.where(mask, 0.0, decay)",
        "The mask is read as the exceptions. Seen with a mask and weight_decay > 0.",
    ),
    Mutant(
        "decay-mask-ignored",
        "if case.decay_mask is not None:",
        "if case.decay_mask is not None and not case.decay_mask.any():",
        "Decay everywhere, unless nowhere. Seen with a mask of both kinds and weight_decay > 0.",
    ),
    Mutant(
        "decay-mask-for-the-whole-array",
        "np.where(mask, decay, 0.0)",
        "np.where(mask.all(keepdims=True), decay, 0.0)",
        "One flag for an array, as PyTorch's groups have it. Seen with a mask of both kinds and weight_decay > 0.",
    ),
    Mutant(
        "decay-mask-upcasts",
        "np.where(mask, decay, 0.0).astype(theta.dtype)",
        "np.where(mask, decay, 0.0)",
        "The masked decay is float64, and so is theta after it. Seen in float32 with a mask.",
    ),
    Mutant(
        "decay-mask-lost-at-resume",
        '        self.t = int(saved["t"])\n',
        '        self.t = int(saved["t"])\n        self.decay = self.settings.get("weight_decay", 0.0)\n',
        "The groups are not restored. Seen with a mask, weight_decay > 0 and a resume.",
    ),
    Mutant(
        "official-decay-after-the-step",
        "        theta = theta * (1 - lr * self.decay)\n        theta = theta - lr * update\n",
        "        theta = theta - lr * update\n        theta = theta * (1 - lr * self.decay)\n",
        "The new theta is decayed. Seen in the order lr^2 weight_decay: with large lr.",
    ),
    Mutant(
        "official-decay-without-rate",
        "theta = theta * (1 - lr * self.decay)",
        "theta = theta * (1 - self.decay)",
        "Not multiplied by lr. Seen with weight_decay > 0 and lr other than 1.",
    ),
    Mutant(
        "optax-decay-before-clipping",
        """\
        update = np.clip(ratio, -clip, clip)
        clipped = np.abs(ratio) > clip
        theta = theta - lr * (update + self.decay * theta)
""",
        """\
        update = np.clip(ratio + self.decay * theta, -clip, clip)
        clipped = np.abs(ratio) > clip
        theta = theta - lr * update
""",
        "add_decayed_weights comes before the clip in the chain. Seen with weight_decay > 0, where the clip works.",
    ),
    Mutant(
        "optax-decay-without-rate",
        "theta = theta - lr * (update + self.decay * theta)",
        "theta = theta - lr * update - self.decay * theta",
        "add_decayed_weights comes after the rate in the chain. Seen with weight_decay > 0 and lr other than 1.",
    ),
]

OFFICIAL_BUGS = [
    Mutant(
        "official-without-batch-size",
        "denominator = rho * bs * self.h + 1e-15",
        "denominator = rho * self.h + 1e-15",
        "bs does not meet h. Seen with bs other than 1.",
        public=True,
    ),
    Mutant(
        "official-batch-size-in-the-estimate-too",
        ABSORB + "        denominator = rho",
        ABSORB.replace("* h_hat", "* bs * h_hat") + "        denominator = rho",
        "B is counted twice. Seen with bs other than 1.",
        public=True,
    ),
    Mutant(
        "official-batch-size-divides",
        "denominator = rho * bs * self.h + 1e-15",
        "denominator = rho / bs * self.h + 1e-15",
        "h is taken for a square of a summed gradient. Seen with bs other than 1.",
    ),
    Mutant(
        "official-squares-training-gradient",
        ABSORB + "        denominator = rho",
        ABSORB.replace("* h_hat", "* g * g") + "        denominator = rho",
        "The empirical Fisher. Seen where sampled and training gradients differ.",
        public=True,
    ),
    Mutant(
        "official-maximum-for-sum",
        "denominator = rho * bs * self.h + 1e-15",
        "denominator = np.maximum(rho * bs * self.h, 1e-15)",
        "The paper's denominator. Seen where rho bs h is about 1e-15, and |m| as well.",
        public=True,
    ),
    Mutant(
        "official-eps-of-float32",
        "denominator = rho * bs * self.h + 1e-15",
        "denominator = rho * bs * self.h + 1e-8",
        "Adam's eps. Seen where h = 0 and |m| < 1e-8, or rho bs h is about 1e-8.",
    ),
    Mutant(
        "official-sign-lost",
        "update = np.sign(self.m) * np.minimum(length, 1.0)",
        "update = np.minimum(length, 1.0)",
        "The absolute ratio is the step. Seen where m < 0.",
    ),
    Mutant(
        "official-sign-of-gradient",
        "update = np.sign(self.m) * np.minimum(length, 1.0)",
        "update = np.sign(g) * np.minimum(length, 1.0)",
        "The sign comes from g, the length from m. Seen where the gradient turns round.",
    ),
    Mutant(
        "official-sampled-gradient-is-left-in-grad",
        "        rule = RULES[self.profile]\n",
        """\
        rule = RULES[self.profile]
        if h_hat is not None and step.sampled_grad is not None:
            g = g + step.sampled_grad
""",
        "No zero_grad after the estimate: the training gradient is added to it. Seen in steps that estimate.",
    ),
    Mutant(
        "official-sampled-gradient-not-squared",
        "        return g_hat * g_hat\n",
        "        return np.abs(g_hat)\n",
        "|g_hat| for its square. Seen unless its entries are 0, 1 or -1.",
    ),
]

HUTCHINSON = [
    Mutant(
        "hutchinson-first-micro-batch-only",
        "    mean = total / len(micro_batches)\n",
        "    mean = micro_batches[0][1] * (micro_batches[0][0] @ micro_batches[0][1])\n",
        "Nothing is averaged over devices, as in optax. Seen with two micro-batches.",
        public=True,
    ),
    Mutant(
        "hutchinson-sum",
        "mean = total / len(micro_batches)",
        "mean = total",
        "A sum over micro-batches. Seen with two.",
    ),
    Mutant(
        "hutchinson-running-halves",
        "total = total + u * (A @ u)",
        "total = (total + u * (A @ u) * len(micro_batches)) / (2 if total.any() else 1)",
        "Each micro-batch halves what was before it. Seen with three micro-batches.",
    ),
    Mutant(
        "hutchinson-product-of-means",
        """\
    for A, u in micro_batches:
        A = laid_out(finite("A", A, theta, (P, P)), layout)
        u = laid_out(finite("u", u, theta, (P,)), layout)
        total = total + u * (A @ u)
    mean = total / len(micro_batches)
""",
        """\
    probe = np.zeros(P, theta.dtype)
    for A, u in micro_batches:
        A = laid_out(finite("A", A, theta, (P, P)), layout)
        u = laid_out(finite("u", u, theta, (P,)), layout)
        total = total + A @ u
        probe = probe + u
    mean = probe / len(micro_batches) * total / len(micro_batches)
""",
        "Probes and products are averaged each on their own, then multiplied. Seen with two micro-batches.",
    ),
    Mutant(
        "hutchinson-row-sums",
        "        total = total + u * (A @ u)\n",
        "        u = -np.ones_like(u)\n        total = total + u * (A @ u)\n",
        "randint(0, 1) is always 0, so the probe is always -1, as in kozistr 3.9. Seen with any other probe.",
        public=True,
    ),
    Mutant(
        "hutchinson-without-probe",
        "total = total + u * (A @ u)",
        "total = total + A @ u",
        "H u is taken for the estimate. Seen unless u is 1.",
    ),
    Mutant(
        "hutchinson-quotient",
        "total = total + u * (A @ u)",
        "total = total + (A @ u) / u",
        "H u / u, which is u * H u for signs alone. Seen with Gaussian probes.",
    ),
    Mutant(
        "hutchinson-unit-probe",
        "        total = total + u * (A @ u)\n",
        "        u = u / np.linalg.norm(u)\n        total = total + u * (A @ u)\n",
        "The probe is given length 1. Seen with P >= 2.",
    ),
    Mutant(
        "hutchinson-signs-of-the-probe",
        "        total = total + u * (A @ u)\n",
        "        u = np.sign(u)\n        total = total + u * (A @ u)\n",
        "The probe is made Rademacher. Seen with Gaussian probes.",
        public=True,
    ),
    Mutant(
        "hutchinson-elementwise-hessian",
        "total = total + u * (A @ u)",
        "total = total + u * (np.diag(A) * u)",
        "Each coordinate's second derivative alone, without its neighbours. Seen where A is not diagonal.",
    ),
    Mutant(
        "hutchinson-trace",
        "total = total + u * (A @ u)",
        "total = total + np.full_like(u, u @ (A @ u))",
        "The estimate of the trace, for every coordinate. Seen with P >= 2.",
    ),
    Mutant(
        "hutchinson-column-major-reshape",
        "mean.reshape(theta.shape)",
        'mean.reshape(theta.shape, order="F")',
        "The estimate is folded the other way. Seen where theta has two axes.",
    ),
]

GNB = [
    Mutant(
        "gnb-true-labels",
        "    W = theta.reshape(d, -1)\n",
        "    W = theta.reshape(d, -1)\n    labels = true_labels\n",
        "The empirical Fisher. Seen where drawn and true labels differ.",
        public=True,
    ),
    Mutant(
        "gnb-true-labels-of-a-gaussian",
        "    W = theta.reshape(d, -1)\n",
        '    W = theta.reshape(d, -1)\n    labels = true_labels if likelihood == "gaussian" else labels\n',
        "Squared error is not seen to have a likelihood. Seen with it, where drawn and true labels differ.",
        public=True,
    ),
    Mutant(
        "gnb-B-of-all-rows",
        "    g_hat = total / B\n    return g_hat.reshape(theta.shape), B\n",
        "    g_hat = total / N\n    return g_hat.reshape(theta.shape), N\n",
        "B counts masked rows. Seen with a mask.",
        public=True,
    ),
    Mutant(
        "gnb-mean-over-all-rows-B-of-unmasked",
        "g_hat = total / B",
        "g_hat = total / N",
        "The mean counts masked rows, B does not. Seen with a mask.",
        public=True,
    ),
    Mutant(
        "gnb-B-counts-micro-batches",
        "return g_hat.reshape(theta.shape), B",
        "return g_hat.reshape(theta.shape), len(micro_batches)",
        "B in sequences, not in tokens. Seen unless every micro-batch is one row.",
        public=True,
    ),
    Mutant(
        "gnb-B-of-a-micro-batch",
        "return g_hat.reshape(theta.shape), B",
        "return g_hat.reshape(theta.shape), B / len(micro_batches)",
        "The mean gradient meets the micro-batch's B. Seen with two micro-batches.",
        public=True,
    ),
    Mutant(
        "gnb-B-missing",
        "B * g_hat * g_hat",
        "g_hat * g_hat",
        "The official square in the paper's rule. Seen with B > 1.",
        public=True,
    ),
    Mutant(
        "gnb-B-squared-away",
        "g_hat = total / B",
        "g_hat = total",
        "The summed gradient is squared. Seen with B > 1.",
    ),
    Mutant(
        "gnb-divided-by-B",
        "B * g_hat * g_hat",
        "g_hat * g_hat / B",
        "B below, not above. Seen with B > 1.",
    ),
    Mutant(
        "gnb-squares-of-micro-batches",
        ACCUMULATE + GNB_MEAN,
        """\
        b = max(int(mask[rows].sum()), 1)
        total = total + summed_gradient(W, x[rows], labels[rows], mask[rows], likelihood) ** 2 / b
"""
        + GNB_MEAN.replace("total / B", "np.sqrt(total / len(micro_batches) / B)"),
        "b g_hat^2 of each micro-batch, averaged: B too small. Seen with two micro-batches.",
        public=True,
    ),
    Mutant(
        "gnb-mean-of-uneven-means",
        ACCUMULATE,
        """\
        b = max(int(mask[rows].sum()), 1)
        share = mask.sum() / len(micro_batches)
        total = total + (share / b * summed_gradient(W, x[rows], labels[rows], mask[rows], likelihood)).astype(W.dtype)
""",
        "Micro-batches count alike, whatever their length. Seen with micro-batches of unlike numbers of unmasked rows.",
    ),
    Mutant(
        "gnb-last-micro-batch-only",
        ACCUMULATE,
        ACCUMULATE.replace("total + ", ""),
        "The gradient is cleared between micro-batches. Seen with two.",
    ),
    Mutant(
        "gnb-third-micro-batch-starts-early",
        "start = start + length",
        "start = length",
        "= for +=. Seen with three micro-batches.",
    ),
    Mutant(
        "gnb-last-row-dropped",
        "rows = slice(start, start + length)",
        "rows = slice(start, start + length - 1)",
        "An end taken for inclusive. Seen where the last row of a micro-batch is not masked.",
    ),
    Mutant(
        "gnb-per-example-squares",
        "g_hat = total / B",
        """\
rows = [slice(i, i + 1) for i in range(N)]
    squares = [summed_gradient(W, x[row], labels[row], mask[row], likelihood) ** 2 for row in rows]
    g_hat = np.sqrt(sum(squares)) / B""",
        "Squares of single rows are averaged, which has the same expectation. Seen with B > 1.",
    ),
    Mutant(
        "gnb-mask-ignored-in-the-gradient",
        "    x, labels = x[mask], labels[mask]\n",
        "",
        "Masked rows enter the gradient, but not B. Seen with a mask.",
        public=True,
    ),
    Mutant(
        "gnb-mask-inverted",
        "x, labels = x[mask], labels[mask]",
        "x, labels = x[~mask], labels[~mask]",
        "True is taken for masked. Seen with a mask.",
    ),
    Mutant(
        "gnb-empty-mask-gives-zero",
        '    if B == 0:\n        raise ValueError("mask: every row is masked")\n',
        "    B = max(B, 1)\n",
        "Without a prediction the curvature is taken for zero. Seen where every row is masked: it must be refused.",
    ),
    Mutant(
        "gnb-softmax-over-rows",
        "return exponentials / exponentials.sum(axis=1, keepdims=True)",
        "return exponentials / exponentials.sum(axis=0, keepdims=True)",
        "Probabilities sum to one over the batch. Seen with any batch.",
    ),
    Mutant(
        "gnb-softmax-overflows",
        "shifted = logits - logits.max(axis=1, keepdims=True)",
        "shifted = logits",
        "No shift. Seen with logits over 88 in float32, 709 in float64.",
    ),
    Mutant(
        "gnb-softmax-shifted-by-global-maximum",
        "logits.max(axis=1, keepdims=True)",
        "logits.max()",
        "One shift for all rows: where a row's logits are far below, 0/0. Seen with rows of unlike size.",
    ),
    Mutant(
        "gnb-labels-smoothed",
        LABEL,
        LABEL.replace("-= 1", "-= 0.9") + "        residual -= 0.1 / residual.shape[1]\n",
        "The training loss's label smoothing is left on. Seen with any batch.",
        public=True,
    ),
    Mutant(
        "gnb-labels-as-int8",
        LABEL,
        LABEL.replace("labels] -=", "labels.astype(np.int8)] -="),
        "Labels are packed too tightly. Seen with more than 128 classes.",
    ),
    Mutant(
        "gnb-label-enters-every-row",
        LABEL,
        "        residual[:, labels] -= 1\n",
        "Fancy indexing of columns, not of entries. Seen with two rows.",
    ),
    Mutant(
        "gnb-gradient-norm-clipped",
        "g_hat = total / B",
        "g_hat = total / B / max(1.0, float(np.linalg.norm(total / B)))",
        "The sampled gradient is clipped to norm 1 before squaring. Seen where its norm is larger.",
        public=True,
    ),
    Mutant(
        "gnb-weights-transposed",
        "W = theta.reshape(d, -1)",
        "W = theta.reshape(-1, d).T",
        "theta is read as (C, d), as torch.nn.Linear keeps it. Seen unless d or C is 1.",
    ),
    Mutant(
        "gnb-theta-in-memory-order",
        "W = theta.reshape(d, -1)",
        'W = theta.ravel(order="K").reshape(d, -1)',
        "theta is read as it lies in memory. Seen where it is column-major.",
    ),
    Mutant(
        "gnb-gaussian-without-half",
        "residual = outputs - labels",
        "residual = 2 * (outputs - labels)",
        "The loss is |f - y|^2, whose likelihood has variance 1/2. Seen with a Gaussian likelihood.",
    ),
    Mutant(
        "gnb-gaussian-mean-over-outputs",
        "residual = outputs - labels",
        "residual = (outputs - labels) / outputs.shape[1]",
        "As torch.nn.MSELoss averages. Seen with two outputs or more.",
    ),
    Mutant(
        "gnb-gaussian-B-counts-outputs",
        "    g_hat = total / B\n",
        '    g_hat = total / B\n    B = labels.size // N * B if likelihood == "gaussian" else B\n',
        "B is multiplied by the number of outputs. Seen with two outputs or more.",
    ),
    Mutant(
        "gnb-at-captured-parameters",
        "estimate(self.profile, step, theta, self.layout)",
        'estimate(self.profile, step, self.__dict__.setdefault("captured", theta), self.layout)',
        "A closure keeps the parameters of its first call. Seen from the second estimate on.",
    ),
    Mutant(
        "gnb-labels-wrap-around",
        "if ((unmasked < 0) | (unmasked >= C)).any():",
        "if (unmasked >= C).any():",
        "A label of -1 is the last class. Seen with negative labels, which must be refused.",
    ),
    Mutant(
        "gnb-short-micro-batches-accepted",
        "if sum(lengths) != N:",
        "if sum(lengths) > N:",
        "Rows that belong to no micro-batch are dropped. Seen where lengths sum to less, which must be refused.",
    ),
]

OPTAX_BUGS = [
    Mutant(
        "optax-correction-one-ahead",
        OPTAX + MOMENTUM + "        m_hat = self.m / (1 - beta1**t)\n",
        OPTAX + MOMENTUM + "        m_hat = self.m / (1 - beta1 ** (t + 1))\n",
        "t is counted up too early. Seen in the first steps where something is not clipped.",
    ),
    Mutant(
        "optax-correction-with-beta2",
        OPTAX + MOMENTUM + "        m_hat = self.m / (1 - beta1**t)\n",
        OPTAX + MOMENTUM + "        m_hat = self.m / (1 - beta2**t)\n",
        "The other average's correction. Seen unless beta1 = beta2.",
    ),
    Mutant(
        "optax-correction-kept",
        OPTAX + MOMENTUM + "        m_hat = self.m / (1 - beta1**t)\n",
        OPTAX + MOMENTUM + "        m_hat = self.m = self.m / (1 - beta1**t)\n",
        "The corrected average goes on as the average. Seen from the second step on.",
    ),
    Mutant(
        "optax-correction-missing",
        "ratio = m_hat / denominator",
        "ratio = self.m / denominator",
        "The paper's ratio. Seen in the first steps where something is not clipped.",
        public=True,
    ),
    Mutant(
        "optax-correction-in-float32",
        OPTAX + MOMENTUM + "        m_hat = self.m / (1 - beta1**t)\n",
        OPTAX + MOMENTUM + "        m_hat = self.m / (1 - np.float32(beta1) ** t)\n",
        "The power is taken in single precision. Seen in float64.",
    ),
    Mutant(
        "optax-correction-since-construction",
        OPTAX + MOMENTUM + "        m_hat = self.m / (1 - beta1**t)\n",
        OPTAX + MOMENTUM + "        m_hat = self.m / (1 - beta1 ** (t - self.first))\n",
        "The power counts the optimizer's own steps. Seen from an initial t > 0.",
    ),
    Mutant(
        "optax-absorbs-before-the-step",
        SOPHIA_DENOMINATOR + "        ratio = m_hat / denominator\n",
        ABSORB + "            h_hat = None\n" + SOPHIA_DENOMINATOR + "        ratio = m_hat / denominator\n",
        "The paper's order. Seen in steps that estimate.",
        public=True,
    ),
    Mutant(
        "optax-denominator-added-eps",
        SOPHIA_DENOMINATOR + "        ratio = m_hat / denominator\n",
        "        denominator = np.maximum(gamma * self.h, 0) + eps\n        ratio = m_hat / denominator\n",
        "A sum for the maximum, behind a bound at zero. Seen where gamma h is about eps, with a large eps.",
        public=True,
    ),
]

ADAM_BUGS = [
    Mutant(
        "adam-eps-inside-the-root",
        "denominator = np.sqrt(v_hat) + eps",
        "denominator = np.sqrt(v_hat + eps)",
        "Seen where v_hat is about eps or less.",
    ),
    Mutant(
        "adam-eps-before-the-correction",
        "denominator = np.sqrt(v_hat) + eps",
        "denominator = (np.sqrt(self.h) + eps) / (1 - beta2**t) ** 0.5",
        "The paper's faster form, whose eps is another. Seen with small gradients in the first steps.",
    ),
    Mutant(
        "adam-maximum-for-sum",
        "denominator = np.sqrt(v_hat) + eps",
        "denominator = np.maximum(np.sqrt(v_hat), eps)",
        "Sophia's denominator. Seen where the root is about eps.",
    ),
    Mutant(
        "adam-no-root",
        "denominator = np.sqrt(v_hat) + eps",
        "denominator = v_hat + eps",
        "Seen unless v_hat is 1.",
    ),
    Mutant(
        "adam-corrections-swapped",
        "        m_hat = self.m / (1 - beta1**t)\n        v_hat = self.h / (1 - beta2**t)\n",
        "        m_hat = self.m / (1 - beta2**t)\n        v_hat = self.h / (1 - beta1**t)\n",
        "Seen unless beta1 = beta2.",
    ),
    Mutant(
        "adam-v-not-corrected",
        "v_hat = self.h / (1 - beta2**t)",
        "v_hat = self.h",
        "Seen in the first steps.",
    ),
    Mutant(
        "adam-correction-in-float32",
        "v_hat = self.h / (1 - beta2**t)",
        "v_hat = self.h / (1 - np.float32(beta2) ** t)",
        "1 - 0.999 loses four digits in single precision. Seen in float64 and, with a beta2 near 1, in float32.",
    ),
    Mutant(
        "adam-v-with-beta1",
        "self.h = beta2 * self.h + (1 - beta2) * g**2",
        "self.h = beta1 * self.h + (1 - beta1) * g**2",
        "Seen from the second step on, unless beta1 = beta2.",
    ),
    Mutant(
        "adam-v-of-deviations",
        "self.h = beta2 * self.h + (1 - beta2) * g**2",
        "self.h = beta2 * self.h + (1 - beta2) * (g - self.m) ** 2",
        "AdaBelief. Seen with beta1 > 0.",
    ),
    Mutant(
        "adam-v-never-falls",
        "self.h = beta2 * self.h + (1 - beta2) * g**2",
        "self.h = np.maximum(self.h, beta2 * self.h + (1 - beta2) * g**2)",
        "AMSGrad, on v itself. Seen where gradients become smaller.",
    ),
    Mutant(
        "adam-v-of-momentum",
        "self.h = beta2 * self.h + (1 - beta2) * g**2",
        "self.h = beta2 * self.h + (1 - beta2) * self.m**2",
        "The momentum is squared. Seen with beta1 > 0.",
    ),
    Mutant(
        "adam-v-stale",
        """\
        self.h = beta2 * self.h + (1 - beta2) * g**2
        m_hat = self.m / (1 - beta1**t)
        v_hat = self.h / (1 - beta2**t)
""",
        """\
        m_hat = self.m / (1 - beta1**t)
        v_hat = self.h / (1 - beta2**t)
        self.h = beta2 * self.h + (1 - beta2) * g**2
""",
        "The step is divided by the mean square of the step before. Seen in any step.",
    ),
    Mutant(
        "adam-nesterov",
        "update = m_hat / denominator",
        "update = (beta1 * m_hat + (1 - beta1) * g / (1 - beta1**t)) / denominator",
        "NAdam. Seen where gradients change.",
    ),
    Mutant(
        "adamw-decay-in-the-gradient",
        ADAM + MOMENTUM,
        ADAM + "g = g + self.decay * theta\n        " + MOMENTUM,
        "The decay passes through the averages, and is made again after them. Seen with weight_decay > 0.",
    ),
    Mutant(
        "adamw-decay-after-the-step",
        ADAM_STEP,
        "        theta = theta - lr * update\n        theta = theta - lr * self.decay * theta\n" + ADAM_FIELDS,
        "The new theta is decayed. Seen in the order lr^2 weight_decay: with large lr.",
    ),
    Mutant(
        "adamw-decay-by-relative-rate",
        ADAM_STEP,
        ADAM_STEP.replace("lr * self.decay", "lr / max(self.rates) * self.decay"),
        "The paper's decay, by the schedule's multiplier alone. Seen with weight_decay > 0.",
    ),
    Mutant(
        "adamw-decays-in-place-first",
        ADAM_RULE,
        ADAM
        + "theta *= 1 - lr * self.decay\n        "
        + ADAM_RULE.removeprefix(ADAM).replace("        theta = theta - lr * self.decay * theta\n", ""),
        "theta is decayed in its own memory before the gradient is read, as torch.optim.AdamW begins. Seen where the"
        " gradient shares memory with theta.",
    ),
]

LION_BUGS = [
    Mutant(
        "lion-betas-swapped",
        LION,
        LION + "beta1, beta2 = beta2, beta1\n        ",
        "Seen unless beta1 = beta2.",
    ),
    Mutant(
        "lion-momentum-before-the-step",
        LION + "c = beta1 * self.m + (1 - beta1) * g\n",
        LION + "c = beta1 * (beta2 * self.m + (1 - beta2) * g) + (1 - beta1) * g\n",
        "The new momentum is interpolated. Seen in c, and where its sign turns.",
    ),
    Mutant(
        "lion-sign-of-momentum",
        "update = np.sign(c) + self.decay * theta",
        "update = np.sign(beta2 * self.m + (1 - beta2) * g) + self.decay * theta",
        "Signum. Seen where m and g disagree.",
    ),
    Mutant(
        "lion-momentum-is-c",
        "self.m = beta2 * self.m + (1 - beta2) * g",
        "self.m = c",
        "One average for both. Seen unless beta1 = beta2.",
    ),
    Mutant(
        "lion-sign-of-zero-is-one",
        "update = np.sign(c) + self.decay * theta",
        "update = np.where(c >= 0, 1, -1).astype(c.dtype) + self.decay * theta",
        "What has no gradient moves. Seen where c = 0.",
    ),
    Mutant(
        "lion-clip-for-sign",
        "update = np.sign(c) + self.decay * theta",
        "update = np.clip(c, -1.0, 1.0) + self.decay * theta",
        "Sophia's habit. Seen where |c| < 1.",
    ),
    Mutant(
        "lion-decay-inside-the-sign",
        "update = np.sign(c) + self.decay * theta",
        "update = np.sign(c + self.decay * theta)",
        "Coupled decay. Seen with weight_decay > 0.",
    ),
    Mutant(
        "lion-update-of-flat-copy",
        "        update = np.sign(c) + self.decay * theta\n        theta = theta - lr * update\n",
        """\
        update = np.sign(c) + self.decay * theta
        flat = theta.reshape(-1)
        flat -= (lr * update).reshape(-1)
""",
        "reshape(-1) is a view of some arrays and a copy of others, whose change is lost. Seen with strided arrays, and"
        " where the gradient shares memory with theta.",
    ),
]

STATE = [
    Mutant(
        "resume-loses-m",
        '        self.m = saved["m"]\n',
        "",
        "Momentum is not restored. Seen with a resume and beta1 > 0.",
    ),
    Mutant(
        "resume-loses-h",
        '        self.h = saved["h"]\n',
        "",
        "Curvature is not restored. Seen with a resume.",
    ),
    Mutant(
        "resume-loses-t",
        '        self.t = int(saved["t"])\n',
        "",
        "The count starts over. Seen with a resume, in the phase of refreshes, bias corrections and rates that change.",
    ),
    Mutant(
        "resume-one-step-later",
        'self.t = int(saved["t"])',
        'self.t = int(saved["t"]) + 1\n        self.first = self.first + 1',
        "t is taken for the step to come. Seen in the phase of refreshes and in bias corrections after a resume.",
    ),
    Mutant(
        "resume-m-and-h-exchanged",
        '        self.m = saved["m"]\n        self.h = saved["h"]\n',
        '        self.h, self.m = saved["m"], saved["h"]\n',
        "Leaves in another order than they were saved in. Seen with a resume.",
    ),
    Mutant(
        "save-t-as-float16",
        '"t": np.array(self.t)',
        '"t": np.array(self.t).astype(np.float16)',
        "model.half() takes the counter along, which is exact to 2048. Seen with a resume after an odd t of more.",
    ),
    Mutant(
        "save-t-as-int8",
        '"t": np.array(self.t)',
        '"t": np.array(self.t).astype(np.int8)',
        "The counter is packed too tightly. Seen with a resume after t > 127.",
    ),
    Mutant(
        "save-m-as-float32",
        '"m": self.m.copy()',
        '"m": self.m.astype(np.float32).astype(self.m.dtype)',
        "Checkpoints are in single precision. Seen in float64 with a resume.",
    ),
    Mutant(
        "save-h-as-float16",
        '"h": self.h.copy()',
        '"h": self.h.astype(np.float16).astype(self.h.dtype)',
        "Checkpoints are in half precision: h below 6e-8 is 0, above 65,504 infinite. Seen with a resume.",
    ),
    Mutant(
        "save-theta-as-float32",
        '"theta": theta.copy()} | optimizer.save()',
        '"theta": theta.astype(np.float32).astype(theta.dtype)} | optimizer.save()',
        "Checkpoints are in single precision. Seen in float64 with a resume.",
    ),
    Mutant(
        "save-m-in-memory-order",
        '"m": self.m.copy()',
        '"m": np.frombuffer(self.m.tobytes("A"), self.m.dtype).reshape(self.m.shape)',
        "Bytes are written as they lie and read row by row. Seen with a resume and column-major arrays of two axes.",
    ),
    Mutant(
        "save-m-bias-corrected",
        '"m": self.m.copy()',
        '"m": self.m / (1 - self.settings["beta1"] ** self.t) if self.t else self.m.copy()',
        "The bias-corrected momentum is saved. Seen with a resume and beta1 > 0.",
    ),
    Mutant(
        "state-initial-ignored",
        "    if array is None:\n        array = np.zeros_like",
        "    if True:\n        array = np.zeros_like",
        "What the caller brings along is dropped. Seen from an initial state.",
    ),
    Mutant(
        "state-initial-t-ignored",
        "        self.t = self.first\n",
        "        self.t = self.first = 0\n",
        "t starts at 0. Seen from an initial t, in the phase of refreshes and in bias corrections.",
    ),
    Mutant(
        "state-in-float64",
        "array = np.zeros_like(case.theta)",
        "return np.zeros(case.theta.shape)",
        "NumPy's zeros are float64, and all that meets them becomes so. Seen in float32.",
    ),
    Mutant(
        "settings-are-numpy-scalars",
        "    value = float(value)\n",
        "    value = np.float64(value)\n",
        "A np.float64 is not weak, as a float is: it makes float32 arrays float64. Seen in float32.",
    ),
]

REFUSALS = [
    Mutant(
        "accepts-nan-gamma",
        '"gamma": lambda x: 0 < x < np.inf,',
        '"gamma": lambda x: not x <= 0,',
        "NaN is not <= 0. Seen with gamma NaN or infinite, which must be refused.",
    ),
    Mutant(
        "accepts-beta1-of-one",
        '"beta1": lambda x: 0 <= x < 1,',
        '"beta1": lambda x: 0 <= x <= 1,',
        "m never learns. Seen with beta1 = 1, which must be refused.",
    ),
    Mutant(
        "refuses-beta2-of-zero",
        '"beta2": lambda x: 0 <= x < 1,',
        '"beta2": lambda x: 0 < x < 1,',
        "h is the latest estimate there. Seen with beta2 = 0.",
    ),
    Mutant(
        "accepts-negative-decay",
        '"weight_decay": lambda x: 0 <= x < np.inf,',
        '"weight_decay": lambda x: x < np.inf,',
        "Seen with a weight_decay < 0, which must be refused.",
    ),
    Mutant(
        "accepts-eps-that-underflows",
        'if case.theta.dtype.type(settings.get("eps", 1.0)) == 0:',
        'if settings.get("eps", 1.0) == 0:',
        "1e-50 is 0 in float32. Seen with it and float32, which must be refused.",
    ),
    Mutant(
        "accepts-shapes-that-broadcast",
        "if array.shape != expected:",
        "if np.broadcast_shapes(array.shape, expected) != expected:",
        "One row of gradient for several of theta. Seen with it, which must be refused.",
    ),
    Mutant(
        "accepts-dtypes-that-cast",
        "if array.dtype != theta.dtype:",
        "if not np.can_cast(array.dtype, theta.dtype):",
        "A float32 gradient for a float64 theta. Seen with it, which must be refused.",
    ),
    Mutant(
        "refuses-what-squares-to-infinity",
        "if not np.isfinite(array).all():",
        "if not np.isfinite(np.vdot(array, array)):",
        "A fast check for finite entries overflows itself. Seen with entries over 2e19 in float32.",
    ),
    Mutant(
        "accepts-infinity",
        "if not np.isfinite(array).all():",
        "if np.isnan(array).any():",
        "Seen with an infinite gradient, which must be refused.",
    ),
    Mutant(
        "accepts-0-d-theta",
        "if theta.ndim == 0:",
        "if theta.ndim < 0:",
        "Seen with it: it must be refused.",
    ),
    Mutant(
        "refuses-empty-theta",
        "if theta.ndim == 0:",
        "if theta.ndim == 0 or theta.size == 0:",
        "Seen with an array of size 0, which is sound.",
    ),
    Mutant(
        "accepts-float16",
        'theta.dtype.char not in "fd"',
        'theta.dtype.kind not in "f"',
        "Seen with float16, which must be refused.",
    ),
]

MUTANTS = [
    *WHEN,
    *SCHEDULE,
    *MOMENTUM_BUGS,
    *CURVATURE,
    *DENOMINATOR,
    *CLIP,
    *DECAY,
    *OFFICIAL_BUGS,
    *HUTCHINSON,
    *GNB,
    *OPTAX_BUGS,
    *ADAM_BUGS,
    *LION_BUGS,
    *STATE,
    *REFUSALS,
]
