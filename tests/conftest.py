"""Settings for every test, made before NumPy and matplotlib load."""

import os
from pathlib import Path

from hypothesis import settings

# One BLAS thread a worker: pytest-xdist already fills the cores, and sums then have one order.
for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")
os.environ["MPLBACKEND"] = "Agg"

# The same examples on every run, and no deadline: a loaded machine is not a failure.
settings.register_profile("repeatable", deadline=None, derandomize=True)
settings.load_profile("repeatable")

ASKED_FOR = [Path(__file__).parent / name for name in ("web", "notebooks", "site", "lite")]


def pytest_ignore_collect(collection_path, config):
    """Tests in a browser, of notebooks and of the sites are there for those who ask: `make test-web` and its like."""
    given = [config.invocation_params.dir / argument.partition("::")[0] for argument in config.args]
    asked = any(path.resolve().is_relative_to(collection_path) for path in given)
    return True if collection_path in ASKED_FOR and not asked else None
