"""The optax port. `make test-ports` makes the environment; elsewhere these tests are skipped, with a reason."""

import importlib
import os

import pytest

from tests.libraries import loaded

os.environ.setdefault("JAX_ENABLE_X64", "1")
os.environ.setdefault("JAX_PLATFORMS", "cpu")


@pytest.fixture(scope="session")
def jax():
    return loaded("jax", "test-ports")


@pytest.fixture(scope="session")
def jnp(jax):
    return jax.numpy


@pytest.fixture(scope="session")
def optax(jax):
    return loaded("optax", "test-ports")


@pytest.fixture(scope="session")
def port(optax):
    return importlib.import_module("sophia_ref.ports.optax")
