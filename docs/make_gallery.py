"""Make the pictures of docs/gallery and the page docs/gallery.md that shows them.

    python docs/make_gallery.py                     every picture, light and dark, then the page; about three minutes
    python docs/make_gallery.py panels curvature    these pictures alone, and not the page
    python docs/make_gallery.py --output out/gallery   somewhere else than in docs

Every number on the page is computed here from what the picture shows, and the code on it is that of the functions
below. All but the profile, which is timed, comes out the same each time on one machine.
"""

import argparse
import inspect
import io
import os
import platform
import textwrap
from dataclasses import replace
from functools import cache
from pathlib import Path

for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")  # a model this small is slower on two

import numpy as np
from PIL import Image, ImageColor
from tqdm import tqdm

import sophia_ref as sr
from sophia_ref import plots
from sophia_ref.basins import basins, percent
from sophia_ref.files import replacing
from sophia_ref.optimizers import Optimizer
from sophia_ref.plots.profile import profile_figure
from sophia_ref.plots.style import DARK, LIGHT
from sophia_ref.profile import measure
from sophia_ref.replay import replay
from sophia_ref.spectrum import extremes, spectral_density
from toy_problems import text
from toy_problems.landscapes import REGISTRY
from toy_problems.transformer import LanguageTask, TinyGPT

DOCS = Path(__file__).parent
# Of a PNG: those that matter stay as they are, others are as near as the rest of 256 allow.
OPTIMIZERS = [name for name, cls in vars(sr).items() if isinstance(cls, type) and issubclass(cls, Optimizer)]
EXACT = [LIGHT.paper, LIGHT.ink, DARK.paper, DARK.ink] + [plots.style_of(name)["color"] for name in OPTIMIZERS]


class Oracle(sr.Oracle):
    """sr.Oracle with a bar that counts Hessian-vector products."""

    bar = None

    def hvp(self, v):
        if Oracle.bar is None:
            Oracle.bar = tqdm(unit=" products", leave=False)
        Oracle.bar.update()
        return super().hvp(v)


# What is drawn: runs and measurements, made once for both pictures


@cache
def race():
    settings = dict(beta1=0.5, beta2=0.5, gamma=0.3, every=1, estimator=sr.exact_diagonal)
    optimizers = [sr.GradientDescent(0.014), sr.SignGD(0.3), sr.Adam(0.3), sr.Newton(0.3), sr.Sophia(0.3, **settings)]
    return [sr.run(REGISTRY["sophia_fig2"], optimizer, steps=40) for optimizer in optimizers]


@cache
def racers_on_himmelblau():
    landscape = replace(REGISTRY["himmelblau"], start=np.array([0.9, 4.3]))
    sophia = sr.Sophia(0.5, beta1=0.5, beta2=0.5, gamma=0.5, every=1, estimator=sr.exact_diagonal)
    optimizers = [sr.Momentum(0.03), sr.Lion(0.3), sr.AdamW(0.5), sr.Newton(0.5), sophia]
    return [sr.run(landscape, optimizer, steps=40) for optimizer in optimizers]


@cache
def adam_and_sophia():
    return [run for run in race() if isinstance(run.optimizer, sr.Adam | sr.Sophia)]


@cache
def language_task():
    source = text.load()  # the Python language reference
    return LanguageTask(TinyGPT(source.vocab, context=32, width=16, heads=2, layers=2), source, batch_size=16)


@cache
def trained():
    optimizer = sr.AdamW(sr.cosine(1e-2, 600, warmup=60), beta2=0.95, weight_decay=0.1)
    return sr.run(language_task(), optimizer, steps=600, clip_norm=1.0).theta


@cache
def diagonal():
    task, rng = language_task(), np.random.default_rng(0)
    tokens, targets = task.batch(rng)
    return Oracle(task, trained(), (tokens[:8], targets[:8])).hessian_diag()


@cache
def densities():
    task, rng = language_task(), np.random.default_rng(0)
    start, batch = task.init(rng), task.batch(rng)
    oracles = {"at the start": Oracle(task, start, batch, rng), "after 600 steps": Oracle(task, trained(), batch, rng)}
    return {name: spectral_density(oracle, probes=4, steps=60) for name, oracle in oracles.items()}


