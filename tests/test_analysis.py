"""Recordings of trials analysed: each number against NumPy, SciPy or scikit-learn called by hand."""

from typing import Any, cast

import numpy as np
import pytest
import torch
import xarray as xr
from scipy.stats import mannwhitneyu, ttest_1samp
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.preprocessing import StandardScaler

import bioplaus as bp
from bioplaus import analysis
from bioplaus.errors import RunError

TRIALS = np.array([0, 1] * 20)


@pytest.fixture(scope="module")
def recording():
    """A circuit of two populations that hears more in every second trial from step 50 on."""
    circuit = bp.circuit("excitatory_inhibitory", cell="lif", inputs=4, units=20, outputs=1, input_gain=5.0)
    x = np.random.default_rng(0).random((120, 40, 4))
    x[50:, TRIALS == 1] *= 1.15
    found = bp.simulate(circuit.build(1, dtype=torch.float64), x, ("spikes", "v"))
    return found.assign_coords(side=("batch", np.where(TRIALS == 1, "right", "left")))


def spikes_of(recording, name="excitatory.spikes"):
    name = name if name in recording else next(str(n) for n in recording if str(n).endswith(".spikes"))
    return name, recording[name].values.transpose(1, 0, 2)  # (batch, time, unit)


def test_rates_by_condition(recording):
    name, fired = spikes_of(recording)
    found = analysis.psth(recording, "side", name=name, window=20)
    assert found.condition.values.tolist() == ["left", "right"] and found.trials.values.tolist() == [20, 20]
    assert found.time.values.tolist() == [0, 20, 40, 60, 80, 100]
    for k in (0, 1):
        each = fired[TRIALS == k].reshape(20, 6, 20, -1).sum(2) / 0.020
        assert np.abs(found["mean"][k] - each.mean(0)).max() < 1e-9
        assert np.abs(found["sem"][k] - each.std(0, ddof=1) / 20**0.5).max() < 1e-9
    late = found["mean"].sel(time=slice(60, None)).mean(("time", found["mean"].dims[-1]))
    assert float(late[1]) > 1.05 * float(late[0]) > 1
    other = name.replace("spikes", "v")
    assert analysis.psth(recording, "side", name=name, window=20 * bp.ms).identical(found)
    states = analysis.psth(recording, TRIALS, name=other, window=7)  # 17 whole bins of 120 steps
    assert states.sizes["time"] == 17
    assert np.abs(states["mean"][1, 3] - recording[other].values[21:28][:, TRIALS == 1].mean((0, 1))).max() < 1e-6
    assert analysis.psth(recording, name=name).sizes["condition"] == 1


def test_selectivity_is_mann_and_whitneys(recording):
    name, fired = spikes_of(recording)
    found = analysis.selectivity(recording, "side", name=name, window=40)
    counts = fired.reshape(40, 3, 40, -1).sum(2)
    for t in range(3):
        for unit in range(0, counts.shape[2], 3):
            u = mannwhitneyu(counts[TRIALS == 1, t, unit], counts[TRIALS == 0, t, unit]).statistic
            assert abs(float(found[t, unit]) - u / 400) < 1e-12
    assert found[2].max() > 0.7


def test_decoding_is_scikit_learns_by_hand(recording):
    name, fired = spikes_of(recording)
    found = analysis.decoding(recording, "side", name=name, window=40, folds=4, seed=3)
    counts = fired.reshape(40, 3, 40, -1).sum(2) / 0.040
    for t in range(3):
        for k, (train, test) in enumerate(StratifiedKFold(4, shuffle=True, random_state=3).split(counts[:, t], TRIALS)):
            scaler = StandardScaler().fit(counts[train, t])
            decoder = LogisticRegression(max_iter=2000).fit(scaler.transform(counts[train, t]), TRIALS[train])
            assert found.accuracy[t, k] == decoder.score(scaler.transform(counts[test, t]), TRIALS[test])
    assert float(found.chance) == 0.5 and found.accuracy[2].mean() > 0.7 > found.accuracy[0].mean()


