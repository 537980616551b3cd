"""Settings for every test, made before NumPy and matplotlib load."""

import os

from hypothesis import settings

# One BLAS thread a worker: pytest-xdist already fills the cores, and sums then have one order.
for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")
os.environ["MPLBACKEND"] = "Agg"

# The same examples on every run, and no deadline: a loaded machine is not a failure.
settings.register_profile("repeatable", deadline=None, derandomize=True)
settings.load_profile("repeatable")
