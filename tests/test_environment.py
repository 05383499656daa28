"""The tests run the same whatever the shell has set that starts them."""

from __future__ import annotations

import os
import time

import pytest

from tests.support.environment import LOOPBACK, known

KEPT = {"HTTP_PROXY": "http://proxy:3128", "PATH": "/bin", "ROSEY_LLM_EXAMPLES": "9"}


@pytest.mark.parametrize(
    "name",
    [
        "COLUMNS",
        "FORCE_COLOR",
        "LC_ALL",
        "NOTIFY_SOCKET",
        "NO_COLOR",
        "OPENAI_API_KEY",
        "PYTHONWARNINGS",
        "ROSEY_LLM_NATS_URL",
    ],
)
def test_what_our_programs_heed_is_left_out(name: str) -> None:
    assert known({**KEPT, name: "x"}) == known(KEPT)


def test_the_language_and_the_time_zone_are_known_and_no_proxy_is_between_our_own() -> None:
    local = {"no_proxy": f"a.example,{LOOPBACK}", "NO_PROXY": f"a.example,{LOOPBACK}"}
    shell = {**KEPT, "LANG": "de_DE.UTF-8", "TERM": "dumb", "TZ": "Pacific/Apia"}
    found = known(shell | {"NO_PROXY": "a.example"})
    assert found == KEPT | {"LANG": "C.UTF-8", "TERM": "xterm", "TZ": "UTC"} | local
    assert known(found) == found


def test_each_test_runs_in_it() -> None:
    assert known(os.environ) == dict(os.environ)
    assert time.tzname[0] == "UTC"
