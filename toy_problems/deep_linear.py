"""A deep linear network, y = W_L ... W_1 x: linear in x, yet a landscape of saddles in its weights.

On inputs with mean x x^T = I and targets M x the loss is 1/2 |W_L ... W_1 - M|_F^2. theta = 0 is a saddle: for two
layers its Hessian has the eigenvalues +-s_i, the singular values of M; for more it vanishes, and the more layers, the
flatter. Every local minimum is global (Kawaguchi 2016), and by Eckart and Young its loss is half the sum of the squares
of those singular values that do not fit through the narrowest layer.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from sophia_ref.autodiff import Layout
from toy_problems.checks import count, number
from toy_problems.regression import GAUSSIAN, Array, Regression


class DeepLinear(Regression):
    """The network of widths (D, ..., K), on n examples whose second moment is exactly the identity.

    widths: the sizes of the input, the hidden layers (at least one) and the output, so L = len(widths) - 1.
    singular_values: of the target M (K, D), at most min(D, K) of them; the rest are zero.
    scale: init draws W_l from N(0, scale^2 / its number of inputs); the smaller, the longer the plateau around zero.
    examples: at least D. batch_size, seed: as for LeastSquares. Raises ValueError for anything else.

    Attributes besides Regression's: M (K, D); minimum, the least loss over all the data; truth (P,) attains it.
    """

    name = "deep_linear"
    likelihood = GAUSSIAN

    def __init__(
        self,
        widths: Sequence[int] = (8, 8, 8, 8),
        singular_values: Sequence[float] = (4.0, 2.0, 1.0, 0.5),
        scale: float = 0.3,
        examples: int = 64,
        batch_size: int | None = None,
        seed: int | np.random.Generator = 0,
    ) -> None:
        if len(widths) < 3:
            raise ValueError(f"widths: {widths!r}; expected at least three integers: input, hidden layers, output")
        widths = [count("widths", width) for width in widths]
        inputs, outputs, narrowest = widths[0], widths[-1], min(widths)
        s = np.sort([number("singular_values", s, 0, "finite numbers > 0") for s in singular_values])[::-1]
        if len(s) > min(inputs, outputs):
            raise ValueError(f"singular_values: {len(s)} of them; expected at most {min(inputs, outputs)}")
        self.scale = number("scale", scale, 0, "a finite number > 0")
        rng = np.random.default_rng(seed)
        U, _ = np.linalg.qr(rng.standard_normal((outputs, outputs)))
        V, _ = np.linalg.qr(rng.standard_normal((inputs, inputs)))
        Q, _ = np.linalg.qr(rng.standard_normal((count("examples", examples, inputs), inputs)))
        X = np.sqrt(examples) * Q  # (n, D), X^T X / n = I
        self.M = (U[:, : len(s)] * s) @ V[:, : len(s)].T
        self.minimum = float((s[narrowest:] ** 2).sum() / 2)

        # truth: between V^T at the input and U diag(s) at the output, every layer passes on what it has room for
        layout = Layout({f"W{i + 1}": (widths[i + 1], widths[i]) for i in range(len(widths) - 1)})
        tensors = {name: np.eye(rows, columns) for name, (rows, columns) in layout.shapes.items()}
        last = f"W{len(widths) - 1}"
        tensors[last] = U * np.pad(s, (0, outputs - len(s))) @ tensors[last]
        tensors["W1"] = tensors["W1"] @ V.T
        super().__init__(layout, X, X @ self.M.T, layout.pack(tensors), batch_size)

    def init(self, rng: np.random.Generator) -> Array:
        """Gaussian weights (P,) of standard deviation scale / sqrt(number of inputs of the layer)."""
        deviations = {name: self.scale / np.sqrt(shape[1]) for name, shape in self.layout.shapes.items()}
        weights = {name: s * rng.standard_normal(self.layout.shapes[name]) for name, s in deviations.items()}
        theta: Array = self.layout.pack(weights)
        return theta

    def predictions(self, theta: Array, X: Array) -> Any:
        """z = W_L ... W_1 x for each row x of X: theta (..., P), X (..., n, D) -> (..., n, K)."""
        z = X.astype(theta.dtype, copy=False)
        for W in self.layout.unpack(theta).values():
            z = z @ W.mT
        return z
