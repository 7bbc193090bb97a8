"""Classic mistakes, put in one at a time: each must be seen by the detector that the ordinary tests use.

Of such mistakes half leave the gradient's direction almost right (cosine above 0.99) and training working; elementwise
comparison sees them all. A detector must pass on the true code, or its verdict means nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from influence_helpers import (
    Path,
    follow,
    history_is_cut,
    hops_are_counted,
    is_unbiased,
    kernl_is_its_kernel,
    kernl_learns_from_its_twin,
    mdgl_is_one_crossing,
    rewritten,
    snap_is_masked,
    space_is_autograd,
)
from predictor_helpers import (
    bp_lambda_is_its_traces,
    cortex_sees_this_step_and_the_prediction,
    dni_is_autograd_of_its_windows,
)
from rule_helpers import (
    Case,
    Off,
    bptt_is_autograd,
    case,
    dale,
    eprop_is_stopped_autograd,
    masks_hold,
    off,
    oracle_pairs_are_bptt,
    random_feedback_is_autograd,
    rflo_is_the_leak,
    rtrl_is_bptt,
    same,
    tbptt_is_cut_autograd,
)
from table_helpers import a_comparison_s_table_is_its_runs

import bioplaus as bp
from bioplaus import Trainer, Training, ms
from bioplaus.cerebellum import Linear as LinearPredictor
from bioplaus.circuit import network, trajectory
from bioplaus.circuit import sweep as sweeping
from bioplaus.circuit.wiring import Outputs
from bioplaus.codegen import torch_source, transpose
from bioplaus.eligibility import (
    KFRTRL,
    MDGL,
    RFLO,
    RKFRTRL,
    UORO,
    EProp,
    History,
    Hops,
    KeRNL,
    eprop,
    immediate,
    kf_rtrl,
    mdgl,
    snap,
)
from bioplaus.eligibility.influence import Space
from bioplaus.eligibility.rtrl import Dense
from bioplaus.learning.sequence import sequence
from bioplaus.measure import time as timed
from bioplaus.rules import bp_lambda, dni
from bioplaus.runs import standings as standing
from bioplaus.signal import BPTT, DNI, BPLambda, Instant, Observed, oracle
from bioplaus.signal.jacobians import Jacobian
from bioplaus.signal.traces.exact import Exact
from bioplaus.symbolic import compile as compiling
from bioplaus.symbolic.derive import ACTIVE
from bioplaus.tasks import squared

Patch = pytest.MonkeyPatch


@dataclass(frozen=True)
class Mistake:
    """How to make it, and what finds it."""

    make: Callable[[Patch], None]
    detect: Callable[[], None]


MISTAKES: dict[str, Mistake] = {}


def mistake(detect: Callable[[], None]) -> Callable[[Callable[[Patch], None]], Callable[[Patch], None]]:
    """Register a mistake under its function's name."""

    def put(make: Callable[[Patch], None]) -> Callable[[Patch], None]:
        MISTAKES[make.__name__] = Mistake(make, detect)
        return make

    return put


# -- detectors on small circuits ----------------------------------------------------------------------------------------------


def adapting(**options: Any) -> Case:
    return case(bp.model("alif", beta=0.3, tau_a=50 * ms), **{"tau": 10 * ms, "steps": 20, **options})


def bptt(model: str = "lif", **options: Any) -> Callable[[], None]:
    return lambda: bptt_is_autograd(case(model, steps=20, **options))


def online_eprop(model: str = "lif", **options: Any) -> Callable[[], None]:
    return lambda: eprop_is_stopped_autograd(case(model, steps=20, **options), window=False)


def windowed_eprop(**options: Any) -> Callable[[], None]:
    return lambda: eprop_is_stopped_autograd(adapting(**options), online=False)


def predictor(model: str = "elman", **options: Any) -> Callable[[], None]:
    return lambda: bp_lambda_is_its_traces(
        case(model, steps=7, units=4), bp_lambda(**{"lmbda": 0.5, "discount": 0.9, **options})
    )


def synthetic(**options: Any) -> Callable[[], None]:
    return lambda: cortex_sees_this_step_and_the_prediction(
        case("elman", steps=7, units=4), bp_lambda(0.5, discount=0.9, **options)
    )


