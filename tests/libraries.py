"""Libraries that only some environments have."""

import importlib
import os

import pytest


def loaded(name, target):
    """A module; where it must be there, as SOPHIA_REF_PORTS=required says, its absence is a failure. Elsewhere the test
    is skipped, with the target of make that installs it."""
    if os.environ.get("SOPHIA_REF_PORTS") == "required":
        return importlib.import_module(name)
    return pytest.importorskip(name, reason=f"{name} is not installed here; `make {target}` installs it")
