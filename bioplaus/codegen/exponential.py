"""The matrix exponential, each entry to nearly full accuracy: scaling, a Taylor polynomial, squaring.

    exp(M) = (T(M / 2^s))^(2^s),        T(X) = 1 + X (1 + X/2 (1 + X/3 (…)))

scipy's ``expm`` writes (e^b − e^a)/(b − a) beside the diagonal of a triangular matrix that it scales: 0/0 where a and b are equal
but for rounding, and the matrix of a chain is triangular.
"""

from __future__ import annotations

import numpy as np

LARGEST = 0.5  # chosen: of the rows of M / 2^s; e^−x loses a factor of e^2x by its alternating signs, no more than e
ORDER = 16  # chosen: of the polynomial, beyond the longest path through the states: 0.5^16 / 16! is less than 1e-18
ROUNDS = 5  # chosen: of balancing; after more, nothing changes by more than a factor of two


def exponential(M: np.ndarray) -> np.ndarray:
    """exp(M) of every matrix in a stack (…, row, column), each by itself; not finite where it is beyond all numbers.

    Where nothing leads back from a variable to itself, its entry on the diagonal is e^M_ii, and is put there after every squaring: the
    products would lose 2^s roundings of it.
    """
    n = M.shape[-1]
    d = _balance(M)
    units = d[..., :, None] / d[..., None, :]
    M = M / units
    size = np.abs(M).sum(-1).max(-1, initial=0.0)
    s = np.maximum(np.frexp(size / LARGEST)[1], 0)[..., None, None]
    X = np.ldexp(M, -s)
    E = one = np.broadcast_to(np.eye(n), M.shape)
    for k in range(n + ORDER, 0, -1):
        E = one + X @ E / k
    alone = np.eye(n, dtype=bool) & ~_in_a_loop(M)[..., None]
    for squared in range(int(s.max(initial=0)) + 1):
        if squared:
            E = np.where(squared <= s, E @ E, E)
        E = np.where(alone, np.exp(np.ldexp(M, np.minimum(squared, s) - s)), E)
    return E * units


def _in_a_loop(M: np.ndarray) -> np.ndarray:
    """Whether a variable (…, i) acts on itself through others."""
    step = (M != 0) & ~np.eye(M.shape[-1], dtype=bool)
    reach = step
    for _ in range(M.shape[-1]):
        reach = reach | (reach @ step)
    return np.diagonal(reach, axis1=-2, axis2=-1)


def _balance(M: np.ndarray) -> np.ndarray:
    """Units, as powers of 2, in which what goes into a variable is about as large as what goes out of it.

    In SI units a membrane in volt and a current in ampere differ by 1e9, and small entries would drown in the rounding of large ones.
    """
    d = np.ones(M.shape[:-1])
    apart = np.abs(M) * ~np.eye(M.shape[-1], dtype=bool)
    for i in [*range(M.shape[-1])] * ROUNDS:
        into, out_of = (apart[..., i, :] * d).max(-1) / d[..., i], (apart[..., i] / d).max(-1) * d[..., i]
        # where nothing goes in, or nothing out, the other is brought to 1
        ratio = np.where(into > 0, into, 1.0) / np.where(out_of > 0, out_of, 1.0)
        d[..., i] *= np.exp2(np.rint(np.where((into > 0) & (out_of > 0), 0.5, 1.0) * np.log2(ratio)))
    return d