def no_autapses() -> None:
    """A spiking neuron's gradient onto itself is zero, and so its weight stays."""
    c = case("lif", steps=20)
    for rule in ("bptt", "eprop"):
        if bool(c.gradients(bp.rule(rule))["W_rec"].diagonal().any()):
            raise Off(f"{rule} has a gradient where there is no synapse")


def feedback_becomes_the_readout() -> None:
    """The difference of feedback and readout decays, at the rate given."""
    task = bp.task("target_reaching", steps=3)
    circuit = bp.circuit("recurrent", cell=bp.model("elman"), inputs=10, units=5, outputs=2)
    trainer = Trainer(
        circuit, task, bp.rule("eprop", feedback="adaptive", decay=0.1), Training(batch=2, dtype="float64", lr=0.01)
    )
    C, B = trainer.network.weights["W_out"], trainer.own["feedback"]["B"]
    gap = (C - B).clone()
    for _ in range(5):
        trainer.update()
    error = float((C - B - gap * 0.9**5).abs().max())
    if error > 1e-10:
        raise Off("feedback and readout do not meet", error)


# -- eligibilities -----------------------------------------------------------------------------------------------------------


@mistake(online_eprop(tau=10 * ms))
def trace_one_step_late(patch: Patch) -> None:
    real, seen = eprop.advance, {}

    def late(trace: Any, c: Any, pre: Any, kappa: float, *told: Any) -> Any:
        met = real(trace, c, seen.get(id(trace), torch.zeros_like(pre)), kappa, *told)
        seen[id(trace)] = pre
        return met

    patch.setattr(eprop, "advance", late)


@mistake(online_eprop(tau=10 * ms))
def readout_filter_missing_in_the_trace(patch: Patch) -> None:
    real = eprop.advance

    def unfiltered(trace: Any, c: Any, pre: Any, kappa: float, *told: Any) -> Any:
        return real(trace, c, pre, 0.0, *told)

    patch.setattr(eprop, "advance", unfiltered)


@mistake(online_eprop(tau=10 * ms))
def one_minus_kappa_missing(patch: Patch) -> None:
    real = eprop.advance

    def unscaled(trace: Any, c: Any, pre: Any, kappa: float, *told: Any) -> Any:
        before = trace.e_bar.clone()
        met = real(trace, c, pre, kappa, *told)
        trace.e_bar = kappa * before + trace.e
        return met

    patch.setattr(eprop, "advance", unscaled)


@mistake(lambda: eprop_is_stopped_autograd(case("lstm", steps=20), window=False))
def forget_gate_of_the_step_before(patch: Patch) -> None:
    def held(self: EProp, tangent: Any) -> Any:
        def roll(e: Any) -> Any:
            return tuple(map(roll, e)) if isinstance(e, tuple) else e.roll(1, 0) if isinstance(e, torch.Tensor) else e

        return tuple(p._replace(F=roll(p.F)) for p in tangent.partials)

    patch.setattr(EProp, "partials", held)


@mistake(lambda: eprop_is_stopped_autograd(case("gru", steps=20), window=False))
def own_output_forgotten(patch: Patch) -> None:
    patch.setattr(
        EProp, "partials", lambda self, tangent: tuple(p._replace(E=(None,) * len(p.E)) for p in tangent.partials)
    )


@mistake(windowed_eprop())
def traces_cut_at_window_borders(patch: Patch) -> None:
    real = EProp.window

    def forgetful(self: EProp, network: Any, state: Any, stretches: Any, last: bool) -> Any:
        gradients, _ = real(self, network, state, stretches, last)
        return gradients, self.init(network, stretches[0][0].stretch.x.shape[1])

    patch.setattr(EProp, "window", forgetful)


@mistake(windowed_eprop(rate=(0.01, 30.0)))
def regulariser_counts_windows_twice(patch: Patch) -> None:
    real = EProp.summed
    patch.setattr(EProp, "summed", lambda *a: {n: 2 * g for n, g in real(*a).items()})


