import traceback
from collections.abc import Mapping
from dataclasses import FrozenInstanceError, dataclass, field
from typing import Any, Literal

import pytest

from providers.base import ProviderConfig
from providers.validation import (
    Count,
    Limit,
    Seconds,
    Secret,
    Temperature,
    ValidationError,
    read,
    shown,
    suggestion,
)

NO_KEY = Secret("")


@dataclass(frozen=True, kw_only=True)
class Engine:
    power: Count
    fuel: Literal["petrol", "diesel", 95] = "petrol"
    warm_up: Seconds = 1.0


@dataclass(frozen=True, kw_only=True)
class Car:
    name: str
    engine: Engine | None = None
    doors: Limit = 4
    heat: Temperature = 0.5
    electric: bool = False
    key: Secret = NO_KEY
    owners: tuple[str, ...] = ()
    trips: tuple[Engine, ...] = ()
    prices: Mapping[str, Count] = field(default_factory=dict)
    spares: Mapping[str, Engine] = field(default_factory=dict)


def car(**values: Any) -> dict[str, Any]:
    return {"name": "Ada", **values}


@pytest.mark.parametrize(
    ("values", "field_name", "value"),
    [
        ({}, "doors", 4),
        ({"engine": None}, "engine", None),
        ({"engine": {"power": 3}}, "engine", Engine(power=3)),
        ({"engine": {"power": 3, "fuel": 95}}, "engine", Engine(power=3, fuel=95)),
        ({"doors": 0}, "doors", 0),
        ({"heat": 0}, "heat", 0.0),
        ({"heat": 2}, "heat", 2.0),
        ({"electric": True}, "electric", True),
        ({"owners": []}, "owners", ()),
        ({"owners": ["a", "b"]}, "owners", ("a", "b")),
        ({"owners": ("a",)}, "owners", ("a",)),
        ({"trips": [{"power": 1}]}, "trips", (Engine(power=1),)),
        ({"prices": {"a": 1}}, "prices", {"a": 1}),
        ({"spares": {"a": {"power": 1}}}, "spares", {"a": Engine(power=1)}),
        ({"key": "k"}, "key", "k"),
    ],
)
def test_a_valid_value_is_accepted(values: dict[str, Any], field_name: str, value: object) -> None:
    found = getattr(read(car(**values), Car), field_name)
    assert found == value
    assert type(found) is type(value) or field_name == "key"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"name": 3}, "car.name: expected a string, got 3"),
        ({"name": None}, "car.name: expected a string, got nothing"),
        ({"name": ["a"]}, "car.name: expected a string, got a list"),
        ({"name": {"a": 1}}, "car.name: expected a string, got a table"),
        ({"doors": "4"}, 'car.doors: expected a whole number, got "4"'),
        ({"doors": 4.0}, "car.doors: expected a whole number, got 4.0"),
        ({"doors": True}, "car.doors: expected a whole number, got true"),
        ({"doors": -1}, "car.doors: expected 0 or more, got -1"),
        ({"heat": "warm"}, 'car.heat: expected a number, got "warm"'),
        ({"heat": False}, "car.heat: expected a number, got false"),
        ({"heat": 2.1}, "car.heat: expected 0 to 2, got 2.1"),
        ({"heat": float("nan")}, "car.heat: expected 0 to 2, got nan"),
        ({"electric": "false"}, 'car.electric: expected true or false, got "false"'),
        ({"electric": 0}, "car.electric: expected true or false, got 0"),
        ({"key": 7}, "car.key: expected a string in quotes"),
        ({"engine": "big"}, 'car.engine: expected a table, got "big"'),
        ({"engine": {}}, "car.engine.power: missing"),
        ({"engine": {"power": 0}}, "car.engine.power: expected 1 or more, got 0"),
        (
            {"engine": {"power": 1, "warm_up": 0}},
            "car.engine.warm_up: expected more than 0, got 0",
        ),
        (
            {"engine": {"power": 1, "warm_up": float("inf")}},
            "car.engine.warm_up: expected more than 0, got inf",
        ),
        (
            {"engine": {"power": 1, "fuel": "tea"}},
            'car.engine.fuel: expected "petrol" or "diesel" or 95, got "tea"',
        ),
        ({"owners": "abc"}, 'car.owners: expected a list, got "abc"'),
        ({"owners": {"a": 1}}, "car.owners: expected a list, got a table"),
        ({"owners": ["a", 3]}, "car.owners[1]: expected a string, got 3"),
        ({"trips": [{"power": 1}, {"power": "x"}]}, "car.trips[1].power: expected a whole number"),
        ({"prices": [1]}, "car.prices: expected a table, got a list"),
        ({"prices": {"b": 0}}, "car.prices.b: expected 1 or more, got 0"),
        ({"spares": {"b": {"powr": 1}}}, "car.spares.b."),
        ({"dors": 3}, 'car.dors: unknown key; did you mean "doors"?'),
        ({"xyz": 3}, "car.xyz: unknown key"),
        ({"engine": {"power": 1, "fule": 1}}, 'car.engine.fule: unknown key; did you mean "fuel"?'),
    ],
)
def test_an_invalid_value_is_reported_with_its_path(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        read(car(**values), Car, "car")
    assert str(caught.value).startswith(message)
    assert str(caught.value) == f"{caught.value.path}: {caught.value.problem}"


@pytest.mark.parametrize("value", [None, 3, "car", ["car"]])
def test_a_record_is_read_from_a_table(value: object) -> None:
    with pytest.raises(ValidationError) as caught:
        read(value, Car, "car")
    assert str(caught.value) == f"car: expected a table, got {shown(value)}"


def test_a_missing_value_is_named() -> None:
    with pytest.raises(ValidationError) as caught:
        read({}, Car)
    assert str(caught.value) == "name: missing"


def test_a_record_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        read(car(), Car).doors = 5  # type: ignore[misc]


@pytest.mark.parametrize("text", ["", "sk-hunter2"])
def test_a_secret_shows_itself_only_when_asked_for(text: str) -> None:
    record = read(car(key=text), Car)
    assert record.key == text
    assert "hunter2" not in repr(record)
    assert bool(record.key) is bool(text)


def test_a_wrong_secret_is_not_in_the_error() -> None:
    values = car(key=["sk-", "hunter2"], owners="a")
    with pytest.raises(ValidationError) as caught:
        read(values, Car)
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "true"),
        (None, "nothing"),
        (3, "3"),
        ("a", '"a"'),
        ({}, "a table"),
        ([], "a list"),
        ("x" * 100, '"' + "x" * 56 + "..."),
    ],
)
def test_a_value_is_shown_as_a_person_would_write_it(value: object, text: str) -> None:
    assert shown(value) == text


@pytest.mark.parametrize(
    ("name", "text"),
    [("timout", '; did you mean "timeout"?'), ("zzz", ""), ("", "")],
)
def test_a_near_name_is_suggested(name: str, text: str) -> None:
    assert suggestion(name, ["timeout", "temperature"]) == text


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("timeout", 0),
        ("timeout", "soon"),
        ("first_content_timeout", -1),
        ("max_retries", -1),
        ("max_concurrency", 0),
        ("temperature", 2.5),
        ("max_tokens", 0),
        ("model_context_tokens", {"m": 0}),
        ("default_model", None),
    ],
)
def test_every_setting_of_a_provider_has_its_bounds(key: str, value: object) -> None:
    with pytest.raises(ValidationError) as caught:
        read({key: value}, ProviderConfig, "providers.x")
    assert caught.value.path.startswith(f"providers.x.{key}")


def test_a_provider_needs_no_settings() -> None:
    assert read({}, ProviderConfig) == ProviderConfig()
