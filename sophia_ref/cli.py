"""The command sophia-ref: list, race, train, demo. Nothing else in the package prints.

Exit codes: 0 for success, 1 for a failure on the way, 2 for a wrong argument, 130 after Ctrl-C, 141 for a closed pipe.
"""

import io
import os
import sys
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from textwrap import indent

import numpy as np

from sophia_ref.commands import race, train
from sophia_ref.commands.arguments import PICTURES, not_one_of, parse
from sophia_ref.report import text_table
from sophia_ref.settings import ESTIMATORS, LANGUAGE, OPTIMIZERS, TOYS
from toy_problems import text
from toy_problems.landscapes import REGISTRY
from toy_problems.transformer import PRESETS, LanguageTask

FURTHEST = 10  # widths of the domain that a race may start away from it


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command with these arguments, those of sys.argv by default, and return its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a text may not fit the terminal's encoding
    try:
        args = parse(
            sys.argv[1:] if argv is None else argv, {"list": _list, "race": _race, "train": _train, "demo": _demo}
        )
        code: int = args.call(args)
        sys.stdout.flush()
        return code
    except SystemExit as end:  # argparse: help, version, a wrong argument
        return int(end.code or 0)
    except KeyboardInterrupt:
        print("\nsophia-ref: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains when it flushes at exit
        return 141
    except (OSError, MemoryError) as error:
        print(f"sophia-ref: error: {error}", file=sys.stderr)
        return 1


def _list(args: Namespace) -> int:
    problems = [(name, p.title, len(p.minima), len(p.saddles), len(p.maxima)) for name, p in REGISTRY.items()]
    _table(("PROBLEM", "", "min", "saddle", "max"), problems)
    uses = [("yes" * (name in TOYS), "yes" * (name in LANGUAGE)) for name in OPTIMIZERS]
    _table(
        ("OPTIMIZER", "", "races", "trains"),
        [(*item, *use) for item, use in zip(OPTIMIZERS.items(), uses, strict=True)],
    )
    _table(("ESTIMATOR", "of the Hessian's diagonal"), list(ESTIMATORS.items()))
    models = [(name, f"{m.size:,}", m.vocab, m.context, m.width, m.heads, m.layers) for name, m in PRESETS.items()]
    print(text_table(("PRESET", "parameters", "vocabulary", "context", "width", "heads", "layers"), models))
    return 0


def _race(args: Namespace) -> int:
    landscape, names, rates = REGISTRY[args.problem], list(dict.fromkeys(args.optimizers)), dict(args.lr)
    if args.start is not None:
        for axis, value, (low, high) in zip("xy", args.start, landscape.domain, strict=True):
            reach = FURTHEST * (high - low)
            if not low - reach <= value <= high + reach:
                args.parser.error(
                    f"argument --start: {axis} = {value:g}; expected {low - reach:g} <= {axis} <= {high + reach:g}, "
                    f"within {FURTHEST} widths of the domain"
                )
        landscape = replace(landscape, start=np.array(args.start))
    for name in rates:
        if name not in names:
            args.parser.error(f"argument --lr: {not_one_of('in the race', name, names)}")
    picture = Path(args.output)
    if picture.suffix not in PICTURES:
        picture /= f"race_{args.problem}.png"
    _make_folder(args, picture.parent)

    runs = race.race(landscape, names, rates, args.steps, args.seed, args.noise)
    x, y = landscape.start
    print(f"{landscape.title}, {args.steps} step{'s' * (args.steps > 1)} from ({x:g}, {y:g})\n")
    _table(race.HEADER, [race.row(landscape, name, run) for name, run in zip(names, runs, strict=True)])
    print(race.LEGEND + "\n", flush=True)

    from sophia_ref import plots

    print(f"wrote {plots.save(plots.race_figure(landscape, runs), picture)}", flush=True)
    if args.animate:
        print(f"wrote {plots.animate(landscape, runs, picture.with_suffix('.gif'))}")
    return 0


def _train(args: Namespace) -> int:
    opt = LANGUAGE[args.optimizer]
    changes = {name: getattr(args, name) for name in ("gamma", "weight_decay") if getattr(args, name) is not None}
    for name, value in changes.items():
        if not hasattr(opt, name):
            args.parser.error(
                f"argument --{name.replace('_', '-')}: {value:g}; expected none, as {args.optimizer} has no {name}"
            )
    try:
        source = text.load(args.text)
    except (OSError, ValueError) as error:
        args.parser.error(f"argument --text: {str(error).removeprefix('path: ')}")
    model = replace(PRESETS[args.preset], vocab=source.vocab)
    if len(source.validation) <= model.context:
        length = len(source.train) + len(source.validation)
        args.parser.error(
            f"argument --text: {args.text!r} of {length} characters; "
            f"expected at least {10 * (model.context + 1)} for preset {args.preset}"
        )
    if hasattr(opt, "layout"):
        changes["layout"] = model.layout
    opt, peak = replace(opt, **changes), opt.lr if args.lr is None else args.lr
    task, folder = LanguageTask(model, source, args.batch_size), Path(args.output)
    _make_folder(args, folder)

    print(f"a GPT of {model.size:,} parameters on {args.text or 'the Python language reference'}")
    print(
        f"{args.optimizer}, peak lr {peak:g}, {args.steps} steps of {args.batch_size} x {model.context} characters",
        flush=True,
    )
    done = train.train(task, opt, peak, args.steps, args.seed)
    steps, path = done.rows[-1].step, folder / f"train_{args.optimizer}.csv"
    log, picture = train.save_log(done.rows, path), train.save_picture(done.rows, opt, path.with_suffix(".png"))
    if done.diverged_at is None:
        print(f"\nvalidation loss {task.validation_loss(done.theta):.4f} nats a character after {steps} steps")
        print(f"a sample at temperature 0.8:\n\n{indent(train.sample(task, done.theta, 300, args.seed), '  ')}\n")
    print(f"wrote {log}\nwrote {picture}", flush=True)
    if done.interrupted:
        print(f"sophia-ref: interrupted after {steps} of {args.steps} steps; saved what there is", file=sys.stderr)
        return 130
    if done.diverged_at is not None:
        print(f"sophia-ref: error: diverged at step {done.diverged_at}; a smaller --lr may help", file=sys.stderr)
        return 1
    return 0


def _demo(args: Namespace) -> int:
    from sophia_ref.demo import demo

    _make_folder(args, Path(args.output))
    demo(args.output, quick=args.quick, say=print)
    return 0


def _make_folder(args: Namespace, folder: Path) -> None:
    """Make the folder of --output, or refuse the argument."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        reason = "" if os.access(folder, os.W_OK) else "is read-only"
    except (FileExistsError, NotADirectoryError):
        reason = "is in or on a file"
    except OSError as error:
        reason = f"cannot be made ({error.strerror})"
    if reason:
        args.parser.error(f"argument --output: {args.output!r} {reason}; expected a folder that can be written to")


def _table(header: Sequence[object], rows: Sequence[Sequence[object]]) -> None:
    print(text_table(header, rows) + "\n")
