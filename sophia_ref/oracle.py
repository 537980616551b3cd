"""What an optimizer may ask about the loss at theta, and what the answers cost.

An optimizer never sees a model. It is handed an `Oracle` and asks: gradient descent for a gradient, Newton for a
Hessian, Sophia for a gradient and now and then for curvature. The oracle answers from one loss function, through
autodiff, and adds up the price in gradient-equivalents, so that methods can be compared by cost and not by steps:

    loss 1/3    gradient 1    gradient with sampled labels 1    Hessian-vector product 3

times the fraction of the batch that is looked at; a Hessian, or its diagonal, is P products. A loss that came with a
gradient is free, and so is asking again for either; everything else is computed and paid anew. The constants are
fixed, since timings differ between machines: a forward pass is about a third of a gradient, and forward-over-reverse
about three times one.

Theta has shape (..., P). Leading axes are independent runs, with one loss each: the pullback of ones is then every
run's own gradient, as long as a run's loss depends on its own row alone. That is the problem's promise.
"""

from typing import Any, Protocol

import numpy as np

from sophia_ref.autodiff import jvp, vjp

Array = Any
COST_LOSS, COST_GRADIENT, COST_HVP = 1 / 3, 1.0, 3.0


class Problem(Protocol):
    """What can be optimized. A bare function f(theta) will do as well, everywhere.

    batch: None where there is no data, otherwise an array or a tuple of arrays; arrays of a tuple have shape
    (*shape, examples, ...), so that a part of the examples can be taken. A problem with a likelihood also has
    `sampled_loss(theta, batch, rng) -> (loss, B)`: labels drawn from the model inside the forward pass and held
    constant with `sophia_ref.autodiff.stop_gradient`, the loss the mean over the B predictions, without penalties.
    """

    def init(self, rng: np.random.Generator) -> Array: ...
    def batch(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Any: ...
    def loss(self, theta: Array, batch: Any) -> Array: ...


class FunctionProblem:
    """A bare function f(theta) as a Problem without data; `run` needs theta0, as there is no initialisation."""

    def __init__(self, f: Any) -> None:
        self.f, self.name = f, getattr(f, "__name__", "f")

    def init(self, rng: np.random.Generator) -> Array:
        raise ValueError(f"theta0 is needed: {self.name} is a bare function, which does not say where to start")

    def batch(self, rng: np.random.Generator, shape: tuple[int, ...]) -> None:
        return None

    def loss(self, theta: Array, batch: None) -> Array:
        if batch is not None:
            raise TypeError(f"batch must be None for {self.name}, a bare function of theta, got {batch!r}")
        return self.f(theta)


def as_problem(problem: Any) -> Any:
    """A Problem, from a Problem or a function. Raises TypeError for anything else."""
    if not isinstance(problem, type):
        if hasattr(problem, "loss"):
            return problem
        if callable(problem):
            return FunctionProblem(problem)
    raise TypeError(f"problem must have a method loss(theta, batch) or be a function f(theta), got {problem!r}")


def checked_fraction(caller: str, fraction: Any) -> float:
    """fraction itself. Raises ValueError unless it is a number with 0 < fraction <= 1."""
    if isinstance(fraction, bool) or not isinstance(fraction, float | int | np.floating) or not 0 < fraction <= 1:
        raise ValueError(f"{caller}: fraction must be a number with 0 < fraction <= 1, got {fraction!r}")
    return float(fraction)


class Oracle:
    """Lazy, exact answers about `problem` at `theta` on one batch. `cost`: what they have cost so far.

    theta: (..., P), float32 or float64. batch: as problem.batch returns it. rng: for estimators that draw.
    Raises TypeError or ValueError, by name, for theta of another kind and for a loss that is not one number a row.
    """

    def __init__(self, problem: Any, theta: Array, batch: Any = None, rng: np.random.Generator | None = None) -> None:
        if not hasattr(theta, "dtype") or theta.dtype.char not in "fd":
            kind = getattr(theta, "dtype", type(theta).__name__)
            raise TypeError(f"Oracle: theta must be a float32 or float64 array, got {kind}")
        if theta.ndim == 0:
            raise ValueError("Oracle: theta must have shape (..., P), got a 0-d array")
        if isinstance(rng, (int, np.integer)):
            raise TypeError(
                f"Oracle: rng must be a np.random.Generator, got {rng!r}; np.random.default_rng({rng}) is one"
            )
        self.problem, self.theta, self.batch = as_problem(problem), theta, batch
        self.cost = 0.0
        self._rng = rng
        self._loss: Array = None
        self._grad: Array = None

    @property
    def rng(self) -> np.random.Generator:
        """The generator that estimators draw from. Raises ValueError if the oracle was made without one."""
        if self._rng is None:
            raise ValueError("Oracle: rng is needed, as this estimator draws: rng=np.random.default_rng(seed), say")
        return self._rng

    def loss(self) -> Array:
        """The loss, of shape (...)."""
        if self._loss is None:
            self._loss = self._per_row(self.problem.loss(self.theta, self.batch))
            self._charge(COST_LOSS)
        return self._loss

    def grad(self) -> Array:
        """Its gradient, (..., P); read-only, as it is kept."""
        if self._grad is None:
            self._loss, self._grad = self._value_and_grad(self.theta)
            if isinstance(self._grad, np.ndarray):
                self._grad.setflags(write=False)
            self._charge(COST_GRADIENT)
        return self._grad

    def hvp(self, v: Array) -> Array:
        """H v for v (..., P), row by row."""
        product = jvp(lambda theta: self._value_and_grad(theta)[1], self.theta, v)[1]
        self._charge(COST_HVP)
        return product

    def hessian(self) -> Array:
        """H, (..., P, P), from P products."""
        hessian = np.empty_like(self.theta, shape=(*self.theta.shape, self.theta.shape[-1]))
        for i, e in enumerate(self._basis()):
            hessian[..., i] = self.hvp(e)
        return hessian

    def hessian_diag(self) -> Array:
        """The diagonal of H, (..., P), from P products."""
        diagonal = np.empty_like(self.theta)
        for i, e in enumerate(self._basis()):
            diagonal[..., i] = self.hvp(e)[..., i]
        return diagonal

    def sampled_grad(self) -> tuple[Array, Any]:
        """Gradient (..., P) of the loss with labels drawn from the model, and B, the number of predictions: a float,
        or (..., 1)."""
        sampled_loss, counts = self._likelihood(), []

        def loss(theta: Array) -> Array:
            value, B = sampled_loss(theta, self.batch, self.rng)
            counts.append(B)
            return self._per_row(value)

        value, pullback = vjp(loss, self.theta)
        self._charge(COST_GRADIENT)
        return pullback(np.ones(np.shape(value), self.theta.dtype)), self._count(counts[0])

    def predictions(self) -> Any:
        """B alone, for one forward pass; it does not draw from `rng`."""
        B = self._count(self._likelihood()(self.theta, self.batch, np.random.default_rng(0))[1])
        self._charge(COST_LOSS)
        return B

    def curvature(self, estimator: Any) -> Array:
        """h_hat (..., P), the estimator's answer."""
        return estimator(self)

    def part(self, fraction: float) -> "Oracle":
        """An oracle over the first `fraction` of the examples, rounded to a whole number of at least one; what it is
        asked counts here too, times its share of the examples.

        Raises ValueError unless 0 < fraction <= 1, TypeError where the batch is not a tuple of arrays (*shape,
        examples, ...), which agree about the number of examples.
        """
        fraction, axis = checked_fraction("Oracle.part", fraction), self.theta.ndim - 1
        arrays = self.batch if isinstance(self.batch, tuple) else ()
        examples = {np.shape(array)[axis] if np.ndim(array) > axis else 0 for array in arrays}
        if len(examples) != 1 or 0 in examples:
            expected = "a tuple of arrays (*theta.shape[:-1], examples, ...)"
            got = f"shapes {[np.shape(array) for array in arrays]}" if arrays else repr(self.batch)
            raise TypeError(f"Oracle.part: the batch must be {expected}, so that a part can be taken, got {got}")
        return _Part(self, axis, max(1, round(fraction * examples.pop())))

    def rows(self, rows: slice) -> "Oracle":
        """An oracle over some of the runs, theta[rows], on their part of the batch: its arrays, or the entries of its
        tuple, that have one entry a run. What it is asked does not count here until `join`."""
        lead = self.theta.shape[:-1]
        tupled = isinstance(self.batch, tuple)
        arrays = [a[rows] if np.shape(a)[: len(lead)] == lead else a for a in (self.batch if tupled else [self.batch])]
        return Oracle(self.problem, self.theta[rows], tuple(arrays) if tupled else arrays[0], self._rng)

    def join(self, parts: "list[Oracle]") -> None:
        """Take over the losses, and the cost of a run, from oracles that `rows` has made of all the rows."""
        if all(part._loss is not None for part in parts):
            self._loss = np.concatenate([part._loss for part in parts])
        self.cost += max(part.cost for part in parts)

    # -- inside --------------------------------------------------------------------------------------------------------

    def _value_and_grad(self, theta: Array) -> tuple[Array, Array]:
        loss, pullback = vjp(lambda theta: self._per_row(self.problem.loss(theta, self.batch)), theta)
        return loss, pullback(np.ones(np.shape(loss), self.theta.dtype))

    def _per_row(self, loss: Array) -> Array:
        if np.shape(loss) != self.theta.shape[:-1]:
            expected = f"one number a row, shape {self.theta.shape[:-1]} for theta of shape {self.theta.shape}"
            raise ValueError(f"the loss must give {expected}; it gave shape {np.shape(loss)}")
        return loss

    def _basis(self) -> Any:
        for i in range(self.theta.shape[-1]):
            e = np.zeros_like(self.theta)
            e[..., i] = 1
            yield e

    def _likelihood(self) -> Any:
        if not hasattr(self.problem, "sampled_loss"):
            raise TypeError(
                f"{getattr(self.problem, 'name', type(self.problem).__name__)} has no likelihood to draw labels from: "
                f"it needs a method sampled_loss(theta, batch, rng) -> (loss, B), or an estimator such as hutchinson"
            )
        return self.problem.sampled_loss

    def _count(self, B: Any) -> Any:
        """B as it multiplies a gradient without changing its dtype: a float, or (..., 1), one a row."""
        if np.ndim(B) == 0:
            return float(B)
        if np.shape(B) != self.theta.shape[:-1]:
            expected = f"one number, or one a row, shape {self.theta.shape[:-1]}"
            raise ValueError(f"sampled_loss must return B, the number of predictions: {expected}; got {np.shape(B)}")
        return B.astype(self.theta.dtype)[..., None]

    def _charge(self, price: float) -> None:
        self.cost += price


class _Part(Oracle):
    """An oracle over the first part of another's examples; the other pays its share of the price."""

    def __init__(self, whole: Oracle, axis: int, count: int) -> None:
        first = (slice(None),) * axis + (slice(count),)
        super().__init__(whole.problem, whole.theta, tuple(array[first] for array in whole.batch), whole._rng)
        self._whole, self._share = whole, count / whole.batch[0].shape[axis]

    def _charge(self, price: float) -> None:
        super()._charge(price)
        self._whole._charge(self._share * price)


class Given:
    """An oracle of given arrays, for tests, for teaching and for replaying recorded gradients.

    grad (..., P); hessian_diag (..., P), the answer to `curvature` of any estimator; hessian (..., P, P); loss (...).
    Asking for what was not given raises ValueError.
    """

    def __init__(
        self, grad: Array = None, hessian_diag: Array = None, hessian: Array = None, loss: Array = None
    ) -> None:
        self._given = {"grad": grad, "hessian_diag": hessian_diag, "hessian": hessian, "loss": loss}
        self.cost = 0.0

    def _answer(self, name: str) -> Array:
        if self._given[name] is None:
            raise ValueError(f"Given: the optimizer asked for {name}, which was not given: Given(..., {name}=...)")
        return self._given[name]

    def loss(self) -> Array:
        return self._answer("loss")

    def grad(self) -> Array:
        return self._answer("grad")

    def hessian(self) -> Array:
        return self._answer("hessian")

    def hessian_diag(self) -> Array:
        return self._answer("hessian_diag")

    def curvature(self, estimator: Any) -> Array:
        return self._answer("hessian_diag")
