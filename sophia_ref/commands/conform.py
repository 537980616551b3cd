"""`sophia-ref conform`: an implementation against every vector, with a table, what differs, why, and a certificate."""

import json
from argparse import Namespace
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np

from sophia_ref.commands.output import Say, make_folder
from sophia_ref.conformance import vectors
from sophia_ref.conformance.certificate import FORMAT, CertificateError, summary, verify, write
from sophia_ref.conformance.checker import examine
from sophia_ref.conformance.targets import Target, TargetError, load
from sophia_ref.conformance.vectors import PROFILES, EditedError, Vector
from sophia_ref.report import text_table

Array = Any
WIDTH = 100


def command(args: Namespace, say: Say) -> int:
    try:
        return _command(args, say)
    except EditedError as error:
        args.parser.error(str(error))
        raise  # for the type checker: error exits


def _command(args: Namespace, say: Say) -> int:
    if args.show is not None:
        say(shown(_vector(args)))
        return 0
    if args.list:
        rows = [(vector.id, vector.verdict, vector.note) for vector in _asked(args.profile or PROFILES)]
        say(text_table(("VECTOR", "verdict", "what it is there for"), rows))
        return 0
    if args.target is None:
        expected = "expected torch:module.Class, optax:module.name, numpy:module.name, or a results file .json"
        args.parser.error(f"argument TARGET: none was given; {expected}")
    if _is_certificate(args.target):
        try:
            plain = verify(args.target)
        except CertificateError as error:
            args.parser.error(f"argument TARGET: {error}")
        say(text_table(("CERTIFICATE", "holds together"), summary(plain)))
        return 0 if plain["verdict"].startswith("conforms") else 1
    try:
        target = load(args.target, dict(args.names), args.device)
    except TargetError as error:
        args.parser.error(f"argument TARGET: {error}")
    make_folder(args, Path(args.output))
    report = examine(target, args.profile, watch=_watched(target))
    say(report.text())
    paths = write(report, args.output)
    say("\n" + "\n".join(f"wrote {path}" for path in paths))
    return 0 if report.conforms else 1


def _watched(target: Target) -> Any:
    """Goes through vectors under a progress bar, which shows when that takes longer than a second or two."""

    def watch(asked: list[Vector]) -> Iterable[Vector]:
        from tqdm.auto import tqdm

        form = "{n_fmt}/{total_fmt} |{bar}| {remaining} left"
        bar: Iterable[Vector] = tqdm(asked, disable=None, delay=1.5, leave=False, dynamic_ncols=True, bar_format=form)
        return bar

    return watch


def _asked(profiles: Iterable[str]) -> Iterator[Vector]:
    for profile in profiles:
        yield from vectors.load(profile)


def _vector(args: Namespace) -> Vector:
    known = [vector.id for vector in vectors.every()]
    if args.show not in known:
        near = get_close_matches(args.show, known, 1)
        hint = f"did you mean {near[0]!r}?" if near else "`sophia-ref conform --list` shows them all"
        args.parser.error(f"argument --show: {args.show!r} is not a vector; {hint}")
    return vectors.find(args.show)


def _is_certificate(target: str) -> bool:
    path = Path(target)
    if path.suffix != ".json" or not path.is_file():
        return False
    try:
        plain = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(plain, Mapping) and plain.get("format") == FORMAT


def shown(vector: Vector) -> str:
    """A vector for a reader: what goes in, what must come out, and how near."""
    return "\n".join(_lines(vector))


def _lines(vector: Vector) -> Iterator[str]:
    case = vector.case()
    verdict = {
        "valid": "must come out as below",
        "invalid": "must be refused",
        "acceptable": "may be refused, or must come out as below",
    }[vector.verdict]
    yield f"{vector.id}: {verdict}"
    yield f"{vector.note}" + f"\n{vector.report}" * (vector.report is not None)
    yield "flags     " + (", ".join(vector.flags) or "none")
    yield "settings  " + ", ".join(f"{name} {_plain(value)}" for name, value in case.settings.items())
    yield f"{case.dtype}, shape {case.theta.shape}" + f", in memory: {case.layout}" * (case.layout != "C")
    start = {"theta": case.theta, "m": case.m, "h": case.h, "decays": case.decay_mask}
    yield f"start, {case.t} steps old" if case.t else "start"
    yield from _arrays({name: x for name, x in start.items() if x is not None})
    for i, given in enumerate(case.steps):
        yield f"step {i + 1}"
        inputs = {"g": given.g, "h_hat": given.h_hat, "sampled gradient": given.sampled_grad}
        yield from _arrays({name: x for name, x in inputs.items() if x is not None})
        for A, u in given.hutchinson or ():
            yield from _arrays({"matrix": A, "probe": u})
        yield from _arrays(given.gnb or {})
        if i < len(vector.expected):
            yield "  must leave"
            yield from _arrays(vector.expected[i], vector.free[i])
        if case.resume_after == i + 1:
            yield "  saved, and gone on with from what was saved"
    if vector.ulps:
        yield "allowed"
        yield from (f"  {name:12} {ulps:g} ulp: {vector.reasons[name]}" for name, ulps in vector.ulps.items())


def _arrays(named: Mapping[str, Any], free: Mapping[str, Array] | None = None) -> Iterator[str]:
    for name, x in named.items():
        text = _plain(x).replace("\n", "\n" + " " * 17)
        anything = " (anything, where free)" * bool(free and name in free)
        yield f"  {name:14} {text}{anything}"


def _plain(x: Any) -> str:
    if isinstance(x, np.ndarray):
        return np.array2string(x, max_line_width=WIDTH, threshold=24, separator=" ", floatmode="unique")
    return str(x)
