"""The tables: how every NumPy function that losses are made of differentiates.

Four kinds of entry, from the plainest on:

    elementwise   y_j depends on x_j only. One map (d, y, *args) -> d * dy/dx serves both directions, since a diagonal
                  matrix is its own transpose; broadcasting is undone on the way back.
    linear        y = A x. The tangent is the function itself applied to dx; the cotangent, A^T y_bar, is written out.
    other         both directions written out. X_bar denotes the cotangent of X.
    composite     written with functions that have rules. No derivative to get wrong.

kinds.py has the kinds, elementwise.py, reductions.py, structure.py and linalg.py the tables; importing this fills them.

Where a function has no derivative, it gets

    maximum, minimum, clip, max, min at a tie   equal shares
    sort at a tie                               the order of the equal entries is kept
    abs at 0                                    0
    norm, std, hypot where they are 0           0, their subgradient of least norm, and second derivative 0
    sqrt at 0                                   infinity, with NumPy's warning, as 1 / 0 has
    x^n at x = n = 0                            0, and the slope in n at x = 0 is 0
    where, in the branch not chosen             0, but in reverse 0 times its slope: NaN if that is infinite, as for
                                                where(x > 0, log(x), 0) at 0; write log(where(x > 0, x, 1))
    eigenvectors of equal eigenvalues           NaN; eigenvalues have their slopes along LAPACK's vectors
    det, slogdet, inv, solve at a singular      numpy.linalg.LinAlgError
    rounding, comparison, sign, argmax          plain arrays, which have derivative 0

An empty array has an empty gradient. Its functions have NumPy's values: sum and norm 0, prod 1, mean, var and std NaN
with NumPy's warning, max and min its ValueError.
"""

from sophia_ref.autodiff.rules import elementwise, linalg, reductions, structure

__all__ = ["elementwise", "linalg", "reductions", "structure"]
