"""The table of sentences is whole: nothing is said beside it, in the code, the page or German."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.config.loading import parse
from engine.texts import message_faults, model_sentences, refusals, sentences
from engine.texts.sentence import Sentence
from engine.texts.table import TABLE
from engine.texts.texts import Texts, as_toml
from tests import texts_page
from tests.support.said import MARKED

ENGINE = Path(__file__).parents[2] / "engine"
# These talk to operators and to programs. All other modules may make outcomes.
SILENT = {
    *("app.py", "cli", "client", "config", "daemon", "interfaces", "monitoring", "operations"),
    *("api/library", "texts", "traffic/chat_client.py", "traffic/connect_errors.py"),
    *("traffic/connection.py", "traffic/connection_reports.py", "traffic/engine_info.py"),
    *("traffic/embedded", "traffic/login.py"),
    *("traffic/examination.py", "traffic/micro_service.py", "traffic/other_engines.py"),
    *("traffic/permissions.py", "accounting/price_list.py", "accounting/price_sources.py"),
}
SPEAKING = {"config/personas.py", "operations/erasure.py"}
# Calls whose texts no room hears: the log, names of tasks, errors of programs and operators.
# ValidationError is about a field: it is the {error} of "field_invalid".
ELSEWHERE = {
    *("debug", "info", "warning", "error", "exception", "log", "keep", "ValidationError"),
    *("AdminRequestDeferred", "AdminRequestRefused", "AssertionError", "AttributeError"),
    *("CannotStart", "IndexError", "RuntimeError", "SmallerWindow", "TypeError", "UnknownForm"),
    *("ValueError",),
}
# Texts that are no sentences of the engine's own, by the constant that holds them.
NO_SENTENCES = {"INTRODUCTION", "_PROMPTS", "OTHER_VERSION", "READERS_MESSAGE", "problem"}

SENTENCE = re.compile(r"\W*\w+[,:]?( \S+){2,}")


def said_in(source: Path) -> Iterator[str]:
    """The texts of a module that read like a sentence, and may be said in a room."""
    tree = ast.parse(source.read_text())
    left_out: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr):
            left_out.add(node.value)  # a docstring
        called = node.func if isinstance(node, ast.Call) else None
        name = getattr(called, "attr", None) or getattr(called, "id", "")
        targets = getattr(node, "targets", [])
        held = {target.id for target in targets if isinstance(target, ast.Name)}
        if name in ELSEWHERE or held & NO_SENTENCES:
            left_out.update(ast.walk(node))
    for node in ast.walk(tree):
        text = node.value if isinstance(node, ast.Constant) else None
        if isinstance(text, str) and node not in left_out and SENTENCE.match(text):
            yield f"{source.name}: {text}"


def test_no_sentence_is_said_beside_the_table() -> None:
    found: list[str] = []
    for file in sorted(ENGINE.rglob("*.py")):
        place = file.relative_to(ENGINE)
        around = {str(place), *map(str, place.parents)}
        if str(place) in SPEAKING or not around & SILENT:
            found += said_in(file)
    assert found == []


@pytest.mark.parametrize(
    "code",
    [
        'def f(request):\n    return request.failure("busy", "No room here.")',
        'def f(name):\n    text = f"The answer to {name} was stopped."\n    return text',
        'raise Busy("This channel is busy.")',
        'HELP = "Type this and that."',
    ],
)
def test_a_sentence_beside_the_table_is_found(tmp_path: Path, code: str) -> None:
    file = tmp_path / "said.py"
    file.write_text(code)
    assert len(list(said_in(file))) == 1


def test_a_sentence_is_named_by_its_key_and_its_form_for_one_by_the_same() -> None:
    modules = (sentences, model_sentences, refusals, message_faults)
    for name, sentence in (pair for module in modules for pair in vars(module).items()):
        if isinstance(sentence, Sentence):
            assert sentence.key == name.lower()
            assert sentence.one is None or sentence.one.key == f"{sentence.key}_one"


def test_no_sentence_begins_with_a_command_or_has_two_lines() -> None:
    for sentence in TABLE.values():
        assert not sentence.english.startswith("!")
        assert "\n" not in sentence.english
        assert not set("*_#|") & set(sentence.english) - {"_"}


def test_the_page_has_the_table() -> None:
    page = texts_page.PAGE.read_text()
    assert page.split(texts_page.BEGIN)[1].split(texts_page.END)[0].strip() == texts_page.table()


def test_the_german_of_the_page_is_whole_and_is_taken(tmp_path: Path) -> None:
    page = texts_page.PAGE.read_text()
    (block,) = re.findall(r"<!-- tested: german -->\n```toml\n(.*?)```", page, re.DOTALL)
    values = tomllib.loads(block)
    assert list(values["texts"]["de"]) == list(TABLE)
    assert parse(values, tmp_path).texts == values["texts"]
    german = Texts(values["texts"], lambda channel: "de" if channel == "#berlin" else "")
    for key, sentence in TABLE.items():
        said = sentence(**dict.fromkeys([*sentence.needed, *sentence.may], "x"))
        assert german.say("#berlin", said) != german.say("#lobby", said), key


@pytest.mark.parametrize("language", ["", "marked"])
def test_the_table_as_toml_is_what_it_was_made_from(tmp_path: Path, language: str) -> None:
    configured = {"stopped": 'A "word"\n\\ \x7f \x1b é 🙂', "marked": dict(MARKED)}
    values = tomllib.loads(as_toml(configured, language))["texts"]
    assert parse({"texts": values}, tmp_path).texts == values
    texts = values[language] if language else values
    assert list(texts) == list(TABLE)
    expected = (
        MARKED
        if language
        else {k: each.english for k, each in TABLE.items()} | {"stopped": configured["stopped"]}
    )
    assert texts == expected
