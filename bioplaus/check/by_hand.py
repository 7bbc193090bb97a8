"""Circuits run by hand, in plain torch: the referee of every rule's claim.

Each shipped cell is one function with its published equations, a circuit is three nested loops, and torch's autograd
differentiates. Nothing here touches a compiled cell, its derivatives or anything that carries credit, so that a mistake
there cannot hide here. Every rule is defined once more, by what it must not see:

=====================  ==========================================================================
rule                   the autograd graph it equals
=====================  ==========================================================================
bptt, rtrl             whole
tbptt                  everything that crosses a window's border detached (``cut_every``)
eprop                  outputs detached on their way to other neurons (``stop="between"``)
rflo                   and on their way back into their own neuron (``stop="all"``)
=====================  ==========================================================================
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from bioplaus.cell import Cell
from bioplaus.circuit import Circuit, Network
from bioplaus.circuit.delays import steps

if TYPE_CHECKING:
    from torch import Tensor

    from bioplaus.learning.regulariser import RateRegulariser
    from bioplaus.tasks import Batch, Loss

Weights = Mapping[str, torch.Tensor]


class Spike(torch.autograd.Function):
    """1 where x > 0; the derivative is taken to be dampening · max(0, 1 − |x|)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, dampening: float) -> Tensor:  # type: ignore[override]
        ctx.save_for_backward(x)
        ctx.dampening = dampening
        return (x > 0).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (x,) = ctx.saved_tensors
        return grads[0] * ctx.dampening * (1 - x.abs()).clamp_min(0), None