@mistake(lambda: eprop_is_stopped_autograd(adapting(rate=(0.01, 30.0)), window=False))
def regulariser_on_the_filtered_trace(patch: Patch) -> None:
    """Σ e of the filtered in place of the unfiltered trace."""
    real, sums = eprop.advance, {}

    def watched(trace: Any, c: Any, pre: Any, kappa: float, *told: Any) -> Any:
        met = real(trace, c, pre, kappa, *told)
        sums[id(trace)] = sums.get(id(trace), 0.0) + trace.e_bar.sum(0, keepdim=True)
        return met

    def summed(self: EProp, network: Any, state: Any, credit: Any, real: Any = EProp.summed) -> Any:
        for trace in state.items:
            trace.e_sum = sums[id(trace)]
        sums.clear()
        return real(self, network, state, credit)

    patch.setattr(eprop, "advance", watched)
    patch.setattr(EProp, "summed", summed)


@mistake(lambda: rflo_is_the_leak(adapting()))
def rflo_keeps_the_adaptation(patch: Patch) -> None:
    patch.setattr(RFLO, "partials", EProp.partials)


@mistake(bptt())
def bias_gradient_dropped(patch: Patch) -> None:
    def partial(network: Any, window: Any, a_I: Any, real: Any = sweeping.weight_gradients) -> Any:
        return {n: g for n, g in real(network, window, a_I).items() if n != "b"}

    patch.setattr(immediate, "weight_gradients", partial)


# -- influences -------------------------------------------------------------------------------------------------------------


def rtrl(model: str = "lif", **options: Any) -> Callable[[], None]:
    return lambda: rtrl_is_bptt(case(model, steps=20, **options))


def along(detect: Callable[[Case, Path], Any], model: str = "alif", **options: Any) -> Callable[[], None]:
    """A detector that follows the trajectory by autograd."""

    def run() -> None:
        c = case(model, **{"units": 4, "size": 2, "steps": 16, **options})
        detect(c, follow(c))

    return run


def signs(past: Any) -> Callable[[], None]:
    return lambda: is_unbiased(case("leaky_rate", units=2, size=1, steps=6, tau=10 * ms), past)


def counted() -> None:
    hops_are_counted(case("leaky_rate", steps=9, units=4, size=2), (1, 2))


def sparse(order: int) -> Callable[[], None]:
    return along(lambda c, path: snap_is_masked(c, path, order), "leaky_rate", units=7, fan_in=2)


def misprint(name: str, detect: Callable[[], None], owner: type, function: str, old: str, new: str) -> None:
    """Register a mistake that is a slip of the pen."""
    MISTAKES[name] = Mistake(lambda patch: rewritten(patch, owner, function, (old, new)), detect)


@mistake(rtrl("alif"))
def rtrl_jacobian_transposed(patch: Patch) -> None:
    real = Space.jacobian
    patch.setattr(Space, "jacobian", lambda *a: real(*a).mT)


@mistake(rtrl())
def crossings_with_the_wrong_steps_surrogate(patch: Patch) -> None:
    """J_t = D_t + R_t, with ψ_{t−1} in R: here ψ_t stands in it."""
    real = Space.across
    patch.setattr(Space, "across", lambda self, before, now, out: real(self, now, now, out))


@mistake(along(space_is_autograd))
def products_with_the_wrong_steps_surrogate(patch: Patch) -> None:
    """The same where no matrix is formed."""
    real = Space.push
    patch.setattr(Space, "push", lambda self, before, now, z: real(self, now, now, z))


@mistake(rtrl("gru"))
def own_output_left_out_of_the_influence(patch: Patch) -> None:
    def deaf(self: Space, before: Any, now: Any, real: Any = Space.within) -> Any:
        return real(self, before, replace_parts(now, E=lambda E: (None,) * len(E)))

    patch.setattr(Space, "within", deaf)


def replace_parts(now: Any, **changes: Callable[[Any], Any]) -> Any:
    return now._replace(
        parts=tuple(p._replace(**{n: change(getattr(p, n)) for n, change in changes.items()}) for p in now.parts)
    )


@mistake(rtrl("lstm"))
def immediate_influence_at_another_state(patch: Patch) -> None:
    """What acts on c is put down to o, and the other way round."""

    def swapped(self: Space, now: Any, p: int, real: Any = Space.immediate) -> Any:
        rows = self.u(p)
        return [(rows[1 - row.index], k, g) for row, k, g in real(self, now, p)]

    patch.setattr(Space, "immediate", swapped)


