"""What `[nats]` may say about the bots on the embedded server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine.config.loading import parse
from providers.validation import ValidationError


@pytest.mark.parametrize(
    ("nats", "problem"),
    [
        ({"allow": [">"]}, "nats.allow[0]: expected a subject whose first word has no wildcard"),
        ({"allow": ["a", "*.b"]}, "nats.allow[1]: expected a subject whose first word"),
        ({"allow": ["a b"]}, "nats.allow[0]: expected a subject"),
        ({"allow": ["$SYS.>"]}, 'nats.allow[0]: "$SYS.>" belongs to the server: no setting opens'),
        ({"allow": ["$JS.API.>"]}, "jetstream = true in [[nats.users]] opens it"),
        ({"allow": ["_INBOX.>"]}, "nats.allow[0]: reply subjects need not be named"),
        ({"jetstream_max_bytes": 0}, "nats.jetstream_max_bytes: expected 1 or more, got 0"),
        ({"users": [{"name": "a"}]}, "nats.users[0].password: missing"),
        ({"users": [{"name": "a", "password": 7}]}, "nats.users[0].password: expected a string"),
        (
            {"users": [{"name": "a b", "password": "s3cret"}]},
            "nats.users[0].name: expected letters",
        ),
        ({"users": [{"name": "engine", "password": "s3cret"}]}, '"engine" is the service\'s own'),
        (
            {"users": [{"name": "a", "password": "s3cret\n"}]},
            "nats.users[0].password: expected one",
        ),
        ({"users": [{"name": "a", "password": "s3cret"}] * 2}, 'nats.users[0].name: "a" is used'),
        ({"users": [{"name": "a", "pasword": "s3cret"}]}, 'unknown key; did you mean "password"?'),
    ],
)
def test_a_wrong_setting_is_named_without_a_password(
    tmp_path: Path, nats: dict[str, Any], problem: str
) -> None:
    with pytest.raises(ValidationError) as refused:
        parse({"nats": nats}, tmp_path)
    assert problem in str(refused.value)
    assert "s3cret" not in str(refused.value)


def test_no_password_is_shown_with_the_settings(tmp_path: Path) -> None:
    users = [{"name": "irc", "password": "s3cret"}]
    settings = parse({"nats": {"users": users}}, tmp_path)
    assert str(settings.nats.users[0].password) == "s3cret"
    assert "s3cret" not in repr(settings)
