"""`sophia-ref train`: what is trained, where it is kept, and how it ended."""

import shlex
import sys
from argparse import Namespace
from dataclasses import replace
from pathlib import Path
from textwrap import indent
from typing import Any

from sophia_ref import checkpoint
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
from sophia_ref.commands.output import Say, make_folder
from sophia_ref.commands.training import LOOKS, judge, read_text, resumable, train
from sophia_ref.settings import LANGUAGE
from toy_problems.transformer import PRESETS, LanguageTask


def command(args: Namespace, say: Say) -> int:
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
    every = args.every or max(1, args.steps // LOOKS)
    folder = folder or _folder(args)
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
    with resumable(go_on):
        say(f"a GPT of {task.model.size:,} parameters on {name}" + f"\n{remark}" * bool(remark))
        say(
            f"{args.optimizer}, peak lr {opt.lr:g}, {args.steps} step{'s' * (args.steps > 1)} of {args.batch_size} x "
            f"{task.context} {task.source.unit}s" + (f"; {resume.t} are done" if resume else "")
        )
        done = train(task, opt, args.steps, args.seed, every, folder, resume, say)
        wrote = [folder / LOG]
        if done.rows:
            wrote.append(save_picture(done.rows, opt, task.source.unit, folder))
        if not (done.interrupted or done.failure):
            loss, written = judge(task, done.theta, args.seed)
            say(f"\nvalidation loss {loss:.4f} nats a {task.source.unit} after {args.steps} steps")
            say(f"a sample at temperature 0.8:\n\n{indent(written, '  ')}\n")
        say("\n".join(f"wrote {path}" for path in wrote))
    if done.interrupted:
        say(f"sophia-ref: interrupted after {len(done.rows)} of {args.steps} steps; {go_on}", file=sys.stderr)
        return 130
    if done.failure:
        last = checkpoint.Checkpoints(folder, 1).paths()[-1]
        say(
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
        source, remark = read_text(args.text, args.tokens)
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


def _folder(args: Namespace) -> Path:
    """A folder without a training."""
    if args.output is None:
        make_folder(args, Path("out"))
        return new_folder(Path("out"), f"train_{args.optimizer}")
    folder = Path(args.output)
    make_folder(args, folder)
    if (folder / SETTINGS).exists() or checkpoint.Checkpoints(folder, 1).paths():
        args.parser.error(
            f"argument --output: {args.output!r} holds a training; expected another folder, "
            f"or --resume {shlex.quote(folder.as_posix())} to go on with it"
        )
    return folder
