"""Turns a mapping into a record of a class, or raises an error that says where it is wrong.

cattrs converts types by default ("false" becomes True, 3 becomes "3"); here no value is converted.
"""

from __future__ import annotations

import builtins
import difflib
import math
from collections import abc
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from cattrs import (
    AttributeValidationNote,
    BaseValidationError,
    Converter,
    ForbiddenExtraKeysError,
    IterableValidationNote,
)
from cattrs.gen import make_dict_structure_fn

T = TypeVar("T")
Hook = Callable[[Any, Any], Any]
MakeHook = Callable[[Any, Converter], Hook]


class ValidationError(ValueError):
    """A value is missing, unknown or wrong.

    path: where, with dots ("providers.openai.timeout"). problem: what was expected.
    """

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"{path}: {problem}" if path else problem)
        self.path = path
        self.problem = problem


class Secret(str):
    """A string whose repr hides its value, so that logs and tracebacks do not show it."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "Secret('***')" if self else "Secret('')"


@dataclass(frozen=True, slots=True)
class Range:
    """The bounds of a number, for use in `Annotated`: `least` and `most` are allowed values."""

    least: float | None = None
    most: float | None = None
    above: float | None = None

    def expectation(self) -> str:
        if self.above is not None:
            return f"more than {self.above:g}"
        if self.most is None:
            return f"{self.least:g} or more"
        return f"{self.least:g} to {self.most:g}"

    def holds(self, number: float) -> bool:
        return (
            math.isfinite(number)
            and (self.above is None or number > self.above)
            and (self.least is None or number >= self.least)
            and (self.most is None or number <= self.most)
        )


Seconds = Annotated[float, Range(above=0)]
Count = Annotated[int, Range(least=1)]
Limit = Annotated[int, Range(least=0)]
Temperature = Annotated[float, Range(least=0, most=2)]


def read(value: object, cls: type[T], path: str = "") -> T:
    """Return `value` as a record of class `cls`; ValidationError names the first problem."""
    try:
        return _converter.structure(value, cls)
    except BaseValidationError as exc:
        raise ValidationError(*next(_problems(exc, path))) from None
    except ValidationError as exc:
        raise ValidationError(_join(path, exc.path), exc.problem) from None
    except _Unexpected as exc:
        raise ValidationError(path, str(exc)) from None


def read_known(value: Mapping[str, Any], cls: type[T]) -> T:
    """Return `value` as a record of class `cls`; ignore keys that the class does not have.

    For messages of other programs: faster than `read`, which is used only to explain an error.
    """
    try:
        return _fast_converter.structure(value, cls)
    except (KeyError, TypeError, ValueError):
        known = {field.name for field in fields(cls)}  # type: ignore[arg-type]
        return read({key: value[key] for key in known & value.keys()}, cls)


class _Unexpected(ValueError):
    def __init__(self, expected: str, got: object) -> None:
        super().__init__(f"expected {expected}, got {shown(got)}")


def shown(value: object) -> str:
    """Return a value as a person would write it, in at most 60 characters."""
    if isinstance(value, bool):
        return str(value).lower()
    if value is None:
        return "nothing"
    if isinstance(value, Mapping):
        return "a table"
    if isinstance(value, (list, tuple)):
        return "a list"
    text = f'"{value}"' if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else text[:57] + "..."


def suggestion(name: str, known: list[str]) -> str:
    """Return '; did you mean "timeout"?', or "" if no known name is similar."""
    near = difflib.get_close_matches(name, known, n=1)
    return f'; did you mean "{near[0]}"?' if near else ""


def _problems(exc: BaseException, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(exc, BaseValidationError):
        # Unknown keys first: a misspelt key is unknown, and its right name is missing.
        unknown = (each for each in exc.exceptions if isinstance(each, ForbiddenExtraKeysError))
        others = (each for each in exc.exceptions if not isinstance(each, ForbiddenExtraKeysError))
        for inner in (*unknown, *others):
            yield from _problems(inner, path + _step(inner))
    elif isinstance(exc, ForbiddenExtraKeysError):
        names = sorted(exc.extra_fields)
        known = [field.name for field in fields(exc.cl)]
        yield _join(path, names[0]), "unknown key" + suggestion(names[0], known)
    elif isinstance(exc, KeyError):
        yield _join(path, str(exc.args[0])), "missing"
    elif isinstance(exc, ValidationError):
        yield _join(path, exc.path), exc.problem
    else:
        yield path.lstrip("."), str(exc)


def _step(exc: BaseException) -> str:
    for note in getattr(exc, "__notes__", ()):
        if isinstance(note, AttributeValidationNote) and not isinstance(exc, KeyError):
            return f".{note.name}"
        if isinstance(note, IterableValidationNote):
            return f".{note.index}" if isinstance(note.index, str) else f"[{note.index}]"
    return ""


def _join(path: str, name: str) -> str:
    return f"{path}.{name}".strip(".")


def _exactly(expected: str, *types: type) -> Hook:
    def hook(value: Any, _: Any) -> Any:
        if type(value) not in types:
            raise _Unexpected(expected, value)
        return value

    return hook


def _number(value: Any, _: Any) -> float:
    if type(value) not in (int, float):
        raise _Unexpected("a number", value)
    return float(value)


def _secret(value: Any, _: Any) -> Secret:
    if not isinstance(value, str):
        raise ValidationError("", "expected a string in quotes")  # the value may be the secret
    return Secret(value)


def _ranged(value: Any, annotation: Any) -> Any:
    inner, *metadata = get_args(annotation)
    number = _converter.structure(value, inner)
    for bound in metadata:
        if isinstance(bound, Range) and not bound.holds(number):
            raise _Unexpected(bound.expectation(), value)
    return number


def _choice(literal: Any) -> Hook:
    choices = get_args(literal)
    types = {type(choice) for choice in choices}

    def hook(value: Any, _: Any) -> Any:
        if value not in choices or type(value) not in types:
            raise _Unexpected(" or ".join(shown(choice) for choice in choices), value)
        return value

    return hook


def _is_optional(annotation: Any) -> bool:
    return get_origin(annotation) is UnionType and get_args(annotation)[1:] == (NoneType,)


def _optional(annotation: Any, converter: Converter) -> Hook:
    # The hook of cattrs examines the annotation again for each value.
    inner = get_args(annotation)[0]
    structure = converter.get_structure_hook(inner)
    return lambda value, _: None if value is None else structure(value, inner)


def _lenient_record(cls: Any, converter: Converter) -> Hook:
    containers = _containers(_resolve(cls))
    structure = make_dict_structure_fn(cls, converter, _cattrs_detailed_validation=False)
    if not containers:
        return structure

    def hook(value: Any, _: Any) -> Any:
        for name, (types, expected) in containers.items():
            if name in value and not isinstance(value[name], types):
                raise _Unexpected(expected, value[name])
        return structure(value, cls)

    return hook


def _resolve(cls: Any) -> dict[str, Any]:
    # cattrs drops `Annotated`, which holds our ranges, when it resolves postponed annotations.
    hints = get_type_hints(cls, include_extras=True)
    for field in fields(cls):
        field.type = hints[field.name]
    return hints


def _strict_record(cls: Any, converter: Converter) -> Hook:
    hints = _resolve(cls)
    structure = make_dict_structure_fn(cls, converter, _cattrs_forbid_extra_keys=True)
    containers = _containers(hints)

    def hook(value: Any, _: Any) -> Any:
        if not isinstance(value, Mapping):
            raise _Unexpected("a table", value)
        for name, (types, expected) in containers.items():
            if name in value and not isinstance(value[name], types):
                raise ValidationError(name, f"expected {expected}, got {shown(value[name])}")
        return structure(value, cls)

    return hook


def _is(form: Any) -> Callable[[Any], bool]:
    return lambda annotation: get_origin(annotation) is form


def _containers(hints: Mapping[str, Any]) -> dict[str, tuple[tuple[type, ...], str]]:
    """Return the types that fields of lists and tables take, and what is expected there."""
    found: dict[str, tuple[tuple[type, ...], str]] = {}
    for name, hint in hints.items():
        may_be_none = (NoneType,) * _is_optional(hint)
        # cattrs would accept "abc" as a list of letters, and a table as a list of its keys.
        match get_origin(get_args(hint)[0] if may_be_none else hint):
            case builtins.tuple:
                found[name] = (list, tuple, *may_be_none), "a list"
            case abc.Mapping:
                found[name] = (abc.Mapping, *may_be_none), "a table"
    return found


def _new_converter(make_record: MakeHook, *, detailed: bool) -> Converter:
    converter = Converter(detailed_validation=detailed)
    converter.register_structure_hook_factory(is_dataclass, lambda cls: make_record(cls, converter))
    converter.register_structure_hook(str, _exactly("a string", str))
    converter.register_structure_hook(int, _exactly("a whole number", int))
    converter.register_structure_hook(bool, _exactly("true or false", bool))
    converter.register_structure_hook(float, _number)
    converter.register_structure_hook(Secret, _secret)
    converter.register_structure_hook_factory(_is(Literal), _choice)
    converter.register_structure_hook_factory(_is_optional, lambda hint: _optional(hint, converter))
    converter.register_structure_hook_func(_is(Annotated), _ranged)
    return converter


_converter = _new_converter(_strict_record, detailed=True)
_fast_converter = _new_converter(_lenient_record, detailed=False)
