"""Ratio e-values: is the canary's event rate more than th0 times the baseline's?

A block holds n canary and m baseline units (requests, or subjects) with c and b events; k = c + b, f = n/(n+m).
Against the alternative ratio th:

  e(th) = (th/th0)^c · ((th0·f + 1 − f) / (th·f + 1 − f))^k          th > th0: harm;  th < th0: non-inferiority

Why it is an e-value whatever the base rate is and however it moves:
- Poisson, or the arm of every event an independent draw: c | k ~ Bin(k, th0·f/(th0·f+1−f)), and E[e] = 1 exactly.
- Bernoulli: with r = th/th0, s = (th0·n+m)/(th·n+m), E = (1+th0·p(rs−1))^n (1+p(s−1))^m
  ≤ exp(p[s(r·th0·n+m) − (th0·n+m)]) = 1.
- Subjects with any bad-rates p_i of their own and arms drawn with known share f: for each subject
  E = 1 + f·th0·p_i(rs−1) + (1−f)·p_i(s−1) = 1 + p_i[s(f·th+1−f) − (f·th0+1−f)] = 1 exactly, so heavy tails, sticky
  users and clients that always fail change nothing.
Within the null (ratio ≤ th0 for harm, ≥ th0 for non-inferiority) E[e] ≤ 1, since e is monotone in c at given k.

Sources: Lindon & Malek, arXiv 2011.03567; Turner, Ly & Grünwald, arXiv 2106.02693; Lindon, Sanden & Shirikian 2022.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import ArrayLike

from airboss.watch.analysis.bins import Floats

HARM_RATIOS: Final[Floats] = np.geomspace(1.15, 40.0, 12)
"""Alternatives of the harm test, as multiples of th0."""

HARM_LOG_WEIGHTS: Final[Floats] = np.log(np.array([6, 11, 14, 15, 14, 11, 8, 6, 5, 4, 3, 3]) / 100.0)
"""More on the harms that take long to find; a harm of twenty times is found at once at any weight."""

SAFE_RATIOS: Final[Floats] = np.array([1.0, 0.75, 0.5, 0.25])
"""Alternatives of the non-inferiority test, as canary/baseline ratios: mostly "no difference"."""

SAFE_LOG_WEIGHTS: Final[Floats] = np.log(np.array([0.7, 0.1, 0.1, 0.1]))

TAIL_RATIOS: Final[Floats] = np.array([0.85, 0.6, 0.35, 0.12])
"""Fixed alternatives of the latency non-inferiority test; the first alternative is foretold from the past baseline."""

TAIL_LOG_WEIGHTS: Final[Floats] = np.log(np.array([0.6, 0.1, 0.1, 0.1, 0.1]))


def log_e(bad_canary: ArrayLike, bad_both: ArrayLike, share: ArrayLike, ratios: Floats, null: float) -> Floats:
    """Return log e, shape (…, J), of c and k = c + b (shape (…)) at share f against ratios (J,) or (…, J)."""
    c = np.asarray(bad_canary, dtype=np.float64)[..., None]
    k = np.asarray(bad_both, dtype=np.float64)[..., None]
    f = np.asarray(share, dtype=np.float64)[..., None]
    return np.asarray(c * np.log(ratios / null) - k * np.log((ratios * f + 1.0 - f) / (null * f + 1.0 - f)))


def information(base_rate: float, truth: float, null: float, share: float) -> float:
    """Return the expected log e-value gained for each canary unit when the ratio is `truth` and the null is `null`.

    I(th*, th0) = p_b·(th*·f + 1−f)/f · kl(th*·f/(th*·f+1−f) ‖ th0·f/(th0·f+1−f)).
    """
    events = base_rate * (truth * share + 1.0 - share) / share
    true_part = truth * share / (truth * share + 1.0 - share)
    null_part = null * share / (null * share + 1.0 - share)
    return events * bernoulli_kl(true_part, null_part)


def bernoulli_kl(p: float, q: float) -> float:
    """Return kl(p ‖ q) in nats for 0 ≤ p ≤ 1, 0 < q < 1."""
    first = p * np.log(p / q) if p > 0.0 else 0.0
    second = (1.0 - p) * np.log((1.0 - p) / (1.0 - q)) if p < 1.0 else 0.0
    return float(first + second)
