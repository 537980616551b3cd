"""The command sophia-ref: list, race, step, basins, explore, dialects, train, profile, checkpoint, demo. Only it
prints.

Exit codes: 0 for success, 1 for a failure on the way, 2 for a wrong argument, 130 after Ctrl-C (in a training after
SIGTERM and SIGHUP too), 141 for a closed pipe.
"""

import io
import os
import shlex
import shutil
import sys
import webbrowser
from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import repeat
from pathlib import Path
from textwrap import indent
from typing import Any

import numpy as np

from sophia_ref import checkpoint
from sophia_ref.commands import basins, dialects, profile, race, step, train
from sophia_ref.commands.arguments import PICTURES, not_one_of, parse
from sophia_ref.commands.folder import (
    LOG,
    SETTINGS,
    fingerprint,
    load_settings,
    new_folder,
    save_picture,
    save_settings,
    sweep,
)
from sophia_ref.conformance.drift import STEPS, drift
from sophia_ref.files import replacing
from sophia_ref.inspector import Inspector
from sophia_ref.profile import measure
from sophia_ref.report import text_table
from sophia_ref.settings import ESTIMATORS, LANGUAGE, OPTIMIZERS, TOYS
from toy_problems.landscapes import REGISTRY
from toy_problems.transformer import PRESETS, LanguageTask

