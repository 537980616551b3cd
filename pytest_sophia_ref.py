"""A plugin of pytest: `pytest --conform torch:my_package.Sophia` runs every conformance vector as a test of its own,
beside the other tests; `-m conform` runs them alone.

It is loaded wherever sophia-ref is installed, so it imports nothing but pytest until it is asked.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("sophia-ref", "conformance of optimizers")
    what = "certify torch:module.Class, optax:module.name, numpy:module.name or a results file; may come more than once"
    group.addoption("--conform", metavar="TARGET", action="append", default=[], help=what)
    which = "a profile of vectors for --conform, such as paper-H; may come more than once"
    group.addoption("--conform-profile", metavar="P", action="append", default=[], help=which)
    called = "what a setting is called there: gamma=curvature_scale, say; may come more than once"
    group.addoption("--conform-names", metavar="A=B", action="append", default=[], help=called)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "conform: a conformance vector of sophia-ref, from --conform")


@pytest.hookimpl(tryfirst=True)  # before -k and -m choose
def pytest_collection_modifyitems(session: pytest.Session, config: pytest.Config, items: list[pytest.Item]) -> None:
    for target in config.getoption("conform"):
        items += _vectors(session, config, target)


def _vectors(session: pytest.Session, config: pytest.Config, name: str) -> Iterator[VectorItem]:
    from sophia_ref.conformance import vectors
    from sophia_ref.conformance.targets import TargetError, load

    pairs = [pair.partition("=")[::2] for pair in config.getoption("conform_names")]
    try:
        target = load(name, dict(pairs))
        for profile in config.getoption("conform_profile") or target.profiles:
            for vector in vectors.load(profile):
                nodeid = f"conform {target.name}::{vector.id}"
                yield VectorItem.from_parent(session, name=vector.id, nodeid=nodeid, target=target, vector=vector)
    except (TargetError, ValueError) as error:
        raise pytest.UsageError(f"--conform: {error}") from None


class Differs(Exception):
    """A vector that failed, and why."""


class VectorItem(pytest.Item):
    def __init__(self, *, target: Any, vector: Any, **settings: Any) -> None:
        super().__init__(**settings)
        self.target, self.vector = target, vector
        self.add_marker("conform")

    def runtest(self) -> None:
        from sophia_ref.conformance.compare import ask

        outcome = ask(self.target, self.vector)
        if outcome.status == "not asked":
            pytest.skip(outcome.message)
        if outcome.status == "failed":
            raise Differs(outcome.message)

    def repr_failure(self, excinfo: Any, style: Any = None) -> Any:
        if isinstance(excinfo.value, Differs):
            return (
                f"{excinfo.value}\nwhat it is there for: {self.vector.note}\nsophia-ref conform --show {self.vector.id}"
            )
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Any, int | None, str]:
        return self.path, None, f"{self.target.name}: {self.vector.id}"
