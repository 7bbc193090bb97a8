"""Input as a jump of a state, against plain Brian2: equations, `on_pre`, its own schedule and its own default delay."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import brian2 as b2
import numpy as np
import pytest
import torch
from brian2 import ms, mV

import bioplaus as bp
from bioplaus.cell import Cell, triangular
from bioplaus.circuit import Circuit, Population, Projection, Readout
from bioplaus.errors import CellError, CircuitError
from bioplaus.symbolic.runtime import runtime

N, M, T, DT = 40, 30, 1000, 0.1 * ms


@dataclass(frozen=True)
class Case:
    """A cell as Brian2 takes it, and how strongly it is driven."""

    equations: str
    jumps: dict[str, Any]
    reset: str
    parameters: dict[str, Any]
    spike: str = "v > thr"
    refractory: Any = field(default_factory=lambda: 2 * ms)
    start: dict[str, Any] = field(default_factory=dict)
    method: str = "exact"
    input_weight: float = 0.12
    weight: float = 0.03
    positive: bool = False

    def cell(self, **changed: Any) -> Cell:
        width = 1.0 if "El" not in self.parameters else 10 * mV
        given = dict(
            equations=self.equations, jumps=self.jumps, reset=self.reset, spike=self.spike, refractory=self.refractory, start=self.start,
            method=self.method, parameters={**self.parameters, "width": width}, surrogate=triangular(width="width"),
        )  # fmt: skip
        return Cell(**{**given, **changed})

    def weights(self) -> tuple[np.ndarray, np.ndarray]:
        """On a dyadic grid, so that sums come out the same in any order; inhibition from outside is left to the circuit."""
        rng, K = np.random.default_rng(0), len(self.jumps)
        U, W = np.zeros((K * N, M)), rng.normal(size=(K * N, N)) * self.weight
        U[:N] = rng.random((N, M)) * self.input_weight
        np.fill_diagonal(W[:N], 0)
        return tuple(np.round(w * 1024) / 1024 for w in (U, np.abs(W) if self.positive else W))  # pyright: ignore[reportReturnType]


DELTA: dict[str, Any] = dict(
    equations="dv/dt = -v/tau : 1 (unless refractory)", jumps={"v": 1}, parameters=dict(tau=20 * ms, thr=1.0)
)
UNMARKED: dict[str, Any] = {**DELTA, "equations": "dv/dt = -v/tau : 1"}
MEMBRANE: dict[str, Any] = dict(taum=20 * ms, taue=5 * ms, taui=10 * ms, Vt=-50 * mV, Vr=-60 * mV, El=-60 * mV)
CONDUCTANCES = Case(
    equations="""dv/dt = (ge*(Ee - v) + gi*(Ei - v) - (v - El))/taum : volt (unless refractory)
                 dge/dt = -ge/taue : 1
                 dgi/dt = -gi/taui : 1""",
    jumps={"ge": 4, "gi": 4}, spike="v > Vt", reset="v = Vr", refractory=5 * ms, start={"v": -60 * mV}, method="exponential_euler",
    parameters=MEMBRANE | dict(Ee=0 * mV, Ei=-80 * mV), positive=True,
)  # fmt: skip
CASES = {
    "delta, hard": Case(**DELTA, reset="v = 0"),
    "delta, hard, refractory for one step": Case(**DELTA, reset="v = 0", refractory=0.1 * ms),
    "delta, soft, refractory for one step": Case(**DELTA, reset="v -= thr", refractory=0.1 * ms),
    "delta, soft, never refractory": Case(**UNMARKED, reset="v -= thr", refractory=0 * ms),
    "delta, soft, threshold masked": Case(**UNMARKED, reset="v -= thr", refractory=1 * ms),
    "adaptation that jumps by the membrane": Case(
        equations="dv/dt = (-v - a)/tau : 1\nda/dt = -a/taua : 1", jumps={"v": 1}, reset="a += 0.3*v; v -= thr", refractory=0 * ms,
        parameters=dict(tau=20 * ms, taua=50 * ms, thr=1.0)),
    "currents (Vogels & Abbott 2005)": Case(
        equations="""dv/dt = (ge + gi - (v - El))/taum : volt (unless refractory)
                     dge/dt = -ge/taue : volt
                     dgi/dt = -gi/taui : volt""",
        jumps={"ge": 60 * mV, "gi": 60 * mV}, spike="v > Vt", reset="v = Vr", refractory=5 * ms, start={"v": -60 * mV}, parameters=MEMBRANE),
    "conductances": CONDUCTANCES,
    "conductances, euler": Case(**{**vars(CONDUCTANCES), "method": "euler"}),
    "alpha currents": Case(
        equations="""dv/dt = (s - v)/taum : 1 (unless refractory)
                     ds/dt = (x - s)/taus : 1
                     dx/dt = -x/taus : 1""",
        jumps={"x": 16}, reset="v = 0", parameters=dict(taum=20 * ms, taus=1 * ms, thr=1.0)),
    "refractory as long as input lasts": Case(
        equations="dv/dt = (x - v)/taum : 1 (unless refractory)\ndx/dt = -x/taus : 1", jumps={"x": 8}, reset="v = 0",
        refractory="x > 6", parameters=dict(taum=10 * ms, taus=2 * ms, thr=1.0)),
    "refractory by a jump, while input that a spike takes a part of is shut out": Case(
        equations="dv/dt = (x - v)/taum : 1 (unless refractory)\ndx/dt = -x/taus : 1 (unless refractory)\nda/dt = -a/taum : 1",
        jumps={"x": 8, "a": 0.5}, reset="v = 0; x *= 0.75; a += 1", refractory="a > 0.1*x", parameters=dict(taum=10 * ms, taus=2 * ms, thr=1.0)),
}  # fmt: skip


def inputs() -> np.ndarray:
    """Spikes on the input lines, none in the first step: a generator's spike at t_k is the input of step k + 1."""
    x = (np.random.default_rng(1).random((T, M)) < 0.02).astype(float)
    x[0] = 0
    return x


