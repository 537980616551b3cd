"""Training runs of gpu_claims.py: a GPT on bytes, by the PyTorch port, described by a Spec and kept as a Result.

Within a step nothing waits for the GPU but the places of a batch, which are sent there, and the draw of GNB's labels.
So whether a run has diverged is seen where its curve is looked at, eight times a run, or where no labels can be drawn
as the logits are not finite; it then ends.
"""

import hashlib
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from on_device import torch, wait

import sophia_ref as sr
from examples.gpt_torch import GPT
from sophia_ref.claims.methods import ESTIMATORS, cost_a_step, parsed
from sophia_ref.claims.runs import CLIP_NORM, GREATEST, POINTS, Result, Spec
from sophia_ref.ports.torch import GNB, Hutchinson, Sophia
from toy_problems.text import HELD_OUT, MOST_HELD_OUT, language_reference
from toy_problems.transformer import TinyGPT

VOCAB = 256
METHODS = ("AdamW", "Signum", "SophiaH", "SophiaG")
EVERY = 10  # steps from estimate to estimate
AT_ONCE = 2**14  # predictions of a forward pass on held-out data
NO_EPS = 2e-38  # the least number that float32 keeps whole: m / NO_EPS is clipped wherever m is not 0


@dataclass(frozen=True)
class Text:
    """The bytes of a file, of which the last tenth is held out. train, validation: uint8 tensors on the device."""

    name: str
    size: int
    sha256: str
    train: Any
    validation: Any

    @classmethod
    def load(cls, path: Path | None, device: Any) -> "Text":
        """That of a file, or the language reference that every Python carries. Raises OSError as open does."""
        content = path.read_bytes() if path else language_reference().encode()
        data = torch.frombuffer(bytearray(content), dtype=torch.uint8).to(device)
        end = len(data) - int(HELD_OUT * len(data))
        name = path.name if path else "the Python language reference"
        return cls(name, len(data), hashlib.sha256(content).hexdigest(), data[:end], data[end:])

    def windows(self, starts: Any, length: int, part: Any) -> Any:
        """Windows of a part, int64 (count, length), that begin at starts (count,), integers of the host."""
        return part[starts.to(part.device)[:, None] + torch.arange(length, device=part.device)].long()

    def held_out(self, context: int, tuning: bool) -> Any:
        """Every other one of at most MOST_HELD_OUT / context windows, evenly spread, (count, context + 1)."""
        count = min(MOST_HELD_OUT, len(self.validation) - 1) // context
        starts = torch.arange(count) * ((len(self.validation) - 1 - context) // max(count - 1, 1))
        return self.windows(starts[int(tuning) :: 2], context + 1, self.validation)


def make_optimizer(method: str, settings: dict[str, float], params: list[Any]) -> Any:
    """The method with these settings, as sophia_ref.claims.methods makes it of NumPy, from PyTorch and the port. fused
    on a GPU."""
    fused = {"fused": True} if params[0].is_cuda else {}
    betas = tuple(1 - settings.get(f"1-{name}", 0.01) for name in ("beta1", "beta2"))
    rest = {"betas": betas, "weight_decay": settings["decay"], **fused}
    if method == "AdamW":
        return torch.optim.AdamW(params, settings["lr"], **rest)
    if method == "Signum":  # Sophia without curvature: every coordinate is clipped
        return Sophia(params, settings["lr"], eps=NO_EPS, every=2**62, **rest)
    return Sophia(params, settings["lr"], gamma=settings["gamma"], every=EVERY, **rest)


@dataclass
class Training:
    """A run under way: `step` takes one, `look` scores. bf16: whether products are of bfloat16, in autocast."""

    spec: Spec
    text: Text
    device: Any
    bf16: bool

    def __post_init__(self) -> None:
        context, width, heads, layers = self.spec.model
        model = TinyGPT(VOCAB, context, width, heads, layers)
        rng = np.random.default_rng(self.spec.seed)
        self.gpt = GPT(model, model.init(rng), fused=True).to(self.device)
        self.params, self.context = list(self.gpt.parameters()), context
        self.starts = torch.Generator().manual_seed(self.spec.seed)
        draws = torch.Generator(self.device).manual_seed(self.spec.seed)
        self.base, settings = parsed(self.spec.method)[0], dict(self.spec.settings)
        self.opt = make_optimizer(self.base, settings, self.params)
        self.rate = sr.cosine(settings["lr"], self.spec.steps, warmup=self.spec.steps // 10)
        self.estimator = {"SophiaG": GNB, "SophiaH": Hutchinson}.get(self.base, GNB)(self.params, generator=draws)
        self.t, self.norms = 0, []
        if self.base == "Signum":
            self.opt.update_curvature([torch.zeros_like(p) for p in self.params])

    def step(self) -> None:
        last = len(self.text.train) - self.context
        starts = torch.randint(last, (self.spec.batch,), generator=self.starts)
        windows = self.text.windows(starts, self.context + 1, self.text.train)
        self.opt.zero_grad()  # before the estimate, which takes as much room
        if self.base in ESTIMATORS and self.opt.curvature_due:
            self._estimate(windows[: max(1, round(ESTIMATORS[self.base].fraction * len(windows)))])
        self._loss(windows).backward()
        self.norms.append(torch.nn.utils.clip_grad_norm_(self.params, CLIP_NORM))
        self.t += 1
        for group in self.opt.param_groups:
            group["lr"] = self.rate(self.t)
        self.opt.step()

    def _estimate(self, windows: Any) -> None:
        if self.base == "SophiaG":
            self.estimator.add(self._logits(windows))
        else:
            self.gpt.fused = False  # fused attention has no second derivative
            self.estimator.add(self._loss(windows))
            self.gpt.fused = True
        self.opt.update_curvature(self.estimator)

    def _logits(self, windows: Any) -> Any:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            return self.gpt(windows[:, :-1])

    def _loss(self, windows: Any) -> Any:
        z = self._logits(windows)
        return torch.nn.functional.cross_entropy(z.flatten(0, 1).float(), windows[:, 1:].flatten())

    @torch.no_grad()
    def look(self) -> tuple[float, float | None]:
        """(loss on held-out data, share of coordinates that are not clipped, None for rules that do not clip)."""
        windows = self.text.held_out(self.context, self.spec.tuning)
        parts = windows.split(max(1, AT_ONCE // self.context))
        loss = sum(float(self._loss(part)) * len(part) for part in parts) / len(windows)
        if self.base not in ESTIMATORS:
            return loss, None
        (group,), free = self.opt.param_groups, 0
        for p in self.params:
            m, h = self.opt.state[p]["m"], self.opt.state[p]["h"]
            free += int((m.abs() <= group["clip"] * (group["gamma"] * h).clamp_(min=group["eps"])).sum())
        return loss, free / sum(p.numel() for p in self.params)


def perform(spec: Spec, text: Text, device: Any, bf16: bool, tick: Callable[[], Any] = lambda: None) -> Result:
    """Train. tick: called after every step."""
    run = Training(spec, text, device, bf16)
    looks = {-(-spec.steps * (i + 1) // POINTS): i for i in range(POINTS)}
    final: float | None = None
    unclipped: list[float | None] = [None] * POINTS
    seconds, diverged_at = 0.0, None
    start = time.perf_counter()
    for t in range(1, spec.steps + 1):
        try:
            run.step()
        except RuntimeError as error:
            if "probability tensor contains" not in str(error):
                raise
            seconds += time.perf_counter() - start
            diverged_at = t
            break
        tick()
        if t in looks:
            wait(device)
            seconds += time.perf_counter() - start
            loss, free = run.look()
            if not math.isfinite(loss):
                diverged_at = t
                break
            final = float(f"{loss:.6g}") if t == spec.steps else None
            unclipped[looks[t]] = None if free is None else float(f"{free:.6g}")
            start = time.perf_counter()
    norms = torch.stack(run.norms).double().cpu().numpy().clip(max=GREATEST)
    finite = norms[np.isfinite(norms)]
    quantiles = np.quantile(finite, [0.1, 0.5, 0.9]) if len(finite) else [None] * 3
    return Result(
        final,
        tuple(unclipped),
        run.t * cost_a_step(spec.method, spec.batch),
        round(float((norms > CLIP_NORM).mean()), 4),
        tuple(None if q is None else float(f"{q:.6g}") for q in quantiles),
        round(seconds, 5),
        diverged_at,
    )


def steps_of(run: Training, count: int) -> Iterator[float]:
    """Milliseconds of steps, each waited for."""
    for _ in range(count):
        wait(run.device)
        start = time.perf_counter()
        run.step()
        wait(run.device)
        yield 1e3 * (time.perf_counter() - start)
