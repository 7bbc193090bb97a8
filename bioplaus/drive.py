"""What drives a circuit beside its input: forward models, in the place of areas that speak; and what a cerebellum says (`bioplaus.cerebellum.driver`).

Numbers only, light to import.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from bioplaus import checks
from bioplaus.errors import RunError


class Drives(checks.Named):
    """What `bioplaus.Training` takes as ``drive``."""


@dataclass(frozen=True, kw_only=True)
class Drive(Drives):
    """Forward models that drive areas while they learn, so that no area waits for the one below (Jaderberg et al. 2017, fully unlocked).

    Of every area j that speaks to a later one a forward model f_j, an ``mlp`` or a linear map from the external input alone, learns what j says::

        ŷ^j_t = [f_j(x_{t−lag})]₊,      loss ½ ‖ŷ^j_t − y^j_t‖²,      lag: steps that the input takes to j                           (1)
        I_t = W (m ŷ^j_{t−d} + (1 − m) y^j_{t−d}),      m = 1 in a ``share`` of the trials, 0 in the others                          (2)

    Weights learn from what they were given, (2); credit goes back through W to j as if j had said it, so that a predictor of the gradient at
    y^j is taught where it is read, at what j has said. Where [·]₊ is flat and j speaks, f_j learns as if there were no [·]₊.

    With m = 1 in all trials areas learn only at inputs that nobody sends. Forward models begin by predicting nothing, so that an area learns no more
    than those below it can already predict; trials with m = 0, in which each area hears what is said, hold the two closer together. Both stand
    where published networks have batch normalisation, which is no property of a neuron in a trial. Tests are always without a drive;
    ``driven_score`` of a run's metrics is with m = 1.

    Parameters
    ----------
    hidden : layers of rectified units in each forward model; () for a linear one.
    share : of the trials, in which areas are driven by predictions, drawn anew for each from the seed.
    rectified : whether what is predicted is never below 0, as for cells with rectified rates or spikes; False: (1) without [·]₊.
    projections : which are driven, by name; None: all from an area to one that the input reaches later.

    References
    ----------
    Jaderberg et al. 2017, arXiv:1608.05343. Mixing in place of normalisation is this library's.
    """

    hidden: tuple[int, ...] = (128,)
    share: float = 0.5
    rectified: bool = True
    projections: tuple[str, ...] | None = None

    constraints = checks.Table(
        RunError,
        "of a drive",
        hidden=checks.Several(checks.Whole(1, 10**6), "(128,)", 0),
        share=checks.Real(least=0, most=1),
        rectified=checks.Flag(),
        projections=checks.Optional(
            checks.Several(checks.Word(), "('W2', 'W3')", different=True), "for all that ascend"
        ),
    )

    def __post_init__(self) -> None:
        checks.settle(self)

    def describe(self) -> dict[str, Any]:
        return asdict(self)