def test_trajectories_are_scikit_learns(recording):
    name, fired = spikes_of(recording)
    found = analysis.components(recording, "side", name=name, window=20, count=2)
    means = np.stack([fired[TRIALS == k].reshape(20, 6, 20, -1).sum(2).mean(0) / 0.020 for k in (0, 1)])
    fit = PCA(2).fit(means.reshape(12, -1))
    assert (
        np.abs(np.abs(found.trajectory.values.reshape(12, 2)) - np.abs(fit.transform(means.reshape(12, -1)))).max()
        < 1e-8
    )
    assert np.abs(found.explained - fit.explained_variance_ratio_).max() < 1e-12
    largest = np.abs(found.loading.values).argmax(1)
    assert (np.take_along_axis(found.loading.values, largest[:, None], 1) > 0).all()
    centred = means.reshape(12, -1) - means.reshape(12, -1).mean(0)
    assert np.abs(centred @ found.loading.values.T - found.trajectory.values.reshape(12, 2)).max() < 1e-8


def test_the_psychometric_curve_is_logistic_regression_without_lapses():
    rng = np.random.default_rng(1)
    x = rng.integers(-4, 5, 600) * 0.5
    chosen = rng.random(600) < 1 / (1 + np.exp(-1.7 * (x + 0.3)))
    fit = analysis.psychometric(x, chosen, lapses=False)
    by_hand = LogisticRegression(C=np.inf, tol=1e-12, max_iter=10_000).fit(x[:, None], chosen)
    assert abs(fit.slope - by_hand.coef_[0, 0]) < 1e-5
    assert abs(fit.midpoint + by_hand.intercept_[0] / by_hand.coef_[0, 0]) < 1e-5
    assert np.abs(fit(x) - by_hand.predict_proba(x[:, None])[:, 1]).max() < 1e-5
    assert abs(fit.share[2] - chosen[x == -1].mean()) < 1e-12 and fit.trials.sum() == 600
    assert (fit.low < fit.share).all() and (fit.share < fit.high).all()


@pytest.mark.filterwarnings("error")
def test_who_always_chooses_the_same_is_fitted_without_a_warning():
    fit = analysis.psychometric([-1, 0, 1, 2], [1, 1, 1, 1])
    assert fit.share.tolist() == [1, 1, 1, 1] and fit([-1, 2]).min() > 0.99


def test_lapses_are_found_and_help():
    rng = np.random.default_rng(2)
    x = rng.uniform(-3, 3, 20_000).round(1)
    p = 0.1 + 0.75 / (1 + np.exp(-2.0 * (x - 0.4)))
    chosen = rng.random(20_000) < p
    fit = analysis.psychometric(x, chosen)
    assert abs(fit.midpoint - 0.4) < 0.1 and abs(fit.slope - 2.0) < 0.25
    assert abs(fit.lapses[0] - 0.1) < 0.03 and abs(fit.lapses[1] - 0.15) < 0.03
    assert fit.log_likelihood > analysis.psychometric(x, chosen, lapses=False).log_likelihood + 10
    truth = np.log(np.where(chosen, p, 1 - p)).sum()
    assert fit.log_likelihood >= truth  # the maximum
    falling = analysis.psychometric(-x, chosen)
    assert abs(falling.slope + fit.slope) < 1e-3