FURTHEST = 10  # widths of the domain that a race may start away from it


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command with these arguments, those of sys.argv by default, and return its exit code."""
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a text may not fit the terminal's encoding
    try:
        calls = {
            "list": _list,
            "race": _race,
            "step": _step,
            "basins": _basins,
            "explore": _explore,
            "dialects": _dialects,
            "train": _train,
            "profile": _profile,
            "checkpoint": _checkpoint,
            "demo": _demo,
        }
        args = parse(sys.argv[1:] if argv is None else argv, calls)
        code: int = args.call(args)
        sys.stdout.flush()
        return code
    except SystemExit as end:  # argparse: help, version, a wrong argument
        return int(end.code or 0)
    except KeyboardInterrupt as interrupt:
        print("\nsophia-ref: " + _with_notes("interrupted", interrupt), file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains when it flushes at exit
        return 141
    except (OSError, MemoryError, checkpoint.CheckpointError) as error:
        print("sophia-ref: error: " + _with_notes(str(error), error), file=sys.stderr)
        return 1


def _with_notes(message: str, error: BaseException) -> str:
    return "; ".join([message, *getattr(error, "__notes__", [])])


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
    landscape, (names, rates) = _landscape(args), _racers(args)
    if args.video and shutil.which("ffmpeg") is None:
        args.parser.error("argument --video needs the program ffmpeg, which is not on the PATH; --animate does not")
    picture = _picture(args, f"race_{args.problem}.png")

    runs = race.race(landscape, names, rates, args.steps, args.seed, args.noise)
    x, y = landscape.start
    print(f"{landscape.title}, {args.steps} step{'s' * (args.steps > 1)} from ({x:g}, {y:g})\n")
    _table(race.HEADER, [race.row(landscape, name, run) for name, run in zip(names, runs, strict=True)])
    print(race.LEGEND + "\n", flush=True)

    from sophia_ref import plots

    print(f"wrote {plots.save(plots.race_figure(landscape, runs), picture)}", flush=True)
    for suffix in [".gif"] * args.animate + [".mp4"] * args.video:
        print(f"wrote {plots.animate(landscape, runs, picture.with_suffix(suffix))}", flush=True)
    return 0


def _racers(args: Namespace) -> tuple[list[str], dict[str, float]]:
    """Who races, each once, and the learning rates given."""
    names, rates = list(dict.fromkeys(args.optimizers)), dict(args.lr)
    for name in rates:
        if name not in names:
            args.parser.error(f"argument --lr: {not_one_of('in the race', name, names)}")
    return names, rates


def _basins(args: Namespace) -> int:
    landscape, (names, rates), (columns, rows) = REGISTRY[args.problem], _racers(args), args.grid
    picture = _picture(args, f"basins_{args.problem}.png")
    print(f"{landscape.title}, {columns} x {rows} starts, up to {args.steps} step{'s' * (args.steps > 1)}", flush=True)
    found = basins.search(landscape, names, rates, (columns, rows), args.steps, args.seed, args.noise)
    print()
    _table(basins.HEADER, [basins.row(name, item) for name, item in zip(names, found, strict=True)])
    print(basins.LEGEND + "\n", flush=True)

    from sophia_ref.plots import save
    from sophia_ref.plots.basins import basins_figure

    print(f"wrote {save(basins_figure(found), picture)}")
    return 0


def _landscape(args: Namespace) -> Any:
    """The landscape, from the start that was given."""
    landscape = REGISTRY[args.problem]
    if args.start is None:
        return landscape
    for axis, value, (low, high) in zip("xy", args.start, landscape.domain, strict=True):
        reach = FURTHEST * (high - low)
        if not low - reach <= value <= high + reach:
            args.parser.error(
                f"argument --start: {axis} = {value:g}; expected {low - reach:g} <= {axis} <= {high + reach:g}, "
                f"within {FURTHEST} widths of the domain"
            )
    return replace(landscape, start=np.array(args.start))


def _step(args: Namespace) -> int:
    landscape = _landscape(args)
    try:
        opt = step.optimizer(landscape, args.optimizer, {name: getattr(args, name) for name in step.SETTINGS})
    except ValueError as error:
        args.parser.error(str(error))
    inspector = Inspector(landscape.noisy(args.noise**2) if args.noise else landscape, opt, seed=args.seed)
    color = sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    try:
        plain = not "γ·ĥ ← √m\u0302".encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        plain = True
    print(f"{landscape.title}; h lists what to type\n" if args.steps is None else f"{landscape.title}\n")
    print(step.page(inspector, color, plain), flush=True)
    for line in _typed(inspector) if args.steps is None else repeat("n", args.steps):
        if line.strip().lower() == "q":
            break
        answer = step.obey(inspector, line)
        print("\n" + (answer or step.page(inspector, color, plain)), flush=True)
        if answer and args.steps is not None:
            break  # it has diverged
    return 0


def _typed(inspector: Inspector) -> Iterator[str]:
    """The lines of standard input; at a terminal, with a prompt before each."""
    if sys.stdin is None:  # closed
        return
    terminal = sys.stdin.isatty()
    if terminal:
        with suppress(ImportError):
            import readline  # noqa: F401  gives input() arrow keys and a memory
    while True:
        try:
            yield input(f"\nstep {inspector.t}> " if terminal else "")
        except EOFError:
            print(end="\n" * terminal)
            return


def _explore(args: Namespace) -> int:
    path = Path(args.output)
    _make_folder(args, path.parent)

    from sophia_ref.plots import explore

    with replacing(path) as file:
        file.write(explore(args.problem).html.encode())
    print(f"wrote {path}", flush=True)
    if not (args.no_open or webbrowser.open(path.resolve().as_uri())):
        print("no browser was found; the page opens from disk in any")
    return 0


def _dialects(args: Namespace) -> int:
    if args.problem is None:
        print(dialects.markdown() if args.markdown else dialects.text() + f"\n\n{dialects.REMARKS}", end="")
        return 0
    if args.markdown:
        args.parser.error(f"argument --markdown: given with {args.problem!r}; expected no PROBLEM beside it")
    picture = _picture(args, f"dialects_{args.problem}.png")
    problem, paper = dialects.problem(args.problem)
    found, left_out = drift(problem, paper, args.seed)
    settings = ", ".join(f"{name} {value:.3g}" for name, value in paper.items())
    title = f"{getattr(problem, 'title', 'Softmax regression')}, {STEPS} steps"
    print(f"{title}\nthe paper's settings: {settings}\n")
    _table(dialects.HEADER, [dialects.row(each) for each in found])
    print(
        dialects.LEGEND + f"\nLeft out, as there are no labels to draw: {', '.join(left_out)}." * bool(left_out) + "\n"
    )

    from sophia_ref.plots import save
    from sophia_ref.plots.dialects import drift_figure

    print(f"wrote {save(drift_figure(found, title), picture)}")
    return 0


def _train(args: Namespace) -> int:
    folder, known, resume = None, None, None
    if args.resume is not None:
        args, folder, known = _resumed(args)
        try:
            resume = checkpoint.Checkpoints(folder, 1).latest()
        except checkpoint.CheckpointError as error:
            raise checkpoint.CheckpointError(f"{error}; remove that file to go on from the one before it") from None
    task, opt, remark = _task(args)
    name = repr(args.text) if args.text else "the Python language reference"
    text = fingerprint(args.text)
    if known not in (None, text):
        args.parser.error(f"argument --text: {name} has {text}; expected {known}, as when the training began")
    every = args.every or max(1, args.steps // train.LOOKS)
    folder = folder or _training_folder(args)
    settings = {
        "text": args.text and str(Path(args.text).resolve()),
        "tokens": f"{task.source.unit}s",
        **{name: getattr(args, name) for name in ("optimizer", "preset", "steps", "batch_size", "seed")},
        **{name: getattr(opt, name, None) for name in ("lr", "gamma", "weight_decay")},
        "every": every,
    }
    sweep(folder)
    save_settings(folder, settings, text)
    go_on = f"to go on:\nsophia-ref train --resume {shlex.quote(folder.as_posix())}"
    with train.resumable(go_on):
        print(f"a GPT of {task.model.size:,} parameters on {name}" + f"\n{remark}" * bool(remark))
        print(
            f"{args.optimizer}, peak lr {opt.lr:g}, {args.steps} step{'s' * (args.steps > 1)} of {args.batch_size} x "
            f"{task.context} {task.source.unit}s" + (f"; {resume.t} are done" if resume else ""),
            flush=True,
        )
        say = partial(print, flush=True)
        done = train.train(task, opt, args.steps, args.seed, every, folder, resume, say)
        wrote = [folder / LOG]
        if done.rows:
            wrote.append(save_picture(done.rows, opt, task.source.unit, folder))
        if not (done.interrupted or done.failure):
            loss, written = train.judge(task, done.theta, args.seed)
            print(f"\nvalidation loss {loss:.4f} nats a {task.source.unit} after {args.steps} steps")
            print(f"a sample at temperature 0.8:\n\n{indent(written, '  ')}\n")
        print("\n".join(f"wrote {path}" for path in wrote), flush=True)
    if done.interrupted:
        print(f"sophia-ref: interrupted after {len(done.rows)} of {args.steps} steps; {go_on}", file=sys.stderr)
        return 130
    if done.failure:
        last = checkpoint.Checkpoints(folder, 1).paths()[-1]
        print(
            f"sophia-ref: error: step {len(done.rows) + 1}: {done.failure}; a smaller --lr may help\n"
            f"what there was before it: sophia-ref checkpoint show {shlex.quote(last.as_posix())}",
            file=sys.stderr,
        )
        return 1
    return 0


def _resumed(args: Namespace) -> tuple[Namespace, Path, str]:
    """The arguments of the training to go on with, its folder, and the fingerprint of its text."""
    folder = Path(args.resume)
    for name, value in vars(args).items():
        if name not in ("resume", "text") and value != args.parser.get_default(name):
            args.parser.error(
                f"argument --{name.replace('_', '-')}: {value}; expected none beside --resume, "
                f"as a training goes on with the settings that it began with"
            )
    try:
        typed, known = load_settings(folder)
    except (OSError, ValueError) as error:
        args.parser.error(f"argument --resume: {error}")
    if args.text is not None:
        typed.append(f"--text={args.text}")
    return args.parser.parse_args(typed), folder, known


def _task(args: Namespace) -> tuple[Any, Any, str]:
    """What is trained, by which optimizer, and a remark about the text."""
    opt = LANGUAGE[args.optimizer]
    changes = {name: getattr(args, name) for name in ("lr", "gamma", "weight_decay") if getattr(args, name) is not None}
    for name, value in changes.items():
        if not hasattr(opt, name):
            args.parser.error(
                f"argument --{name.replace('_', '-')}: {value:g}; expected none, as {args.optimizer} has no {name}"
            )
    if args.text is None and args.tokens == "bytes":
        args.parser.error("argument --tokens: bytes; expected a --text FILE with it")
    try:
        source, remark = train.read_text(args.text, args.tokens)
    except (OSError, ValueError) as error:
        args.parser.error(f"argument --text: {str(error).removeprefix('path: ')}")
    model = replace(PRESETS[args.preset], vocab=source.vocab)
    if len(source.validation) <= model.context:
        length = len(source.train) + len(source.validation)
        args.parser.error(
            f"argument --text: {args.text!r} of {length} {source.unit}s; "
            f"expected at least {10 * (model.context + 1)} for preset {args.preset}"
        )
    if hasattr(opt, "layout"):
        changes["layout"] = model.layout
    return LanguageTask(model, source, args.batch_size), replace(opt, **changes), remark


def _training_folder(args: Namespace) -> Path:
    """A folder without a training."""
    if args.output is None:
        _make_folder(args, Path("out"))
        return new_folder(Path("out"), f"train_{args.optimizer}")
    folder = Path(args.output)
    _make_folder(args, folder)
    if (folder / SETTINGS).exists() or checkpoint.Checkpoints(folder, 1).paths():
        args.parser.error(
            f"argument --output: {args.output!r} holds a training; expected another folder, "
            f"or --resume {shlex.quote(folder.as_posix())} to go on with it"
        )
    return folder


def _profile(args: Namespace) -> int:
    model, opt = PRESETS[args.preset], LANGUAGE[args.optimizer]
    if hasattr(opt, "layout"):
        opt = replace(opt, layout=model.layout)
    picture = _picture(args, "profile.png")
    task = LanguageTask(model, train.read_text(None, None)[0], args.batch_size)
    what = f"{args.optimizer}, a GPT of {model.size:,} parameters, {args.batch_size} x {model.context} tokens a step"
    print(what, flush=True)
    result = measure(task, opt, progress=True)
    print(f"{result.flop_rate / 1e9:.3g} Gflop/s in products of large matrices, ", end="")
    print(f"{result.byte_rate / 1e9:.3g} GB/s in a large copy\n")
    _table(profile.HEADER, profile.rows(result))
    print(profile.LEGEND, flush=True)

    from sophia_ref.plots import save
    from sophia_ref.plots.profile import profile_figure

    print(f"wrote {save(profile_figure(result, what), picture)}")
    return 0


def _checkpoint(args: Namespace) -> int:
    if not Path(args.file).is_file():
        args.parser.error(f"argument FILE: {args.file!r}; expected a checkpoint, such as step-00001000.ckpt")
    print(text_table(("IN THE CHECKPOINT", ""), checkpoint.show(args.file)))
    return 0


def _demo(args: Namespace) -> int:
    from sophia_ref.demo import demo

    _make_folder(args, Path(args.output))
    demo(args.output, quick=args.quick, say=print)
    return 0


def _picture(args: Namespace, name: str) -> Path:
    """The file that --output names, or the file `name` in that folder; the folder is there."""
    picture = Path(args.output)
    if picture.suffix not in PICTURES:
        picture /= name
    _make_folder(args, picture.parent)
    return picture


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
        given = str(args.output or folder)
        args.parser.error(f"argument --output: {given!r} {reason}; expected a folder that can be written to")


def _table(header: Sequence[object], rows: Sequence[Sequence[object]]) -> None:
    print(text_table(header, rows) + "\n")
