"""What a rule does on the way, recorded: its numbers are the rule's."""

import subprocess
import sys

import numpy as np
import pytest
import torch

import bioplaus as bp
from bioplaus.errors import CircuitError, RuleError, RunError
from bioplaus.own import Own, tensors
from bioplaus.signal.truth import predicted_and_true
from bioplaus.tasks import cross_entropy, squared

f64 = torch.float64
TASK = bp.task("pattern_generation", steps=60)
CIRCUITS = {
    "alif": ("recurrent", dict(cell="alif", input_gain=30.0)),
    "lstm, which has four channels": ("recurrent", dict(cell="lstm")),
    "no leak in the readout": ("recurrent", dict(cell="leaky_rate", tau_out=None)),
    "two populations, Dale": ("excitatory_inhibitory", dict(cell="lif", input_gain=30.0)),
    "sparse": ("recurrent", dict(cell="alif", input_gain=30.0, fan_in=3, units=40)),
    "masked": ("recurrent", dict(cell="alif", input_gain=30.0, fan_in=3)),
    "jumps": ("recurrent", dict(cell="cuba", input_gain=20.0)),
}
RULES = {
    "eprop": {},
    "rflo": {},
    "three_factor": {},
    "bptt": {},
    "tbptt": dict(steps=7),
    "bp_lambda": {},
    "bp_lambda on e-prop": dict(eligibility="eprop"),
    "dni": dict(steps=4),
}


def rule_of(name):
    return bp.rule(name.split()[0], **RULES[name])


def built(name, **more):
    made, options = CIRCUITS[name]
    return bp.circuit(made, **dict(inputs=TASK.inputs, units=10, outputs=TASK.outputs) | options | more).build(
        1, dtype=f64
    )


def taught(network, rule, batch):
    """The rule's own tensors, none of them zero: a predictor at birth says nothing."""
    own = rule.begin(network, batch, 0)
    g = bp.stream(0, "taught")
    for tensor in tensors(own).values():
        tensor.copy_(0.1 * torch.randn(tensor.shape, generator=g, dtype=f64))
    return own


def trial(size=3):
    return TASK.batch(bp.stream(0, "trial"), size)


def met(inside, network, w, ending=""):
    """Σ over time and batch of signal × trace, as the weights lie."""
    post = network.populations[w.target]
    prefix = f"{post.name}." if len(network.populations) > 1 else ""
    L, e = inside[f"{prefix}learning_signal{ending}"], inside[f"{w.spec.name}.eligibility{ending}"]
    if w.synapses is not None:
        L = L.isel(unit=inside[f"post_{w.spec.name}"])
    found = (L * e).sum(("time", "batch"))
    if "channel" in found.dims and len(w.channels) == 1:
        found = found.sum("channel")  # of which the others are 0
    unit = f"unit_{post.name}" if prefix else "unit"
    order = [d for d in ("channel", unit, f"source_{w.spec.name}", f"synapse_{w.spec.name}") if d in found.dims]
    return found.transpose(*order).values.reshape(network.weights[w.spec.name].shape)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("circuit", CIRCUITS)
def test_signal_times_trace_is_the_gradient(circuit, rule):
    network, chosen, batch = built(circuit), rule_of(rule), trial()
    if not chosen.serves(network):
        pytest.skip("the rule does not serve the circuit")
    own = taught(network, chosen, batch)
    both = network.kappa and chosen.past.credit == "output"
    names = ["learning_signal", "eligibility", *(["learning_signal_now", "eligibility_now"] if both else [])]
    inside = bp.record(network, chosen, batch, names, own=own)
    from bioplaus.learning.sequence import sequence

    expected = sequence(network, chosen, own, batch.to(network.device, f64), squared, generator=bp.stream(0, "noise"))
    alive = 0
    for w in network.learned:
        total = met(inside, network, w) + (met(inside, network, w, "_now") if both else 0)
        g = expected.gradients[w.spec.name].numpy() * batch.size
        alive += int(np.abs(g).max() > 1e-4)
        assert np.abs(total - g).max() <= 1e-12 * max(1.0, np.abs(g).max()), w.spec.name
    assert alive >= 2


def test_it_is_what_gradient_computes_with_the_same_seed():
    network, batch = built("alif"), trial()
    inside = bp.record(network, bp.rule("eprop", feedback="random"), batch, ("learning_signal", "eligibility"), seed=3)
    g = bp.gradient(network, bp.rule("eprop", feedback="random"), batch, seed=3)
    for w in network.learned:
        assert np.abs(met(inside, network, w) / 3 - g[w.spec.name].numpy()).max() < 1e-12
    assert inside.attrs["rule"] == "eprop"


