"""Doctests of what needs a framework are collected where that is: `make test-ports` has them."""

from importlib.util import find_spec

NEEDS = {
    "torch": [
        *(f"ports/{name}.py" for name in ("torch", "torch_curvature", "torch_distributed", "triton")),
        "conformance/targets/torch_target.py",
    ],
    "optax": ["ports/optax.py", "ports/optax_curvature.py", "conformance/targets/optax_target.py"],
    "triton": ["ports/triton.py"],
}
collect_ignore = [f"sophia_ref/{file}" for name, files in NEEDS.items() if not find_spec(name) for file in files]