@pytest.mark.parametrize(
    "call, said",
    [
        (lambda r, n: analysis.psth(r, [0, 1], name=n), "each of 40 trials"),
        (lambda r, n: analysis.psth(r, "sides", name=n), "Did you mean 'side'"),
        (lambda r, n: analysis.psth(r, name="spike"), "variable in this recording"),
        (lambda r, n: analysis.psth(r, name="output", window=1000), "longer than the recording"),
        (lambda r, n: analysis.psth(r, name=n, window=0), "window is 0"),
        (lambda r, n: analysis.psth(r, name=n, window=20 * bp.mV), "window is 20. mV"),
        (
            lambda r, n: analysis.psth(r.assign_coords(time=np.arange(120)), name=n, window=20 * bp.ms),
            "counts its time in steps",
        ),
        (lambda r, n: bp.figures.psth(analysis.psth(r, name=n), bars={"cue": (60, 20)}), "behind it an end"),
        (lambda r, n: analysis.psth(3), "recording is 3"),  # type: ignore[arg-type]
        (lambda r, n: analysis.decoding(r, TRIALS, name=n, folds=21), "21 trials each"),
        (lambda r, n: analysis.decoding(r, 0 * TRIALS, name=n), "two or more"),
        (lambda r, n: analysis.selectivity(r, np.arange(40), name=n), "40 conditions"),
        (lambda r, n: analysis.components(r, name=n, count=50), "can be had"),
        (lambda r, n: analysis.psychometric([1, 2], [0, 2]), "choices 0 or 1"),
        (lambda r, n: analysis.psychometric([1, 1], [0, 1]), "the same x"),
        (lambda r, n: analysis.psychometric(["a", "b"], [0, 1]), "numbers, one for each trial"),
        (lambda r, n: bp.figures.psth(r), "bioplaus.analysis.psth"),
        (lambda r, n: bp.figures.psth(analysis.psth(r, name=n), units=[99]), "numbers of units"),
        (lambda r, n: bp.figures.psychometric(3), "bioplaus.analysis.psychometric"),  # type: ignore[arg-type]
        (lambda r, n: bp.figures.psth(analysis.psth(r, name=n), bars=[1]), "begins and ends"),  # type: ignore[arg-type]
    ],
)
def test_what_makes_no_sense_is_refused(recording, call, said):
    with pytest.raises(RunError, match=said):
        call(recording, spikes_of(recording)[0])


def test_pairs_are_scipys():
    rng = np.random.default_rng(0)
    a, b = rng.normal(1, 1, 8), rng.normal(0, 1, 8)
    found, by_hand = analysis.paired(a, b), cast(Any, ttest_1samp(a - b, 0))
    assert abs(found.p - by_hand.pvalue) < 1e-12 and abs(found.difference - (a - b).mean()) < 1e-12
    assert np.allclose((found.low, found.high), by_hand.confidence_interval())
    assert found.above == (a > b).sum() and found.n == 8
    alike = analysis.paired([3.0, 4.0, 7.0], [2.0, 3.0, 6.0])  # no scatter, and no warning of SciPy's
    assert (alike.p, alike.low, alike.high, alike.above) == (0, 1, 1, 3)
    assert np.isnan(analysis.paired([1], [2]).p) and analysis.paired([1, 2], [1, 2]).p == 1
    for wrong in (([1, 2], [1]), ([1, np.nan], [1, 2]), ([], []), (["a"], ["b"])):
        with pytest.raises(RunError):
            analysis.paired(*wrong)


def test_figures_show_these_numbers(recording):
    name, _ = spikes_of(recording)
    found = analysis.psth(recording, "side", name=name)
    figure = bp.figures.psth(found, bars={"stronger": (50, 120)})
    assert (
        np.abs(figure.axes[0].lines[1].get_ydata() - found["mean"][1].mean(str(found["mean"].dims[-1]))).max() < 1e-12
    )
    one = bp.figures.psth(found, units=3)
    assert np.abs(one.drawn["band"] - found["sem"][..., 3]).max() < 1e-12
    read = analysis.decoding(recording, "side", name=name)
    assert (bp.figures.decoding({"E": read, "also": read}).drawn["E accuracy"] == read.accuracy).all()
    path = analysis.components(recording, "side", name=name, count=2)
    assert len(bp.figures.components(path).axes) == 2
    fit = analysis.psychometric([0, 1, 2, 3] * 5, [0, 0, 1, 1, 0, 1, 0, 1, 0, 0, 0, 1] + [0, 1, 1, 1] * 2)
    assert (bp.figures.psychometric({"a": fit, "b": fit}).drawn["a share"] == fit.share).all()