@pytest.mark.parametrize("circuit", ["alif", "no leak in the readout", "two populations, Dale"])
def test_true_credit_and_the_traces_make_the_gradient_of_bptt(circuit):
    network, batch = built(circuit), trial()
    now = "_now" if network.kappa else ""
    inside = bp.record(network, "eprop", batch, ("true_credit", "learning_signal", f"eligibility{now}"))
    g = bp.gradient(network, "bptt", batch)
    prefix = lambda w: f"{network.populations[w.target].name}." if len(network.populations) > 1 else ""  # noqa: E731
    for w in network.learned:
        renamed = inside.drop_vars(f"{prefix(w)}learning_signal").rename(
            {f"{prefix(w)}true_credit": f"{prefix(w)}learning_signal{now}"}
        )
        found = met(renamed, network, w, now) / 3
        assert np.abs(found - g[w.spec.name].numpy()).max() < 1e-12
    other = bp.gradient(network, "eprop", batch)
    assert max(float((g[name] - other[name]).abs().max()) for name in g) > 1e-4  # which differs


def test_slopes_and_errors_are_those_of_the_equations():
    network, batch = built("alif"), trial()
    inside = bp.record(network, "eprop", batch, ("psi", "psi_a", "v", "a", "spikes", "error"))
    again = bp.simulate(network, batch.inputs, ("v", "a", "spikes"))
    for name in ("v", "a", "spikes"):
        assert (inside[name] == again[name]).all()
    assert inside.spikes.sum() > 20
    assert np.abs(inside.error - (inside.output - inside.target) * inside.weight).max() < 1e-14
    # the membrane before its reset, by how far it stands from the adaptive threshold; 4 steps of refractoriness have no slope
    thr, beta, slope = 0.6, 0.0174, 0.3
    before = inside.v + thr * inside.spikes
    a = inside.a.shift(time=1, fill_value=0.0) * np.exp(-1 / 200)
    expected = slope / thr * np.maximum(0, 1 - np.abs(before - thr - beta * a) / thr)
    free = inside.psi != 0
    assert free.mean() > 0.1 and (np.abs(inside.psi - expected).where(free, 0) < 1e-2).all()
    assert np.abs(inside.psi_a + beta * inside.psi).max() < 1e-15


def test_predictions_and_what_they_estimate():
    network, batch, rule = built("no leak in the readout"), trial(), bp.rule("bp_lambda")
    own = taught(network, rule, batch)
    inside = bp.record(network, rule, batch, ("prediction", "true_prediction"), own=own)
    g, true = predicted_and_true(network, rule.signal, own, batch.to(network.device, f64), squared)  # pyright: ignore[reportArgumentType]
    found = np.concatenate([inside["prediction_x"], inside["prediction_y"]], -1)
    actual = np.concatenate([inside["true_prediction_x"], inside["true_prediction_y"]], -1)
    assert np.abs(found[:-1] - g.numpy()).max() < 1e-14 < np.abs(g).max() and (found[-1] == 0).all()
    assert np.abs(actual[:-1] - true.numpy()).max() < 1e-14 < np.abs(true).max() and (actual[-1] == 0).all()
    assert list(bp.record(network, rule, batch, "prediction_y", own=own).prediction_y.dims) == ["time", "batch", "unit"]


def test_some_units_at_some_steps():
    network, batch = built("alif"), trial()
    whole = bp.record(network, "eprop", batch, ("v", "psi", "eligibility", "learning_signal"))
    some = bp.record(network, "eprop", batch, {"psi": [1, 4], "v": [1, 4], "W_rec.eligibility": [1, 4]}, every=10)
    assert some.unit.values.tolist() == [1, 4] and "W_in.eligibility" not in some
    for name in ("psi", "v", "W_rec.eligibility"):
        assert (some[name].values == whole[name][9::10].isel(unit=[1, 4]).values).all()
    apart = bp.record(network, "eprop", batch, {"psi": [1], "v": [2, 3], "learning_signal": None})
    assert apart["psi"].dims[-1] == "unit_psi" and apart["v"].dims[-1] == "unit_v"
    assert (apart.learning_signal.values == whole.learning_signal.values).all()
    sparse = built("sparse")
    one = bp.record(sparse, "eprop", batch, {"W_rec.eligibility": [2]})
    assert (
        one["W_rec.eligibility"].dims[-1] == "synapse_W_rec"
        and (one.post_W_rec == 2).all()
        and len(one.post_W_rec) == 3
    )


