"""The rules of the engine, as a model of channels without actors, mailboxes or tasks."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from engine.actors.conversation import Exchange
from engine.actors.mailbox_limits import KEPT, KEPT_FOR_ONE
from engine.commands.outcomes import Answer, Delta, Failure, decode
from engine.commands.records import (
    CONTROL,
    Chat,
    Complete,
    Help,
    Reset,
    SetModel,
    SetPersona,
    ShowModel,
    ShowPersonas,
    Stop,
)
from engine.commands.request import Request
from engine.config.allowed_models import ChosenModel
from engine.config.personas import BUILT_IN
from engine.errors import Busy, EngineError, Suspended, Unwritable
from engine.texts import sentences
from providers.base import Message
from tests.properties.witness import DiskContents, Key

WINDOW = 6  # messages; three whole turns, of which the prompt shows two and the new message
MAILBOX_LIMIT = 6
SHARE = 4  # of one speaker, with the running one; half of the limit may wait
MODELS = ["scripted/big", "scripted/fast-*"]  # that a room may choose
CONFIGURED = ChosenModel("scripted", "scripted")
PROGRAM = "app"  # a speaker for many, whose waiting commands are not counted
FAILURES = {
    "cancelled",
    "internal",
    "provider_error",
    "provider_timeout",
    "provider_unavailable",
}


class RuleViolation(AssertionError):
    """The engine broke a rule."""


@dataclass(slots=True)
class State:
    """A channel's state after the outcomes of its accepted commands."""

    persona: str | None = None
    model: ChosenModel | None = None
    exchanges: list[Exchange] = field(default_factory=list)

    @property
    def persona_name(self) -> str:
        return self.persona or "default"

    def prompt(self, username: str, text: str) -> list[Message]:
        shown = self.exchanges[-((WINDOW - 1) // 2) :]
        several = any(exchange.username != username for exchange in shown)
        messages = [Message("system", BUILT_IN[self.persona_name].prompt)]
        for exchange in shown:
            name = f"{exchange.username}: " if several else ""
            messages.append(Message("user", name + exchange.message))
            messages.append(Message("assistant", exchange.answer))
        return [*messages, Message("user", f"{username}: {text}" if several else text)]


class ReferenceModel:
    """A record of everything visible from outside, and of every rule that the engine breaks.

    Recording happens inside the engine's own calls, where raising would look like a crash of the
    engine; so `check` raises the violations later.
    """

    def __init__(self) -> None:
        self.told: dict[Key, Request] = {}
        self.stops: dict[Key, list[tuple[Request, int]]] = defaultdict(list)
        self.accepted: dict[Key, Request] = {}
        self.settled: dict[Key, bytes] = {}
        self.published: dict[Key, bytes] = {}
        self.owed: set[Key] = set()
        self._attempts: dict[Key, int] = {}
        self._calls: dict[Key, list[int]] = defaultdict(list)
        self._running: dict[str, Key] = {}
        self._deltas: dict[Key, Delta] = {}
        self._faults: dict[str, int] = defaultdict(int)
        self._broken: set[str] = set()
        self._ever_broken: set[str] = set()
        self._violations: list[str] = []

    def violate(self, rule: str, key: object, *what: object) -> None:
        self._violations.append(f"{rule}: {key} {' '.join(map(repr, what))}")

    def check(self) -> None:
        if self._violations:
            raise RuleViolation("\n".join(self._violations))

    # Actions of the test.

    def tell(self, request: Request) -> None:
        key = _key(request)
        self.told.setdefault(key, request)
        if isinstance(request.command, Stop):
            self.stops[key].append((request, len(self.told)))
        self.owed.add(key)

    def note_refusal(self, request: Request, why: EngineError, *, full_disk: bool = False) -> None:
        key = _key(request)
        if isinstance(why, Unwritable):
            if not full_disk:
                self.violate("a disk with room is full", key)
        elif isinstance(why, Busy) and not self._is_full(request, why.ahead or 0):
            self.violate("a mailbox with room is busy", key, why.ahead)
        if isinstance(why, Suspended) and key[0] not in self._ever_broken:
            self.violate("a sound channel is suspended", key)

    def _is_full(self, request: Request, ahead: int) -> bool:
        """Return whether there may be no place for this request, with so many waiting."""
        own = [
            each.command
            for key in self.owed
            if _speaker(each := self.told[key]) == _speaker(request)
            and not isinstance(each.command, Complete | Stop)
        ]
        beyond = ahead >= MAILBOX_LIMIT
        if request.username == PROGRAM:
            own = []
        beyond = beyond or len(own) >= min(SHARE, MAILBOX_LIMIT // 2)
        if isinstance(request.command, CONTROL):
            kept = sum(isinstance(each, CONTROL) for each in own)
            return beyond and (ahead >= MAILBOX_LIMIT + KEPT or kept >= KEPT_FOR_ONE)
        return beyond

    def _check_places(self, waiting: Collection[Key]) -> None:
        """Check the limits; beyond a channel's, one command more is there: the one that runs."""
        by_channel: dict[str, list[Request]] = defaultdict(list)
        for key in waiting:
            if not isinstance((request := self.told[key]).command, Complete):
                by_channel[key[0]].append(request)
        for channel, requests in by_channel.items():
            if len(requests) > MAILBOX_LIMIT + KEPT + 1:
                self.violate("a mailbox has too many", channel, len(requests))
            for user in {each.username for each in requests} - {PROGRAM}:
                own = [each for each in requests if each.username == user]
                chats = [each for each in own if isinstance(each.command, Chat)]
                if len(chats) > SHARE or len(own) > SHARE + KEPT_FOR_ONE:
                    self.violate("one speaker has too many", channel, user, len(own))

    def fault(self, *channels: str) -> None:
        """Allow that a turn of these channels that ran before may run once more."""
        for channel in channels:
            self._faults[channel] += 1

    def break_channel(self, channel: str) -> None:
        self._broken.add(channel)
        self._ever_broken.add(channel)

    def mend_channel(self, channel: str) -> None:
        self._broken.discard(channel)
        self.fault(channel)

    def end_run(self, channels: Sequence[str], *, drained: bool = False) -> None:
        """End a run of the engine.

        What was not on disk by then was never accepted; after a drain, everything told was stored.
        """
        self.fault(*channels)
        self._running.clear()
        owed = self.owed if drained else set()
        self.owed = {*self.accepted, *self.settled, *owed} - {*self.published}

    # The disk after a commit.

    def check_commit(self, seen: DiskContents) -> None:
        for key, attempts in seen.waiting.items():
            self.accepted.setdefault(key, self.told[key])
            self._attempts[key] = attempts
            if key in self.settled or key in seen.outcomes:
                self.violate("a command with an outcome waits", key)
        self._check_places(seen.waiting)
        self._check_drops(seen.outcomes.keys() - self.settled.keys(), seen.outcomes)
        for key, body in seen.outcomes.items():
            if key not in self.settled:
                self._check_outcome(key, body)
                self.settled[key] = body
            elif self.settled[key] != body:
                self.violate("an outcome changed", key, self.settled[key], body)
        for key in self.settled.keys() - seen.outcomes.keys():
            self.violate("an outcome disappeared", key)
        for key in self.accepted.keys() - self.settled.keys() - seen.waiting.keys():
            self.violate("an accepted command disappeared", key)
        self._check_charges(seen.usage)

    def _check_charges(self, usage: Mapping[str, tuple[int, int]]) -> None:
        """Check that each turn is charged in the commit of its outcome, and no call is free."""
        least, most, lost = Counter[str](), Counter[str](), Counter[str]()
        for key, body in self.settled.items():
            request = self.accepted.get(key)
            if request is None or not isinstance(request.command, Chat | Complete):
                continue
            most[key[0]] += 1
            if key in self.stops:  # a stop with this id may have ended it instead
                continue
            outcome = decode(body)
            least[key[0]] += isinstance(outcome, Answer)
            unanswered = _is_dropped(outcome) or (
                outcome.kind == "error" and _code(outcome) == "internal"
            )
            lost[key[0]] += max(0, len(self._calls[key]) - (not unanswered))
        for channel in most:
            requests, estimated = usage.get(channel, (0, 0))
            if not least[channel] <= requests <= most[channel]:
                self.violate("a turn is not charged once", channel, least, requests, most)
            if estimated < lost[channel]:
                self.violate("a call is free", channel, lost[channel], estimated)

    def _check_drops(self, new: Collection[Key], outcomes: Mapping[Key, bytes]) -> None:
        """Check that a stop and all that it drops are in one commit."""
        dropped, said = Counter[str](), Counter[str]()
        for key in new:
            outcome = decode(outcomes[key])
            if _is_dropped(outcome):
                dropped[key[0]] += 1
            elif isinstance(outcome, Answer) and outcome.action == "stop":
                count = re.search(r"(\d+) waiting", outcome.content)
                said[key[0]] += int(count[1]) if count else 0
        if dropped != said:
            self.violate("a stop and what it drops are not in one commit", dropped, said)

    # Calls of the provider.

    def note_call(
        self, key: Key, messages: Sequence[Message], asked: str | None, *, in_order: bool
    ) -> None:
        if key not in self.accepted:
            self.violate("a turn started before its command was stored", key)
            return
        # A stop with the same id may end a command at the moment its turn begins.
        if key in self.settled and key not in self.stops:
            self.violate("a model was called for an answered request", key)
        channel = key[0]
        self._count_call(key)
        request = self.accepted[key]
        text = getattr(request.command, "text", "")
        if not in_order:
            if asked is not None or list(messages) != [Message("user", text)]:
                self.violate("a completion had a conversation", key, messages)
            return
        if channel in self._running:
            self.violate("two turns ran at once", key, self._running[channel])
        self._running[channel] = key
        self._check_turn(key)
        state = self.state(channel, before=key)
        if asked != (state.model and state.model.model):
            self.violate("a wrong model is asked", key, asked, state)
        expected = state.prompt(request.username, text)
        if list(messages) != expected:
            self.violate("a prompt is wrong", key, messages, expected)

    def note_call_end(self, key: Key) -> None:
        if self._running.get(key[0]) == key:
            del self._running[key[0]]

    # Output of the engine.

    def refuse(self, key: Key) -> None:
        self.owed.discard(key)

    def inform(self, key: Key, answer: Answer) -> None:
        """Take an answer that is not stored: only a stop that stops nothing has such a one."""
        self.owed.discard(key)
        if key not in self.stops or answer.content != sentences.NOTHING_TO_STOP.english:
            self.violate("an answer that was not stored", key, answer)

    def publish(self, key: Key, body: bytes) -> None:
        last = self._deltas.get(key)
        if last is not None and not last.done and isinstance(decode(body), Answer):
            self.violate("an answer came before the end of its pieces", key, last)
        self.owed.discard(key)
        first = self.published.setdefault(key, body)
        if first != body:
            self.violate("a request had two outcomes", key, first, body)
        if self._in_order(key, body):
            for earlier in self._before(key):
                if earlier not in self.published:
                    self.violate("an outcome overtook another", key, earlier)

    def delta(self, delta: Delta) -> None:
        key, index = (delta.channel_id, delta.request_id), delta.index
        if key in self.published:
            self.violate("a piece came after its outcome", key)
        last = self._deltas.get(key)
        if index != 0 and (last is None or last.done or index != last.index + 1):
            self.violate("a piece is missing", key, index, last)
        if delta.done and (delta.delta or index == 0):
            self.violate("the end of an answer has a text, or nothing before it", key, delta)
        asked = self.told[key]
        if (delta.username, delta.action) != (asked.username, asked.action):
            self.violate("a piece names another request's sender", key, delta)
        self._deltas[key] = delta

    # The expected state of a channel.

    def state(self, channel: str, before: Key | None = None) -> State:
        """Return the state after all commands of the channel, or after those before one of them."""
        state = State()
        for key in self._before(before) if before else self._queue(channel):
            if body := self.settled.get(key):
                self._apply(state, self.accepted[key], decode(body))
        return state

    def _apply(self, state: State, request: Request, outcome: Answer | Failure) -> None:
        if isinstance(outcome, Failure) or outcome.action == "stop":
            return
        match request.command:
            case Chat(text):
                state.exchanges.append(Exchange(request.username, text, outcome.content))
                del state.exchanges[: -(WINDOW // 2)]
            case Reset():
                state.exchanges.clear()
            case SetPersona(name):
                state.persona = name
            case SetModel("default"):
                state.model = None
            case SetModel(name):
                state.model = ChosenModel(*name.split("/"))

    # The rules.

    def _count_call(self, key: Key) -> None:
        calls = self._calls[key]
        faults = self._faults[key[0]]
        text = getattr(self.accepted[key].command, "text", "")
        crashes = text.startswith("poison") or key[0] in self._broken
        if len(calls) == 2 or (calls and calls[-1] == faults and not crashes):
            self.violate("the model was called once too often", key, calls, faults)
        calls.append(faults)

    def _check_turn(self, key: Key) -> None:
        for earlier in self._before(key):
            if earlier not in self.settled:
                self.violate("a turn started before the one ahead of it ended", key, earlier)

    def _check_outcome(self, key: Key, body: bytes) -> None:
        outcome = decode(body)
        if isinstance(outcome, Answer) and outcome.action == "stop":
            if key not in self.stops:
                self.violate("a stop that was never sent", key, body)
            return
        if key not in self.accepted:
            self.violate("an outcome of a command that was never accepted", key, body)
            return
        if _is_dropped(outcome):
            if not self._may_be_dropped(key):
                self.violate("a command was dropped for nothing", key)
            return
        self._check_turn(key)
        if isinstance(outcome, Failure):
            self._check_failure(key, outcome)
        elif outcome.content != (expected := self._expected(key, outcome)):
            self.violate("a wrong outcome", key, outcome, expected)

    def _check_failure(self, key: Key, failure: Failure) -> None:
        command = self.accepted[key].command
        if isinstance(command, SetPersona) and failure.code == "unknown_persona":
            known = command.name not in BUILT_IN
        elif isinstance(command, SetModel) and failure.code == "not_allowed":
            known = command.name == "scripted/slow"
        elif failure.code == "internal":
            known = self._attempts[key] > 1
        else:
            known = isinstance(command, Chat | Complete) and failure.code in FAILURES
            if failure.code == "cancelled":
                known = known and any(stop[0] == key[0] for stop in self.stops)
        if not known:
            self.violate("a wrong failure", key, failure)

    def _may_be_dropped(self, key: Key) -> bool:
        """Return whether a stop that came later concerns this command."""
        asked, place = self.told[key], list(self.told).index(key)
        return any(
            told_before > place
            and isinstance(stop.command, Stop)
            and (_speaker(stop) == _speaker(asked) or stop.command.everything)
            for (channel, _), stops in self.stops.items()
            for stop, told_before in stops
            if channel == key[0]
        )

    def _expected(self, key: Key, answer: Answer) -> str:
        state = self.state(key[0], before=key)
        match self.accepted[key].command:
            case Chat(text):
                if answer.persona != state.persona_name:
                    self.violate("a wrong persona", key, answer, state)
                return f"re: {text}"
            case Complete(text):
                return f"re: {text}"
            case Reset():
                count = 2 * len(state.exchanges)
                return f"Conversation reset: {count} messages cleared."
            case SetPersona(name):
                return f"Persona: {name} from now on."
            case SetModel("default"):
                return f"Model: {CONFIGURED} from now on, as configured."
            case SetModel(name):
                return f"Model: {name} from now on."
            case ShowModel():
                used = str(state.model or CONFIGURED)
                others = ", ".join(each for each in MODELS if each != used)
                return f"Model: {used}. Others: {others}. Switch with: !chat model NAME"
            case ShowPersonas():
                others = ", ".join(each for each in BUILT_IN if each != state.persona_name)
                return (
                    f"Persona: {state.persona_name}. Others: {others}. "
                    "Switch with: !chat persona NAME"
                )
            case Help():
                return sentences.HELP.english
        return "nothing"

    def _in_order(self, key: Key, body: bytes) -> bool:
        outcome = decode(body)
        overtakes = isinstance(outcome, Answer) and outcome.action in ("stop", "complete")
        overtakes = overtakes or _is_dropped(outcome)
        return key in self._queue(key[0]) and not overtakes

    def _queue(self, channel: str) -> list[Key]:
        """Return the channel's commands in the order in which they were accepted."""
        return [
            key
            for key, request in self.accepted.items()
            if key[0] == channel and not isinstance(request.command, Complete)
        ]

    def _before(self, key: Key) -> list[Key]:
        queue = self._queue(key[0])
        return queue[: queue.index(key)] if key in queue else []


def _is_dropped(outcome: Answer | Failure) -> bool:
    return isinstance(outcome, Failure) and outcome.error.endswith("was dropped.")


def _code(outcome: Answer | Failure) -> str:
    return outcome.code if isinstance(outcome, Failure) else ""


def _speaker(request: Request) -> tuple[str, str]:
    return request.channel_id, request.username


def _key(request: Request) -> Key:
    return request.channel_id, request.request_id
