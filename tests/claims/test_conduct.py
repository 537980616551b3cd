"""From a plan to a page: every claim in miniature, on any executor, interrupted and resumed."""

import hashlib
import json
import os
import re
import signal
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from sophia_ref.claims import NAMES, conduct, load, page, tasks
from sophia_ref.claims.budgets import BUDGETS, TINY
from sophia_ref.claims.claim import MAP, OUTCOMES, seconds_in_words
from sophia_ref.claims.plan import Plan
from sophia_ref.claims.runs import POINTS, Result, Spec, Table, perform
from sophia_ref.claims.statistics import Tuned
from sophia_ref.cli import main
from toy_problems.text import Text, language_reference
from toy_problems.transformer import LanguageTask, TinyGPT
from toy_problems.zipf import ZipfLanguage

pytest.importorskip("sklearn", reason="the digits need scikit-learn")
TRAINED = [name for name in NAMES if load(name).needs]
OWN = [name for name in NAMES if not load(name).needs]


@contextmanager
def threads(workers=None):
    with ThreadPoolExecutor(1) as pool:
        yield pool


@pytest.fixture
def little_text(monkeypatch):
    """Little text, so that held-out losses take no time."""
    tasks.make_task.cache_clear()
    monkeypatch.setattr(tasks, "load", lambda: Text(language_reference()[:6000]))
    yield
    tasks.make_task.cache_clear()


def made_up(spec):
    """A result that depends on its Spec as if by chance; one in twenty diverges."""
    rng = np.random.default_rng(int(hashlib.sha256(repr(spec).encode()).hexdigest()[:12], 16))
    final = round(3 - np.log(spec.steps) / 5 + 0.05 * float(rng.standard_normal()) ** 2, 4)
    diverged = rng.random() < 0.05
    shares = tuple(rng.random(POINTS).tolist()) if "Sophia" in spec.method else (None,) * POINTS
    return Result(None if diverged else final, shares, 1.05 * spec.steps, 0.1, (0.1, 0.5, 0.9), 1.0,
                  spec.steps if diverged else None)  # fmt: skip


@pytest.fixture(scope="module")
def table():
    table = Table()
    plan = Plan((need for name in TRAINED for need in load(name).needs(TINY)), TINY)
    with ThreadPoolExecutor(1) as pool:
        table.fill(plan.trials(), pool, work=made_up)
        table.fill(plan.evaluations(table), pool, work=made_up)
    return table


def test_the_names_are_in_the_order_of_their_numbers_and_each_file_is_one():
    claims = [load(name) for name in NAMES]
    assert [claim.number for claim in claims] == list(range(1, len(claims) + 1))
    assert [claim.name for claim in claims] == list(NAMES)
    assert all(claim.claim and claim.source and claim.experiment and claim.paper for claim in claims)


@pytest.mark.parametrize("name", NAMES)
def test_every_claim_in_miniature(name, table, monkeypatch, tmp_path):
    claim = load(name)
    if name == "where":  # its quadratics are tested on their own
        monkeypatch.setattr("sophia_ref.claims.quadratic.tuned_on", lambda *of: Tuned(np.full(5, 1 / of[4])))
    if name == "spread":
        monkeypatch.setattr("sophia_ref.claims.spread._diagonal", lambda task, theta, batch, chosen: theta[chosen] ** 3)
    if name == "hessian_cost":  # which makes whole Hessians
        task = LanguageTask(TinyGPT(5, 4, 2, 1, 1), ZipfLanguage(np.random.default_rng(0), 5), 4)
        monkeypatch.setattr("sophia_ref.claims.hessian_cost.make_task", lambda *which: SimpleNamespace(problem=task))
    numbers = claim.measure(table if claim.needs else None, TINY)
    numbers = json.loads(json.dumps(numbers, allow_nan=False))  # as it comes from the disk
    verdict = claim.verdict(numbers)
    assert verdict.outcome in ((MAP,) if name == "where" else OUTCOMES)
    assert verdict.why.endswith(".")
    assert verdict.regime
    assert claim.headline(numbers)
    for title, header, rows in claim.tables(numbers):
        assert title
        assert all(len(row) == len(header) for row in rows)
        assert all(isinstance(cell, str) for row in rows for cell in row)
    conduct._draw(claim.draw, numbers, tmp_path / name)
    for suffix, dark in (("", False), ("-dark", True)):
        with Image.open(tmp_path / f"{name}{suffix}.png") as image:
            assert (image.convert("L").getpixel((1, 1)) < 60) == dark
    section = "\n".join(page.section(claim, numbers, "claims", True))
    assert f"claims/{name}-trials-dark.png" in section
    assert f"**{verdict.outcome.capitalize()}.**" in section
    assert "nan" not in section.lower().replace("nano", "")


