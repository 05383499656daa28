"""Imports point one way, a class name has one meaning, and the documents name real places."""

from __future__ import annotations

import ast
import functools
import importlib.metadata
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OURS = ("engine", "providers", "storage")
FILES = [file for package in OURS for file in sorted((ROOT / package).rglob("*.py"))]
# The rooms of engine/, from the bottom: what any of them may import lies before it.
WINGS = (
    "texts",
    "errors",
    "clock",
    "version",
    "config",
    "commands",
    "accounting",
    "admission",
    "safety",
    "client",
    "traffic",
    "answering",
    "actors",
    "operations",
    "engine",
    "monitoring",
    "api",
    "app",
    "daemon",
    "interfaces",
    "cli",
)


@functools.cache
def nodes(file: Path) -> list[ast.AST]:
    return list(ast.walk(ast.parse(file.read_text())))


def imports(file: Path) -> Iterator[str]:
    for node in nodes(file):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def who_imports(package: str) -> set[str]:
    return {
        str(file.relative_to(ROOT))
        for file in FILES
        if any(name == package or name.startswith(f"{package}.") for name in imports(file))
    }


@pytest.mark.parametrize(
    ("package", "allowed"),
    [
        ("nats", r"engine/(traffic|client)/(\w+/)?\w+\.py"),
        (
            "aiohttp",
            r"(providers/http/(session|reply|transport_errors)|engine/monitoring/http)\.py",
        ),
        ("sqlite_utils", r"storage/(\w+/)?\w+\.py"),
        ("sqlite3", r"storage/(\w+/)?\w+\.py"),
        ("xllamacpp", r"providers/local/server\.py"),
        ("click", r"engine/cli/\w+\.py"),
        ("prompt_toolkit", r"engine/interfaces/terminal/(line_editor|typed_lines)\.py"),
        ("wcwidth", r"engine/(interfaces/terminal/word_wrap|client/parts)\.py"),
        ("markdown_it", r"engine/client/plain_text\.py"),
        ("regex", r"engine/(config/safety_checks|safety/deny_list)\.py"),
        ("irc", r"engine/interfaces/bots/irc_\w+\.py"),
        ("datasette", r"engine/interfaces/audit/\w+\.py"),
        ("uvicorn", r"engine/interfaces/audit/server\.py"),
        ("tomlkit", r"engine/config/setup/\w+\.py"),
        ("opentelemetry", r"engine/monitoring/spans\.py"),
        ("matplotlib", r"engine/interfaces/reports/plot\.py"),
        ("genai_prices", r"engine/accounting/price_list\.py"),
        ("engine", r"engine/.*"),
        ("storage", r"(storage|engine)/.*"),
        ("providers", r"(providers|engine)/.*"),
        (
            "engine.traffic",
            r"engine/(traffic/(\w+/)?\w+|monitoring/(observation|nats_health)|app|daemon/run|operations/check|interfaces/terminal/(service_client|nats_question)|interfaces/demo/demo)\.py",
        ),
    ],
)
def test_imports_point_one_way(package: str, allowed: str) -> None:
    strangers = {file for file in who_imports(package) if not re.fullmatch(allowed, file)}
    assert not strangers


def wing_of(module: str) -> str | None:
    """The wing of a module of engine/; None for the package itself, which only re-exports."""
    _, _, rest = module.partition(".")
    return rest.partition(".")[0] or None


