"""`rosey-llm history prompt`: rebuilds from history the prompt that a model was given."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from engine.actors.conversation import Exchange
from engine.answering import prompt, prompt_forms
from engine.answering.prompt_forms import PromptParts, UnknownForm
from engine.config.settings import ServiceSettings
from engine.interfaces.reports.dates import iso, shown
from engine.interfaces.reports.output import Output, indented, number, visible
from providers.base import Message
from providers.encoded_prompt import EncodedPrompt
from storage import persona_versions
from storage.queries import turns
from storage.queries.entries import HistoryEntry
from storage.queries.reader import Reader
from storage.queries.turns import RecordedTurn

# What a provider did to the prompt, by the names in `details.sent_as`.
SENT_AS = {
    "system_in_user": "moved the system text into the first user message",
    "marks_broken": "broke the control marks in it, so that the model reads them as text",
}
CUT = "The server seems to have dropped the start of this prompt: raise context_tokens."


@dataclass(slots=True)
class RebuiltPrompt:
    """A rebuilt prompt, and how far it can be trusted.

    - `doubts`: sentences why the messages may differ from what the model was given
    - `matches`: whether their digest equals the stored one; None if none was stored
    """

    turn: RecordedTurn
    messages: list[Message] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)
    matches: bool | None = None

    @property
    def details(self) -> dict[str, Any]:
        return self.turn.outcome.details or {}

    @property
    def notes(self) -> list[str]:
        """What happened to the prompt on its way to the model, as sentences."""
        notes = [f"The provider {_change(name)}." for name in self.details.get("sent_as", ())]
        return [*notes, CUT] if self.details.get("prompt_cut") else notes

    @property
    def verdict(self) -> str:
        """Whether the messages are what the model was given, as a sentence."""
        if self.matches:
            return "exact: its digest matches the one stored when the model was asked"
        verdict = "not what the model was given" if self.matches is False else "not proven"
        return f"{verdict}: {' '.join(self.doubts)}"


def rebuild(connection: Reader, turn: RecordedTurn) -> RebuiltPrompt:
    """Rebuild the prompt of a turn. Without messages if the turn's command needs no model."""
    rebuilt = RebuiltPrompt(turn)
    if turn.asked is None:
        return rebuilt
    stored = rebuilt.details.get("prompt_digest")
    if turn.asked.kind == "prompt":
        rebuilt.messages = [Message("user", _content(turn.asked, rebuilt))]
    else:
        try:
            rebuilt.messages = _chat(connection, turn.asked, rebuilt)
        except UnknownForm as exc:
            rebuilt.doubts.append(str(exc))
            return rebuilt
    if stored is None:
        started = "started_ms" in rebuilt.details
        reason = "the turn ended before a model was asked" if started else "the turn is too old"
        rebuilt.doubts.append(f"No digest was stored: {reason}.")
        return rebuilt
    if turn.outcome.erased:
        rebuilt.doubts.append(
            f"Row {turn.outcome.id} was erased on {shown(turn.outcome.erased_ms)}, and with it"
            " the salt of the digest, if it had one: the prompt can no longer be proven."
        )
        return rebuilt
    salt = turn.outcome.prompt_salt
    rebuilt.matches = prompt.digest(EncodedPrompt.of(rebuilt.messages), salt) == stored
    if not rebuilt.matches and not rebuilt.doubts:
        rebuilt.doubts.append(
            "Rows of this channel may have been changed. Run `rosey-llm history verify`."
        )
    return rebuilt


def _chat(connection: Reader, asked: HistoryEntry, rebuilt: RebuiltPrompt) -> list[Message]:
    """Build the prompt as the engine does, from the pairs of messages that it used then."""
    pairs = rebuilt.details.get("exchanges")
    if pairs is None:
        pairs = (ServiceSettings.max_context_messages - 1) // 2
        rebuilt.doubts.append(
            f"It is unknown how much of the conversation was shown; this is at most {pairs} pairs."
        )
    found = turns.exchanges_before(connection, rebuilt.turn, pairs)
    if len(found) < rebuilt.details.get("exchanges", 0):
        rebuilt.doubts.append(f"Only {len(found)} of the {pairs} pairs shown are still stored.")
    exchanges = [
        Exchange(_name(message), _content(message, rebuilt), _content(answer, rebuilt)).encoded
        for message, answer in found
    ]
    form = prompt_forms.form_of(rebuilt.details)
    texts = (_text(connection, rebuilt, "persona"), _text(connection, rebuilt, "hint"))
    parts = PromptParts(
        prompt_forms.system_text(*texts, rebuilt.turn.outcome.channel, form),
        exchanges,
        asked.username if asked.username is not None else _name(asked),
        _content(asked, rebuilt),
    )
    return list(prompt_forms.render(parts, form))