def test_a_claim_is_tried_from_the_plan_to_the_page_and_not_again(tmp_path, little_text):
    said, folder = [], tmp_path / "claims"

    def run():
        return conduct.conduct(["estimator_ablation", "saddle"], TINY, folder, threads, 1, said.append, progress=False)

    path = run()
    assert path == tmp_path / "claims.md"
    assert re.match(r"budget tiny: 147 of 147 training runs are to be made; about .* on 1 cores", said[0])
    assert "experiments of their own: saddle" in said[0]
    assert len(Table(folder / conduct.RUNS)) == 147
    first = path.read_bytes()
    assert said[-1].startswith(f"wrote {path}: 147 training runs, ")
    assert run() == path
    assert "0 of 147 training runs" in said[-2]
    assert path.read_bytes() == first
    assert "[the log](claims/tiny.log)" in first.decode()
    log = (folder / "tiny.log").read_text().splitlines()
    assert [line[18:] for line in log if "sophia-ref" not in line] == "\n".join(said).splitlines()
    assert sum("sophia-ref" in line and "NumPy" in line for line in log) == 2  # sittings
    links = re.findall(r'(?:src|srcset)="([^"]+)"', first.decode())
    assert [link.rpartition("/")[2] for link in links] == [
        f"{name}{dark}.png" for name in ("saddle", "estimator_ablation", "estimator_ablation-trials")
        for dark in ("-dark", "")
    ]  # fmt: skip
    assert all((tmp_path / link).exists() for link in links)
    anchors = {page._anchor(title) for title in re.findall(r"^## (.*)$", first.decode(), re.MULTILINE)}
    assert set(re.findall(r"\]\(#([^)]+)\)", first.decode())) <= anchors
    # from the numbers alone
    (folder / conduct.RUNS).rename(tmp_path / "elsewhere")
    assert b"no training runs" in conduct.render(folder).read_bytes()


def test_ctrl_c_keeps_what_is_done(tmp_path, little_text, monkeypatch):
    folder, made = tmp_path / "claims", []

    def interrupted(spec):
        made.append(spec)
        if len(made) == 12:
            raise KeyboardInterrupt
        return perform(spec)

    with monkeypatch.context() as patch:
        patch.setattr(Table.fill, "__defaults__", ("", interrupted))
        with pytest.raises(KeyboardInterrupt):
            conduct.conduct(["estimator_ablation"], TINY, folder, threads, 1, lambda text: None, progress=False)
    kept = len(Table(folder / conduct.RUNS))
    assert 0 < kept <= 11
    said = []
    conduct.conduct(["estimator_ablation"], TINY, folder, threads, 1, said.append, progress=False)
    assert f"{147 - kept} of 147 training runs" in said[0]


def test_a_plan_alone_makes_nothing(tmp_path, little_text):
    said, folder = [], tmp_path / "claims"
    found = conduct.conduct(["estimator_ablation"], TINY, folder, threads, 2, said.append, plan_only=True)
    assert (found, folder.exists(), len(said)) == (None, False, 1)


