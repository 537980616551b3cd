"""Pictures of runs. Functions take an Axes and return it, and one style serves them all.

Nothing here needs a display or touches matplotlib's settings: figures are plain `matplotlib.figure.Figure` objects,
made by `figure` and written by `save`. Importing this loads matplotlib, so `import sophia_ref` does not.
"""

from sophia_ref.plots.animation import animate
from sophia_ref.plots.basins import basins_figure
from sophia_ref.plots.curvature import curvature, curvature_figure
from sophia_ref.plots.curves import band, losses, losses_figure, unclipped
from sophia_ref.plots.explorer import explore
from sophia_ref.plots.heat_map import heat_map
from sophia_ref.plots.panels import panel, panels_figure
from sophia_ref.plots.race import contour, legend, paths, race_figure, surface
from sophia_ref.plots.spectrum import diagonal_figure, diagonal_histogram, spectrum
from sophia_ref.plots.style import figure, save, style_of

__all__ = [
    "animate",
    "band",
    "basins_figure",
    "contour",
    "curvature",
    "curvature_figure",
    "diagonal_figure",
    "diagonal_histogram",
    "explore",
    "figure",
    "heat_map",
    "legend",
    "losses",
    "losses_figure",
    "panel",
    "panels_figure",
    "paths",
    "race_figure",
    "save",
    "spectrum",
    "style_of",
    "surface",
    "unclipped",
]