@cache
def extreme_eigenvalues():
    task, rng = language_task(), np.random.default_rng(0)
    task.init(rng)
    return extremes(Oracle(task, trained(), task.batch(rng), rng), k=1)


@cache
def trainings():
    lr = sr.cosine(2e-3, 600, warmup=60)
    optimizers = [sr.SophiaH(lr, weight_decay=0.2, beta2=0.9), sr.SophiaG(lr, weight_decay=0.2, beta2=0.9)]
    return [sr.run(language_task(), optimizer, steps=600, clip_norm=1.0, record=10) for optimizer in optimizers]


@cache
def grid_of_losses(clip):
    lr, gamma = np.geomspace(1e-3, 1, 25), np.geomspace(1e-3, 10, 21)
    grid = [np.broadcast_to(a, (21, 25, 1)) for a in (lr[:, None], gamma[:, None, None])]
    settings = dict(beta1=0.5, beta2=0.5, every=1, estimator=sr.exact_diagonal)
    sophia = sr.Sophia(grid[0], gamma=grid[1], clip=clip, **settings)
    start = np.tile(REGISTRY["rosenbrock"].start, (21, 25, 1))
    run = sr.run(REGISTRY["rosenbrock"], sophia, steps=200, theta0=start)  # all 525 at once
    return lr, gamma, np.where(run.diverged_at >= 0, np.nan, run.losses[-1])


@cache
def basins_of_himmelblau():
    sophia = sr.Sophia(0.5, beta1=0.5, beta2=0.5, gamma=0.5, every=1, estimator=sr.exact_diagonal)
    optimizers = [sr.GradientDescent(0.01), sr.Newton(1.0), sophia]
    return [basins(REGISTRY["himmelblau"], optimizer, grid=(200, 200)) for optimizer in optimizers]


@cache
def profile():
    return measure(language_task(), sr.SophiaG(1e-3), progress=True)


# The pictures, each followed by what is said of it


def draw_surface(dark):
    return plots.race_figure(REGISTRY["sophia_fig2"], race(), dark=dark)


def tell_surface():
    ends = {plots.style_of(run.optimizer)["label"]: str(REGISTRY["sophia_fig2"].classify(run.theta)) for run in race()}
    there = [name for name, kind in ends.items() if kind == "minimum"]
    return f"""The race of the paper's Figure 2, on the surface and from above; what the surface hides is faint.
        After 40 steps {" and ".join(there)} {"is" if len(there) == 1 else "are"} within 0.01 of a minimum, and
        Newton's method is at the {ends["Newton"]} between the two valleys. Stars are minima, crosses saddles."""


def draw_trajectories(dark):
    fig = plots.figure(6.4, 5.2, dark)
    runs = racers_on_himmelblau()
    plots.paths(plots.contour(fig.subplots(), runs[0].problem), runs)
    plots.legend(fig, runs[0].problem, runs, fontsize=9)
    return fig


def tell_trajectories():
    runs = racers_on_himmelblau()
    where = {type(run.optimizer).__name__: REGISTRY["himmelblau"].classify(run.theta, tol=0.05) for run in runs}
    diverged = runs[0].diverged_at
    return f"""Five paths from one start, a marker a step, over levels that are log-spaced above the lowest point.
        Newton's ends {_at(where["Newton"])}, Sophia's {_at(where["Sophia"])}. Momentum's learning rate is too large:
        its path is drawn to the edge, and the label says that it diverges at step {diverged}."""


def draw_losses(dark):
    return plots.losses_figure(race(), dark=dark)


def tell_losses():
    adam, _, sophia = race()[2:]
    return f"""The losses of the race, by step and by what the steps cost in gradients. After 40 steps Sophia's loss
        is {sophia.losses[-1]:.1e} and Adam's {adam.losses[-1]:.2g}; but Sophia's exact diagonal costs two
        Hessian-vector products a step, so that it has spent {sophia.cost[-1]:.0f} gradients, as Newton's method has,
        and Adam {adam.cost[-1]:.0f}. For what Adam spent, Sophia's loss is {_loss_for(sophia, adam.cost[-1]):.2g}."""


