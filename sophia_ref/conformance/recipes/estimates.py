"""Vectors about the estimates themselves, on losses that every framework can write in a line."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from sophia_ref.conformance.recipes.recipe import FLOATS, draws, settings, vector

B_ISSUE = "https://github.com/Liuhong99/Sophia/issues/48"
TRUE_LABELS = "https://github.com/google-deepmind/optax/issues/968"


def vectors() -> Iterator[dict[str, Any]]:
    for dtype in FLOATS:
        yield from _hutchinson(dtype)
        yield from _gnb(dtype)


def _hutchinson(dtype: str) -> Iterator[dict[str, Any]]:
    whole = np.round(draws("matrix", 4, 4))
    A: Any = whole + whole.T
    theta, g = draws("theta", 4), draws("g", 4, 4) / 4
    signs, normal = np.array([1.0, -1.0, -1.0, 1.0]), draws("probe", 4, size=2)
    base = settings("paper-H", gamma=1.0, beta2=0.5, every=1)
    # (name, matrices and probes of the micro-batches, flags, note)
    for name, pairs, flags, note in (
        (
            "normal-probe",
            [(A, normal)],
            [],
            "u * (A u) of a loss theta.A.theta/2 for a given probe; some entries are negative.",
        ),
        ("sign-probe", [(A, signs)], [], "A probe of signs."),
        (
            "diagonal",
            [(np.diag([4.0, 8.0, 2.0, 16.0]), signs)],
            [],
            "A diagonal matrix and signs: the estimate is the diagonal.",
        ),
        (
            "probe-of-minus-one",
            [(A, -np.ones(4))],
            ["adversarial"],
            "The probe -1 gives the sums of rows, which kozistr's pytorch_optimizer 3.9 took for the diagonal: it drew nothing "
            "else. Right only where u multiplies A u once more.",
        ),
        (
            "probe-with-zeros",
            [(A, np.array([0.0, 2.0, 0.0, -1.0]))],
            ["adversarial"],
            "Where the probe is 0, so is the estimate.",
        ),
        (
            "micro-batches",
            [(A, signs), (np.diag(np.diag(A)) + 2, normal)],
            ["adversarial", "batch"],
            "Two micro-batches with a probe each: the mean of the products, not the product of the means.",
        ),
    ):
        yield vector(
            f"hutchinson-{name}",
            "paper-H",
            dtype,
            theta,
            g[:2],
            [pairs, pairs],
            set=base,
            flags=["estimate", *flags],
            note=note,
        )
    three = [(A, signs), (np.diag([4.0, 8.0, 2.0, 16.0]), normal), (A @ A / 16, -normal)]
    yield vector(
        "hutchinson-three-micro-batches",
        "paper-H",
        dtype,
        theta,
        g[:2],
        [three, three],
        set=base,
        flags=["adversarial", "batch", "estimate"],
        note="Three micro-batches: each counts a third, where a running mean of halves weighs the last most.",
    )
    for layout, name in (("C", "of-a-matrix"), ("F", "of-a-transposed-matrix")):
        yield vector(
            f"hutchinson-{name}",
            "paper-H",
            dtype,
            theta.reshape(2, 2),
            g[:2].reshape(2, 2, 2),
            [[(A, normal)]] * 2,
            layout=layout,
            set=base,
            flags=["adversarial", "estimate", "memory"],
            note="A parameter of two axes, whose entries the probe numbers row by row, however they lie.",
        )
    first = [(A, signs)]
    yield vector(
        "hutchinson-when-due",
        "paper-H",
        dtype,
        theta,
        g,
        [first] * 4,
        set=base | {"every": 3},
        offer_all=True,
        flags=["estimate", "refresh", "adversarial"],
        note="Probes for every step, to be used at steps 1 and 4 alone.",
    )


def _gnb(dtype: str) -> Iterator[dict[str, Any]]:
    N, d, C = 8, 2, 3
    x, theta, g = draws("inputs", N, d, size=2), draws("theta", d * C, size=1), draws("g", 3, d * C) / 8
    labels = np.array([0, 2, 1, 1, 0, 2, 2, 0])
    true = np.array([1, 1, 0, 2, 2, 0, 1, 1])
    base = settings("paper-G", gamma=1.0, beta2=0.5, every=1)

    def case(rows: int = N, scale: float = 1.0, **changes: Any) -> dict[str, Any]:
        plain = {
            "x": scale * x[:rows],
            "labels": labels[:rows],
            "true_labels": true[:rows],
            "mask": np.ones(rows, bool),
        }
        plain = plain | {"micro_batches": [rows], "likelihood": "categorical"} | changes
        return {
            name: v.astype(dtype) if isinstance(v, np.ndarray) and v.dtype == np.float64 else v
            for name, v in plain.items()
        }

    half, odd = np.arange(N) % 2 == 0, np.array([1, 1, 1, 0, 1, 0, 0, 0], bool)
    targets = draws("targets", N, C)
    # (name, data, flags, note, report)
    for name, data, flags, note, report in (
        (
            "batch",
            case(),
            [],
            "B g^2 of the mean gradient over eight predictions with drawn labels. The true ones are there to be left alone.",
            TRUE_LABELS,
        ),
        (
            "true-labels",
            case(labels=(true + 1) % C),
            ["adversarial"],
            "True and drawn labels disagree everywhere: the square of the training gradient is the empirical Fisher.",
            TRUE_LABELS,
        ),
        ("one-prediction", case(1), ["batch"], "B = 1: mean, sum, and square of each are one.", None),
        (
            "masked",
            case(mask=half),
            ["adversarial", "mask"],
            "Half of the rows are masked: B counts the others, and the mean is over them.",
            B_ISSUE,
        ),
        (
            "one-left",
            case(mask=np.arange(N) == 5),
            ["adversarial", "mask"],
            "All rows but one are masked: B = 1, whatever the batch size.",
            B_ISSUE,
        ),
        (
            "micro-batches",
            case(micro_batches=[4, 4]),
            ["adversarial", "batch"],
            "Two equal micro-batches: the mean gradient of both goes with the total B. Squares of each are larger by chance alone.",
            None,
        ),
        (
            "uneven-micro-batches",
            case(micro_batches=[1, 5, 2]),
            ["adversarial", "batch"],
            "Three micro-batches of 1, 5 and 2: their sums add up, their means do not.",
            None,
        ),
        (
            "masked-micro-batches",
            case(mask=odd, micro_batches=[3, 5]),
            ["adversarial", "batch", "mask"],
            "Micro-batches with 3 and 1 unmasked rows: weights are counts of unmasked rows.",
            None,
        ),
        (
            "masked-out-micro-batch",
            case(mask=np.arange(N) < 4, micro_batches=[4, 4]),
            ["adversarial", "batch", "mask"],
            "A micro-batch in which all is masked: it adds nothing, and no 0 / 0.",
            None,
        ),
        (
            "large-norm",
            case(scale=16.0),
            ["adversarial", "norm"],
            "A sampled gradient with a norm far above 1: clipping it before squaring loses most of the curvature.",
            None,
        ),
        (
            "confident",
            case(scale=64.0),
            ["adversarial", "range"],
            "Outputs in the hundreds: a softmax without its maximum taken out overflows in float32.",
            None,
        ),
        (
            "gaussian",
            case(likelihood="gaussian", labels=targets, true_labels=-targets),
            ["adversarial"],
            "Regression: the labels are drawn around the outputs with variance 1, and a loss is half a squared distance.",
            None,
        ),
        (
            "gaussian-masked",
            case(likelihood="gaussian", labels=targets, true_labels=-targets, mask=half, micro_batches=[3, 5]),
            ["adversarial", "mask"],
            "Regression, masked and in two parts: B counts rows, not entries of outputs.",
            None,
        ),
    ):
        yield vector(
            f"gnb-{name}",
            "paper-G",
            dtype,
            theta,
            g[:2],
            [data, data],
            set=base,
            flags=["estimate", *flags],
            note=note,
            report=report,
            most=1024,
        )
    for layout, name in (("C", "of-a-matrix"), ("F", "of-a-transposed-matrix")):
        yield vector(
            f"gnb-{name}",
            "paper-G",
            dtype,
            theta.reshape(d, C),
            g[:2].reshape(2, d, C),
            [case()] * 2,
            layout=layout,
            set=base,
            flags=["adversarial", "estimate", "memory"],
            note="theta as the matrix that it is, row by row or column by column in memory.",
            most=1024,
        )
    yield vector(
        "gnb-all-masked",
        "paper-G",
        dtype,
        theta,
        g[:1],
        [case(mask=np.zeros(N, bool))],
        set=base,
        verdict="acceptable",
        free={"clipped": np.ones(d * C, bool)},
        flags=["adversarial", "estimate", "mask", "nan"],
        note="All rows are masked: B is 0 and there is no estimate. Refused, or NaN; never a curvature of 0.",
    )
    certain = case(scale=1024.0)
    yield vector(
        "gnb-certain",
        "paper-G",
        dtype,
        theta,
        g[:1],
        [certain],
        set=base,
        flags=["adversarial", "estimate", "range"],
        note="Outputs in the thousands: a softmax without its maximum taken out overflows in float64 too.",
        most=1024,
    )
    many = 130
    yield vector(
        "gnb-130-classes",
        "paper-G",
        dtype,
        draws("wide theta", many, size=1),
        draws("wide g", 1, many) / 8,
        [
            case(
                3,
                x=np.array([[1.0], [-0.5], [2.0]], dtype),
                labels=np.array([0, 128, 129]),
                true_labels=np.array([5, 1, 2]),
            )
        ],
        set=base,
        flags=["adversarial", "estimate"],
        note="130 classes: labels beyond what a signed byte holds.",
        most=1024,
    )