def plain(case: Case, delay: Any = None) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Spikes, and states after the integrator, of a script that knows nothing of us."""
    U, W = case.weights()
    with runtime():
        group = b2.NeuronGroup(
            N, case.equations, threshold=case.spike, reset=case.reset, refractory=case.refractory or False, method=case.method,  # pyright: ignore
            namespace=case.parameters, dt=DT,
        )  # fmt: skip
        for state, value in case.start.items():
            setattr(group, state, value)
        step, line = np.nonzero(inputs()[1:])
        objects: list[Any] = [group, b2.SpikeGeneratorGroup(M, line, step * DT, dt=DT)]
        for source, weights, late in ((objects[1], U, None), (group, W, delay)):
            for row, (state, unit) in enumerate(case.jumps.items()):
                here = weights[row * N : (row + 1) * N]
                post, pre = np.nonzero(here)
                if not post.size:
                    continue
                made = b2.Synapses(source, group, "w : 1", on_pre=f"{state} += w*unit", namespace={"unit": unit}, dt=DT)
                made.connect(i=pre, j=post)
                made.w = here[post, pre]
                if late is not None:
                    made.delay = late
                objects.append(made)
        spikes = b2.SpikeMonitor(group)
        states = b2.StateMonitor(group, list(group.equations.diff_eq_names), record=True, when="after_groups", dt=DT)
        b2.Network(*objects, spikes, states).run(T * DT, namespace={})
    fired = np.zeros((T, N))
    fired[np.rint(np.asarray(spikes.t / DT)).astype(int), spikes.i] = 1
    return fired, {s: np.asarray(getattr(states, s)).T for s in group.equations.diff_eq_names}


def network(case: Case, delay: int = 1, cell: Cell | None = None, dt: Any = DT) -> Any:
    circuit = Circuit(
        populations={"E": Population(cell or case.cell(), N)},
        projections=(
            Projection(name="W_in", source="input", target="E"),
            Projection(name="W", source="E", target="E", delay=delay),
        ),
        inputs=M,
        readout=Readout(size=1),
        dt=dt,
    )
    built = circuit.build(seed=0, dtype=torch.float64)
    built.load(dict(zip(("W_in", "W"), case.weights(), strict=True)))
    return built


def margin(case: Case, states: dict[str, np.ndarray]) -> float:
    """How near the membrane comes to the threshold without there being a difference of rounding."""
    threshold = float(case.parameters["thr" if "thr" in case.parameters else "Vt"])
    return float(np.abs(states["v"] - threshold).min())


LONG = {
    "currents (Vogels & Abbott 2005)",
    "alpha currents",
    "conductances, euler",
    "conductances",
    "refractory as long as input lasts",
    "refractory by a jump, while input that a spike takes a part of is shut out",
    "delta, soft, never refractory",
    "delta, hard, refractory for one step",
}


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) if n in LONG else n for n in CASES])
def test_torch_and_the_twin_fire_the_spikes_of_plain_brian2(name):
    """Without any factor in the weights; its default delay is our delay of one step."""
    case = CASES[name]
    for delay, late in ((1, None), (4, 0.3 * ms)):
        fired, states = plain(case, late)
        assert 100 < fired.sum() < 0.2 * fired.size, "alive"
        assert margin(case, states) > 1e-9 * (1 if "thr" in case.parameters else 0.01)
        built = network(case, delay)
        ours, theirs = (run(built, inputs(), ("spikes", *states)) for run in (bp.simulate, bp.brian.simulate))
        assert (ours.spikes.values[:, 0] == fired).all() and (theirs.spikes.values[:, 0] == fired).all()
        for state, values in states.items():
            a, b = ours[state].values[:, 0], theirs[state].values[:, 0]
            size = np.abs(values).max()
            assert np.abs(a - b).max() < 1e-13 * size
            quiet = fired == 0  # where nothing was reset, a state is what the integrator left
            assert np.abs(a - values)[quiet].max() < 1e-13 * size


def test_a_delay_off_by_one_is_seen():
    case = CASES["delta, hard"]
    fired, _ = plain(case)
    ours = bp.simulate(network(case, delay=2), inputs(), "spikes")
    assert np.abs(ours.spikes.values[:, 0] - fired).sum() > 100


def test_a_jump_taken_for_a_current_is_seen():
    case = CASES["currents (Vogels & Abbott 2005)"]
    fired, _ = plain(case)
    held = case.cell(
        equations=case.equations.replace("-ge/taue", "(-ge + Ie)/taue").replace("-gi/taui", "(-gi + Ii)/taui"),
        jumps=(),
        inputs={"Ie": 60 * mV, "Ii": 60 * mV},
    )
    ours = bp.simulate(network(case, cell=held), inputs(), "spikes")
    assert np.abs(ours.spikes.values[:, 0] - fired).sum() > 100


@pytest.mark.parametrize("what", ["Ru", "receptive"])
@pytest.mark.parametrize("name", ["delta, hard", "delta, soft, refractory for one step"])
def test_each_gate_is_needed(name, what, monkeypatch):
    """A hard reset wipes out what arrives with the spike; refractoriness discards what arrives from the spike on."""
    from bioplaus.symbolic import compile, derive

    case = CASES[name]
    fired, _ = plain(case)
    if what == "Ru":
        one = tuple(tuple(derive.sp.Integer(1) if i == j else derive.sp.Integer(0) for j in range(1)) for i in range(1))
        real = derive.landed
        monkeypatch.setattr(derive, "landed", lambda states, jumps, Ru, kept: real(states, jumps, one, kept))
        monkeypatch.setattr(compile, "RECEPTIVE", derive.sp.Integer(1))
    else:
        monkeypatch.setattr(compile, "RECEPTIVE", derive.ACTIVE)
    ours = bp.simulate(network(case), inputs(), "spikes")
    assert np.abs(ours.spikes.values[:, 0] - fired).sum() > 20


def test_the_effect_of_a_spike_does_not_depend_on_the_step():
    """5 mV are 5 mV; a channel held over the step brings so much less the shorter the step."""
    case = CASES["delta, hard"]

    def peak(dt: Any, **changed: Any) -> float:
        cell = case.cell(**changed)
        circuit = bp.circuit("recurrent", cell=cell, inputs=1, units=1, outputs=1, dt=dt, autapses=True)
        built = circuit.build(dtype=torch.float64)
        built.load({"W_in": [[0.5]]})
        x = np.zeros((int(20 * ms / dt), 1))
        x[0] = 1
        return float(bp.simulate(built, x, "v").v.max())

    for dt in (1 * ms, 0.1 * ms):
        assert peak(dt) == pytest.approx(0.5 * float(np.exp(-dt / (20 * ms))), rel=1e-12)
    held = dict(equations="dv/dt = (-v + I)/tau : 1 (unless refractory)", jumps=(), inputs=("I",))
    assert peak(1 * ms, **held) > 9 * peak(0.1 * ms, **held)


# -- gradients --------------------------------------------------------------------------------------------------------


def by_hand(
    W_in: torch.Tensor, W: torch.Tensor, W_out: torch.Tensor, x: torch.Tensor, hard: bool, flow: bool
) -> torch.Tensor:
    """Delta LIF, refractory for two steps, written out: the loss of a linear readout. ``flow``: the reset is differentiated."""
    a, n = float(np.exp(-1 / 20)), W.shape[0]
    v, y, wait = (torch.zeros(x.shape[1], n, dtype=x.dtype) for _ in range(3))
    loss = torch.zeros((), dtype=x.dtype)
    for t in range(len(x)):
        last = y if flow else y.detach()
        arrived = (wait == 0) * (y @ W.T + x[t] @ W_in.T) * ((1 - last) if hard else 1)
        free = ((wait - 1).clamp_min(0) == 0).to(x)
        wait = (wait - 1).clamp_min(0)
        u = free * a * (v + arrived) + (1 - free) * (v + arrived)
        m = u - 1
        slope = 0.3 * torch.relu(1 - m.detach().abs())
        y = free * ((m.detach() > 0).to(x) + slope * (m - m.detach()))
        wait = wait + 2 * y.detach()
        now = y if flow else y.detach()
        v = u * (1 - now) if hard else u - now
        loss = loss + 0.5 * ((y @ W_out.T) ** 2).sum() / x.shape[1]
    return loss


@pytest.mark.parametrize("flow", [False, True], ids=["reset cut", "reset differentiated"])
@pytest.mark.parametrize("hard", [False, True], ids=["soft", "hard"])
def test_gradients_are_those_of_a_loop_written_by_hand(hard, flow):
    cell = Case(**DELTA, reset="v = 0" if hard else "v -= thr").cell(
        differentiate=("jumps", "reset") if flow else ("jumps",)
    )
    circuit = bp.circuit(
        "recurrent", cell=cell, inputs=6, units=8, outputs=2, dt=1 * ms, output_bias=False, input_gain=4.0
    )
    built = circuit.build(seed=3, dtype=torch.float64)
    x = (torch.rand(40, 3, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64) < 0.2).double()
    batch = bp.tasks.Batch(x, torch.zeros(40, 3, 2, dtype=torch.float64), torch.ones(40, 3, dtype=torch.float64))
    spikes = bp.simulate(built, x, "spikes").spikes.values
    assert 30 < spikes.sum() < 0.4 * spikes.size
    leaves = {k: w.clone().requires_grad_() for k, w in built.weights.items()}
    value = by_hand(leaves["W_in"], leaves["W_rec"], leaves["W_out"], x, hard, flow)
    truth = dict(zip(leaves, torch.autograd.grad(value, list(leaves.values())), strict=True))
    truth["W_rec"] = truth["W_rec"] * built.masks.get("W_rec", 1)
    for rule in ("bptt", "rtrl"):
        found = bp.gradient(built, rule, batch)
        for k, g in found.items():
            torch.testing.assert_close(g * built.masks.get(k, 1), truth[k], rtol=1e-10, atol=1e-13)
    assert not torch.allclose(bp.gradient(built, "eprop", batch)["W_rec"], bp.gradient(built, "bptt", batch)["W_rec"])


# -- what makes no sense ----------------------------------------------------------------------------------------------

REFUSED: list[tuple[dict[str, Any], str]] = [
    (dict(inputs=("v",)), "v is in inputs= and in jumps="),
    (dict(jumps={"w": 1}), "There is no state variable 'w'"),
    (dict(jumps={"v": 1 * mV}), "One unit of weight makes a state jump by a quantity of its own unit"),
    (dict(jumps={"v": 0}), "give one jump that is not zero"),
    (dict(jumps={"v": [1.0, 2.0]}), "give one jump that is not zero"),
    (dict(jumps="v"), "is not a sequence of names"),
    (dict(reset="v = 0.5*v*v"), "linear in v, or make it an input channel"),
    (dict(parameters=dict(tau=20 * ms, thr=1.0, width=1.0, jump_v=2.0), equations="dv/dt = -jump_v*v/tau : 1"), "'jump_v' can't be the name of a parameter"),
    (dict(equations="", update="v = 0.9*v", method="exact"), "jumps= belong to equations="),
    (dict(equations="dv/dt = (-v + I)/tau : 1"), "'I'"),
]  # fmt: skip


@pytest.mark.parametrize("changed, said", REFUSED, ids=range(len(REFUSED)))
def test_mistakes_are_told_of(changed, said):
    with pytest.raises(CellError) as error:
        CASES["delta, hard"].cell(**changed)
    assert said.lower() in str(error.value).lower()


def test_rates_and_constants_are_no_jumps():
    rate = bp.model("leaky_rate")
    spiking = CASES["delta, hard"].cell()
    with pytest.raises(CircuitError, match="brings rates of 'R' to v of 'E'"):
        Circuit(
            populations={"R": Population(rate, 3), "E": Population(spiking, 3)},
            projections=(Projection(name="W", source="R", target="E"),),
            inputs=1,
            readout=Readout(size=1),
        )
    with pytest.raises(CircuitError, match="no input channel that is held over a step"):
        Population(spiking, 3, {"v": 1.0})
    both = CASES["delta, hard"].cell(equations="dv/dt = (-v + I)/tau : 1 (unless refractory)", inputs=("I",))
    assert tuple(both.channels) == ("I", "v") and "jumps" in both.describe()
    with pytest.raises(CircuitError, match="its input channels held over a step are I"):
        Population(both, 3, {"v": 1.0})
    assert bp.circuit("recurrent", cell=both, inputs=2, units=3, outputs=1, bias=True).build().weights["b"].shape == (
        3,
    )


def test_currents_beside_jumps():
    """A bias and a rate population on the current, spikes on the jump; torch and the twin."""
    both = CASES["delta, hard"].cell(equations="dv/dt = (-v + I)/tau : 1 (unless refractory)", inputs=("I",))
    circuit = Circuit(
        populations={"R": Population(bp.model("leaky_rate"), 4), "E": Population(both, 6, {"I": 0.9})},
        projections=(
            Projection(name="W_in", source="input", target="E", gain=2.0),
            Projection(name="W_R", source="input", target="R"),
            Projection(name="W_RE", source="R", target="E", channels=("I",)),
            Projection(name="W_EE", source="E", target="E", channels=("v",), gain=0.3, delay=2),
            Projection(name="W_ER", source="E", target="R"),
        ),
        inputs=3,
        readout=Readout(size=1),
    )
    built = circuit.build(seed=1, dtype=torch.float64)
    x = np.random.default_rng(0).normal(size=(150, 2, 3)) * 0.4
    ours, theirs = (run(built, x, ("v", "spikes", "rate", "x")) for run in (bp.simulate, bp.brian.simulate))
    assert 10 < ours["E.spikes"].sum() < 900
    assert ours["E.spikes"].equals(theirs["E.spikes"])
    for name in ("E.v", "R.rate"):
        assert float(np.abs(ours[name] - theirs[name]).max()) < 1e-12
    batch = bp.tasks.Batch(torch.as_tensor(x), torch.zeros(150, 2, 1).double(), torch.ones(150, 2).double())
    one, two = (bp.gradient(built, rule, batch) for rule in ("bptt", "rtrl"))
    for name, g in one.items():
        assert float(g.abs().max()) > 0
        torch.testing.assert_close(g, two[name], rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("model, weight", [("delta_lif", 0.16), pytest.param("cuba", 3.0, marks=pytest.mark.slow)])
def test_a_network_keeps_its_rate_at_a_tenth_of_the_step(model, weight):
    """The same weights, the same spikes of the input lines, delays in ms: within 10 %. Taken for currents they would fall silent."""
    units, lines, duration = 50, 40, 1000
    arrivals = np.random.default_rng(3).random((duration, lines)) < 0.04  # in which ms
    rates = {}
    for dt in (1.0, 0.1):
        made = bp.model(model) if model == "delta_lif" else bp.model(model, E_L=-60 * mV)
        circuit = bp.circuit(
            "recurrent",
            cell=made,
            inputs=lines,
            units=units,
            outputs=1,
            dt=dt * ms,
            delay=2 * ms,
            gain=0.0,
            autapses=False,
        )
        built, rng = circuit.build(dtype=torch.float64), np.random.default_rng(0)
        built.load(
            {
                "W_in": rng.random((units, lines)) * weight,
                "W_rec": rng.normal(size=(units, units)) * weight / 4 * (1 - np.eye(units)),
            }
        )
        x = np.zeros((round(duration / dt), lines))
        x[:: round(1 / dt)] = arrivals
        rates[dt] = float(bp.simulate(built, x, "spikes").spikes.sum()) / units / (duration / 1000)
    assert 5 < rates[1.0] < 200
    assert rates[0.1] == pytest.approx(rates[1.0], rel=0.1)
