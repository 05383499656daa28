"""Tests of the README and its documents: what they name exists, and the examples run."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from engine.config.channel_rules import ChannelRule
from engine.config.loading import parse
from engine.config.personas import Persona
from engine.config.settings import Price, Settings
from providers import registry
from tests.fakes.llm_server import Behaviour, LLMServer
from tests.support.command_line import COMMAND
from tests.support.nats_servers import Server, service
from tests.support.patience import WAIT_S
from tests.support.service_harness import House

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def document(name: str) -> str:
    return (ROOT / "docs" / name).read_text()


EXAMPLES = "".join(file.read_text() for file in (ROOT / "README.md", *ROOT.glob("docs/*.md")))


def example(name: str) -> str:
    """Return the program of this name, of whichever document."""
    (found,) = re.findall(rf"<!-- tested: {name} -->\n```python\n(.*?)```", EXAMPLES, re.DOTALL)
    return str(found)


async def start(source: str, folder: Path, *arguments: str) -> asyncio.subprocess.Process:
    script = folder / "example.py"
    script.write_text(source)
    return await asyncio.create_subprocess_exec(
        sys.executable,
        str(script),
        *arguments,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


async def run(source: str, folder: Path, *arguments: str) -> str:
    process = await start(source, folder, *arguments)
    async with asyncio.timeout(WAIT_S):
        printed, errors = await process.communicate()
    assert (process.returncode, errors) == (0, b"")
    return printed.decode()


async def test_the_bot_on_the_wire_gets_its_answer(house: House, tmp_path: Path) -> None:
    await house.open()
    printed = await run(example("wire bot"), tmp_path, "What is Python?")
    assert printed == "You said: What is Python?\n"
    assert re.fullmatch("[0-9a-f]{32}", house.bot.received_outcomes()[0]["request_id"])


async def test_the_bot_on_the_wire_keeps_line_breaks_and_spaces(
    house: House, tmp_path: Path
) -> None:
    await house.open()
    question = "What does this do?\n\n    for x in y:\n        pass"
    assert await run(example("wire bot"), tmp_path, question) == f"You said: {question}\n"


async def test_the_bot_on_the_wire_asks_again_with_the_same_id(
    house: House, tmp_path: Path
) -> None:
    await house.open()
    hold = asyncio.Event()
    house.llm.plan(Behaviour(hold=hold))
    assert "timeout=60)" in example("wire bot")
    impatient = example("wire bot").replace("timeout=60)", "timeout=1)")
    asking = asyncio.create_task(run(impatient, tmp_path, "What is Java?"))
    await house.llm.wait_for_requests(1)
    async with asyncio.timeout(WAIT_S):
        while len(house.rows("SELECT subject FROM reply")) < 2:  # noqa: ASYNC110 -- a file
            await asyncio.sleep(0.05)
    hold.set()
    assert await asking == "You said: What is Java?\n"
    assert len(house.llm.prompts) == 1


async def failed(source: str, folder: Path) -> str:
    process = await start(source, folder, "Hello")
    async with asyncio.timeout(WAIT_S):
        printed, errors = await process.communicate()
    assert (process.returncode, printed) == (1, b"")
    return errors.decode()


def written(folder: Path, url: str) -> None:
    """Write the address as a service of this folder does."""
    file = folder / "data" / "nats" / "url"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(url)


NOBODY = "Nobody listens there. Start the service, for example with: make run\n"


@pytest.mark.process
@pytest.mark.parametrize("bot", ["wire bot", "streaming bot"])
async def test_a_documented_bot_says_in_one_line_that_nobody_listens(
    tmp_path: Path, bot: str
) -> None:
    source = example(bot)
    source, changed = re.subn(r"reconnect_attempts=\d+", "reconnect_attempts=2", source)
    assert changed
    assert await failed(source, tmp_path) == NOBODY  # no service was ever started here
    written(tmp_path, "nats://127.0.0.1:9")
    assert await failed(source, tmp_path) == NOBODY
    async with Server(tmp_path, "") as server:  # a server, but no engine
        written(tmp_path, server.url)
        assert await failed(source, tmp_path) == NOBODY


async def test_the_bot_of_the_readme_gets_its_answer(house: House, tmp_path: Path) -> None:
    await house.open()
    assert await run(example("bot"), tmp_path, "What is Python?") == "You said: What is Python?\n"
    house.llm.plan(Behaviour(status=500))
    assert "500" in await failed(example("bot"), tmp_path)


@pytest.mark.process
async def test_the_bot_of_the_readme_waits_for_a_service_and_says_so(
    house: House, tmp_path: Path
) -> None:
    assert "Start the service" in await failed(example("bot"), tmp_path)
    async with Server(tmp_path, "") as server:
        written(tmp_path, server.url)
        process = await start(example("bot"), tmp_path, "Hello")
        assert process.stderr is not None
        async with asyncio.timeout(WAIT_S):
            said = await process.stderr.readline()
        assert said.decode().startswith("Nobody listens on llm.request: start the service")
        async with service(house, server), asyncio.timeout(WAIT_S):
            printed, errors = await process.communicate()
    assert (printed, errors) == (b"You said: Hello\n", b"")


async def test_the_bot_that_streams_prints_an_answer_while_it_grows(
    house: House, tmp_path: Path
) -> None:
    await house.open()
    hold = asyncio.Event()
    house.llm.plan(Behaviour(text="one two three four", hold_after=2, hold=hold))
    source = example("streaming bot")
    process = await start(source, tmp_path, "Count.")
    assert process.stdout is not None
    async with asyncio.timeout(WAIT_S):
        begun = await process.stdout.readuntil(b"one")
        hold.set()
        printed, errors = await process.communicate()
    assert (begun + printed, errors) == (b"one two three four\n", b"")


async def test_the_bot_of_the_client_library_finds_the_service_of_its_folder(
    house: House, tmp_path: Path
) -> None:
    await house.open()
    printed = await run(example("client"), tmp_path)
    assert printed == "You said: Hello\nYou said: Tell me a story"


async def test_the_bot_with_a_speaker_shows_the_whole_answer(house: House, tmp_path: Path) -> None:
    await house.open()
    printed = await run(example("speaker"), tmp_path)
    assert printed.splitlines()[-1] == "discord/42 You said: Hello"


async def test_the_bot_that_streams_shows_an_error(house: House, tmp_path: Path) -> None:
    await house.open()
    house.llm.plan(Behaviour(status=500))
    source = example("streaming bot")
    assert "500" in await run(source, tmp_path, "Hello")


async def test_the_bot_on_the_wire_ignores_answers_to_others(house: House, tmp_path: Path) -> None:
    await house.open()
    hold = asyncio.Event()
    house.llm.plan(Behaviour(hold=hold))
    asking = asyncio.create_task(run(example("wire bot"), tmp_path, "What is Java?"))
    await house.llm.wait_for_requests(1)
    assert (await house.bot.ask("Will it rain?", "#other"))["content"] == "You said: Will it rain?"
    await house.bot.request(channel_id="#other")  # lacks a message
    await house.bot.outcomes(2)
    hold.set()
    assert await asking == "You said: What is Java?\n"


def test_the_documented_bots_are_short() -> None:
    for name, limit in (("bot", 15), ("wire bot", 32)):
        code = [line for line in example(name).splitlines() if line.strip()]
        assert len(code) <= limit, name


def with_ollama_at(llm: LLMServer, source: str) -> str:
    """Let an example ask this server."""
    provider = f"OllamaProvider({{'base_url': '{llm.url}', 'max_retries': 0}})"
    return source.replace("LLMService(", f"LLMService({provider}, ").replace(
        "LLMService\n", "LLMService, OllamaProvider\n", 1
    )


@pytest.mark.process
async def test_the_library_example_of_the_readme_runs(tmp_path: Path, llm: LLMServer) -> None:
    assert await run(with_ollama_at(llm, example("library")), tmp_path) == "You said: Hello\n"
    assert (tmp_path / "chat.db").exists()


@pytest.mark.process
async def test_the_example_of_an_answer_in_pieces_runs(tmp_path: Path, llm: LLMServer) -> None:
    source = with_ollama_at(llm, example("stream"))
    shown = await run(source, tmp_path)
    assert shown == "You said: A poem on rain, please.\n(llama3.2, stop)\n"
    assert llm.prompts[0][0]["content"] == "You are Rosey, a poet."
    llm.plan(Behaviour(status=500))
    assert (await run(source, tmp_path)).startswith("\nprovider_unavailable: ")


@pytest.mark.process
def test_the_provider_of_the_readme_is_one_file_and_one_line(tmp_path: Path) -> None:
    folder = tmp_path / "bot"
    folder.mkdir()
    (folder / "shouting_provider.py").write_text(example("provider"))
    line = 'kind = "shouting_provider:ShoutingProvider"'
    section = next(
        each for each in re.findall(r"```toml\n(.*?)```", README, re.DOTALL) if line in each
    )
    (folder / "rosey-llm.toml").write_text(f"{section}[nats]\nport = 0\n[http]\nport = 0\n")
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [*(COMMAND, "chat", "--config", "bot/rosey-llm.toml")],
        cwd=tmp_path,
        env=environment,
        input="hello",
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("HELLO\n", "")


@pytest.mark.process
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_documented_completion_is_a_script_of_that_shell(shell: str) -> None:
    assert f"_ROSEY_LLM_COMPLETE={shell}_source rosey-llm" in document("getting-started.md")
    environment = {**os.environ, "_ROSEY_LLM_COMPLETE": f"{shell}_source"}
    done = subprocess.run([COMMAND], env=environment, capture_output=True, text=True, check=True)
    assert f"_ROSEY_LLM_COMPLETE={shell}_complete" in done.stdout


@pytest.mark.process
def test_completion_knows_the_commands_of_a_group() -> None:
    environment = {
        **os.environ,
        "_ROSEY_LLM_COMPLETE": "bash_complete",
        "COMP_WORDS": "rosey-llm persona ",
        "COMP_CWORD": "2",
    }
    done = subprocess.run([COMMAND], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["plain,list", "plain,show", "plain,try"]


TABLES = ("subjects", "rules")  # they have rows of their own


def test_every_setting_is_in_the_table_of_settings() -> None:
    configuration = document("configuration.md").split("\n## ")[0]
    names = [field.name for record in (Persona, Price) for field in dataclasses.fields(record)]
    for field in dataclasses.fields(Settings):
        value = getattr(Settings(), field.name)
        if dataclasses.is_dataclass(value):
            names += [inner.name for inner in dataclasses.fields(value)]
        elif field.name not in ("personas", "prices", "providers", "texts"):
            names.append(field.name)
    for kind in ("ollama", "openai", "openrouter", "local"):
        names += [field.name for field in dataclasses.fields(registry.find(kind).Config)]
    missing = [name for name in names if f"`{name}`" not in configuration and name not in TABLES]
    assert not missing
    (row,) = re.findall(r"(?m)^\| `\[\[channels\.rules\]\]` \|(.*)$", configuration)
    keys = {field.name for field in dataclasses.fields(ChannelRule)}
    assert keys - set(re.findall(r"`(\w+)`", row)) == set()


def test_every_subject_and_code_is_documented(tmp_path: Path) -> None:
    messages = document("messages.md")
    subjects = parse({}, tmp_path).nats.subjects
    for field in dataclasses.fields(subjects):
        assert f"| `{getattr(subjects, field.name)}` |" in messages
    sources = "".join(
        file.read_text()
        for folder in ("engine", "providers")
        for file in (ROOT / folder).rglob("errors.py")
    )
    for code in set(re.findall(r'code(?:: \S+)? = "(\w+)"', sources)):
        assert f"| `{code}` |" in messages, code


def without_code(text: str) -> str:
    return re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)


def anchors(text: str) -> set[str]:
    """Return the anchors of the headings as GitHub makes them: lower case, "-", no signs."""
    headings = re.findall(r"^#+ (.+)$", without_code(text), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize(
    "file", [ROOT / "README.md", *sorted(ROOT.glob("docs/*.md"))], ids=lambda file: file.name
)
def test_every_link_in_the_documents_has_a_target(file: Path) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", without_code(file.read_text()))
    for link in links:
        if "://" in link:
            continue
        name, _, anchor = link.partition("#")
        target = file.parent / name if name else file
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target.read_text()), link


def test_the_readme_leads_to_an_index_of_every_document() -> None:
    assert "](docs/README.md)" in README
    index = (ROOT / "docs" / "README.md").read_text()
    for each in ROOT.glob("docs/*.md"):
        assert each.name == "README.md" or f"]({each.name})" in index, each.name
