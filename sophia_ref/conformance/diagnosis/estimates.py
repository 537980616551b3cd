"""The mistakes that are made with estimates: with probes, with labels, masks and batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from sophia_ref.conformance.diagnosis.hypothesis import Hypothesis
from sophia_ref.conformance.diagnosis.simulate import Sophia, parts, right_estimate, shortened, slopes
from sophia_ref.conformance.vectors import Given

Array = Any
Pairs = list[tuple[Array, Array]]  # matrices (P, P) and probes (P,), one pair a micro-batch


def _mean(products: list[Array]) -> Array:
    return sum(products[1:], products[0]) / len(products)


def _running(products: list[Array]) -> Array:
    found = products[0]
    for product in products[1:]:
        found = (found + product) / 2
    return found


def _columns(x: Array, theta: Array) -> Array:
    """Entries numbered column by column."""
    return x.reshape(theta.shape[::-1]).T if theta.ndim > 1 else x


# name, cause, fix, h_hat from the pairs and theta
PROBES: tuple[tuple[str, str, str, Callable[[Pairs, Array], Array]], ...] = (
    ("H u not multiplied by u", "the estimate is H u instead of u * (H u)", "multiply by the probe once more",
     lambda pairs, theta: _mean([A @ u for A, u in pairs])),
    ("row sums", "the probe is the same number everywhere, so that the estimate is the sums of the rows of H",
     "draw every entry of the probe", lambda pairs, theta: _mean([A @ np.ones_like(u) for A, u in pairs])),
    ("signs of the probe", "the probe is replaced by its signs", "use the probe as it was drawn",
     lambda pairs, theta: _mean([np.sign(u) * (A @ np.sign(u)) for A, u in pairs])),
    ("abs(u * (H u))", "the absolute value of the product is taken", "keep its sign",
     lambda pairs, theta: _mean([np.abs(u * (A @ u)) for A, u in pairs])),
    ("square of H u", "the estimate is (H u)^2, as in AdaHessian", "u * (H u)",
     lambda pairs, theta: _mean([(A @ u) ** 2 for A, u in pairs])),
    ("divided by u * u", "the product is divided by the square of the probe", "u * (H u), whatever its size",
     lambda pairs, theta: _mean([(A @ u) / u for A, u in pairs])),
    ("sum over micro-batches", "products of micro-batches are summed", "take their mean",
     lambda pairs, theta: sum(u * (A @ u) for A, u in pairs)),
    ("product of means", "probes and products H u are averaged over micro-batches before they are multiplied",
     "multiply in each micro-batch, then take the mean",
     lambda pairs, theta: _mean([u for _, u in pairs]) * _mean([A @ u for A, u in pairs])),
    ("last micro-batch alone", "each micro-batch replaces the estimate of those before", "take the mean of all",
     lambda pairs, theta: pairs[-1][1] * (pairs[-1][0] @ pairs[-1][1])),
    ("first micro-batch alone", "micro-batches after the first are ignored", "take the mean of all",
     lambda pairs, theta: pairs[0][1] * (pairs[0][0] @ pairs[0][1])),
    ("running halves", "each micro-batch is averaged with half of what was there", "divide the sum by their number",
     lambda pairs, theta: _running([u * (A @ u) for A, u in pairs])),
    ("one probe for all micro-batches", "the first micro-batch's probe is used in all", "use each one's own",
     lambda pairs, theta: _mean([pairs[0][1] * (A @ pairs[0][1]) for A, _ in pairs])),
    ("probe numbered column by column", "a probe of a parameter with two axes is laid out column by column",
     "number its entries as the parameter's",
     lambda pairs, theta: _columns(_mean([u * (A @ u) for A, u in pairs]), theta)),
)  # fmt: skip


def _rows(gnb: Any, theta: Array, labels: str = "labels") -> Array:
    """Gradients of all rows (N, P)."""
    return slopes(gnb, theta, gnb[labels])


def _kept(gnb: Any, theta: Array) -> Array:
    return _rows(gnb, theta)[gnb["mask"]]


def _g_hat(gnb: Any, theta: Array) -> Array:
    """The mean gradient of the unmasked rows; 0 where there is none."""
    rows = _kept(gnb, theta)
    return rows.sum(0) / max(1, len(rows))


def _of_parts(gnb: Any, theta: Array) -> list[Array]:
    """The gradients of the unmasked rows of each micro-batch that has some."""
    rows, mask = _rows(gnb, theta), gnb["mask"]
    found = [rows[part][mask[part]] for part in parts(gnb)]
    return [each for each in found if len(each)]


def _empirical(gnb: Any, theta: Array) -> Array:
    rows = _rows(gnb, theta, "true_labels")[gnb["mask"]]
    return rows.sum(0) ** 2 / max(1, len(rows))


def _overflowing(gnb: Any, theta: Array) -> Array:
    if gnb["likelihood"] == "gaussian":
        return right_estimate(Given(gnb=gnb), theta)
    rows = slopes(gnb, theta, gnb["labels"], shift=False)[gnb["mask"]]
    return rows.sum(0) ** 2 / max(1, len(rows))


def _outputs(gnb: Any, theta: Array) -> int:
    return int(theta.size // gnb["x"].shape[1]) if gnb["likelihood"] == "gaussian" else 1


# name, cause, fix, h_hat from the data and theta
LABELS: tuple[tuple[str, str, str, Callable[[Any, Array], Array]], ...] = (
    ("B left out", "the estimate is g_hat^2, without the number of predictions B", "multiply by B",
     lambda gnb, theta: _g_hat(gnb, theta) ** 2),
    ("true labels", "labels of the data are used: the empirical Fisher", "draw labels from the model's own outputs",
     _empirical),
    ("true labels, per sample", "squares of single gradients with the labels of the data are averaged",
     "draw labels, average gradients, square, and multiply by B",
     lambda gnb, theta: (_rows(gnb, theta, "true_labels")[gnb["mask"]] ** 2).sum(0) / max(1, gnb["mask"].sum())),
    ("per-sample squares", "squares of single gradients are averaged; right in the mean, but another estimate",
     "square the mean gradient and multiply by B",
     lambda gnb, theta: (_kept(gnb, theta) ** 2).sum(0) / max(1, gnb["mask"].sum())),
    ("per-sample squares summed", "squares of single gradients are summed", "square the mean gradient, times B",
     lambda gnb, theta: (_kept(gnb, theta) ** 2).sum(0)),
    ("sum instead of mean", "the gradient of the summed loss is squared and multiplied by B",
     "divide the sum by B before squaring", lambda gnb, theta: len(_kept(gnb, theta)) * _kept(gnb, theta).sum(0) ** 2),
    ("B twice", "the gradient of the summed loss is squared, which is B^2 times that of the mean",
     "divide its square by B",
     lambda gnb, theta: _kept(gnb, theta).sum(0) ** 2),
    ("mask ignored", "masked rows count like all others", "leave them out of the mean and of B",
     lambda gnb, theta: len(gnb["x"]) * _rows(gnb, theta).mean(0) ** 2),
    ("mask ignored in B", "B counts masked rows too, the mean does not", "B is the number of unmasked rows",
     lambda gnb, theta: len(gnb["x"]) * _g_hat(gnb, theta) ** 2),
    ("mask ignored in the mean", "masked rows add nothing, but the mean and B count them",
     "divide by the unmasked rows",
     lambda gnb, theta: _kept(gnb, theta).sum(0) ** 2 / len(gnb["x"])),
    ("mask ignored in the mean alone", "masked rows add nothing, but the mean counts them",
     "divide by the unmasked rows",
     lambda gnb, theta: len(_kept(gnb, theta)) * (_kept(gnb, theta).sum(0) / len(gnb["x"])) ** 2),
    ("mask the wrong way round in labels", "the masked rows are used and the others are not", "use the unmasked rows",
     lambda gnb, theta: _rows(gnb, theta)[~gnb["mask"]].sum(0) ** 2 / max(1, (~gnb["mask"]).sum())),
    ("micro-batches each squared", "each micro-batch's gradient is squared with its own B, and these are averaged",
     "add gradients up first, then square once",
     lambda gnb, theta: _mean([rows.sum(0) ** 2 / len(rows) for rows in _of_parts(gnb, theta)])),
    ("micro-batches each squared, empty ones too",
     "each micro-batch's gradient is squared with its own B, and the mean counts micro-batches without rows too",
     "add gradients up first, then square once",
     lambda gnb, theta: sum(rows.sum(0) ** 2 / len(rows) for rows in _of_parts(gnb, theta))
     / len(gnb["micro_batches"])),
    ("micro-batches each squared and summed",
     "each micro-batch's gradient is squared with its own B, and these are summed",
     "add gradients up first, then square once",
     lambda gnb, theta: sum(rows.sum(0) ** 2 / len(rows) for rows in _of_parts(gnb, theta))),
    ("mean of means", "means of micro-batches are averaged whatever their size", "weigh them by their unmasked rows",
     lambda gnb, theta: len(_kept(gnb, theta)) * _mean([rows.mean(0) for rows in _of_parts(gnb, theta)]) ** 2),
    ("mean over all micro-batches", "means are averaged over micro-batches without unmasked rows too",
     "weigh them by their unmasked rows",
     lambda gnb, theta: len(_kept(gnb, theta))
     * (sum(rows.mean(0) for rows in _of_parts(gnb, theta)) / len(gnb["micro_batches"])) ** 2),
    ("B of one micro-batch", "the mean of all goes with the B of one micro-batch", "multiply by the total B",
     lambda gnb, theta: len(_kept(gnb, theta)) / len(_of_parts(gnb, theta)) * _g_hat(gnb, theta) ** 2),
    ("B of the last micro-batch", "the sum over all micro-batches is divided by the rows of the last one",
     "add up the numbers of rows too",
     lambda gnb, theta: _kept(gnb, theta).sum(0) ** 2 / gnb["mask"][parts(gnb)[-1]].sum()),
    ("last micro-batch of labels alone", "each micro-batch replaces those before", "add their gradients up",
     lambda gnb, theta: _of_parts(gnb, theta)[-1].sum(0) ** 2 / len(_of_parts(gnb, theta)[-1])),
    ("means of micro-batches summed", "means of micro-batches are added up, as if each were a part of the mean",
     "scale each by its share of the rows",
     lambda gnb, theta: len(_kept(gnb, theta)) * sum(rows.mean(0) for rows in _of_parts(gnb, theta)) ** 2),
    ("sampled gradient's norm clipped", "the gradient is shortened to norm 1 before it is squared",
     "leave the sampled gradient as it is",
     lambda gnb, theta: len(_kept(gnb, theta)) * shortened(_g_hat(gnb, theta)) ** 2),
    ("sampled gradient's norm clipped, exactly", "the gradient is scaled to norm 1 where that is larger, then squared",
     "leave the sampled gradient as it is",
     lambda gnb, theta: len(_kept(gnb, theta)) * shortened(_g_hat(gnb, theta), 0.0) ** 2),
    ("B counts micro-batches", "B is the number of micro-batches (of sequences, say), not of predictions",
     "count unmasked predictions", lambda gnb, theta: len(gnb["micro_batches"]) * _g_hat(gnb, theta) ** 2),
    ("softmax overflows", "the softmax is computed without taking its maximum out", "subtract the maximum first",
     lambda gnb, theta: _overflowing(gnb, theta)),
    ("squared error without its half", "the Gaussian loss is |f - y|^2, so that the estimate is four times too large",
     "the loss is |f - y|^2 / 2",
     lambda gnb, theta: (4 if gnb["likelihood"] == "gaussian" else 1) * right_estimate(Given(gnb=gnb), theta)),
    ("mean squared error", "the Gaussian loss is the mean of (f - y)^2 over outputs", "the loss is |f - y|^2 / 2",
     lambda gnb, theta: (2 / _outputs(gnb, theta) if gnb["likelihood"] == "gaussian" else 1) ** 2
     * right_estimate(Given(gnb=gnb), theta)),
    ("B counts outputs", "B is the number of rows times that of outputs", "count rows",
     lambda gnb, theta: _outputs(gnb, theta) * right_estimate(Given(gnb=gnb), theta)),
    ("mean over outputs", "the Gaussian loss is averaged over outputs too", "sum over outputs, average over rows",
     lambda gnb, theta: right_estimate(Given(gnb=gnb), theta) / _outputs(gnb, theta) ** 2),
)  # fmt: skip


def hypotheses() -> Iterator[Hypothesis]:
    for name, cause, fix, of_pairs in PROBES:
        yield Hypothesis(name, cause, fix, Sophia(estimate=_for(of_pairs, "hutchinson")), ("paper-H",))
    for name, cause, fix, of_data in LABELS:
        yield Hypothesis(name, cause, fix, Sophia(estimate=_for(of_data, "gnb")), ("paper-G",))


def _for(f: Callable[[Any, Array], Array], form: str) -> Callable[[Given, Array], Array]:
    """The estimate of f in this form, the right one in others."""

    def estimate(given: Given, theta: Array) -> Array:
        data = getattr(given, form)
        return right_estimate(given, theta) if data is None else np.asarray(f(data, theta)).reshape(theta.shape)

    return estimate