@pytest.mark.parametrize("rule", ["eprop", "bptt", "rflo"])
def test_with_somebody_interfering_it_is_the_gradient_of_the_circuit_as_it_is_then(rule):
    network, batch = built("alif"), trial()
    who = [
        bp.Perturb("cortex[0:4]", "silence", steps=range(20, 40)),
        bp.Perturb("cortex", "drive", value=0.3),
    ]
    if rule != "rflo":  # which follows a constant leak
        who.append(bp.Perturb("cortex[5].v", "clamp", value=0.5, steps=range(30, 50)))
    inside = bp.record(network, rule, batch, ("learning_signal", "eligibility", "spikes", "psi"), perturb=who)
    g, plain = bp.gradient(network, rule, batch, perturb=who), bp.gradient(network, rule, batch)
    for w in network.learned:
        assert np.abs(met(inside, network, w) / 3 - g[w.spec.name].numpy()).max() < 1e-12
        assert (g[w.spec.name] - plain[w.spec.name]).abs().max() > 1e-4
    assert (
        (inside.spikes[20:40, :, :4] == 0).all() and (inside.psi[20:40, :, :4] == 0).all() and inside.spikes.sum() > 20
    )
    cut = bp.Perturb("W_in", "cut", steps=range(10, 20))
    if rule == "bptt":
        with pytest.raises(RuleError, match="cut in some steps"):
            bp.record(network, rule, batch, "eligibility", perturb=cut)
    else:
        inside = bp.record(network, rule, batch, ("learning_signal", "eligibility"), perturb=cut)
        g = bp.gradient(network, rule, batch, perturb=cut)
        for w in network.learned:
            assert np.abs(met(inside, network, w) / 3 - g[w.spec.name].numpy()).max() < 1e-12


@pytest.mark.slow
def test_memory_is_what_is_recorded():
    code = """if True:
        import resource, torch, bioplaus as bp
        from bioplaus.tasks import Batch
        network = bp.circuit("recurrent", cell="alif", inputs=5, units=80, outputs=1, input_gain=9.0).build(0, dtype=torch.float64)
        def trial(T):
            x = torch.rand(T, 1, 5, generator=bp.stream(0, "x"), dtype=torch.float64)
            return Batch(x, torch.zeros(T, 1, 1, dtype=torch.float64), torch.ones(T, 1, dtype=torch.float64))
        asked = {"W_rec.eligibility": [0], "psi": [0]}
        bp.record(network, "eprop", trial(200), asked, every=40)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        bp.record(network, "eprop", trial(5000), asked, every=40)
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    """
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert int(said) < 20 * 1024  # kB; all of the traces are 256 MB


@pytest.mark.parametrize(
    "rule, record, error, said",
    [
        ("eprop", "psy", CircuitError, "Did you mean 'psi'"),
        ("eprop", "prediction", RuleError, "has no predictor"),
        ("rtrl", "eligibility", RuleError, "eprop, rflo and three_factor do"),
        ("mdgl", "W_rec.eligibility", RuleError, "'learning_signal' can be recorded"),
        ("eprop", "W_recc.eligibility", CircuitError, "Did you mean 'W_rec'"),
        ("eprop", "corte.psi", CircuitError, "Did you mean 'cortex'"),
        ("eprop", "psi_b", CircuitError, "'b' is none"),
        ("eprop", {"eligibility": [10]}, CircuitError, "names unit 10"),
        ("eprop", ("v", "output"), CircuitError, "beside all that is asked for"),
    ],
)
def test_what_there_is_not_is_refused(rule, record, error, said):
    with pytest.raises(error, match=said):
        bp.record(built("alif"), rule, trial(), record)


def test_other_refusals():
    network, batch = built("no leak in the readout"), trial()
    with pytest.raises(RuleError, match="does not leak"):
        bp.record(network, "eprop", batch, "eligibility_now")
    with pytest.raises(RuleError, match="trainer.own of the same"):
        bp.record(network, "bp_lambda", batch, "prediction", own={"predictor": Own({"A": torch.zeros(2, 2)})})
    with pytest.raises(RuleError, match="own tensors"):
        bp.record(network, "bp_lambda", batch, "prediction", own=3)  # pyright: ignore[reportArgumentType]
    with pytest.raises(CircuitError, match="or more inputs.$"):
        bp.record(network, "eprop", batch, "error", every=100)


@pytest.mark.parametrize("rule", ["bptt", "dni", "bp_lambda"])
@pytest.mark.parametrize("name", ["learning_signal", "W_rec.eligibility"])
def test_credit_for_the_state_is_not_offered_twice(rule, name):
    """It was: the sum of both pairs' products, which is the gradient of other rules, was twice the gradient of these."""
    leaky = built("alif", tau_out=20 * bp.ms)
    with pytest.raises(RuleError, match=f"credit for the state.*ask for '{name.rpartition('.')[2]}'"):
        bp.record(leaky, rule, trial(), f"{name}_now")
    assert f"{name}_now" in bp.record(leaky, "eprop", trial(), f"{name}_now")


