"""Pictures of runs. Functions take an Axes and return it, and one style serves them all.

Nothing here needs a display or touches matplotlib's settings: figures are plain `matplotlib.figure.Figure` objects,
made by `figure` and written by `save`. Importing this loads matplotlib, so `import sophia_ref` does not.
"""

from sophia_ref.plots.animation import animate
from sophia_ref.plots.basins import basins_figure
from sophia_ref.plots.curves import band, losses, unclipped
from sophia_ref.plots.explorer import explore
from sophia_ref.plots.race import contour, paths, race_figure, surface
from sophia_ref.plots.style import figure, save, style_of

__all__ = [
    "animate",
    "band",
    "basins_figure",
    "contour",
    "explore",
    "figure",
    "losses",
    "paths",
    "race_figure",
    "save",
    "style_of",
    "surface",
    "unclipped",
]
