"""`sophia-ref profile`: the table of a training step, and how to read it."""

from argparse import Namespace
from dataclasses import replace

from sophia_ref.commands.output import Say, picture
from sophia_ref.commands.training import read_text
from sophia_ref.profile import PASSES, Part, Profile, measure
from sophia_ref.report import text_table
from sophia_ref.settings import LANGUAGE
from toy_problems.transformer import PRESETS, LanguageTask

HEADER = ("", "", "    µs", "  step", "Mflop", "   MB", "floor", "share")
LEGEND = """\
A layer is named by its function and its weights; those of all blocks are added.
forward: its output. backward: the gradients of its inputs and its weights.
µs: the time, in a mean step. step: its part of the whole step. Mflop: millions
of additions and multiplications in matrix products. MB: each input and each
output once, the least there is to move. floor: the µs that the slower of the
two takes at the rates above. share: of the time, what the floor explains.
gather gradient: those of all weights into one array. tape: what joins layers,
the sums of residuals too. curvature: its estimates, spread over all steps.

Why layers miss their floor
  passes   NumPy reads and writes whole arrays in each operation: gelu, softmax,
           layer norm and update cross memory many times. exp and tanh take
           longer than it takes to move their argument.
  narrow   BLAS is slower where rows or columns are few, as in a head's product.
  calls    Each call of NumPy takes about a microsecond, however small its
           arrays: the smaller the model, the more of its time.
  waiting  Where BLAS has several threads, they wait for each other after every
           product; OPENBLAS_NUM_THREADS=1 in the environment gives it one.
A share beyond 100% is an array found in cache, or a machine busy when its rates
were measured. Not attributed: interruptions by other programs, less what it
costs to watch.
"""


def command(args: Namespace, say: Say) -> int:
    model, opt = PRESETS[args.preset], LANGUAGE[args.optimizer]
    if hasattr(opt, "layout"):
        opt = replace(opt, layout=model.layout)
    path = picture(args, "profile.png")
    task = LanguageTask(model, read_text(None, None)[0], args.batch_size)
    what = f"{args.optimizer}, a GPT of {model.size:,} parameters, {args.batch_size} x {model.context} tokens a step"
    say(what)
    result = measure(task, opt, progress=True)
    say(
        f"{result.flop_rate / 1e9:.3g} Gflop/s in products of large matrices, "
        f"{result.byte_rate / 1e9:.3g} GB/s in a large copy\n"
    )
    say(text_table(HEADER, rows(result)) + "\n")
    say(LEGEND)

    from sophia_ref.plots import save
    from sophia_ref.plots.profile import profile_figure

    say(f"wrote {save(profile_figure(result, what), path)}")
    return 0


def rows(profile: Profile) -> list[tuple[str, ...]]:
    """The cells of HEADER, a line for each part, and below them what they add up to."""
    counted = [part for part in profile.parts if profile.floor(part)]
    whole = Part(
        "whole step", "", profile.seconds, sum(part.flops for part in counted), sum(part.bytes for part in counted)
    )
    floor = sum(map(profile.floor, counted))
    return [
        *(_row(profile, part, profile.floor(part)) for part in profile.parts),
        _row(profile, Part("not attributed", "", profile.unattributed), 0.0),
        _row(profile, whole, floor),
    ]


def _row(profile: Profile, part: Part, floor: float) -> tuple[str, ...]:
    name = part.name if part.direction != PASSES[1] else ""
    cells = [name, part.direction, f"{1e6 * part.seconds:6.0f}", f"{part.seconds / profile.seconds:6.1%}"]
    cells.append(_three_figures(part.flops / 1e6) if part.flops else "")
    if floor:
        cells += [_three_figures(part.bytes / 1e6), f"{1e6 * floor:5.0f}", f"{floor / part.seconds:5.0%}"]
    return tuple(cells + [""] * (len(HEADER) - len(cells)))


def _three_figures(x: float) -> str:
    """Rounded, down to thousandths, and without an exponent: 0.009, 2.2, 3300."""
    return f"{float(f'{round(x, 3):.3g}'):5.15g}"
