"""What is known of trials: kept with them wherever they go, refused where it makes no sense, coordinates of what is recorded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from task_helpers import paragraph, same, stream

import bioplaus as bp
from bioplaus.errors import CircuitError, TaskError
from bioplaus.runs.netcdf import read_netcdf, write_netcdf
from bioplaus.tasks import Batch, check_batch, joined, squared, task

STEPS = 12


class Cued(bp.Task):
    """A pulse at a step of its own in each trial; of which kind, in words."""

    inputs, outputs, steps, loss, test_trials = 2, 1, STEPS, squared, 30

    def batch(self, generator: torch.Generator, size: int, split: str = "train") -> Batch:
        x = 5 * torch.rand(STEPS, size, 2, generator=generator)
        first = torch.randint(6, (size, 1), generator=generator)
        trials = {
            "epoch_cue": first + torch.tensor([0, 2]),
            "epoch_flash": torch.stack((first + torch.tensor([2, 3]), first + torch.tensor([4, 6])), 1),
            "condition": np.where(first[:, 0] % 2 == 0, "even", "odd"),
            "evidence": x[0, :, 0].double(),
            "hits": torch.rand(size, 3, generator=generator) > 0.5,
        }
        return Batch(x, torch.zeros(STEPS, size, 1), torch.ones(STEPS, size), trials=trials)


def circuit(**options: Any) -> bp.Circuit:
    return bp.circuit(
        "recurrent", **{"cell": "lif", "inputs": 2, "units": 6, "outputs": 1, "input_gain": 9.0} | options
    )


def test_what_is_known_is_arrays_of_ones_own_and_goes_where_its_trials_go() -> None:
    answers = np.array([0, 1, 1])
    x = torch.zeros(4, 3, 1)
    batch = Batch(
        x,
        x,
        torch.ones(4, 3),
        trials={"answer": answers, "side": [[0, 1]] * 3, "late": torch.tensor([True, False, True])},
    )
    answers[0] = 7
    assert batch.trials["answer"].tolist() == [0, 1, 1]
    assert {name: (array.dtype.kind, array.shape) for name, array in batch.trials.items()} == {
        "answer": ("i", (3,)),
        "side": ("i", (3, 2)),
        "late": ("b", (3,)),
    }
    assert (
        "trials: answer, side, late" in repr(batch)
        and Batch(x, x, x).trials == {}
        and "trials" not in repr(Batch(x, x, x))
    )
    assert batch.part(1).trials["answer"].tolist() == [1, 1] and batch.part(0, 1).trials["late"].tolist() == [True]
    moved = batch.to("cpu", torch.float64)
    assert moved.inputs.dtype == torch.float64 and moved.trials["answer"].dtype == np.int64
    two = joined([batch, batch.part(0, 1)])
    assert (
        two.size == 4
        and two.trials["late"].tolist() == [True, False, True, True]
        and two.trials["side"].shape == (4, 2)
    )
    other = Batch(x, x, torch.ones(4, 3), trials={"answer": [2, 2, 2]})
    assert {name: array.tolist() for name, array in joined([batch, other]).trials.items()} == {
        "answer": [0, 1, 1, 2, 2, 2]
    }


def test_a_test_set_keeps_it_however_it_is_cut() -> None:
    cued = Cued()
    check_batch(cued, cued.batch(stream(), 5))
    whole = next(bp.tasks.test_set(cued, 30))
    assert whole.size == 30 and len(set(whole.trials["condition"])) == 2
    for size in (1, 7, 29):
        assert same(whole, joined(list(bp.tasks.test_set(cued, size))))
    drawn = bp.tasks.drawn(cued, stream(), 4)
    assert same(drawn, cued.batch(stream(), 4)) and drawn.trials["evidence"].tolist() == drawn.inputs[0, :, 0].tolist()


def test_epochs_are_ranges_of_steps() -> None:
    batch = Cued().batch(stream(), 9)
    assert set(batch.epochs) == {"cue", "flash"}
    cue, flash = batch.during("cue"), batch.during("flash")
    assert cue.shape == flash.shape == (STEPS, 9)
    for b in range(9):
        first = int(batch.trials["epoch_cue"][b, 0])
        assert np.flatnonzero(cue[:, b]).tolist() == [first, first + 1]
        assert np.flatnonzero(flash[:, b]).tolist() == [first + 2, first + 4, first + 5]
    with pytest.raises(TaskError, match="no epoch 'cu' of these trials. Did you mean 'cue'") as error:
        batch.during("cu")
    paragraph(error)


@pytest.mark.parametrize(
    ("trials", "message"),
    [
        ([1, 2, 3], r"trials is \[1, 2, 3\]; it must be a mapping"),
        ({"answer": [0, 1]}, r"trials\['answer'\] has shape \(2,\).*one entry for each of the 3 trials"),
        ({"answer": 1}, r"trials\['answer'\] has shape \(\)"),
        ({"answer": [[1], [1, 2], [3]]}, r"trials\['answer'\] is .*an array of numbers"),
        ({"answer": [None, 1, 2]}, r"trials\['answer'\] is .*an array of numbers"),
        ({"answer": [1j, 2, 3]}, r"trials\['answer'\] is"),
        ({3: [0, 1, 2]}, "entry 3; its names are words"),
        ({"": [0, 1, 2]}, "its names are words"),
        ({"a b": [0, 1, 2]}, "entry 'a b'; its names are words"),
        ({"time": [0, 1, 2]}, "entry 'time'.*none of time, batch"),
        ({"output": [0, 1, 2]}, "entry 'output'"),
        ({"epoch_cue": [0, 1, 2]}, r"trials\['epoch_cue'\] has shape \(3,\).*first step and the one after its last"),
        ({"epoch_cue": [[0.0, 1.0]] * 3}, "holds float64.*whole numbers"),
        ({"epoch_cue": [[0, 1, 2]] * 3}, r"has shape \(3, 3\)"),
        ({"epoch_cue": [[0, 1], [-1, 2], [0, 0]]}, "goes from step -1 to 2 in trial 1.*from 0 to 12"),
        ({"epoch_cue": [[0, 1], [0, 2], [5, 4]]}, "goes from step 5 to 4 in trial 2"),
        ({"epoch_cue": [[[0, 1]], [[0, 2]], [[5, 13]]]}, "goes from step 5 to 13 in trial 2"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(trials: Any, message: str) -> None:
    class Odd(Cued):
        def batch(self, generator: torch.Generator, size: int, split: str = "train") -> Batch:
            x = torch.ones(STEPS, 3, 2)
            return Batch(x, x[..., :1], torch.ones(STEPS, 3), trials=trials)

    odd = Odd()
    with pytest.raises(TaskError, match=message) as error:
        check_batch(odd, odd.batch(stream(), 3))
    assert "odd" in paragraph(error)
    for use in (
        lambda: bp.Trainer(circuit(), odd, bp.rule("eprop"), bp.Training(batch=3)),
        lambda: bp.simulate(circuit(), odd.batch(stream(), 3)),
    ):
        with pytest.raises(TaskError, match=message):
            use()


def test_what_carries_a_unit_is_refused() -> None:
    x = torch.zeros(4, 2, 1)
    with pytest.raises(TaskError, match=r"'onset' of the trials of a batch carries a unit \(time\)") as error:
        Batch(x, x, x[..., 0], trials={"onset": [1, 2] * bp.ms})
    paragraph(error)


def test_a_simulated_batch_is_recorded_with_what_is_known_of_it(tmp_path: Path) -> None:
    network, batch = circuit(dt=0.5 * bp.ms).build(seed=1), Cued().batch(stream(), 9)
    seen = bp.simulate(network, batch, ("v", "spikes"))
    plain = bp.simulate(network, batch.inputs, ("v", "spikes"), targets=batch.targets, weight=batch.weight)
    assert seen.spikes.sum() > 0
    xr.testing.assert_identical(seen.drop_vars(list(batch.trials) + ["edge"]), plain)
    assert {str(name) for name in seen.coords} == {"time", "edge", *batch.trials}
    for name, array in batch.trials.items():
        stays = array * 0.5 if name.startswith("epoch_") else array
        assert np.array_equal(seen[name].values, stays) and seen[name].dims[0] == "batch"
    assert seen.epoch_cue.attrs["units"] == seen.time.attrs["units"] == "ms"
    # what a neuroscientist does with it
    begin, end = seen.epoch_flash.sel(edge="start"), seen.epoch_flash.sel(edge="stop")
    during = ((seen.time >= begin) & (seen.time < end)).any("epoch_flash_1")
    assert np.array_equal(during.transpose("time", "batch"), batch.during("flash"))
    by_condition = seen.spikes.groupby("condition").mean()
    for condition in ("even", "odd"):
        of = batch.trials["condition"] == condition
        np.testing.assert_allclose(
            by_condition.sel(condition=condition).values.mean(), seen.spikes.values[:, of].mean()
        )
    write_netcdf(seen, tmp_path / "seen.nc")
    again = read_netcdf(tmp_path / "seen.nc")
    xr.testing.assert_equal(again, seen)
    assert again.condition.values.tolist() == batch.trials["condition"].tolist() and again.hits.dtype == bool


def test_epochs_are_told_in_the_time_of_a_simulation_that_goes_on() -> None:
    network, batch = circuit().build(seed=1), Cued().batch(stream(), 4)
    _, state = bp.simulate(network, torch.rand(30, 4, 2, generator=stream()), return_state=True)
    seen = bp.simulate(network, batch, "v", state=state, every=3)
    assert seen.time.values.tolist() == [32.0, 35.0, 38.0, 41.0]
    assert np.array_equal(seen.epoch_cue, batch.trials["epoch_cue"] + 30.0)
    steps = bp.simulate(circuit(cell="elman"), batch)  # steps without a duration
    assert np.array_equal(steps.epoch_cue, batch.trials["epoch_cue"]) and steps.epoch_cue.attrs["units"] == "1"


def test_both_simulators_and_a_trainer_know_the_same() -> None:
    batch = Cued().batch(stream(), 3)
    network = circuit().build(seed=1)
    ours, theirs = bp.simulate(network, batch, ("v", "spikes")), bp.brian.simulate(network, batch, ("v", "spikes"))
    assert ours.spikes.sum() > 0
    xr.testing.assert_identical(ours.coords.to_dataset(), theirs.coords.to_dataset())
    xr.testing.assert_identical(
        ours[["input", "target", "weight", "spikes"]], theirs[["input", "target", "weight", "spikes"]]
    )
    trainer = bp.Trainer(circuit(), Cued(), bp.rule("eprop"), bp.Training(batch=3))
    recording, first = trainer.record(), next(Cued().test_batches(16))
    assert recording.condition.values.tolist() == first.trials["condition"].tolist()
    assert np.array_equal(recording.epoch_flash, first.trials["epoch_flash"] * 1.0)
    row = trainer.update()
    assert np.isfinite(row["loss"])


def test_a_name_that_is_also_recorded_is_refused() -> None:
    x = torch.ones(5, 2, 2)
    batch = Batch(x, x[..., :1], torch.ones(5, 2), trials={"v": [1, 2]})
    assert "v" in bp.simulate(circuit(), batch, "spikes").coords
    with pytest.raises(CircuitError, match="entry 'v', and so is called what is recorded") as error:
        bp.simulate(circuit(), batch, "v")
    paragraph(error)


@pytest.mark.parametrize(
    "name", ["evidence_accumulation", "store_recall", "context_decision", "spiking_digits", "delayed_match"]
)
def test_the_fields_tasks_tell_the_right_answer_and_their_epochs(name: str) -> None:
    made = task(name)
    batch = made.batch(stream(), 20)
    check_batch(made, batch)
    asked = batch.weight.argmax(0)  # the first of the steps that count most
    assert torch.equal(torch.as_tensor(batch.trials["answer"]), batch.targets.gather(0, asked[None])[0])
    assert batch.epochs and all(batch.during(epoch).any(0).any() for epoch in batch.epochs)
    question = {"evidence_accumulation": "recall", "store_recall": "recall"}.get(name, "answer")
    assert np.array_equal(batch.during(question), batch.weight > 0)
