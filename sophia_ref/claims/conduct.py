"""From a plan to a page: the runs, the measurements, the figures.

Everything that is worth keeping is kept as soon as it is there: runs line by line, a claim's numbers in a file of their
own. So it can be stopped at any moment and started again, and goes on.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from contextlib import AbstractContextManager
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from sophia_ref.claims import load, page, trials
from sophia_ref.claims.budgets import BUDGETS, Budget
from sophia_ref.claims.claim import Claim, Numbers, plain, seconds_in_words
from sophia_ref.claims.plan import Plan
from sophia_ref.claims.runs import SEMANTICS, FolderError, Table
from sophia_ref.files import replacing

RUNS = "runs.jsonl"
Say = Callable[[str], None]
Pool = Callable[[int | None], AbstractContextManager[Executor]]  # workers -> an executor


class Work(NamedTuple):
    """runs: in all. new: those to make. own: experiments that are no training runs, those still to make. seconds: the
    processor time that both will take."""

    runs: int
    new: int
    seconds: float
    own: list[str]


def conduct(
    names: Sequence[str],
    budget: Budget,
    folder: Path,
    pool: Pool,
    workers: int,
    say: Say,
    progress: bool = True,
    plan_only: bool = False,
) -> Path | None:
    """Try the claims of these names and write the page; returns its path, None if only the plan was asked for.

    folder: where runs, numbers, figures and the log are kept; the page is FOLDER.md beside it. pool: makes an executor.
    Raises FolderError for a folder that holds claims of another budget, or a table that is none.
    """
    claims = [load(name) for name in names]
    _refuse_others(folder, budget)
    if not plan_only:
        say = _logged(folder / f"{budget.name}.log", say)
    table = Table(folder / RUNS)
    plan = Plan((need for claim in claims if claim.needs for need in claim.needs(budget)), budget)
    own = [claim for claim in claims if not claim.needs and _known(folder, claim, budget) is None]
    with pool(workers) as executor:
        runs, new, seconds = plan.work(table, executor)
    seconds += sum(budget.of(*claim.takes, 0) for claim in own)
    say(describe(Work(runs, new, seconds, [claim.name for claim in own]), budget, workers))
    if plan_only:
        return None

    with pool(1) as executor:  # times, for which nothing else may run
        for claim in (claim for claim in own if claim.alone):
            say(f"measuring times: {claim.title}")
            _keep(folder, claim, budget, *executor.submit(_measured, claim.name, budget.name).result())
    with pool(workers) as executor:
        # experiments of their own go beside the training runs, and are kept when they are done
        futures = []
        for claim in (claim for claim in own if not claim.alone):
            futures.append(executor.submit(_measured, claim.name, budget.name))
            futures[-1].add_done_callback(partial(_keep_found, folder, claim, budget))
        table.fill(plan.trials(), executor, "tuning" * progress)
        table.fill(plan.evaluations(table), executor, "training" * progress)
        if futures:
            say("waiting for the experiments")
        for future in futures:
            future.result()
        for claim, needs in ((claim, claim.needs(budget)) for claim in claims if claim.needs):
            start = time.perf_counter()
            numbers = claim.measure(table, budget)
            tuned = trials.curves(table, (need.arm for need in needs))
            _keep(folder, claim, budget, numbers, time.perf_counter() - start, trials=tuned)
    path = render(folder)
    say(f"wrote {path}: {_summary(folder)}")
    return path


def render(folder: Path) -> Path:
    """Draw the figures and write the page from the numbers in the folder, of whatever claims there are."""
    found = _all(folder)
    for claim, numbers, entry in found:
        _draw(claim.draw, numbers, folder / claim.name)
        if entry.get("trials"):
            _draw(trials.draw, entry["trials"], folder / f"{claim.name}-trials")
    path = folder.parent / f"{folder.name}.md"
    with replacing(path) as file:
        file.write(page.markdown(found, folder, _summary(folder)).encode())
    return path


def describe(work: Work, budget: Budget, workers: int) -> str:
    """The plan in words."""
    ahead = f"{work.new:,} of {work.runs:,} training runs are to be made" if work.runs else "no training runs"
    minutes = seconds_in_words(work.seconds / workers)
    lines = [
        f"budget {budget.name}: {ahead}; about {minutes} on {workers} cores ({seconds_in_words(work.seconds)} of one)"
    ]
    if work.own:
        lines.append(f"with experiments of their own: {', '.join(work.own)}")
    return "\n".join(lines)


def _logged(path: Path, say: Say) -> Say:
    """A `say` that also writes what it says to the end of a file, with the time; first what machine this is."""
    path.parent.mkdir(parents=True, exist_ok=True)

    def log(text: str) -> None:
        with path.open("a", encoding="utf-8") as file:
            file.writelines(f"{datetime.now():%Y-%m-%d %H:%M}  {line}\n" for line in text.splitlines())

    def both(text: str) -> None:
        log(text)
        say(text)

    log(page.machine())
    return both


def _measured(name: str, budget: str) -> tuple[Numbers, float]:
    """What an experiment of a claim's own finds, and the seconds it takes; in a process of the pool."""
    start = time.perf_counter()
    numbers = plain(load(name).measure(None, BUDGETS[budget]))
    return numbers, time.perf_counter() - start


