"""How the eligibility trace of BP(λ) is kept: exactly, or more cheaply. One file each.

=========  ==================================================================  ==========================
trace      what stands for e_t = γλ J_{t−1} e_{t−1} + ∂g(h_{t−1})/∂θ          update
=========  ==================================================================  ==========================
exact      itself                                                              exact
replay     the steps, swept back for every error                               exact
local      D, inside the neuron, in place of J                                 biased
kronecker  two random factors                                                  unbiased
projected  VᵀJV, among p outputs                                               biased, unless p is all
learned    M of a linear model of the step in place of J                       biased
bump       what parallel fibres said, weighted by a bump; errors come late     biased
=========  ==================================================================  ==========================
"""

from bioplaus.signal.traces.bump import Bump
from bioplaus.signal.traces.exact import Exact
from bioplaus.signal.traces.kronecker import Kronecker
from bioplaus.signal.traces.learned import Learned
from bioplaus.signal.traces.local import Local
from bioplaus.signal.traces.projected import Projected
from bioplaus.signal.traces.replay import Replay
from bioplaus.signal.traces.view import PredictorTrace, View

TRACES: dict[str, type[PredictorTrace]] = {
    "exact": Exact, "replay": Replay, "local": Local, "kronecker": Kronecker, "projected": Projected, "learned": Learned, "bump": Bump,
}  # fmt: skip

__all__ = ["TRACES", "PredictorTrace", "Replay", "View"]
