"""Property test: the engine keeps its promises whatever happens; broken engines are detected."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.errors import FlakyFailure
from hypothesis.stateful import run_state_machine_as_test

from tests.properties.broken import BROKEN
from tests.properties.machine import Machine
from tests.properties.model import RuleViolation

# The number of examples; if it is set, they are different each time.
EXAMPLES = os.environ.get("ROSEY_LLM_EXAMPLES")
SOUND = settings(
    max_examples=int(EXAMPLES or 150),
    stateful_step_count=30,
    deadline=None,
    derandomize=not EXAMPLES,
    database=None,
    print_blob=True,
    report_multiple_bugs=False,
    # An example is several runs of an engine, each with a thread and a file.
    suppress_health_check=[HealthCheck.too_slow],
)
# It is enough that it fails; the shortest example is not needed. Most fail within a second; the
# limit is high, so that other versions of hypothesis find them all as well.
BREAKING = settings(SOUND, max_examples=1500, phases=[Phase.generate], print_blob=False)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600 + int(EXAMPLES or 0))]


def test_nothing_is_lost_doubled_or_out_of_order_whatever_happens() -> None:
    run_state_machine_as_test(Machine, settings=SOUND)


@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: broken.__name__)
def test_an_engine_that_breaks_a_promise_is_caught(
    broken: Callable[[], AbstractContextManager[object]],
) -> None:
    with broken(), pytest.raises((RuleViolation, FlakyFailure)) as caught:
        run_state_machine_as_test(Machine, settings=BREAKING)
    # What a broken engine does may depend on what it did before: the same steps need not break the
    # same promise again, and hypothesis then says so, with what it saw.
    if isinstance(caught.value, FlakyFailure):
        assert all(isinstance(each, RuleViolation) for each in caught.value.exceptions)