misprint("columns_read_in_another_order", rtrl("lstm"), Space, "spread", ".transpose(0, 1)", "")
misprint(
    "delay_line_stands_still",
    rtrl(delay=3),
    Space,
    "within",
    "source.index == to.index - voices",
    "source.index == to.index - voices + 1",
)
misprint(
    "arriving_from_another_place_in_the_delay_line",
    rtrl(delay=3),
    Space,
    "across",
    "at.index == slot - voices",
    "at.index == slot - voices - 1",
)
misprint(
    "influence_filtered_without_one_minus_kappa",
    rtrl(tau=10 * ms),
    Dense,
    "seen",
    "value=1 - self.space.network.kappa",
    "value=1.0",
)
misprint(
    "hops_from_the_level_just_made", counted, Hops, "advance", "reversed(range(len(levels)))", "range(len(levels))"
)
misprint("hops_begin_at_the_top_only", counted, Hops, "advance", "for C in levels:", "for C in levels[-1:]:")


@mistake(sparse(2))
def snap_mask_transposed(patch: Patch) -> None:
    real = snap.reach
    patch.setattr(snap, "reach", lambda *a: real(*a).T)


@mistake(sparse(1))
def snap_reaches_one_synapse_too_far(patch: Patch) -> None:
    real = snap.reach
    patch.setattr(snap, "reach", lambda space, synapses: real(space, synapses + 1))


@mistake(lambda: mdgl_is_one_crossing(case("lif", steps=20)))
def neighbours_meet_the_trace_of_the_same_step(patch: Patch) -> None:
    patch.setattr(mdgl, "_shifted", lambda a, after: a)


@mistake(lambda: mdgl_is_one_crossing(case("lstm", steps=20)))
def neighbours_heard_against_the_synapse(patch: Patch) -> None:
    def turned(self: MDGL, network: bp.Network, w: Any, a: torch.Tensor) -> torch.Tensor:
        return a @ torch.cat([b.T for b in network.matrix(w.spec.name).chunk(len(w.channels))])

    patch.setattr(MDGL, "crossed", turned)


@mistake(lambda: mdgl_is_one_crossing(dale(delay=1, steps=20)))
def only_those_who_are_read_listen(patch: Patch) -> None:
    """Behind a leaky readout, populations that it does not see hear nothing."""
    real = MDGL.heard

    def partly(self: MDGL, network: Any, *rest: Any) -> Any:
        found = real(self, network, *rest)
        return found._replace(filtered=tuple(f if i in network.sources else None for i, f in enumerate(found.filtered)))

    patch.setattr(MDGL, "heard", partly)


@mistake(lambda: history_is_cut(case("elman", steps=12), 3))
def history_one_step_too_long(patch: Patch) -> None:
    real = History._slide
    patch.setattr(History, "_slide", lambda self, *a: real(replace(self, steps=self.steps + 1), *a))


taught, met = along(kernl_learns_from_its_twin), along(kernl_is_its_kernel, tau=10 * ms)
misprint("twin_not_restarted", taught, KeRNL, "kick", "state.age == self.restart", "False")
misprint(
    "decay_told_of_this_steps_kick",
    taught,
    KeRNL,
    "kick",
    "state.omega * keep - state.w",
    "state.omega * keep - (state.w * keep + xi)",
)
misprint("trace_keeps_what_it_should_lose", met, KeRNL, "advance", "(1 - state.decay[", "(state.decay[")
misprint(
    "kernel_of_the_readout_for_that_of_the_states",
    met,
    KeRNL,
    "meet",
    "f @ state.kernel[size:]",
    "f @ state.kernel[:size]",
)
misprint("readout_sees_the_bare_trace", met, KeRNL, "meet", "state.B_bar)", "state.B)")
misprint(
    "twin_behind_the_readout_held_against_bare_kicks",
    along(kernl_learns_from_its_twin, tau=10 * ms),
    KeRNL,
    "kick",
    "state.v_bar, state.w_bar, state.omega_bar)\n",
    "state.v_bar, state.w, state.omega_bar)\n",
)
misprint(
    "a_sign_of_its_own_for_each_factor", signs(KFRTRL()), KFRTRL, "advance", "(s * p2)", "(state.signs(batch) * p2)"
)
misprint("balance_of_one_factor_only", signs(KFRTRL()), KFRTRL, "advance", "(s * p2)", "(s * p2 * p2)")
misprint(
    "noise_of_one_factor_dropped", signs(RKFRTRL()), RKFRTRL, "advance", "nu, p2[:, None])", "nu.abs(), p2[:, None])"
)
misprint("old_influence_balanced_on_one_side_only", signs(UORO()), UORO, "advance", "(1 / rho0)", "(0 * rho0 + 1)")