def _keep_found(folder: Path, claim: Claim, budget: Budget, future: Future[tuple[Numbers, float]]) -> None:
    """Keep what a future found, if it did not fail."""
    if not future.cancelled() and future.exception() is None:
        _keep(folder, claim, budget, *future.result())


def _keep(folder: Path, claim: Claim, budget: Budget, numbers: Numbers, seconds: float, **more: Any) -> None:
    entry = {"claim": claim.name, "semantics": SEMANTICS, "budget": budget.name, "seconds": round(seconds, 1)}
    entry |= {"numbers": numbers, **plain(more)}
    with replacing(folder / f"{claim.name}.json") as file:
        file.write(json.dumps(entry, separators=(",", ":"), allow_nan=False).encode() + b"\n")


def _entry(folder: Path, name: str) -> dict[str, Any] | None:
    path = folder / f"{name}.json"
    if not path.exists():
        return None
    try:
        entry: dict[str, Any] = json.loads(path.read_bytes())
        if not {"numbers", "budget", "semantics"} <= entry.keys():
            raise ValueError("something is missing")
        return entry
    except (ValueError, AttributeError) as error:
        raise FolderError(f"{path}: not a claim's numbers ({error!r:.100}); remove the file") from None


def _known(folder: Path, claim: Claim, budget: Budget) -> Numbers | None:
    entry = _entry(folder, claim.name)
    if entry is None or entry["semantics"] != SEMANTICS:
        return None
    return dict(entry["numbers"])


def _refuse_others(folder: Path, budget: Budget) -> None:
    from sophia_ref.claims import NAMES

    for name in NAMES:
        entry = _entry(folder, name)
        if entry is not None and entry["budget"] != budget.name:
            raise FolderError(
                f"{folder} holds claims of the budget {entry['budget']}; expected {budget.name}, or another folder"
            )


def _all(folder: Path) -> list[tuple[Claim, Numbers, dict[str, Any]]]:
    from sophia_ref.claims import NAMES

    entries = [(name, _entry(folder, name)) for name in NAMES]
    return [(load(name), entry["numbers"], entry) for name, entry in entries if entry is not None]


def _draw(draw: Callable[[Any, bool], Any], numbers: Any, path: Path) -> None:
    from sophia_ref.plots.style import small_png

    for suffix, dark in (("", False), ("-dark", True)):
        with replacing(path.with_name(f"{path.name}{suffix}.png")) as file:
            file.write(small_png(draw(numbers, dark), dpi=110))


def _summary(folder: Path) -> str:
    """What the table of runs holds, in words."""
    path = folder / RUNS
    if not path.exists():
        return "no training runs"
    entries = [json.loads(line) for line in path.read_bytes().splitlines()]
    steps = sum(entry["spec"][5] for entry in entries)
    seconds = sum(entry["result"][5] for entry in entries)
    trials = sum(bool(entry["spec"][7]) for entry in entries)
    return (
        f"{len(entries):,} training runs, {trials:,} of them for tuning, {steps:,} steps, "
        f"{seconds_in_words(seconds)} of processor time"
    )
