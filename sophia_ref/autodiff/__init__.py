"""Derivatives of plain NumPy code: forward (Dual), reverse (Var), and forward over reverse for Hessian-vector products.

Reading order: dispatch.py, dual.py, tape.py, rules/, derivatives.py; then layout.py and check.py.
"""

from sophia_ref.autodiff import rules as rules  # fills the table
from sophia_ref.autodiff.check import check_grads
from sophia_ref.autodiff.derivatives import grad, hessian, hessian_diag, hvp, jvp, stop_gradient, value_and_grad, vjp
from sophia_ref.autodiff.dispatch import Box, InPlaceError
from sophia_ref.autodiff.dual import Dual
from sophia_ref.autodiff.layout import Layout
from sophia_ref.autodiff.tape import Var, primitive

__all__ = [
    "Box", "Dual", "InPlaceError", "Layout", "Var", "check_grads", "grad", "hessian", "hessian_diag", "hvp", "jvp",
    "primitive", "stop_gradient", "value_and_grad", "vjp",
]  # fmt: skip