@pytest.mark.parametrize("circuit, of", [("alif", {}), ("two populations, Dale", {"population": "I"})])
def test_the_panel_of_a_neuron_that_there_is_not(circuit, of):
    network = built(circuit)
    seen = bp.record(network, "eprop", trial(), ("spikes", "v"))
    with pytest.raises(
        RunError,
        match=f"There is no unit 10{' of I' if of else ''} in this recording, which holds {2 if of else 10}, with numbers from 0",
    ):
        bp.figures.neuron(seen, 10, **of)


def test_a_trainer_records_its_own_rule():
    trainer = bp.Trainer(bp.circuit("recurrent", cell="alif", inputs=TASK.inputs, units=10, outputs=1, input_gain=9.0), TASK, bp.rule("eprop", feedback="random"), bp.Training(updates=3))  # fmt: skip
    trainer.update()
    found = trainer.record(("v", "learning_signal"))
    B = trainer.own["feedback"]["B"]
    assert np.abs(found.learning_signal - np.einsum("tbo,on->tbn", found.output - found.target, B)).max() < 1e-5
    assert found.v.shape == found.learning_signal.shape


def test_what_is_known_of_trials_stands_in_the_recording():
    task = bp.task("evidence_accumulation", cues=3, delay=50)
    network = bp.circuit("recurrent", cell="alif", inputs=task.inputs, units=8, outputs=2, input_gain=9.0).build(0)
    batch = task.batch(bp.stream(0, "t"), 4)
    inside = bp.record(network, "eprop", batch, "learning_signal")
    assert (inside.answer.values == np.asarray(batch.trials["answer"])).all() and inside.answer.dims == ("batch",)


def test_classes():
    task = bp.task("sequential_digits")
    network = bp.circuit("recurrent", cell="leaky_rate", inputs=task.inputs, units=8, outputs=10).build(0, dtype=f64)
    batch = task.batch(bp.stream(0, "t"), 2)
    inside = bp.record(network, "bptt", batch, ("learning_signal", "eligibility", "error"))
    g = bp.gradient(network, "bptt", batch, cross_entropy)
    for w in network.learned:
        assert np.abs(met(inside, network, w) / 2 - g[w.spec.name].numpy()).max() < 1e-12
    assert inside.target.dims == ("time", "batch")


def test_the_panel_of_one_neuron_shows_what_was_recorded():
    network, batch = built("alif"), trial()
    inside = bp.record(network, "eprop", batch, ("spikes", "v", "psi", "learning_signal", "true_credit", "eligibility"))
    unit = int(np.argmax(inside.spikes[:, 1].sum("time").values))
    figure = bp.figures.neuron(inside, unit=unit, batch=1)
    labels = [ax.get_ylabel().split()[0] for ax in figure.axes]
    assert labels == ["v", "ψ", "Learning", "Trace", "Trace", "Output"]
    assert (figure.axes[0].lines[0].get_ydata() == inside.v[:, 1, unit]).all()
    assert (figure.axes[1].lines[0].get_ydata() == inside.psi[:, 1, unit]).all()
    assert (figure.drawn["true_credit"] == inside.true_credit[:, 1, unit]).all()
    learned = (inside.learning_signal * inside["W_in.eligibility"])[:, 1, unit].sum("time").values
    best = np.sort(np.argsort(-np.abs(learned))[:3])
    assert (figure.drawn["W_in.eligibility"].T == inside["W_in.eligibility"][:, 1, unit].values[:, best].T).all()
    some = bp.record(built("sparse"), "eprop", batch, {"v": [4], "eligibility": [4]})
    assert [ax.get_ylabel().split()[0] for ax in bp.figures.neuron(some, unit=4).axes] == [
        "v",
        "Trace",
        "Trace",
        "Output",
    ]
    two = bp.record(built("two populations, Dale"), "eprop", batch, ("v", "spikes", "learning_signal"))
    with pytest.raises(RunError, match="say which the neuron is of"):
        bp.figures.neuron(two)
    name = next(p.name for p in built("two populations, Dale").populations)
    assert len(bp.figures.neuron(two, population=name).axes) == 3
    with pytest.raises(RunError, match="no unit 5 in this recording, which holds 1, with numbers from 4 to 4"):
        bp.figures.neuron(some, unit=5)