def _text(connection: Reader, rebuilt: RebuiltPrompt, of: Literal["persona", "hint"]) -> str:
    """Return the text of the persona or the hint; a turn has a hint only if it names one."""
    version = rebuilt.details.get(f"{of}_version")
    if of == "hint" and version is None:
        return ""
    text = persona_versions.prompt(connection, version) if version else None
    if text is None:
        rebuilt.doubts.append(f"The text of this {of} was not stored.")
        return f"(The text of this {of} was not stored.)"
    return text


def _content(entry: HistoryEntry, rebuilt: RebuiltPrompt) -> str:
    if entry.erased_ms is None:
        return entry.content
    rebuilt.doubts.append(f"Row {entry.id} was erased on {shown(entry.erased_ms)}.")
    return f"[erased on {shown(entry.erased_ms)}]"


def _name(entry: HistoryEntry) -> str:
    return "(erased)" if entry.erased else entry.username or "User"


def print_rebuilt(out: Output, rebuilt: RebuiltPrompt) -> None:
    outcome = rebuilt.turn.outcome
    for name, value in _facts(rebuilt):
        out.line((f"{name + ':' if name else '':<15}", "bold"), value)
    for message in rebuilt.messages:
        out.line()
        out.line((f"{message.role}", "bold cyan"))
        for line in _block(message.content):
            out.line(line)
    out.line()
    out.line((f"-> {outcome.kind}", "bold green" if outcome.code is None else "bold red"))
    text = f"[erased on {shown(outcome.erased_ms)}]" if outcome.erased else outcome.content
    for line in _block(text):
        out.line(line)


def _change(name: str) -> str:
    if name.startswith("without_"):
        return f"left out {visible(name.removeprefix('without_'))}, which the model refuses"
    return SENT_AS.get(name) or f"changed it ({visible(name)})"


def _block(text: str) -> list[str]:
    return [f"    {line}" for line in indented(text, "")]


def _facts(rebuilt: RebuiltPrompt) -> list[tuple[str, str]]:
    turn, outcome, details = rebuilt.turn, rebuilt.turn.outcome, rebuilt.details
    user = "(erased)" if outcome.erased else visible(outcome.username)
    version = details.get("persona_version")
    persona = visible(outcome.persona) + (f", version {version}" if version else "")
    facts = [
        ("request", visible(outcome.request_id) + _uses(turn)),
        ("channel", visible(outcome.channel)),
        ("user", user),
        ("persona", persona),
        *([("hint", f"version {details['hint_version']}")] if "hint_version" in details else []),
        ("provider", visible(outcome.provider)),
        *(
            [("seen by", visible(", ".join(details["asked"]) or "none"))]
            if "asked" in details
            else []
        ),
        ("model", visible(outcome.model)),
        ("settings", _named(details, {"temperature": "temperature", "max_tokens": "max_tokens"})),
        ("attempts", number(details.get("attempts"))),
        ("ended", visible(outcome.code or outcome.finish_reason or outcome.kind)),
        (
            "tokens",
            f"{number(outcome.prompt_tokens)} in the prompt, "
            f"{number(outcome.completion_tokens)} in the answer",
        ),
        ("accepted", shown(details.get("accepted_ms"))),
        ("started", shown(details.get("started_ms"))),
        ("waited", _ms(details.get("waited_ms"))),
        ("took", _ms(outcome.latency_ms)),
        ("answered", shown(outcome.ts_ms)),
        ("published", shown(outcome.published_ms)),
    ]
    if turn.asked is None:
        facts.append(("prompt", f"none: {outcome.kind} needs no model"))
    else:
        facts.append(("prompt", rebuilt.verdict))
        facts += [("", note) for note in rebuilt.notes]
    return facts


def _uses(turn: RecordedTurn) -> str:
    return f" (used {turn.uses} times here; this is the newest)" if turn.uses > 1 else ""


def _named(details: dict[str, Any], names: dict[str, str]) -> str:
    known = [f"{name} {details[key]}" for key, name in names.items() if key in details]
    return ", ".join(known) or "-"


def _ms(value: int | None) -> str:
    return "-" if value is None else f"{value:,} ms"


def record(rebuilt: RebuiltPrompt) -> dict[str, Any]:
    """Return everything for JSON. The rows also have the times in milliseconds since 1970."""
    outcome, details = rebuilt.turn.outcome, rebuilt.details
    times = {
        "accepted": details.get("accepted_ms"),
        "started": details.get("started_ms"),
        "answered": outcome.ts_ms,
        "published": outcome.published_ms,
    }
    return {
        "request_id": outcome.request_id,
        "channel": outcome.channel,
        "uses": rebuilt.turn.uses,
        "messages": rebuilt.messages,
        "exact": rebuilt.matches,
        "doubts": rebuilt.doubts,
        "notes": rebuilt.notes,
        "times": {name: ms if ms is None else iso(ms) for name, ms in times.items()},
        "asked": rebuilt.turn.asked.record if rebuilt.turn.asked else None,
        "outcome": outcome.record,
    }