def test_a_recording_without_units_of_time():
    found = xr.Dataset({"rate": (("time", "batch", "unit"), np.arange(24.0).reshape(4, 3, 2))}, {"time": [0, 1, 2, 3]})
    assert analysis.binned(found, "rate", 2).values[0].tolist() == [[3.0, 4.0], [15.0, 16.0]]


def test_dimension_is_that_of_the_eigenvalues_and_coupling_the_mean_of_correlations():
    rng = np.random.default_rng(5)
    x = rng.normal(size=(30, 6, 8)) @ rng.normal(size=(8, 8)) + 3.0
    z = 0.5 * x[..., :3] + rng.normal(size=(30, 6, 3))
    z[..., 1] = 2.0  # says nothing
    dims = ("time", "batch")
    recording = xr.Dataset({"rate": ((*dims, "unit"), x), "cerebellum.nuclei": ((*dims, "unit_n"), z)})
    values = np.linalg.eigvalsh(np.cov(x.reshape(-1, 8).T))
    assert analysis.dimension(recording) == pytest.approx(values.sum() ** 2 / (values**2).sum(), rel=1e-10)
    assert 1 < analysis.dimension(recording) < 8
    pairs = [np.corrcoef(x.reshape(-1, 8)[:, i], z.reshape(-1, 3)[:, j])[0, 1] for i in range(8) for j in (0, 2)]
    assert analysis.coupling(recording, "rate", "cerebellum.nuclei") == pytest.approx(np.abs(pairs).mean(), rel=1e-10)
    still = recording.assign(still=((*dims, "unit"), np.ones_like(x)), bad=((*dims, "unit"), x * np.nan))
    assert analysis.dimension(still, "still") == 0 and np.isnan(analysis.coupling(still, "rate", "still"))
    for name, says in (("rates", "'rates'"), ("bad", "not finite")):
        with pytest.raises(RunError, match=says):
            analysis.dimension(still, name)


def drawn(o: Any, y: Any) -> xr.Dataset:
    dims = ("time", "batch", "output")
    return xr.Dataset({"output": (dims, np.array(o, float)), "target": (dims, np.array(y, float))})


def test_dysmetria_is_how_far_off_the_line_and_off_its_end():
    """A trial at a time, by the angle between what was drawn and what was asked."""
    rng = np.random.default_rng(3)
    ends = rng.normal(size=(6, 2)) * 3
    ends[2] = 0.0  # nothing to reach
    way = np.linspace(0, 1, 8)[:, None, None] * ends + 0.4
    o = way + rng.normal(size=way.shape)
    found = analysis.dysmetria(drawn(o, way))
    for k in range(6):
        squares = []
        for t in range(8):
            x, z = o[t, k] - 0.4
            size, angle = np.hypot(x, z), np.arctan2(z, x) - np.arctan2(ends[k, 1], ends[k, 0])
            squares.append((size * np.sin(angle)) ** 2 if k != 2 else size**2)
        line, end = np.mean(squares) ** 0.5, np.hypot(*(o[-1, k] - 0.4 - ends[k]))
        assert float(found.off_line[k]) == pytest.approx(line) and float(found.off_end[k]) == pytest.approx(end)
        assert float(found.dysmetria[k]) == pytest.approx(line + end) and line > 0.1
    farther = analysis.dysmetria(drawn(way + 1.7 * ends, way))  # along the line: off its end alone
    assert np.abs(farther.off_line[[0, 1, 3, 4, 5]]).max() < 1e-12
    assert np.abs(farther.off_end - 1.7 * np.hypot(*ends.T)).max() < 1e-12


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (drawn(np.zeros((5, 2, 2)), np.zeros((5, 2, 2))).drop_vars("target"), "lacks one of them"),
        (drawn(np.zeros((1, 2, 2)), np.zeros((1, 2, 2))), "two steps or more"),
        (drawn(np.full((5, 2, 2), np.nan), np.zeros((5, 2, 2))), "all finite"),
    ],
)
def test_what_has_no_dysmetria_is_refused(wrong, says):
    with pytest.raises(RunError, match=says) as error:
        analysis.dysmetria(wrong)
    assert "\n" not in str(error.value)