@mistake(signs(KFRTRL()))
def factor_behind_the_readout_not_rescaled(patch: Patch) -> None:
    real = kf_rtrl.behind_readout
    patch.setattr(kf_rtrl, "behind_readout", lambda space, now, F, A, rho: real(space, now, F, A, torch.ones_like(rho)))


# -- cells -----------------------------------------------------------------------------------------------------------------


def scaled_surrogate(patch: Patch, factor: float) -> None:
    def generate(*args: Any, real: Any = torch_source.generate) -> Any:
        kernel = real(*args)

        def partials(get: Any) -> Any:
            F, E, G, psi, Ru, ry, *sent = kernel.partials(get)
            return F, E, G, tuple(None if e is None else e * factor for e in psi), Ru, ry, *sent

        return replace(kernel, partials=partials)

    patch.setattr(torch_source, "generate", generate)


@mistake(bptt())
def surrogate_without_one_over_threshold(patch: Patch) -> None:
    scaled_surrogate(patch, 0.6)


def deriving(patch: Patch, **changes: Any) -> None:
    real = compiling.derive
    patch.setattr(compiling, "derive", lambda **given: real(**(given | changes)))


@mistake(bptt(tau=10 * ms))
def reset_differentiated(patch: Patch) -> None:
    deriving(patch, differentiate=frozenset({"reset", "jumps"}))


@mistake(lambda: eprop_is_stopped_autograd(adapting(), window=False))
def adaptation_cut(patch: Patch) -> None:
    deriving(patch, differentiate=frozenset())


@mistake(bptt())
def surrogate_while_refractory(patch: Patch) -> None:
    def derive(real: Any = compiling.derive, **given: Any) -> Any:
        done = real(**given)
        return replace(done, psi=tuple(e.xreplace({ACTIVE: 1}) for e in done.psi))

    patch.setattr(compiling, "derive", derive)


# -- circuits --------------------------------------------------------------------------------------------------------------


@mistake(no_autapses)
def autapse_mask_dropped(patch: Patch) -> None:
    real = network.Network._draw

    def unmasked(self: Any, p: Any, *rest: Any) -> None:
        real(self, p, *rest)
        self.masks.pop(p.name, None)

    patch.setattr(network.Network, "_draw", unmasked)


@mistake(lambda: masks_hold(dale(steps=20)))
def signs_and_masks_not_held(patch: Patch) -> None:
    patch.setattr(network.Network, "constrain", lambda self: None)


@mistake(bptt(delay=3))
def delay_off_by_one(patch: Patch) -> None:
    real = trajectory.Stretch.pre

    def early(self: Any, w: Any) -> Any:
        if not isinstance(w.source, Outputs) or w.spec.delay == 1:
            return real(self, w)
        return torch.stack([step.before.populations[w.source.population].y[w.spec.delay - 2] for step in self.steps])

    patch.setattr(trajectory.Stretch, "pre", early)


@mistake(bptt(delay=3))
def credit_in_flight_lost(patch: Patch) -> None:
    """Credit for older outputs is not handed on."""

    def to_u(*args: Any, real: Any = sweeping.to_u) -> Any:
        u, passed = real(*args)
        return u, passed._replace(y=tuple((None,) * len(ages) for ages in passed.y))

    patch.setattr(sweeping, "to_u", to_u)


@mistake(bptt("lstm", tau=10 * ms))
def error_one_step_late(patch: Patch) -> None:
    real = Observed.direct
    patch.setattr(Observed, "direct", lambda self, *a: real(replace(self, error=self.error.roll(1, 0)), *a))


@mistake(bptt("lstm", tau=10 * ms))
def leak_of_the_readout_forgotten_on_the_way_back(patch: Patch) -> None:
    def to_u(*args: Any, real: Any = sweeping.to_u) -> Any:
        u, passed = real(*args)
        return u, passed._replace(filtered=tuple(None for _ in passed.filtered))

    patch.setattr(sweeping, "to_u", to_u)