def draw_panels(dark):
    return plots.panels_figure(adam_and_sophia(), dark=dark)


def tell_panels():
    terms = replay(race()[-1])
    clipped, h = terms["clipped"], terms["h"]
    x, y = (int(np.argmin(clipped[:, i])) for i in (0, 1))
    return f"""Every term of the rule, in each coordinate. In x, h is negative in the first
        {int((h[:, 0] < 0).sum())} steps: the denominator is then eps, the ratio leaves the picture (triangles), and
        the step is clipped. Along x Sophia is clipped for {x} steps and along y, which is flat and long, for {y};
        from then on its update is momentum over curvature. Adam has no h and does not clip."""


def draw_curvature(dark):
    return plots.curvature_figure(REGISTRY["himmelblau"], [(3.6, -1.2), (1.8, 1.6), (0.5, 1.5)], dark=dark)


def tell_curvature():
    f, point = REGISTRY["himmelblau"].f, np.array([1.8, 1.6])
    low, high = np.linalg.eigvalsh(sr.hessian(f)(point))
    h_x, h_y = sr.hessian_diag(f)(point)
    return f"""Curvature at three points, as the Hessian, its diagonal and Sophia see it: ellipses where it is
        positive, hyperbolas where it has two signs. Above, the valley lies nearly along an axis and all nearly agree.
        In the middle the Hessian has eigenvalues {low:.2f} and {high:.1f}, a saddle, but its diagonal is {h_x:.2f}
        and {h_y:.1f}: the diagonal sees a bowl, and Newton's step goes another way. Below, h is negative along x.
        Dividing by it, -g / h, would turn that coordinate uphill; Sophia divides by eps instead, the ellipse opens into
        a band, and the box of the clip is what ends the step."""


def draw_diagonal(dark):
    return plots.diagonal_figure(diagonal(), language_task().model.layout, dark=dark)


def tell_diagonal():
    h, layout = diagonal(), language_task().model.layout
    worst = {name: (h[where] < 0).mean() for name, where in layout.slices.items()}
    name = max(worst, key=worst.get)
    low, high = np.quantile(h[h > 0], [0.05, 0.95])
    return f"""The exact diagonal of the Hessian of a tiny GPT after 600 steps, {len(h):,} Hessian-vector products
        on 8 windows of text. The middle nine tenths of its positive entries span a factor of {high / low:,.0f}: no
        single learning rate suits them all, which is why Sophia divides by them. {(h < 0).mean():.1%} of all are
        negative, most in `{name}`, {worst[name]:.0%}."""


def draw_spectrum(dark):
    fig = plots.figure(7, 3.6, dark)
    plots.spectrum(fig.subplots(), densities())
    return fig


def tell_spectrum():
    (low,), (high,) = extreme_eigenvalues()
    before, after = densities().values()
    near = after.weights[np.abs(after.nodes) < 0.5].sum()
    return f"""The density of the eigenvalues of that model's Hessian, before and after training, by stochastic Lanczos
        quadrature: 4 probes of 60 products each stand for {language_task().model.size:,} eigenvalues. After training
        {near:.1%} of them are within 0.5 of zero. The lowest rises from {before.nodes.min():.2f} to
        {after.nodes.min():.2f}, and a few large ones appear, up to {after.nodes.max():.2f} where the highest was
        {before.nodes.max():.2f}. These outermost nodes are the extreme eigenvalues that ARPACK finds, {low:.4f} and
        {high:.4f}, to {max(abs(after.nodes.min() - low), abs(after.nodes.max() - high)):.0e}."""


def draw_unclipped(dark):
    fig = plots.figure(7, 3, dark)
    plots.unclipped(fig.subplots(), trainings())
    return fig


