"""Broken copies of the PyTorch port, one edited line each: bugs that published implementations of Sophia have, or that
people have reported with them. The conformance checker must find each, and say which it is."""

from pathlib import Path
from typing import NamedTuple

FOLDER = Path(__file__).parents[3] / "sophia_ref" / "ports"
NAMES = {"torch.py": "broken_port", "torch_curvature.py": "broken_port_curvature"}


class Edit(NamedTuple):
    name: str
    file: str  # of sophia_ref/ports
    old: str  # part of one line, which is in the file once
    new: str
    bug: str
    seen: str  # where, by the names of sophia_ref.conformance.DIALECTS and of the porting literature
    diagnosis: tuple[str, str]  # what the checker calls it in paper-H and in paper-G; "" where it does not show


EDITS = [
    Edit(
        "eps-added",
        "torch.py",
        "(h * gamma).clamp_(min=eps)",
        "(h * gamma).add_(eps)",
        "eps is added to gamma h in place of bounding it below: negative curvature turns the step round",
        "official SophiaG",
        ("eps added", "eps added"),
    ),
    Edit(
        "no-lower-bound",
        "torch.py",
        ".clamp_(-clip, clip)",
        ".clamp_(max=clip)",
        "the ratio is clipped from above only",
        "official SophiaG, whose sign(m) min(|m| / ..., 1) has no lower bound for a negative denominator",
        ("clipped from above alone", "clipped from above alone"),
    ),
    Edit(
        "momentum-twice",
        "torch.py",
        "m.mul_(beta1).add_(g * (1 - beta1))",
        "m.mul_(beta1).add_(g * (1 - beta1)).mul_(beta1).add_(g * (1 - beta1))",
        "each gradient is averaged into m twice",
        "kyegomez",
        ("momentum twice", "momentum twice"),
    ),
    Edit(
        "decay-last",
        "torch.py",
        "theta.sub_(step * lr)",
        "theta.sub_(step * lr * (1 - lr * weight_decay))",
        "weight decay acts on what is left after the step, so that it shrinks the step too",
        "optimizers that decay after the update",
        ("decay after the update", "decay after the update"),
    ),
    Edit(
        "late-refresh",
        "torch.py",
        'return (clock["step"] % self.param_groups[0]["every"] == 0) &',
        'return (clock["step"] % self.param_groups[0]["every"] == 0) & (clock["step"] > 0) &',
        "the first estimate comes after k steps in place of before the first: h is 0 until then",
        "official SophiaG, Levanter",
        ("first estimate at step k + 1", "first estimate at step k + 1"),
    ),
    Edit(
        "never-for-one",
        "torch.py",
        'return (clock["step"] % self.param_groups[0]["every"] == 0) &',
        'return ((clock["step"] + 1) % self.param_groups[0]["every"] == 1) &',
        "the paper's t mod k = 1 taken literally, which never holds for k = 1",
        "SciML Optimization.jl",
        ("t mod k = 1, literally", "t mod k = 1, literally"),
    ),
    Edit(
        "replaced",
        "torch.py",
        'state["h"].mul_(beta2).add_(estimate * (1 - beta2))',
        'state["h"].copy_(estimate)',
        "the estimate replaces h in place of being averaged into it",
        "loops that keep the last estimate only",
        ("h not averaged", "h not averaged"),
    ),
    Edit(
        "clock-starts-anew",
        "torch.py",
        "fresh.copy_(entry.get(part, fresh))",
        'fresh.copy_(fresh if "step" in part else entry.get(part, fresh))',
        "a resumed run counts steps from 0, so that estimates come at other steps",
        "step counts that live outside the state_dict",
        ("counter lost at resuming", "counter lost at resuming"),
    ),
    Edit(
        "no-probe",
        "torch_curvature.py",
        "v.to(t) * Hu.to(t)",
        "Hu.to(t)",
        "H u in place of u * (H u), whose mean is zero",
        "drafts of Hutchinson's estimator",
        ("H u not multiplied by u", ""),
    ),
    Edit(
        "no-batch-size",
        "torch_curvature.py",
        "[g * g / B for g in total]",
        "[g * g / B**2 for g in total]",
        "g_hat squared without the factor B",
        "official SophiaG, which multiplies by bs in the step, and those who forget that",
        ("", "B left out"),
    ),
    Edit(
        "masked-counted",
        "torch_curvature.py",
        "B = loss.numel() if mask is None else mask.sum()",
        "B = loss.numel()",
        "B counts the masked positions too",
        "padding and ignore_index in language models",
        ("", "mask ignored in the mean"),
    ),
    Edit(
        "last-micro-batch",
        "torch_curvature.py",
        "self.count = self.count + count",
        "self.count = count",
        "the sum over all micro-batches is divided by the size of the last one",
        "gradient accumulation",
        ("sum over micro-batches", "B of the last micro-batch"),
    ),
    Edit(
        "norm-clipped",
        "torch_curvature.py",
        "/ self.loss_scale * B for g in grads]",
        "/ self.loss_scale * B / max(1.0, float(sum(x.square().sum() for x in grads)) ** 0.5) for g in grads]",
        "the norm of the sampled gradient is clipped at 1 before it is squared: h comes out low",
        "labml",
        ("", "sampled gradient's norm clipped, exactly"),
    ),
]


def write(edit: Edit | None, folder: Path) -> str:
    """Write the port, edited, into the folder, which is or will be on sys.path; returns the name of its module."""
    for file, name in NAMES.items():
        source = (FOLDER / file).read_text(encoding="utf-8")
        if edit is not None and file == edit.file:
            assert source.count(edit.old) == 1, f"{edit.name}: {edit.old!r} is {source.count(edit.old)} times in {file}"
            source = source.replace(edit.old, edit.new)
        source = source.replace("sophia_ref.ports.torch_curvature", NAMES["torch_curvature.py"])
        (folder / f"{name}.py").write_text(source, encoding="utf-8")
    return NAMES["torch.py"]