def engine_imports(file: Path) -> Iterator[str]:
    """The modules of engine/ that a file imports, also by `from engine import module`."""
    for node in nodes(file):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("engine."))
        elif isinstance(node, ast.ImportFrom) and node.module == "engine":
            yield from (f"engine.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("engine."):
            yield node.module or ""


def test_every_part_of_engine_is_a_wing_with_a_place_in_the_order() -> None:
    files = [file.relative_to(ROOT / "engine") for file in (ROOT / "engine").rglob("*.py")]
    parts = {file.parts[0].removesuffix(".py") for file in files} - {"__init__"}
    assert parts == set(WINGS)


@pytest.mark.parametrize("wing", WINGS)
def test_no_import_runs_back_up_from_a_wing(wing: str) -> None:
    root = ROOT / "engine" / wing
    files = sorted(root.rglob("*.py")) if root.is_dir() else [root.with_suffix(".py")]
    assert files
    above = WINGS[WINGS.index(wing) + 1 :]
    upwards = {
        (str(file.relative_to(ROOT)), module)
        for file in files
        for module in engine_imports(file)
        if wing_of(module) in above
    }
    assert not upwards


def test_the_client_library_uses_nothing_of_ours_but_commands_and_errors() -> None:
    used = {
        module.removeprefix("engine.").partition(".")[0]
        for file in (ROOT / "engine" / "client").rglob("*.py")
        for module in imports(file)
        if module.partition(".")[0] in OURS
    }
    assert used <= {"client", "commands", "errors"}


def test_a_public_class_name_has_one_meaning() -> None:
    homes: dict[str, list[str]] = defaultdict(list)
    for file in FILES:
        for node in nodes(file):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes[node.name].append(f"{file.relative_to(ROOT)}:{node.lineno}")
    assert len(homes) > 200
    assert not {name: places for name, places in homes.items() if len(places) > 1}


@pytest.mark.parametrize("file", ["engine/commands", "engine/actors/conversation.py"])
def test_commands_and_the_conversation_do_no_io(file: str) -> None:
    path = ROOT / file
    for source in path.rglob("*.py") if path.is_dir() else [path]:
        names = {
            alias.name
            for node in ast.parse(source.read_text()).body  # not what only a type checker imports
            if isinstance(node, ast.Import)
            for alias in node.names
        }
        assert not {"asyncio", "os", "socket", "pathlib", "logging"} & names, source


@pytest.mark.parametrize("package", OURS)
def test_no_other_distribution_has_a_package_of_this_name(package: str) -> None:
    distributions = importlib.metadata.packages_distributions().get(package, [])
    assert set(distributions) <= {"rosey-llm"}


def test_the_ten_steps_of_a_message_name_real_places() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    steps = re.findall(r"^\| \d+ .*$", text, re.MULTILINE)
    assert len(steps) == 10
    for step in steps:
        _, _, where, verbs, _ = step.split("|")
        files = re.findall(r"`([^`]+)`", where)
        sources = "".join(
            source.read_text() for file in files for source in sorted(ROOT.glob(file))
        )
        assert files, step
        for verb in re.findall(r"`([^`]+)`", verbs):
            assert re.search(rf"def {verb}\b", sources), (step, verb)


DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_every_place_in_the_code_that_a_document_names_is_there(document: Path) -> None:
    for place in re.findall(
        r"`((?:engine|providers|storage|tests)/[\w./*-]*)`", document.read_text()
    ):
        assert list(ROOT.glob(place.rstrip("/"))), place


@pytest.mark.parametrize("package", OURS)
def test_every_package_has_types(package: str) -> None:
    assert (ROOT / package / "py.typed").exists()


def test_no_statement_has_numbered_placeholders() -> None:
    """Python 3.12 warns of them, and 3.14 refuses them with a sequence of values."""
    strings = (
        node.value for file in FILES for node in nodes(file) if isinstance(node, ast.Constant)
    )
    assert [each for each in strings if re.search(r"(?<!\[)\?\d", str(each))] == []


def test_no_file_names_a_path_or_a_tool_of_the_machine_it_was_made_on() -> None:
    for file in [*FILES, ROOT / "README.md", ROOT / "constraints.txt"]:
        assert not re.search(r"(^|[^\w.])/(work|root)/|https?://pypi", file.read_text()), file


# The private members of other classes that tests may reach for, with the reason. Everything else is
# public: `inspect()` of `App` and of `LLMService` returns their parts.
REACHES = {
    # nats-py has no public way to break its connection, or to see what it thinks of TLS.
    ("tests/traffic/test_connection.py", "_process_err"),
    ("tests/traffic/test_publisher.py", "_process_op_err"),
    ("tests/traffic/test_going_away.py", "_transport"),
    ("tests/traffic/test_going_away.py", "_error_cb"),
    # An attempt to connect ends by itself, and only its client shows when.
    ("tests/traffic/test_logins.py", "_connecting"),
    ("tests/traffic/test_nats_internals.py", "_over_ssl"),
    # A property test puts a disk of its own below the engine, and ends the engine as a kill does.
    ("tests/properties/life.py", "_jobs"),
    ("tests/properties/life.py", "_thread"),
    # It compares them with the model; no part of the engine may read them.
    ("tests/properties/world.py", "_commands_bytes"),
    ("tests/properties/world.py", "_accounts"),
    ("tests/properties/world.py", "_cache"),
    ("tests/properties/world.py", "_conversation"),
    # A chain that was replaced 50 times must keep nothing; only its memory can show that.
    ("tests/providers/test_succession.py", "_links"),
    ("tests/providers/test_succession.py", "_lifetimes"),
    ("tests/providers/test_succession.py", "_chains"),
    ("tests/providers/test_succession.py", "_closing"),
    # The key of the embedded model is kept secret, and closing the input belongs to its process.
    ("tests/support/embedded_model.py", "_server"),
    ("tests/providers/test_local_marks.py", "_server"),
    ("tests/providers/test_local_process.py", "_child"),
    # What an engine with another login would hear: its listener alone.
    ("tests/traffic/test_nats_examination.py", "_listener"),
    # The embedded model's own server counts tokens; the address of its API is no business of users.
    ("tests/engine/test_token_rates.py", "_server"),
    ("tests/providers/test_proxy.py", "_api"),
    # What a model refuses is remembered up to a bound; the wire shows only the newest.
    ("tests/providers/test_refusals.py", "_refusals"),
    ("tests/providers/test_refusals.py", "_by_model"),
    # One link of a chain, and how long its circuit rests.
    ("tests/providers/test_misconfiguration.py", "_links"),
    ("tests/support/service_harness.py", "_links"),
    ("tests/support/service_harness.py", "_breaker"),
    ("tests/support/service_harness.py", "_cooldown_s"),
}
# These begin with "_" and are documented: of named tuples, of `os` and of `sys`.
DOCUMENTED = {"_replace", "_fields", "_asdict", "_exit", "_getframe"}
# These break the engine on purpose, or stand in for parts of it.
BREAKING = ("tests/chaos/", "tests/bench/", "tests/properties/broken.py")


def private_reaches(file: Path) -> Iterator[str]:
    """The private attributes of other classes that a file names."""
    own = {
        node.name
        for node in nodes(file)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    }
    for node in nodes(file):
        if not isinstance(node, ast.Attribute) or not re.match(r"_[a-z]", node.attr):
            continue
        of_itself = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
        of_its_base = isinstance(node.value, ast.Call) and ast.unparse(node.value) == "super()"
        if not (of_itself or of_its_base or node.attr in DOCUMENTED | own):
            yield node.attr


def test_tests_reach_for_private_members_only_with_a_reason() -> None:
    reaches = {
        (name, attribute)
        for file in sorted((ROOT / "tests").rglob("*.py"))
        if not (name := str(file.relative_to(ROOT))).startswith(BREAKING)
        for attribute in private_reaches(file)
    }
    assert reaches - REACHES == set(), "Use app.inspect() or service.inspect()."
    assert REACHES - reaches == set(), "This is reached for no more: take it out."