@mistake(bptt("lstm"))
def gates_in_another_order(patch: Patch) -> None:
    """Credit for the input and the forget gate's currents changes places."""

    def generate(*args: Any, real: Any = transpose._generate) -> Any:
        made = real(*args)

        def currents(P: Any, u: Any) -> Any:
            I = made.currents(P, u)
            i, f, *rest = I.chunk(4, -1)
            return torch.cat([f, i, *rest], -1)

        return made._replace(currents=currents)

    patch.setattr(transpose, "_generate", generate)


# -- signals ---------------------------------------------------------------------------------------------------------------


@mistake(lambda: random_feedback_is_autograd(case("alif", tau=10 * ms)))
def random_feedback_is_the_readout(patch: Patch) -> None:
    real = Observed.direct
    patch.setattr(Observed, "direct", lambda self, feedback=None: real(self))


@mistake(feedback_becomes_the_readout)
def only_the_feedback_decays(patch: Patch) -> None:
    patch.setattr(Instant, "after_update", lambda self, own, network: own["feedback"]["B"].mul_(1 - self.decay))


@mistake(lambda: tbptt_is_cut_autograd(case("elman", steps=20)))
def credit_leaks_over_the_border(patch: Patch) -> None:
    """The next window's credit enters the one before: here, that of its own start again at its end."""

    def credit(self: BPTT, own: Any, state: Any, observed: Any) -> Any:
        first = sweeping.sweep(observed.tangent, observed.direct())
        return sweeping.sweep(observed.tangent, observed.direct(), first.start).a_I, {}, None, {}

    patch.setattr(BPTT, "credit", credit)


@mistake(lambda: oracle_pairs_are_bptt(case("gru", steps=20)))
def own_output_counted_twice(patch: Patch) -> None:
    """GRU's z·y: a path inside the neuron, which e-prop's trace has, counted as credit from outside too."""

    def sweep(*args: Any, outputs: bool = False, real: Any = sweeping.sweep) -> Any:
        swept = real(*args, outputs=outputs, states=True)
        return replace(swept, a_y=tuple(torch.stack([h.y[i][0] for h in swept.a_h]) for i in range(len(swept.a_y))))

    patch.setattr(oracle, "sweep", sweep)


# -- predictors ------------------------------------------------------------------------------------------------------------


def trace_decays_by(patch: Patch, decay: float, part: str = "update") -> None:
    """Another number in the place of γλ."""
    real = getattr(Exact, part)
    patch.setattr(Exact, part, lambda self, view, *a: real(self, replace(view, decay=decay), *a))


@mistake(predictor(lmbda=0.5, discount=0.9))
def gamma_missing_in_the_trace(patch: Patch) -> None:
    trace_decays_by(patch, 0.5)


@mistake(predictor(lmbda=0.5, discount=0.9))
def lambda_missing_in_the_trace(patch: Patch) -> None:
    trace_decays_by(patch, 0.9)


@mistake(predictor(lmbda=0.5, discount=0.9))
def gamma_missing_in_the_trace_across_windows_only(patch: Patch) -> None:
    trace_decays_by(patch, 0.5, "carry")


@mistake(predictor("lstm"))
def jacobian_transposed_in_the_trace(patch: Patch) -> None:
    real = Jacobian.matrix
    patch.setattr(Jacobian, "matrix", lambda *a: real(*a).transpose(1, 2))


def changed_observation(patch: Patch, change: Callable[[Any], Any]) -> None:
    real = BPLambda.credit
    patch.setattr(BPLambda, "credit", lambda self, own, state, observed: real(self, own, state, change(observed)))


@mistake(predictor())
def immediate_loss_counted_twice(patch: Patch) -> None:
    changed_observation(patch, lambda observed: replace(observed, error=2 * observed.error))


@mistake(synthetic())
def terminal_prediction_not_zero(patch: Patch) -> None:
    changed_observation(patch, lambda observed: replace(observed, final=False))


@mistake(predictor())
def bootstrap_beyond_the_end(patch: Patch) -> None:
    """The same mistake, seen by the predictor."""
    changed_observation(patch, lambda observed: replace(observed, final=False))


@mistake(synthetic(injection=0.5))
def injection_weight_ignored(patch: Patch) -> None:
    real = BPLambda.credit
    patch.setattr(BPLambda, "credit", lambda self, *a: real(replace(self, injection=1.0), *a))