def test_the_plan_says_how_long_all_will_take(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(conduct.Plan, "work", lambda *of: (3273, 3273, 600.0))
    conduct.conduct(["saddle", "spread"], BUDGETS["full"], tmp_path, threads, 2, said.append, plan_only=True)
    seconds = 600 + load("saddle").takes[0] + load("spread").takes[0]
    assert f"about {seconds_in_words(seconds / 2)} on 2 cores ({seconds_in_words(seconds)} of one)" in said[0]
    assert min(seconds, *load("saddle").takes, *load("spread").takes) > 0


def test_budgets_do_not_mix(tmp_path, little_text):
    folder = tmp_path / "claims"
    conduct._keep(folder, load("saddle"), TINY, {"x": 1}, 1.0)
    with pytest.raises(ValueError, match="holds claims of the budget tiny; expected quick"):
        conduct.conduct(["saddle"], BUDGETS["quick"], folder, threads, 1, print)
    (folder / "saddle.json").write_text("{}")
    with pytest.raises(ValueError, match=r"saddle\.json: not a claim's numbers"):
        conduct.conduct(["saddle"], TINY, folder, threads, 1, print)


def test_the_command(tmp_path, capsys):
    assert main(["claims", "--list"]) == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in NAMES)
    assert main(["claims", "sadle", "--output", str(tmp_path)]) == 2
    assert "did you mean 'saddle'?" in capsys.readouterr().err
    (tmp_path / "file").write_text("")
    assert main(["claims", "--output", str(tmp_path / "file")]) == 2
    assert "argument --output" in capsys.readouterr().err
    assert main(["claims", "--workers", "0"]) == 2
    folder = tmp_path / "claims"
    conduct._keep(folder, load("saddle"), TINY, load("saddle").measure(None, TINY), 1.0)
    assert main(["claims", "--page", "--output", str(folder)]) == 0
    assert capsys.readouterr().out == f"wrote {tmp_path / 'claims.md'}\n"
    assert main(["claims", "saddle", "--output", str(folder)]) == 2
    assert "holds claims of the budget tiny" in capsys.readouterr().err


# -- another executor: Dask --------------------------------------------------------------------------------------------


def slow(spec):
    """A run that takes a moment, and says which process made it."""
    import time

    time.sleep(0.1)
    return Result(spec.seed / 100, (None,) * POINTS, float(os.getpid()), 0.0, (1.0, 1.0, 1.0), 0.0, None)


@pytest.mark.filterwarnings("ignore")  # Dask's own
def test_the_table_is_filled_by_a_dask_cluster_of_which_a_worker_is_killed(tmp_path):
    distributed = pytest.importorskip("distributed")
    specs = [Spec("zipf=1.0", (4, 4, 1, 1), 2, "AdamW", (), 10, i, False) for i in range(40)]
    table, killed = Table(tmp_path / "runs.jsonl"), []
    add = table.add

    def add_and_kill(spec, result):
        add(spec, result)
        if len(table) == 8:
            killed.append(int(result.cost))
            os.kill(killed[0], signal.SIGKILL)

    table.add = add_and_kill
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
    ):
        table.fill(specs, client.get_executor(), work=slow)
    again = Table(table.path)
    assert [again[spec].loss for spec in specs] == [i / 100 for i in range(40)]
    assert len(killed) == 1
    assert len(table.path.read_bytes().splitlines()) == 40
    made_by = {again[spec].cost for spec in specs}
    assert len(made_by) > 2  # a worker took the killed one's place


def test_dask_does_the_same_study(tmp_path):
    distributed = pytest.importorskip("distributed")
    specs = [Spec("zipf=1.0", (4, 4, 1, 1), 2, "AdamW",
                  (("lr", 0.01), ("1-beta1", 0.1), ("1-beta2", 0.05), ("decay", 0.1)), 6, i, False)
             for i in range(4)]  # fmt: skip
    here, there = Table(), Table(tmp_path / "runs.jsonl")
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, dashboard_address=None, processes=False
    ) as cluster:
        with distributed.Client(cluster) as client:
            there.fill(specs, client.get_executor())
    with ThreadPoolExecutor(1) as pool:
        here.fill(specs, pool)
    for spec in specs:
        assert here[spec]._replace(seconds=0) == there[spec]._replace(seconds=0)
