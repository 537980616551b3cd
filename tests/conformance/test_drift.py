"""Drift from the paper: settings that mean the same, the same probes and labels, and the tables and picture of it."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import sophia_ref as sr
from sophia_ref.cli import main
from sophia_ref.commands import dialects as command
from sophia_ref.conformance import DIALECTS
from sophia_ref.conformance.drift import Drift, drift, furthest, signs_of_normals, spoken
from sophia_ref.plots.dialects import STYLES, drift_figure
from toy_problems.landscapes import REGISTRY

ROOT = Path(__file__).parents[2]
PAPER = dict(lr=0.125, beta1=0.5, beta2=0.5, gamma=0.25, eps=2.0**-6, weight_decay=0.5, every=2)


@pytest.fixture(scope="module")
def found():
    return drift(*command.problem("softmax"), steps=12)


def test_settings_are_converted_to_mean_the_same():
    opts = {name: spoken(dialect, dialect.estimators[0], PAPER, B=64.0) for name, dialect in DIALECTS.items()}
    for name in ("paper-v2", "optax", "levanter", "somax"):
        opt = opts[name]
        assert {setting: getattr(opt, setting) for setting in PAPER} == PAPER, name
        assert opt.clip == 1
    for name in ("paper-v1", "kozistr-4", "kozistr-3.9", "sciml"):
        opt = opts[name]
        assert (opt.lr, opt.clip, opt.gamma, opt.eps, opt.weight_decay) == (0.5, 0.25, 1, 2.0**-4, 0.125), name
    labml, official, kyegomez = opts["labml"], opts["official"], opts["kyegomez"]
    assert (labml.lr, labml.clip, labml.gamma, labml.eps, labml.weight_decay) == (0.125, 0.25, 1, 2.0**-4, 0.5)
    for opt in (official, kyegomez):
        assert (opt.lr, opt.gamma, opt.bs, opt.weight_decay, opt.eps) == (0.125, 0.25, 64, 0.5, 1e-15)
    assert {name: opt.every for name, opt in opts.items()} == {name: 1 if name == "kyegomez" else 2 for name in opts}


def test_one_step_from_given_arrays_is_one_step_in_every_dialect_that_only_changes_letters():
    g, h_hat, theta = np.array([0.5, -2.0, 0.25]), np.array([4.0, -4.0, 64.0]), np.array([1.0, 2.0, -4.0])
    ends = {}
    for name in ("paper-v2", "paper-v1", "kozistr-4", "sciml"):
        opt = spoken(DIALECTS[name], "gaussian", PAPER, B=1.0)
        ends[name] = opt.step(theta, opt.init(theta), sr.Given(g, h_hat)).theta.tolist()
    assert list(ends.values()) == [ends["paper-v2"]] * 4


def test_probes_are_the_signs_of_the_papers():
    for name in ("optax", "kozistr-4", "somax"):
        assert spoken(DIALECTS[name], "rademacher", PAPER, B=1.0).estimator is signs_of_normals
    H = np.array([[2.0, -1.0], [-1.0, 8.0]])
    for seed in range(5):
        rngs = [np.random.default_rng(seed) for _ in range(2)]
        u = np.sign(rngs[0].standard_normal(2))
        asked = sr.Oracle(lambda theta: theta @ H @ theta / 2, np.ones(2), rng=rngs[1])
        assert signs_of_normals(asked).tolist() == (u * (H @ u)).tolist()


def test_dialects_that_differ_in_letters_alone_do_not_drift_and_the_others_do(found):
    drifts, left_out = found
    first = {(each.dialect, each.estimator): each.first for each in drifts}
    same = {pair for pair, step in first.items() if step is None}
    assert same == {(name, estimator) for name in ("paper-v2", "paper-v1") for estimator in ("gaussian", "gnb")} | {
        ("kozistr-4", "gaussian"),
        ("sciml", "gaussian"),
    }
    assert left_out == []
    assert len(first) == sum(len(dialect.estimators) for dialect in DIALECTS.values())
    assert first["labml", "gnb-norm-clipped"] == 1  # no step is taken
    assert first["kozistr-3.9", "gaussian"] == first["official", "sampled-square"] == 1  # h is zero until step 10


def test_distances_are_from_the_papers_run_with_the_same_family_of_estimates(found):
    for each in found[0]:
        expected = np.sqrt(((each.run.trajectory - each.paper.trajectory) ** 2).sum(axis=-1))
        np.testing.assert_allclose(each.distances, expected)
        gnb = each.paper.optimizer.estimator is sr.gnb
        assert gnb == (each.estimator in ("gnb", "gnb-norm-clipped", "sampled-square", "training-square"))
    ordered = furthest(found[0])
    assert [np.nanmax(each.distances) for each in ordered] == sorted(
        (np.nanmax(each.distances) for each in ordered), reverse=True
    )


def test_a_landscape_has_no_labels_so_those_that_draw_them_are_left_out():
    drifts, left_out = drift(*command.problem("sophia_fig2"), steps=3)
    assert left_out == [
        "paper-v2 (gnb)", "paper-v1 (gnb)", "official (sampled-square)", "labml (gnb-norm-clipped)", "somax (gnb)",
    ]  # fmt: skip
    assert {each.paper.optimizer.estimator for each in drifts} == {sr.hutchinson}


def test_a_run_that_diverges_has_a_distance_for_as_long_as_it_is_finite():
    def cliff(theta):
        return theta[..., 0] ** 2

    (run,) = [sr.run(cliff, sr.GradientDescent(1e160), 4, theta0=np.array([1.0]))]
    paper = sr.run(cliff, sr.GradientDescent(0.1), 4, theta0=np.array([1.0]))
    from sophia_ref.conformance.drift import _distances

    each = Drift("official", "sampled-square", run, paper, _distances(run, paper))
    assert command.row(each)[4] == f"diverged in {run.diverged_at}"
    assert each.first == 1


# -- what is shown -----------------------------------------------------------------------------------------------------


def test_the_tables_fit_100_columns_and_say_how_each_dialect_was_checked(capsys):
    assert main(["dialects"]) == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 100
    lines = out.splitlines()
    for name, dialect in DIALECTS.items():
        rows = [line for line in lines if line.split()[:1] == [name]]
        assert len(rows) == 3
        assert rows[2].endswith(dialect.checked)


def test_formulas_are_what_the_engine_computes():
    """Each formula of the table, computed as it reads, is the engine's update."""
    rng = np.random.default_rng(0)
    h_hat, g, theta = rng.uniform(1, 2, 5), rng.normal(size=5), np.zeros(5)
    words = {"γ ": "gamma*", "ρ bs ": "gamma*bs*", "|m|": "abs(m)", "m̂": "m_hat", "ȟ": "h_corrected", "ρ": "rho"}
    words |= {"η/rho ": "lr/rho*", "η ": "lr*", "ε": "eps", "sign(m) ": "sign(m)*", "min(": "least("}
    functions = dict(clip=lambda z, bound: np.clip(z, -bound, bound), max=np.maximum, least=np.minimum)
    functions |= dict(abs=np.abs, sign=np.sign)
    for dialect in DIALECTS.values():
        opt = spoken(dialect, dialect.estimators[0], PAPER | dict(every=3), B=4.0)
        # of every 3, the 9th step makes no estimate but kyegomez's and levanter's, whose is used later
        step = opt.step(theta, opt.State(8, g, h_hat, h_hat), sr.Given(g, h_hat))
        m, h, n = step.terms["m"], step.terms["h"], 3
        formula = command.update(dialect)
        for word, code in words.items():
            formula = formula.replace(word, code)
        names = dict(m=m, h=h, m_hat=m / (1 - 0.5**9), h_corrected=h / (1 - 0.5**n), rho=opt.clip)
        names |= {name: getattr(opt, name) for name in ("lr", "gamma", "bs", "eps")}
        computed = eval(formula, {"__builtins__": {}}, functions | names)
        np.testing.assert_allclose(-step.theta, computed, rtol=1e-12, err_msg=dialect.name)