@dataclass
class Neurons:
    """One population while it runs: constants in SI units, state by name, the last output."""

    cell: Cell
    dt: float
    shape: tuple[int, int]  # (batch, unit)
    stop: str = ""
    t: int = 0
    state: dict[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.constants = {
            name: torch.as_tensor(_si(v), dtype=torch.float64) for name, v in self.cell.parameters.items()
        }
        self.y = self["y"]
        self.sends: dict[str, Tensor] = {}

    def __getattr__(self, name: str) -> Tensor:
        try:
            return self.__dict__["constants"][name]
        except KeyError:
            raise AttributeError(name) from None

    def __getitem__(self, name: str) -> Tensor:
        start = float(_si(self.cell.start.get(name, 0.0)))
        return self.state.setdefault(name, torch.full(self.shape, start, dtype=torch.float64))

    def __setitem__(self, name: str, value: Tensor) -> None:
        self.state[name] = value

    @property
    def free(self) -> Tensor:
        """1 where the neuron is not refractory."""
        return (self.t >= self["free_at"]).to(torch.float64)

    def fire_once(self, margin: Tensor, width: Tensor, above: Tensor) -> Tensor:
        """A spike where allowed: not again before a step has begun below the threshold."""
        spent = self["spent"] * above
        z: Tensor = Spike.apply(margin / width, float(self.surrogate_dampening)) * (1 - spent)  # type: ignore[operator,assignment]
        self["spent"] = spent + z.detach()
        return z

    def fire(self, margin: Tensor, width: Tensor) -> Tensor:
        """A spike where allowed, and the time from which the next one is."""
        z: Tensor = Spike.apply(margin / width, float(self.surrogate_dampening)) * self.free  # type: ignore[operator,assignment]
        given = float(_si(self.cell.refractory))
        steps = round(given / self.dt if hasattr(self.cell.refractory, "dim") else given)  # a time, or already steps
        if steps:
            self["free_at"] = torch.where(z.detach() > 0, float(self.t + steps), self["free_at"])
        return z

    def reset(self, z: Tensor) -> Tensor:
        """The spike as the reset sees it."""
        return z if "reset" in self.cell.differentiate and self.stop != "all" else z.detach()

    def landed(self, J: Tensor, marked: bool, hard: bool) -> Tensor:
        """What arrived since the last spike condition: lost at marked states from a spike on, and to a hard reset."""
        if marked:  # no neuron has fired that is free at 0
            J = J * ((self.t > self["free_at"]) | (self["free_at"] == 0))
        return J * (1 - self.reset(self.y)) if hard else J

    def jump(self, z: Tensor) -> Tensor:
        """The spike as spike-triggered jumps see it."""
        return z if "jumps" in self.cell.differentiate and self.stop != "all" else z.detach()


def _si(value: Any) -> Any:
    return np.asarray(value, dtype=float)


RATES: dict[str, Callable[[Tensor], Tensor]] = {
    "tanh(x)": torch.tanh, "relu(x)": torch.relu, "sigmoid(x)": torch.sigmoid, "softplus(x)": torch.nn.functional.softplus, "x": lambda x: x,
}  # fmt: skip


# -- the cells: one function each, in the order of the equations of the papers -------------------------------------------


def leaky_rate(n: Neurons, I: Tensor) -> Tensor:
    keep = 1 - n.dt / n.tau if n.cell.method == "euler" else torch.exp(-n.dt / n.tau)
    n["x"] = keep * n["x"] + (1 - keep) * I
    return RATES[n.cell.output](n["x"])


def elman(n: Neurons, I: Tensor) -> Tensor:
    return RATES[n.cell.output](I)


def lstm(n: Neurons, I_i: Tensor, I_f: Tensor, I_g: Tensor, I_o: Tensor) -> Tensor:
    n["c"] = torch.sigmoid(I_f) * n["c"] + torch.sigmoid(I_i) * torch.tanh(I_g)
    return torch.sigmoid(I_o) * torch.tanh(n["c"])


def clocked(n: Neurons, I: Tensor, c: Tensor) -> Tensor:
    f = next(f for text, f in RATES.items() if f"c*({text})" in n.cell.update)
    return c * f(I) + (1 - c) * n.y


def gru(n: Neurons, I_r: Tensor, I_z: Tensor, I_n: Tensor, I_h: Tensor) -> Tensor:
    z = torch.sigmoid(I_z)
    return (1 - z) * torch.tanh(I_n + torch.sigmoid(I_r) * I_h) + z * n.y


def lif(n: Neurons, I: Tensor) -> Tensor:
    alpha = torch.exp(-n.dt / n.tau_m)
    v = alpha * n["v"] + (1 - alpha) * I
    z = n.fire(v - n.threshold, n.threshold)
    n["v"] = v * (1 - n.reset(z)) if n.cell.reset == "v = 0" else v - n.threshold * n.reset(z)
    return z


def alif(n: Neurons, I: Tensor) -> Tensor:
    alpha, rho = torch.exp(-n.dt / n.tau_m), torch.exp(-n.dt / n.tau_a)
    v, a = alpha * n["v"] + (1 - alpha) * I, rho * n["a"]
    z = n.fire(v - n.threshold - n.beta * a, n.threshold)
    n["v"], n["a"] = v - n.threshold * n.reset(z), a + n.jump(z)
    return z


def lsnn_lif(n: Neurons, I: Tensor) -> Tensor:
    alpha = torch.exp(-n.dt / n.tau_m)
    n["v"] = alpha * n["v"] + (1 - n.scaled * alpha) * I - n.threshold * n.reset(n.y)
    return n.fire(n["v"] - n.threshold, n.threshold)


def lsnn_alif(n: Neurons, I: Tensor) -> Tensor:
    alpha = torch.exp(-n.dt / n.tau_m)
    n["v"] = alpha * n["v"] + (1 - n.scaled * alpha) * I - n.threshold * n.reset(n.y)
    n["a"] = torch.exp(-n.dt / n.tau_a) * n["a"] + n.jump(n.y)
    return n.fire(n["v"] - n.threshold - n.beta * n["a"], n.threshold)


def adex(n: Neurons, I: Tensor) -> Tensor:
    current = I * n.cell.scales["I"]
    # the exponential Euler step: linear in v but for the upswing, which is held during a step
    towards = n.E_L + n.Delta_T * torch.exp((n["v"] - n.V_T) / n.Delta_T) + (current - n["w"]) / n.g_L
    moved = towards + (n["v"] - towards) * torch.exp(-n.dt * n.g_L / n.C)
    w = n.a * (n["v"] - n.E_L) + (n["w"] - n.a * (n["v"] - n.E_L)) * torch.exp(-n.dt / n.tau_w)
    v = n.free * moved + (1 - n.free) * n["v"]
    z = n.fire(v - n.V_cut, n.surrogate_width)
    n["v"], n["w"] = v * (1 - n.reset(z)) + n.V_reset * n.reset(z), w + n.b * n.jump(z)
    return z


def delta_lif(n: Neurons, I: Tensor, J: Tensor) -> Tensor:
    hard, alpha = n.cell.reset != "v -= threshold", torch.exp(-n.dt / n.tau_m)
    before = n["v"] + n.landed(J, True, hard)
    v = n.free * (alpha * before + (1 - alpha) * I) + (1 - n.free) * before
    z = n.fire(v - n.threshold, n.threshold)
    left = n.V_reset if n.cell.reset == "v = V_reset" else 0.0
    n["v"] = v * (1 - n.reset(z)) + left * n.reset(z) if hard else v - n.threshold * n.reset(z)
    return z


def tsodyks_markram(n: Neurons, I: Tensor, J: Tensor) -> Tensor:
    scales, alpha = n.cell.scales, torch.exp(-n.dt / n.tau_m)
    # of what arrives together with a spike nothing is left: the reset is hard
    before = n["v"] + n.landed(J * scales["v"], True, True)
    v = n.free * (alpha * before + (1 - alpha) * I * scales["I"]) + (1 - n.free) * before
    u = n.U + (n["u"] - n.U) * torch.exp(-n.dt / n.tau_f)
    x = 1 + (n["x"] - 1) * torch.exp(-n.dt / n.tau_d)
    z = n.fire(v - n.V_T, n.V_T)
    n["v"] = v + n.reset(z) * (n.V_reset - v)
    spiked = n.jump(z)
    u = u + spiked * n.U * (1 - u)
    r = n["r"] + spiked * (u * x - n["r"])
    n.state |= {"u": u, "r": r, "x": x - spiked * r}
    n.sends["released"] = z * r
    return z


def cuba(n: Neurons, I: Tensor, J_e: Tensor, J_i: Tensor) -> Tensor:
    scales, keep = n.cell.scales, torch.exp(-n.dt / n.tau_m)
    ge, gi, rest = n["ge"] + J_e * scales["ge"], n["gi"] + J_i * scales["gi"], n.E_L + I * scales["I"]
    # of a current that decays, what has charged the membrane and not yet leaked
    charged = [g * (torch.exp(-n.dt / tau) - keep) * tau / (tau - n.tau_m) for g, tau in ((ge, n.tau_e), (gi, n.tau_i))]
    v = n.free * (rest + (n["v"] - rest) * keep + charged[0] + charged[1]) + (1 - n.free) * n["v"]
    n["ge"], n["gi"] = ge * torch.exp(-n.dt / n.tau_e), gi * torch.exp(-n.dt / n.tau_i)
    return _integrate_and_fire(n, v)


def coba(n: Neurons, I: Tensor, J_e: Tensor, J_i: Tensor) -> Tensor:
    scales = n.cell.scales
    ge, gi = n["ge"] + J_e * scales["ge"], n["gi"] + J_i * scales["gi"]
    g = 1 + ge + gi
    towards = (n.E_L + ge * n.E_e + gi * n.E_i + I * scales["I"]) / g
    v = n.free * (towards + (n["v"] - towards) * torch.exp(-n.dt * g / n.tau_m)) + (1 - n.free) * n["v"]
    n["ge"], n["gi"] = ge * torch.exp(-n.dt / n.tau_e), gi * torch.exp(-n.dt / n.tau_i)
    return _integrate_and_fire(n, v)


def coba_nmda(n: Neurons, I: Tensor, slow: Tensor, J_e: Tensor, J_i: Tensor) -> Tensor:
    scales, v, x, s = n.cell.scales, n["v"], n["x"], n["s"]
    ge, gi = n["ge"] + J_e * scales["ge"], n["gi"] + J_i * scales["gi"]
    opened = slow * scales["nmda"] / (1 + n.magnesium * torch.exp(-62 * v) / 3.57)
    g = 1 + ge + gi + opened
    towards = (n.E_L + (ge + opened) * n.E_e + gi * n.E_i + I * scales["I"]) / g
    v = n.free * (towards + (v - towards) * torch.exp(-n.dt * g / n.tau_m)) + (1 - n.free) * v
    n["ge"], n["gi"] = ge * torch.exp(-n.dt / n.tau_e), gi * torch.exp(-n.dt / n.tau_i)
    rate = 1 / n.tau_decay + n.alpha * x
    s = n.alpha * x / rate + (s - n.alpha * x / rate) * torch.exp(-n.dt * rate)
    z = n.fire(v - n.V_T, n.surrogate_width)
    n["v"] = v + n.reset(z) * (n.V_reset - v)
    n.state |= {"x": x * torch.exp(-n.dt / n.tau_rise) + n.jump(z), "s": s}
    n.sends["nmda"] = s
    return z


def alpha_current(n: Neurons, I: Tensor, J: Tensor) -> Tensor:
    h, s = n["h"] + J * n.cell.scales["h"], n["s"]
    keep, decay, d = torch.exp(-n.dt / n.tau_m), torch.exp(-n.dt / n.tau_s), 1 / n.tau_m - 1 / n.tau_s
    grown = torch.exp(n.dt * d)
    charge = (
        s * (grown - 1) / d
        + h / n.tau_s * (grown * (n.dt * d - 1) + 1) / d**2
        + I * n.cell.scales["I"] * n.tau_m * (1 / keep - 1)
    )
    v = n.free * (n.E_L + keep * (n["v"] - n.E_L + charge / n.tau_m)) + (1 - n.free) * n["v"]
    n["s"], n["h"] = (s + h * n.dt / n.tau_s) * decay, h * decay
    return _integrate_and_fire(n, v)


def _integrate_and_fire(n: Neurons, v: Tensor) -> Tensor:
    z = n.fire(v - n.V_T, n.surrogate_width)
    n["v"] = v * (1 - n.reset(z)) + n.V_reset * n.reset(z)
    return z


def noisy_lif(n: Neurons, I: Tensor, xi: Tensor) -> Tensor:
    hard = n.cell.reset == "v = 0"
    v = n["v"] + n.dt * ((I - n["v"]) / n.tau_m + n.sigma * torch.sqrt(2 / n.tau_m) * xi)
    z = n.fire(v - n.threshold, n.threshold)
    n["v"] = v * (1 - n.reset(z)) if hard else v - n.threshold * n.reset(z)
    return z


def qif(n: Neurons, I: Tensor, J: Tensor) -> Tensor:
    before = n["v"] + n.landed(J, False, True)
    v = before + n.dt / n.tau_m * (before**2 + n.eta + I)
    z = n.fire(v - n.V_peak, n.surrogate_width)
    n["v"] = v * (1 - n.reset(z)) - n.V_peak * n.reset(z)
    return z


def izhikevich(n: Neurons, I: Tensor, J: Tensor) -> Tensor:
    scales = n.cell.scales
    before, u = n["v"] + n.landed(J, False, True) * scales["v"], n["u"]
    v = before + n.dt * (n.k_2 * before**2 + n.k_1 * before + n.k_0 - u + I * scales["I"])
    u = u + n.dt * n.a * (n.b * before - u)
    z = n.fire(v - n.V_peak, n.surrogate_width)
    n["v"], n["u"] = v * (1 - n.reset(z)) + n.c * n.reset(z), u + n.d * n.jump(z)
    return z


def hodgkin_huxley(n: Neurons, I: Tensor, J: Tensor) -> Tensor:
    before, s = n["v"], n["s"] + J * n.cell.scales["s"]
    mV = before * 1e3
    rates = {
        "m": (_upward(mV, -40), 4 * torch.exp((-65 - mV) / 18)),
        "h": (0.07 * torch.exp((-65 - mV) / 20), 1 / (1 + torch.exp((-35 - mV) / 10))),
        "n": (0.1 * _upward(mV, -55), 0.125 * torch.exp((-65 - mV) / 80)),
    }
    sodium, potassium = n.g_Na * n["m"] ** 3 * n["h"], n.g_K * n["n"] ** 4
    gates = {x: _gate(n, n[x], opens, shuts) for x, (opens, shuts) in rates.items()}
    v = _membrane(
        n,
        before,
        sodium + potassium + n.g_L,
        sodium * n.E_Na + potassium * n.E_K + n.g_L * n.E_L + s + I * n.cell.scales["I"],
    )
    n.state |= gates | {"v": v, "s": s * torch.exp(-n.dt / n.tau_s)}
    return n.fire_once(v - n.V_T, n.surrogate_width, (before > n.V_T).to(before))


def wang_buzsaki(n: Neurons, I: Tensor, J: Tensor) -> Tensor:
    before, g = n["v"], n["g"] + J * n.cell.scales["g"]
    mV = before * 1e3
    opens, shuts = _upward(mV, -35), 4 * torch.exp((-60 - mV) / 18)
    sodium, potassium = n.g_Na * (opens / (opens + shuts)) ** 3 * n["h"], n.g_K * n["n"] ** 4
    gates = {
        "h": _gate(n, n["h"], n.phi * 0.07 * torch.exp((-58 - mV) / 20), n.phi / (1 + torch.exp((-28 - mV) / 10))),
        "n": _gate(n, n["n"], n.phi * 0.1 * _upward(mV, -34), n.phi * 0.125 * torch.exp((-44 - mV) / 80)),
    }
    towards = sodium * n.E_Na + potassium * n.E_K + n.g_L * n.E_L + g * n.E_syn + I * n.cell.scales["I"]
    v = _membrane(n, before, sodium + potassium + n.g_L + g, towards)
    n.state |= gates | {"v": v, "g": g * torch.exp(-n.dt / n.tau_syn)}
    return n.fire_once(v - n.V_T, n.surrogate_width, (before > n.V_T).to(before))


def _upward(mV: Tensor, middle: float) -> Tensor:
    """x / (1 − exp(−x)) at x = (v − middle) / 10 mV; near 0, where that is 0/0, by its series, of which what is left out is below 1e-14."""
    x = (mV - middle) / 10
    near = x.abs() < 0.1
    far = torch.where(near, 1.0, x)
    return torch.where(near, 1 + x / 2 + x**2 / 12 - x**4 / 720 + x**6 / 30240, far / (1 - torch.exp(-far)))


def _gate(n: Neurons, x: Tensor, opens: Tensor, shuts: Tensor) -> Tensor:
    """A gate after a step in which its rates, 1/ms, are held."""
    rate = opens + shuts
    return opens / rate + (x - opens / rate) * torch.exp(-rate * n.dt / 1e-3)


def _membrane(n: Neurons, v: Tensor, g: Tensor, towards: Tensor) -> Tensor:
    """A membrane after a step in which its conductances are held; ``towards`` is g times the voltage to which they draw it."""
    return towards / g + (v - towards / g) * torch.exp(-n.dt * g / n.C)


CELLS: dict[str, Callable[..., Tensor]] = {
    f.__name__: f
    for f in (
        leaky_rate, elman, clocked, lstm, gru, lif, alif, lsnn_lif, lsnn_alif, adex,
        delta_lif, tsodyks_markram, cuba, coba, coba_nmda, alpha_current, noisy_lif, qif, izhikevich, hodgkin_huxley, wang_buzsaki,
    )
}  # fmt: skip


# -- the circuit ---------------------------------------------------------------------------------------------------------


def run(
    circuit: Circuit, weights: Weights, x: Tensor, stop: str = "", cut_every: int | None = None
) -> tuple[Tensor, dict[str, Tensor]]:
    """Outputs (time, batch, output) of a circuit, and those of its populations, for inputs (time, batch, input).

    Parameters
    ----------
    stop : ``"between"`` detaches what neurons send to each other, ``"all"`` also what they send to themselves.
    cut_every : detach everything that is carried from step to step, every so many steps back from the end.
    """
    T, B = x.shape[:2]
    neurons = {name: Neurons(p.cell, circuit.dt, (B, p.size), stop) for name, p in circuit.populations.items()}
    sent: dict[str, list[Tensor]] = {name: [] for name in neurons}
    beside: dict[tuple[str, str], list[Tensor]] = {
        (n, z): [] for n, p in circuit.populations.items() for z in p.cell.sends
    }
    assert circuit.readout.sources is not None
    filtered, outputs = torch.zeros(()), []
    noise = drawn(circuit, x)
    for t in range(T):
        if cut_every and (T - t) % cut_every == 0:
            filtered = filtered.detach()
            sent = {name: [y.detach() for y in ys] for name, ys in sent.items()}
            beside = {name: [z.detach() for z in zs] for name, zs in beside.items()}
            for n in neurons.values():
                n.y, n.state = n.y.detach(), {k: v.detach() for k, v in n.state.items()}
        now = {}
        for name, n in neurons.items():
            currents = {k: torch.zeros(n.shape, dtype=x.dtype) for k in n.cell.channels}
            for p in circuit.projections:
                if p.target != name:
                    continue
                assert p.channels is not None
                late = steps(p.delay, circuit.dt, p.name)
                if p.source == "input":
                    pre = x[t, :, : circuit.inputs]
                elif t - late < 0:
                    continue
                else:
                    pre = (sent[p.source] if p.sends is None else beside[p.source, p.sends])[t - late]
                    pre = pre.detach() if stop else pre
                for k, W in zip(p.channels, weights[p.name].chunk(len(p.channels)), strict=True):
                    currents[k] = currents[k] + pre @ W.T
            bias = weights.get("b" if len(neurons) == 1 else f"b_{name}")
            if bias is not None:
                constant = zip(n.cell.inputs, bias.chunk(len(n.cell.inputs)), strict=True)
                currents |= {k: currents[k] + b for k, b in constant}
            currents |= noise.get((name, t), {})
            now[name] = CELLS[n.cell.name](n, *currents.values())
        for name, n in neurons.items():
            n.y, n.t = now[name], n.t + 1
            sent[name].append(now[name])
            for z, value in n.sends.items():
                beside[name, z].append(value)
        seen = torch.cat([now[s] for s in circuit.readout.sources], -1)
        filtered = circuit.kappa * filtered + (1 - circuit.kappa) * seen
        o = filtered @ weights["W_out"].T
        outputs.append(o + weights["b_out"] if "b_out" in weights else o)
    return torch.stack(outputs), {name: torch.stack(ys) for name, ys in sent.items()}


def drawn(circuit: Circuit, x: Tensor) -> dict[tuple[str, int], dict[str, Tensor]]:
    """White noise of each population and step, in units of 1/√s: what stands in x behind the input, over √dt."""
    found, begin = {}, circuit.inputs
    for name, p in circuit.populations.items():
        for xi in p.cell.noises:
            for t, column in enumerate(x[:, :, begin : begin + p.size]):
                found.setdefault((name, t), {})[xi] = column / circuit.dt**0.5
            begin += p.size
    return found


def gradient(
    network: Network,
    batch: Batch,
    loss: Loss,
    regulariser: RateRegulariser | None = None,
    stop: str = "",
    cut_every: int | None = None,
    feedback: Tensor | None = None,
) -> tuple[float, dict[str, Tensor]]:
    """Loss and gradient of every weight, by autograd through `run`.

    The regulariser is ½ strength Σ_j (f_j − target)², f_j the mean output of a neuron over time and batch. With feedback weights B
    (output, unit read) it is that of Σ_t δ_t·B ȳ_t, errors δ held: what the error is told to neurons, the readout's own weights
    left out.
    """
    weights = {name: w.detach().clone().requires_grad_() for name, w in network.weights.items()}
    outputs, sent = run(network.circuit, weights, batch.inputs, stop, cut_every)
    value = (loss.value(outputs, batch.targets) * batch.weight).sum(0).mean()
    total = value
    if feedback is not None:
        error = loss.error(outputs.detach(), batch.targets) * batch.weight[..., None]
        told, sent = run(network.circuit, weights | {"W_out": feedback}, batch.inputs, stop, cut_every)
        total = (error * told).sum() / batch.size
    if regulariser is not None:
        for y in sent.values():
            total = total + 0.5 * regulariser.strength * (y.mean((0, 1)) - regulariser.target).square().sum()
    found = torch.autograd.grad(total, list(weights.values()), allow_unused=True)
    gradients = {n: torch.zeros_like(weights[n]) if g is None else g for n, g in zip(weights, found, strict=True)}
    return float(value.detach()), {n: g * network.masks[n] if n in network.masks else g for n, g in gradients.items()}
