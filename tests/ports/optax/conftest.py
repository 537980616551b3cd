"""The optax port. `make test-ports` makes the environment; elsewhere these tests are skipped, with a reason."""

import importlib
import os

import pytest

os.environ.setdefault("JAX_ENABLE_X64", "1")
os.environ.setdefault("JAX_PLATFORMS", "cpu")


def loaded(name):
    """A module; where it must be there, as SOPHIA_REF_PORTS=required says, its absence is a failure."""
    if os.environ.get("SOPHIA_REF_PORTS") == "required":
        return importlib.import_module(name)
    return pytest.importorskip(name, reason=f"{name} is not installed here; `make test-ports` installs it")


@pytest.fixture(scope="session")
def jax():
    return loaded("jax")


@pytest.fixture(scope="session")
def jnp(jax):
    return jax.numpy


@pytest.fixture(scope="session")
def optax(jax):
    return loaded("optax")


@pytest.fixture(scope="session")
def port(optax):
    return importlib.import_module("sophia_ref.ports.optax")