def test_the_page_in_the_docs_is_up_to_date():
    """`make docs/dialects.md` writes it."""
    assert (ROOT / "docs/dialects.md").read_text(encoding="utf-8") == command.markdown()


def test_the_command_prints_the_page(capsys):
    assert main(["dialects", "--markdown"]) == 0
    assert capsys.readouterr().out == command.markdown()


def test_the_command_draws_how_far_they_drift(tmp_path, capsys):
    path = tmp_path / "drift.png"
    assert main(["dialects", "booth", "--output", str(path)]) == 0
    out = capsys.readouterr().out
    assert "Left out, as there are no labels to draw:" in out
    assert out.endswith(f"wrote {path}\n")
    with Image.open(path) as image:
        assert image.size == (1125, 960)
    (line,) = (line for line in out.splitlines() if line.startswith("sciml"))
    assert line.split()[:4] == ["sciml", "gaussian", "0", "never"]
    assert max(map(len, out.splitlines()[:20])) <= 110


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["rosenbrok"], "'rosenbrok' is not a problem; did you mean 'rosenbrock'"),
        (["softmaxx"], "'softmaxx' is not a problem; did you mean 'softmax'"),
        (["booth", "--markdown"], "argument --markdown: given with 'booth'; expected no PROBLEM beside it"),
        (["booth", "--seed", "-1"], "argument --seed"),
    ],
)
def test_mistakes_are_named(argv, message, capsys):
    assert main(["dialects", *argv]) == 2
    assert message in capsys.readouterr().err


def test_every_dialect_has_a_colour_and_a_marker_of_its_own():
    assert STYLES.keys() == DIALECTS.keys()
    assert len({color for color, _ in STYLES.values()}) == len({marker for _, marker in STYLES.values()}) == len(STYLES)


def test_the_picture_has_a_column_for_each_family_and_names_what_is_the_same(found):
    fig = drift_figure(found[0], "title")
    titles = [ax.get_title() for ax in fig.axes[:2]]
    assert titles == [
        "against Sophia-H; the same to rounding: paper-v1, kozistr-4 gaussian, sciml",
        "against Sophia-G; the same to rounding: paper-v1",
    ]
    labels = [
        {str(line.get_label()) for line in ax.lines if not str(line.get_label()).startswith("_")} for ax in fig.axes
    ]
    assert {"kozistr-3.9 row-sums", "kozistr-3.9 gaussian", "kozistr-4 rademacher", "optax", "somax"} <= labels[0]
    assert labels[1] == {"official", "labml", "kyegomez", "somax"} == labels[3]
    drawn = {str(line.get_label()): line for line in fig.axes[1].lines}
    (official,) = (each for each in found[0] if each.dialect == "official")
    np.testing.assert_array_equal(drawn["official"].get_ydata()[1:], official.distances[1:])


def test_no_drift_makes_no_picture():
    with pytest.raises(ValueError, match="found: empty"):
        drift_figure([], "title")


def test_every_problem_can_be_drifted_on():
    assert [*REGISTRY, "softmax"] == command.PROBLEMS
    for name in command.PROBLEMS:
        problem, paper = command.problem(name)
        assert hasattr(problem, "loss")
        assert paper["gamma"] > 0
