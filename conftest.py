"""Doctests of the ports are collected where their frameworks are: `make test-ports` has them."""

from importlib.util import find_spec

FRAMEWORKS = {"torch": ["torch", "torch_curvature", "triton"], "optax": ["optax"], "triton": ["triton"]}
collect_ignore = [
    f"sophia_ref/ports/{module}.py" for name, modules in FRAMEWORKS.items() if not find_spec(name) for module in modules
]
