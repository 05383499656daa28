"""`BotRoom`: one room of a bot, whatever its platform."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass

from engine.client.client import Asking, Client
from engine.client.plain_text import plain
from engine.commands.parser import parse
from engine.commands.records import Stop
from engine.commands.sender import Sender
from engine.errors import LLMError
from engine.texts.bot_sentences import MORE_DROPPED, ROOM_WAITS, YOURS_WAIT
from engine.texts.sentences import STOPPED
from engine.texts.texts import Texts

WAITING_LIMIT, EACH_LIMIT = 40, 5
SEEN_LIMIT = 1000
BUSY_TRIES = 5
BUSY_PAUSE_S = 2.0


@dataclass(frozen=True, slots=True)
class RoomQuestion:
    """What a person typed after `!chat`. `request_id`: that of the line."""

    text: str
    request_id: str
    sender: Sender

    @property
    def who(self) -> str:
        """What tells the person from others."""
        return self.sender.user_id or self.sender.username


class BotRoom:
    """A room: it asks one question after the other, and says their answers in the same order.

    The next question is sent when the answer before it is in the room, so neither a lost connection
    nor a killed service can change the order. A stop does not wait, and drops what its sender has
    waiting here; that of an admin, `stop all`, what everybody has.

    - `say`: puts a line into the room, and returns when it is there
    - `lines`: a text in lines that the room takes
    - `texts`: the words of what it says itself
    """

    def __init__(
        self,
        channel_id: str,
        client: Client,
        say: Callable[[str], Awaitable[None]],
        lines: Callable[[str], list[str]],
        texts: Texts,
    ) -> None:
        self._channel_id = channel_id
        self._texts = texts
        self._client = client
        self._say, self._lines = say, lines
        self._waiting: deque[RoomQuestion] = deque()
        self._seen: OrderedDict[str, None] = OrderedDict()
        self._refused: set[str] = set()
        self._changed = asyncio.Event()
        self._quiet = asyncio.Event()
        self._quiet.set()
        self._may_go_on = asyncio.Event()
        self._may_go_on.set()
        self._asked: RoomQuestion | None = None  # the first one, once it is with the service
        self._is_hushed = self._is_closed = False
        self._stop: asyncio.Task[None] | None = None
        self._notes: set[asyncio.Task[None]] = set()

    @property
    def unanswered(self) -> int:
        return len(self._waiting)

    def hear(self, question: RoomQuestion) -> None:
        """Take a question; one with an id that was taken before is the same one."""
        if self._is_closed or question.request_id in self._seen:
            return
        self._seen[question.request_id] = None
        if len(self._seen) > SEEN_LIMIT:
            self._seen.popitem(last=False)
        if isinstance(command := parse(question.text), Stop):
            if command.everything:
                self._spawn(self._stop_everything(question))
            else:
                self._hear_stop(question, self._drop(question.who))
        elif refusal := self._refusal(question.who):
            # Say it once, not for every line, and never to a bot, which may answer it.
            if question.who not in self._refused and not question.sender.is_bot:
                self._refused.add(question.who)
                self._spawn(self._answer_now(question.sender.username, refusal))
        else:
            self._refused.discard(question.who)
            self._waiting.append(question)
            self._changed.set()

    async def run(self) -> None:
        """Answer until cancelled, or closed."""
        try:
            while not self._is_closed:
                if not self._waiting:
                    self._refused.clear()
                    self._changed.clear()
                    await self._changed.wait()
                    continue
                await self._may_go_on.wait()
                if not self._waiting:  # all was dropped meanwhile
                    continue
                question = self._asked = self._waiting[0]
                text = await self._answer(question)
                await self._speak(question.sender.username, text)
                self._waiting.popleft()
                self._asked = None
        finally:
            for task in self._notes:
                task.cancel()

    async def close(self) -> None:
        """Take no more questions, and return when the answer that is being said is in the room."""
        self._is_closed = True
        await self._quiet.wait()

    def _refusal(self, who: str) -> str:
        if sum(each.who == who for each in self._waiting) >= EACH_LIMIT:
            return self._texts.say(self._channel_id, YOURS_WAIT(number=EACH_LIMIT))
        if len(self._waiting) >= WAITING_LIMIT:
            return self._texts.say(self._channel_id, ROOM_WAITS(number=WAITING_LIMIT))
        return ""

    def _hear_stop(self, question: RoomQuestion, dropped: int) -> None:
        if self._stop is not None and not self._stop.done() and not dropped:
            return  # one is on its way
        if self._quiet.is_set():
            self._stop = self._spawn(self._ask_to_stop(question, dropped))
        else:  # the answer is written, and only its lines are left
            self._is_hushed = True
            text = self._with_dropped(self._texts.say(self._channel_id, STOPPED()), dropped)
            self._stop = self._spawn(self._answer_now(question.sender.username, text))

    async def _ask_to_stop(self, question: RoomQuestion, dropped: int) -> None:
        text = await self._answer(question)
        await self._answer_now(question.sender.username, self._with_dropped(text, dropped))

    async def _stop_everything(self, question: RoomQuestion) -> None:
        """Drop what everybody has waiting, if the service lets this sender do that."""
        self._may_go_on.clear()  # the answer that it ends must not be followed by the next one
        try:
            answer = await self._client.command(
                question.text, self._channel_id, **self._asking(question)
            )
        except LLMError as exc:
            text = str(exc)
        else:
            dropped = self._drop(None)
            self._is_hushed = not self._quiet.is_set()
            text = self._with_dropped(plain(answer.content), dropped)
        finally:
            self._may_go_on.set()
        await self._answer_now(question.sender.username, text)

    def _drop(self, who: str | None) -> int:
        """Drop what this person, or everybody, has waiting here; the service knows nothing of it.

        What is with the service is stopped by that. Return the number.
        """
        kept = [
            each for each in self._waiting if each is self._asked or who not in (None, each.who)
        ]
        dropped = len(self._waiting) - len(kept)
        self._waiting = deque(kept)
        return dropped

    async def _answer(self, question: RoomQuestion) -> str:
        """Return the answer, or the sentence of an error; "" if there is nothing to say."""
        asking, tries = self._asking(question), 0
        while True:
            tries += 1
            try:
                answer = await self._client.command(question.text, self._channel_id, **asking)
            except LLMError as exc:
                if exc.code == "cancelled":  # the stop has its own answer
                    return ""
                if exc.code != "busy" or tries == BUSY_TRIES:
                    return str(exc)
                await asyncio.sleep(exc.retry_after_s or BUSY_PAUSE_S)
            else:
                return plain(answer.content)

    @staticmethod
    def _asking(question: RoomQuestion) -> Asking:
        return {"sender": question.sender, "request_id": question.request_id}

    async def _speak(self, username: str, text: str) -> None:
        self._is_hushed = False
        self._quiet.clear()
        try:
            for line in self._addressed(username, text):
                await self._say(line)
                if self._is_hushed:
                    break
        finally:
            self._quiet.set()

    async def _answer_now(self, username: str, text: str) -> None:
        for line in self._addressed(username, text):
            await self._say(line)

    def _with_dropped(self, text: str, number: int) -> str:
        """Add what was dropped here beside what the service tells of."""
        if not number:
            return text
        dropped = self._texts.say(self._channel_id, MORE_DROPPED(number=number))
        return f"{text} {dropped}".lstrip()

    def _addressed(self, username: str, text: str) -> list[str]:
        return self._lines(f"{username}: {text}") if text else []

    def _spawn(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._notes.add(task)
        task.add_done_callback(self._notes.discard)
        return task