def tell_unclipped():
    shares = [np.nanmean(run.unclipped[-6:]) for run in trainings()]
    first = [run.unclipped[1] for run in trainings()]
    return f"""The share of coordinates that the clip left alone, in two trainings of that model. h starts at zero,
        so that after ten steps {first[0]:.0%} are unclipped with Hutchinson's estimate and {first[1]:.0%} with
        Gauss-Newton-Bartlett's. Over the last 60 steps it is {shares[0]:.0%} and {shares[1]:.0%}. What is clipped
        moves as in sign momentum."""


def draw_heat_map(dark):
    fig = plots.figure(9.6, 4, dark)
    for ax, clip in zip(fig.subplots(1, 2, sharey=True), (1.0, np.inf), strict=True):
        plots.heat_map(ax, *grid_of_losses(clip)).set_title("clipped" if clip == 1 else "not clipped")
        ax.label_outer()
    return fig


def tell_heat_map():
    lost = [np.isnan(grid_of_losses(clip)[2]).mean() for clip in (1.0, np.inf)]
    return f"""Rosenbrock's valley after 200 steps, for 525 pairs of learning rate and gamma, all of them rows of
        one run. A good gamma grows with the learning rate, as an unclipped step is lr / gamma of Newton's. Left with
        the clip, where {lost[0]:.0%} of the runs diverge; right without, where {lost[1]:.0%} do (crosses)."""


def draw_basins(dark):
    return plots.basins_figure(basins_of_himmelblau(), dark=dark)


def tell_basins():
    stuck = {type(b.optimizer).__name__: b.shares()["saddle"] + b.shares()["maximum"] for b in basins_of_himmelblau()}
    return f"""Where each of {200 * 200:,} starts ends, by colour; the fainter, the more steps it took. Of Newton's
        starts {percent(stuck["Newton"]) or "none"} end in a saddle or a maximum, of Sophia's
        {percent(stuck["Sophia"]) or "none"}."""


def draw_profile(dark):
    return profile_figure(profile(), "Sophia-G on the tiny GPT", dark=dark)


def tell_profile():
    parts = profile().parts
    seconds, floor = sum(part.seconds for part in parts), sum(min(profile().floor(p), p.seconds) for p in parts)
    return f"""Where the {1e3 * seconds:.1f} ms of a training step of that model go, on {_machine()}: solid is what the
        machine would need at least for those operations and bytes, {floor / seconds:.0%} in all, pale what is
        beyond."""


def draw_animation(path, dark):
    return plots.animate(REGISTRY["sophia_fig2"], race(), path, dark=dark)


def tell_animation():
    return f"""The race again, {race()[0].steps[-1]} steps in a loop, and beside the paths Sophia's state in each
        coordinate: where the ratio lies beyond the limits, the step is clipped."""


EXPLORER = """## Explorer

![The explorer: a landscape with its paths, and the panel of terms](explorer.png)

The same in a page that answers at once: drag the start, the learning rate or gamma, and the paths follow.

    sophia-ref explore
"""

PICTURES = {  # name: title, what a screen reader says, and where the data come from
    "surface": ("Surface and contours", "Five paths on a surface in three dimensions and on its contours", race),
    "trajectories": ("Trajectories", "Paths over filled contours, one of them leaving", racers_on_himmelblau),
    "losses": ("Loss by step and by cost", "Loss curves by step, and by cost", race),
    "panels": ("The terms of the rule", "Panels of g, m, h, ratio, clipped and update by coordinate", adam_and_sophia),
    "curvature": ("Curvature", "Level sets of the Hessian, of its diagonal and of Sophia at three points", None),
    "diagonal": ("The Hessian's diagonal", "Histograms of positive and negative entries by layer", diagonal),
    "spectrum": ("The Hessian's spectrum", "Densities of eigenvalues before and after training", densities),
    "unclipped": ("Unclipped share", "Share of unclipped coordinates by step", trainings),
    "heat_map": ("Learning rate and gamma", "Two heat maps of the final loss", grid_of_losses),
    "basins": ("Basins", "Three maps of where each start ends", basins_of_himmelblau),
    "profile": ("Profile", "Bars of the time that each layer takes", profile),
    "animation": ("Animation", "The race, animated", race),
}


