"""Terminals for tests."""

import os

import pytest


@pytest.fixture
def terminal():
    """A function that opens a pseudo-terminal and returns both its ends; without one, as on Windows, the test is
    skipped."""

    def opened():
        try:
            return os.openpty()
        except (AttributeError, OSError) as error:
            pytest.skip(f"no pseudo-terminal: {error}")

    return opened
