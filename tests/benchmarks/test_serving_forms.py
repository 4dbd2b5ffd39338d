import numpy as np
import pytest
import serving


def test_every_form_gets_every_batch_in_turn():
    seen = {"first": [], "second": []}
    forms = {name: calls.append for name, calls in seen.items()}
    batches = [[1, 2], [3, 4]]
    measured = serving.measure(forms, batches, seconds=0)
    # One call that does not count, then at least three turns.
    assert seen["first"] == seen["second"] == [batches[0], batches[0], batches[1], batches[0]]
    for timed in measured.values():
        assert timed.calls == 3
        assert 0 < timed.percentiles[0] <= timed.percentiles[1] <= timed.percentiles[2]


def test_a_form_that_computes_something_else_is_refused(capsys):
    rows = np.random.default_rng(0).normal(size=[4, 16])
    serving.check({"one": lambda _: rows, "scaled": lambda _: 3 * rows}, None)
    assert "scaled: largest cosine distance" in capsys.readouterr().err
    with pytest.raises(AssertionError, match="other computes something else"):
        serving.check({"one": lambda _: rows, "other": lambda _: rows + 0.1}, None)