@mistake(predictor(injection=0.5))
def injection_weight_in_the_target(patch: Patch) -> None:
    real = BPLambda.credit
    patch.setattr(BPLambda, "credit", lambda self, *a: real(replace(self, discount=self.discount * self.injection), *a))


@mistake(predictor())
def predictor_learns_from_the_next_state(patch: Patch) -> None:
    real = LinearPredictor.gradient
    patch.setattr(LinearPredictor, "gradient", lambda self, theta, h, u: real(self, theta, h.roll(-1, 0), u))


@mistake(predictor())
def predictor_climbs(patch: Patch) -> None:
    """The sign of the update."""
    real = LinearPredictor.gradient
    patch.setattr(LinearPredictor, "gradient", lambda *a: {n: -g for n, g in real(*a).items()})


@mistake(lambda: dni_is_autograd_of_its_windows(case("lstm", steps=8, units=4), dni(3, discount=0.9, injection=0.5)))
def injection_in_place_of_the_discount(patch: Patch) -> None:
    real = DNI.credit
    patch.setattr(DNI, "credit", lambda self, *a: real(replace(self, discount=self.injection), *a))


# -- what is reported -------------------------------------------------------------------------------------------------------


def wrong_row(patch: Patch, column: str, change: Callable[[Any, float], float]) -> None:
    real = standing._row
    patch.setattr(standing, "_row", lambda one: real(one) | {column: change(one, float(real(one)[column]))})


@mistake(a_comparison_s_table_is_its_runs)
def time_of_a_trial_is_that_of_all(patch: Patch) -> None:
    wrong_row(patch, "us per step and trial", lambda one, value: value * one.batch)


@mistake(a_comparison_s_table_is_its_runs)
def milliseconds_under_the_name_of_microseconds(patch: Patch) -> None:
    wrong_row(patch, "us per step and trial", lambda one, value: value / 1000)


@mistake(a_comparison_s_table_is_its_runs)
def time_of_a_step_is_that_of_an_update(patch: Patch) -> None:
    real = standing.seconds_per_update
    patch.setattr(standing, "seconds_per_update", lambda run: real(run) * 2)


@mistake(a_comparison_s_table_is_its_runs)
def learning_counts_with_its_tests(patch: Patch) -> None:
    patch.setattr(timed, "_BESIDES", ("alignment",))


@mistake(a_comparison_s_table_is_its_runs)
def errors_of_the_mean_by_n(patch: Patch) -> None:
    """The standard deviation with divisor n, not n − 1."""
    real = standing.spread
    patch.setattr(
        standing, "spread", lambda values: (s := real(values)) and replace(s, sem=s.sem * ((s.n - 1) / s.n) ** 0.5)
    )


# -- the tests -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MISTAKES)
def test_every_mistake_is_found(name, monkeypatch):
    found = MISTAKES[name]
    found.detect()
    with monkeypatch.context() as patch:
        found.make(patch)
        with pytest.raises(Off) as seen:
            found.detect()
    assert seen.value.error > 1e-6, "found by rounding, if at all"


def cosine(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> float:
    flat = [torch.cat([g[n].flatten() for n in b]) for g in (a, b)]
    return float(torch.nn.functional.cosine_similarity(*flat, dim=0))


def test_the_direction_alone_would_not_tell(monkeypatch):
    """Why no test here compares directions: mistakes that the elementwise detectors see leave them all but unchanged."""
    for name in ("one_minus_kappa_missing", "surrogate_without_one_over_threshold", "trace_one_step_late"):
        with monkeypatch.context() as patch:
            MISTAKES[name].make(patch)
            c = case("lif", tau=3 * ms, steps=40)
            wrong = c.of_circuit(c.gradients(bp.rule("eprop", schedule="online")))
        right = c.of_circuit(c.by_hand(stop="between"))
        assert cosine(wrong, right) > 0.99 and off(wrong, right) > 0.05, name


def test_losses_give_the_errors_that_rules_start_from():
    """A mistake in the loss's derivative reaches every rule alike, so that comparing rules would not show it."""
    c = case("lif", steps=20)
    wrong = type(squared)()
    object.__setattr__(wrong, "error", lambda outputs, targets: 2 * (outputs - targets))
    g = sequence(c.network, bp.rule("bptt"), {}, c.batch, wrong).gradients
    with pytest.raises(Off):
        same(g, c.true)
