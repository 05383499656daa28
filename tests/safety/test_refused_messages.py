"""Messages that `[safety]` refuses: what the sender hears, what is kept, and what it costs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from engine import LLMError
from tests.fakes.llm_server import MODERATIONS, Behaviour, LLMServer
from tests.support.moderated import charged, configured, details, kept, moderated, tables

REFUSED = "This message breaks the rules of this room, so it is not answered."


@pytest.fixture
async def judge() -> AsyncIterator[LLMServer]:
    async with LLMServer() as server:
        server.flags = {"idiot": "harassment", "kill": "violence"}
        yield server


async def test_a_denied_message_is_an_outcome_and_no_model_is_asked(
    tmp_path: Path, llm: LLMServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "rosey_llm")
    async with moderated(tmp_path, llm, deny=["x{9}", r"(?i)\bspam\b"]) as service:
        for _ in range(2):
            with pytest.raises(LLMError) as caught:
                await service.chat("Spam and eggs", request_id="r")
            assert (caught.value.code, str(caught.value)) == ("refused", REFUSED)
        assert (await service.chat("Just eggs")).content == "You said: Just eggs"
    assert kept(tmp_path) == [
        ("message", None, "Spam and eggs"),
        ("error", "refused", REFUSED),
        ("message", None, "Just eggs"),
        ("answer", None, "You said: Just eggs"),
    ]
    (prompt,) = llm.prompts
    assert [each["content"] for each in prompt[1:]] == ["Just eggs"]
    assert charged(tmp_path) == [(1, 11, 7)]
    assert "code=refused" in caplog.text
    assert "spam" not in caplog.text.lower()


async def test_the_history_says_why_without_a_word_of_the_text(
    tmp_path: Path, llm: LLMServer, judge: LLMServer
) -> None:
    async with moderated(tmp_path, llm, judge, deny=["x{9}", "spam"]) as service:
        with pytest.raises(LLMError):
            await service.chat("spam")
        found = details(tmp_path)
        assert (found["refused"], found["categories"]) == ("message", ["deny[1]"])
        assert "judge" not in found  # it was not asked
        with pytest.raises(LLMError):
            await service.chat("I kill you, idiot")
        found = details(tmp_path)
        assert (found["refused"], found["categories"]) == ("message", ["harassment", "violence"])
        assert (found["judge"], found["asked"]) == ("judge", [])
        await service.chat("Hello")
        found = details(tmp_path)
        assert found["judge"] == "judge"
        assert not {"refused", "categories", "message_unchecked"} & found.keys()
    assert judge.judged == ["I kill you, idiot", "Hello", "You said: Hello"]
    assert len(llm.prompts) == 1


async def test_raw_completions_are_checked_and_commands_are_not(
    tmp_path: Path, llm: LLMServer
) -> None:
    async with moderated(tmp_path, llm, deny=["concise", "spam"]) as service:
        with pytest.raises(LLMError, match="breaks the rules"):
            await service.complete("spam")
        assert (await service.set_persona("concise")).content == "Persona: concise from now on."
        await service.complete("eggs")
    assert [row[0] for row in kept(tmp_path)] == [
        "prompt",
        "error",
        "persona",
        "prompt",
        "completion",
    ]


@pytest.mark.parametrize(
    "failure",
    [
        Behaviour(status=500),
        Behaviour(drop=True),
        Behaviour(body={"results": []}),
        Behaviour(hold=asyncio.Event()),
    ],
    ids=["error", "lost", "garbled", "hang"],
)
async def test_without_a_judgement_on_failure_decides(
    tmp_path: Path, llm: LLMServer, judge: LLMServer, failure: Behaviour
) -> None:
    judge.routes[MODERATIONS] = failure
    config = tables(llm, judge, moderation_timeout_s=0.1)
    config["channels"] = {"rules": [{"match": "open", "safety": {"on_failure": "allow"}}]}
    async with configured(tmp_path, config) as service:
        with pytest.raises(LLMError, match="could not be checked") as caught:
            await service.chat("Hello")
        assert caught.value.code == "refused"
        found = details(tmp_path)
        assert (found["refused"], found["categories"]) == ("message", ["unchecked"])
        assert llm.prompts == []
        assert (await service.chat("Hello", "open")).content == "You said: Hello"
        found = details(tmp_path)
        assert found["message_unchecked"]
        assert found["answer_unchecked"]
        metrics = (await service.metrics()).decode()
    for checked, number in (("message", 2), ("answer", 1)):
        sample = f'safety_checks_total{{checked="{checked}",result="unchecked"}} {number}.0'
        assert sample in metrics


async def test_a_pattern_that_takes_for_ever_counts_as_a_failed_check(
    tmp_path: Path, llm: LLMServer
) -> None:
    text = "a" * 60 + "bc"
    config = tables(llm, deny=["(?:a|a)*b$", "spam"])
    config["channels"] = {"rules": [{"match": "open", "safety": {"on_failure": "allow"}}]}
    async with configured(tmp_path, config) as service:
        with pytest.raises(LLMError, match="could not be checked"):
            await service.chat(text)
        with pytest.raises(LLMError, match="breaks the rules"):
            await service.chat(f"{text} spam", "open")
        assert (await service.chat(text, "open")).content == f"You said: {text}"
        assert details(tmp_path)["message_unchecked"]


async def test_a_stop_ends_a_message_that_is_being_judged(
    tmp_path: Path, llm: LLMServer, judge: LLMServer
) -> None:
    judge.routes[MODERATIONS] = Behaviour(hold=asyncio.Event())
    async with moderated(tmp_path, llm, judge, moderation_timeout_s=100) as service:
        chat = asyncio.create_task(service.chat("Hello"))
        await judge.wait_for_judged(1)
        assert (await service.stop()).content == "Stopped."
        with pytest.raises(LLMError) as caught:
            await chat
        assert (caught.value.code, caught.value.partial) == ("cancelled", "")
        await judge.wait_for_disconnects(1)
    assert llm.prompts == []


async def test_a_rule_says_otherwise_key_by_key(
    tmp_path: Path, llm: LLMServer, judge: LLMServer
) -> None:
    config = tables(llm, judge, deny=["spam"])
    config["channels"] = {
        "rules": [
            {"match": "unjudged", "safety": {"moderation": ""}},
            {"match": "other", "safety": {"deny": ["eggs"]}},
            {"match": "same", "persona": "concise"},
        ]
    }
    async with configured(tmp_path, config) as service:
        for channel, refused in (
            ("unjudged", {"spam"}),
            ("other", {"eggs", "idiot"}),
            ("same", {"spam", "idiot"}),
            ("main", {"spam", "idiot"}),
        ):
            for text in ("spam", "eggs", "idiot"):
                if text in refused:
                    with pytest.raises(LLMError, match="breaks the rules"):
                        await service.chat(text, channel)
                else:
                    await service.chat(text, channel)


async def test_the_checks_are_counted(tmp_path: Path, llm: LLMServer, judge: LLMServer) -> None:
    llm.plan(Behaviour(text="You idiot."))
    async with moderated(tmp_path, llm, judge, deny=["spam"]) as service:
        for text in ("spam", "idiot", "I kill you", "Hello", "Hello again"):
            await asyncio.wait({asyncio.create_task(service.chat(text))})
        metrics = (await service.metrics()).decode()
    counted = {
        ("message", "passed"): 2,
        ("message", "denied"): 1,
        ("message", "flagged"): 2,
        ("message", "unchecked"): 0,
        ("answer", "passed"): 1,
        ("answer", "flagged"): 1,
        ("answer", "unchecked"): 0,
    }
    for (checked, result), number in counted.items():
        sample = f'safety_checks_total{{checked="{checked}",result="{result}"}} {number}.0'
        assert sample in metrics
    assert metrics.count("rosey_llm_safety_checks_total{") == len(counted)
    assert 'turns_total{code="refused",outcome="failed"} 4.0' in metrics
