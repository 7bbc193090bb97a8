"""One thread a process, however the tests are started: threads that spin for small tensors only get in each other's way."""

import os
import shutil
import tempfile

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")

WORKER = "PYTEST_XDIST_WORKER" in os.environ
#: compiled loops are kept for all processes of one run of the tests, not in anybody's home, and not for longer
LOOPS = os.path.join(tempfile.gettempdir(), f"bioplaus-loops-{os.getuid()}-{os.getppid() if WORKER else os.getpid()}")
os.environ.setdefault("BIOPLAUS_KERNELS", LOOPS)


def pytest_sessionfinish() -> None:
    if not WORKER:
        shutil.rmtree(LOOPS, ignore_errors=True)


#: tests that are asked of many and take long → of how many, evenly spaced, they are asked in `make test`; of all in `make test-all`
ENOUGH = {
    "test_a_biased_rule_is_found": 6,
    "test_a_biased_stream_is_found": 5,
    "test_a_model_fires_the_spikes_of_plain_brian2": 12,
    "test_a_schedule_changes_nothing": 40,
    "test_credit_of_all_lags_is_the_gradient": 20,
    "test_each_that_was_put_off_is_itself_at_its_first_use": 4,
    "test_every_pair_has_its_probability_by_itself": 6,
    "test_every_rule_has_the_gradient_of_a_matrix_with_the_same_zeros": 16,
    "test_every_rule_has_the_gradient_of_one_projection_for_each_delay": 15,
    "test_every_rule_has_torchs_gradient": 8,
    "test_half_the_step_is_the_same_curve_to_the_order_of_the_method": 8,
    "test_jacobians_of_the_error": 4,
    "test_local_traces_stay_inside_the_neuron": 10,
    "test_memory_and_time_of_past_halves_are_of_the_declared_order": 5,
    "test_nothing_is_read_while_a_window_is_computed": 25,
    "test_over_all_signs_the_mean_is_the_true_gradient": 20,
    "test_replay_is_the_trace_while_everything_moves": 8,
    "test_ten_pieces_are_one_bit_for_bit": 4,
    "test_text_goes_in_as_it_stands_and_gives_plain_brian2s_spikes": 4,
    "test_the_mean_of_many_draws_is_the_true_gradient": 3,
    "test_the_test_set_does_not_depend_on_how_many_trials_are_asked_for_at_a_time": 3,
    "test_three_updates_a_checkpoint_and_three_more_are_six": 15,
    "test_traces_forward_and_the_gradient_of_the_regression_on_lambda_targets": 24,
    "test_whatever_a_script_has_set": 6,
    "test_where_computations_are_cut_for_speed_changes_nothing": 15,
    "test_whoever_uses_it_besides_finds_it_whole": 3,
}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as slow, of the tests above, all but so many."""
    families: dict[tuple[str, str], list[pytest.Item]] = {}
    for item in items:
        name = getattr(item, "originalname", None)
        if name in ENOUGH and item.get_closest_marker("slow") is None:
            families.setdefault((str(item.path), name), []).append(item)
    for (_, name), family in families.items():
        count = ENOUGH[name]
        if len(family) <= count:
            continue
        taken = {round(i * (len(family) - 1) / (count - 1)) for i in range(count)}
        for i, item in enumerate(family):
            if i not in taken:
                item.add_marker(pytest.mark.slow)
