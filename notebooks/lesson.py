"""What every notebook begins with: figures that show themselves, sliders, and the check of an exercise.

A matplotlib Figure at the end of a cell becomes a small PNG. `sliders` gives a function that draws one its arguments to
play with, where there is somebody to play; elsewhere the picture is drawn once, as it is on a page that is only read.
"""

import inspect
import io
import os
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from checks import check
from IPython.core.getipython import get_ipython
from IPython.display import display
from matplotlib.figure import Figure
from PIL import Image, ImageColor
from PIL.PngImagePlugin import PngInfo

import sophia_ref as sr
from sophia_ref import plots
from sophia_ref.optimizers import Optimizer
from sophia_ref.plots.style import LIGHT

__all__ = ["check", "sliders"]

STATIC = "SOPHIA_REF_STATIC"  # set where nobody is there to move a slider: build.py, the tests
DPI = 100
# Of a PNG's 256 colours those that tell optimizers apart are as they should be, the rest as near as may be.
OPTIMIZERS = [name for name, cls in vars(sr).items() if isinstance(cls, type) and issubclass(cls, Optimizer)]
EXACT = [LIGHT.paper, LIGHT.ink] + [plots.style_of(name)["color"] for name in OPTIMIZERS]


def png(figure: Figure) -> bytes:
    """The figure as a PNG of 256 colours: a notebook should be a small file."""
    raw, small = io.BytesIO(), io.BytesIO()
    figure.savefig(raw, format="png", dpi=DPI)
    drawn, palette, made_by = Image.open(raw), Image.new("P", (1, 1)), PngInfo()
    image = drawn.convert("RGB")
    made_by.add_text("Software", drawn.info["Software"])  # matplotlib's version, which decides how letters are drawn
    exact = np.array([ImageColor.getrgb(color) for color in EXACT])
    rest = np.array(image.quantize(256 - len(EXACT)).getpalette()).reshape(-1, 3)
    near = np.abs(rest[:, None] - exact).max(axis=-1).min(axis=1) < 8  # Pillow would not tell them apart
    palette.putpalette([*exact.ravel().tolist(), *rest[~near].ravel().tolist()])
    image.quantize(palette=palette, dither=Image.Dither.NONE).save(small, "PNG", optimize=True, pnginfo=made_by)
    return small.getvalue()


if shell := get_ipython():
    shell.display_formatter.formatters["image/png"].for_type(Figure, png)


def sliders(draw: Callable[..., Figure], **choices: Iterable[Any]) -> None:
    """Show draw(), and above it a slider for each of its arguments that has choices.

    A slider starts at the choice nearest to the argument's default. Without ipywidgets the picture stands alone.
    """
    try:
        if STATIC in os.environ:
            raise ImportError(f"{STATIC} is set")
        import ipywidgets
    except ImportError:
        display(draw())
        return
    controls = {}
    for name, values in choices.items():
        options = [(f"{value:.3g}", float(value)) for value in values]
        start = inspect.signature(draw).parameters[name].default
        nearest = int(np.argmin([abs(value - start) for _, value in options]))
        controls[name] = ipywidgets.SelectionSlider(
            options=options, index=nearest, description=name, continuous_update=False, layout={"width": "32em"}
        )
    picture = ipywidgets.interactive_output(lambda **values: display(draw(**values)), controls)
    display(ipywidgets.VBox([*controls.values(), picture]))