def _at(kind):
    return "nowhere" if kind == "none" else f"at a {kind}"


def _loss_for(run, cost):
    """The run's loss at the last recorded step that cost no more."""
    return run.losses[np.flatnonzero(run.cost <= cost)[-1]]


def _machine():
    return f"one core under {platform.system()} on {platform.machine()}"


def make(name, folder):
    """The picture, light and dark, into the folder; returns the names of the files."""
    draw, files = globals()[f"draw_{name}"], []
    for dark in (False, True):
        path = folder / f"{name}{'-dark' * dark}.{'gif' if name == 'animation' else 'png'}"
        files.append(path.name)
        if name == "animation":
            draw(path, dark)
            continue
        file = io.BytesIO()
        draw(dark).savefig(file, format="png", dpi=110)
        with replacing(path) as target:
            smaller(Image.open(file).convert("RGB")).save(target, "PNG", optimize=True)
    return files


def smaller(image):
    """The picture in 256 colours: the EXACT ones as they are, others as the nearest there is."""
    exact = [channel for color in EXACT for channel in ImageColor.getrgb(color)]
    palette = np.array(exact + image.quantize(256 - len(EXACT)).getpalette(), int).reshape(-1, 3)
    pixels = np.asarray(image).reshape(-1, 3)
    colours, where = np.unique(pixels @ [1 << 16, 1 << 8, 1], return_inverse=True)
    colours = colours[:, None] >> [16, 8, 0] & 255
    nearest = ((colours[:, None] - palette) ** 2).sum(axis=-1).argmin(axis=1)
    small = Image.fromarray(nearest[where].astype(np.uint8).reshape(image.height, image.width))
    small.putpalette(palette.astype(np.uint8).tobytes())
    return small


def code_of(name):
    """The lines that make the picture: those of its data, then its own."""
    data, draw = PICTURES[name][2], globals()[f"draw_{name}"]
    functions = [draw] if data is None else [getattr(data, "__wrapped__", data), draw]
    return "\n\n\n".join(inspect.getsource(function).removeprefix("@cache\n").rstrip() for function in functions)


def section(name, files):
    title, alt, _ = PICTURES[name]
    said = textwrap.fill(" ".join(globals()[f"tell_{name}"]().split()), 120)
    image = (
        f'<picture>\n  <source media="(prefers-color-scheme: dark)" srcset="gallery/{files[1]}">\n'
        f'  <img src="gallery/{files[0]}" alt="{alt}">\n</picture>'
    )
    return f"## {title}\n\n{image}\n\n{said}\n\n```python\n{code_of(name)}\n```\n"


HEAD = """# Gallery

Every picture here is made by `docs/make_gallery.py`, which also wrote this page: the code under a picture is the code
that made it, and the numbers are computed from what it shows. Functions take an Axes and return it, pictures are light
or dark, and `plots.save(fig, "picture.svg")` (or `.pdf`) writes vectors. An optimizer has its colour and marker
everywhere.

Before any of it:

```python
import numpy as np
import sophia_ref as sr
from sophia_ref import plots
from toy_problems.landscapes import REGISTRY
```

`@cache` and the imports of single functions are left out below; `Oracle` is `sr.Oracle` with a progress bar.
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which pictures: {', '.join(PICTURES)}")
    parser.add_argument("--output", type=Path, default=DOCS, help="the folder of gallery.md and gallery/")
    args = parser.parse_args()
    if unknown := set(args.names) - set(PICTURES):
        parser.error(f"NAME: {', '.join(sorted(unknown))}; expected some of {', '.join(PICTURES)}")
    sections = [HEAD]
    for name in tqdm(args.names or PICTURES, unit="picture"):
        files = make(name, args.output / "gallery")
        if not args.names:
            sections.append(section(name, files))
    if not args.names:
        sections.append(EXPLORER)
        with replacing(args.output / "gallery.md") as file:
            file.write("\n".join(sections).encode())


if __name__ == "__main__":
    main()
