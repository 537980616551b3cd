"""What every notebook begins with: figures that show themselves, sliders, and the check of an exercise.

A matplotlib Figure at the end of a cell becomes a small PNG. `sliders` gives a function that draws one its arguments to
play with, where there is somebody to play; elsewhere the picture is drawn once, as it is on a page that is only read.
"""

import inspect
import os
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from checks import check
from IPython.core.getipython import get_ipython
from IPython.display import display
from matplotlib.figure import Figure

from sophia_ref.plots.style import small_png

__all__ = ["check", "sliders"]

STATIC = "SOPHIA_REF_STATIC"  # set where nobody is there to move a slider: build.py, the tests


if shell := get_ipython():
    shell.display_formatter.formatters["image/png"].for_type(Figure, small_png)


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
