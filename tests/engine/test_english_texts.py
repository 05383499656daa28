"""What bots hear in English without `[texts]` stays as it is: some of them compare it."""

from __future__ import annotations

import pytest

from engine.texts import bot_sentences, message_faults, model_sentences, refusals, sentences
from engine.texts.sentence import Said
from engine.texts.table import TABLE

PERSONAS = "default, concise, technical, creative"
SAID: dict[str, Said] = {
    "Help: !chat TEXT talks to me; !chat reset starts a new conversation; !chat persona lists the "
    "personas; !chat persona NAME switches to one; !chat model tells the model; !chat model NAME "
    "switches it; !chat stop stops the answer that is being written and drops your waiting "
    "messages; !chat stop all drops everybody's; !chat usage tells what was used today; !chat help "
    "shows this.": sentences.HELP(),
    "2 questions": sentences.QUESTIONS(number=2),
    "36 tokens": sentences.TOKENS(number=36),
    "Usage today: you 1 question, 36 tokens; this channel 4 questions, 1 token.": (
        sentences.USAGE(
            questions=sentences.QUESTIONS(number=1),
            tokens=sentences.TOKENS(number=36),
            channel_questions=sentences.QUESTIONS(number=4),
            channel_tokens=sentences.TOKENS(number=1),
        )
    ),
    "Usage today: this channel 0 questions, 0 tokens.": (
        sentences.USAGE_OF_CHANNEL(
            channel_questions=sentences.QUESTIONS(number=0),
            channel_tokens=sentences.TOKENS(number=0),
        )
    ),
    "Usage today: this channel 4 questions, 72 tokens. Your budget is used to 40 %.": (
        sentences.YOUR_BUDGET_USED(
            usage=sentences.USAGE_OF_CHANNEL(
                channel_questions="4 questions", channel_tokens="72 tokens"
            ),
            percent=40,
        )
    ),
    "Usage today: this channel 4 questions, 72 tokens. This channel's budget is used to 9 %.": (
        sentences.CHANNEL_BUDGET_USED(
            usage=sentences.USAGE_OF_CHANNEL(
                channel_questions="4 questions", channel_tokens="72 tokens"
            ),
            percent=9,
        )
    ),
    "Your budget is used up. It starts again in 3 h.": sentences.BUDGET_OF_USER(wait="3 h"),
    "The budget of this channel is used up. It starts again in 12 d.": (
        sentences.BUDGET_OF_CHANNEL(wait="12 d")
    ),
    "The budget of the persona poet is used up. It starts again in 3 h.": (
        sentences.BUDGET_OF_PERSONA(name="poet", wait="3 h")
    ),
    "The budget of openai is used up. It starts again in 3 h.": (
        sentences.BUDGET_OF_PROVIDER(name="openai", wait="3 h")
    ),
    "The bot's budget is used up. It starts again in 3 h.": sentences.BUDGET_OF_ALL(wait="3 h"),
    "The price of the model gpt-9 is not known, so it is not asked while a budget of money is set."
    " The operator can add it to [prices].": sentences.PRICE_UNKNOWN(name="gpt-9"),
    "5 of your questions wait already. Ask again later.": bot_sentences.YOURS_WAIT(number=5),
    "40 questions wait here already. Ask again later.": bot_sentences.ROOM_WAITS(number=40),
    "4 more questions dropped.": bot_sentences.MORE_DROPPED(number=4),
    "1 more question dropped.": bot_sentences.MORE_DROPPED(number=1),
    "Stopped.": sentences.STOPPED(),
    "Stopped, and 1 waiting message dropped.": sentences.STOPPED_AND_DROPPED(number=1),
    "Stopped, and 3 waiting messages dropped.": sentences.STOPPED_AND_DROPPED(number=3),
    "Stop: 1 waiting message dropped.": sentences.DROPPED(number=1),
    "Stop: 3 waiting messages dropped.": sentences.DROPPED(number=3),
    "The waiting message of bob was dropped.": sentences.MESSAGE_DROPPED(name="bob"),
    "Only admins may drop what others have waiting.": (
        sentences.STOP_ALL_NOT_ALLOWED(whom=sentences.ADMINS())
    ),
    "You have 1 message waiting in this channel, and one person may have 1."
    " Wait for an answer, or drop it with !chat stop.": (
        sentences.SHARE_USED(number=1, limit=1, seconds=1)
    ),
    "You have 8 messages waiting in this channel, and one person may have 8."
    " Wait for an answer, or drop them with !chat stop.": (
        sentences.SHARE_USED(number=8, limit=8, seconds=1)
    ),
    "Stop: no answer is being written.": sentences.NOTHING_TO_STOP(),
    "Stop: this answer is being stopped already.": sentences.STOPPING_ALREADY(seconds=1),
    "Stop failed: the service ended first, and the answer starts again.": sentences.NOT_STOPPED(),
    "The answer to bob was stopped.": sentences.ANSWER_STOPPED(name="bob"),
    "Conversation reset: 0 messages cleared.": sentences.CONVERSATION_RESET(number=0),
    "Conversation reset: 2 messages cleared.": sentences.CONVERSATION_RESET(number=2),
    "Persona: pirate from now on.": sentences.PERSONA_SWITCHED(name="pirate"),
    "Persona: default. Others: concise, creative. Switch with: !chat persona NAME": (
        sentences.PERSONAS_LISTED(name="default", others="concise, creative")
    ),
    f'Persona "pirate" is unknown. There are: {PERSONAS}.': (
        sentences.UNKNOWN_PERSONA(name="pirate", names=PERSONAS)
    ),
    "Model: a/b. Others: a/*, c/d. Switch with: !chat model NAME": (
        model_sentences.MODELS_LISTED(name="a/b", others="a/*, c/d")
    ),
    "Model: a/b, because c/d is not allowed any more. No other one can be chosen here.": (
        model_sentences.MODEL_ALONE(
            name=model_sentences.MODEL_FALLEN_BACK(name="a/b", chosen="c/d")
        )
    ),
    "Model: a/b from now on.": model_sentences.MODEL_SWITCHED(name="a/b"),
    "Model: a/b from now on, as configured.": model_sentences.MODEL_CONFIGURED(name="a/b"),
    'Model "x" cannot be chosen: [models] allow names none for this channel.': (
        model_sentences.MODEL_FIXED(name="x")
    ),
    'Model "x" cannot be chosen here. There are: a/*.': (
        model_sentences.MODEL_NOT_LISTED(name="x", names="a/*")
    ),
    'Model "x" may be a/x, b/x: write it with the provider.': (
        model_sentences.MODEL_AMBIGUOUS(name="x", names="a/x, b/x")
    ),
    'Model "a/*" is a pattern: write the name of one model.': (
        model_sentences.MODEL_PATTERN(name="a/*")
    ),
    "Only admins may switch the model here.": (
        model_sentences.MODEL_NOT_ALLOWED(whom=sentences.ADMINS())
    ),
    "This message was erased.": sentences.MESSAGE_ERASED(),
    "Only admins may reset this conversation.": (
        sentences.RESET_NOT_ALLOWED(whom=sentences.ADMINS())
    ),
    'Only people with the role "mod" may switch the persona here.': (
        sentences.PERSONA_NOT_ALLOWED(whom=sentences.ROLE(role="mod"))
    ),
    'Only people with the role "mod" may stop the answer to others.': (
        sentences.STOP_NOT_ALLOWED(whom=sentences.ROLE(role="mod"))
    ),
    "You are not allowed to talk to this bot.": sentences.DENIED(),
    "You can send 2 messages a minute. Try again in 30 s.": (
        sentences.USER_PER_MINUTE(number=2, wait="30 s")
    ),
    "You can send 20 messages an hour. Try again in 5 min.": (
        sentences.USER_PER_HOUR(number=20, wait="5 min")
    ),
    "You can send 99 messages a day. Try again in 3 h.": (
        sentences.USER_PER_DAY(number=99, wait="3 h")
    ),
    "This channel can send 60 messages a minute. Try again in 1 s.": (
        sentences.CHANNEL_PER_MINUTE(number=60, wait="1 s")
    ),
    "roles: expected a list of at most 32 words.": message_faults.ROLES_NOT_WORDS(number=32),
    "This channel is busy: 32 messages are waiting. Try again shortly.": (
        sentences.CHANNEL_BUSY(number=32, seconds=9)
    ),
    "The service is busy: 9 messages are waiting. Try again shortly.": (
        sentences.SERVICE_BUSY(number=9, seconds=9)
    ),
    "The service is stopping. Try again shortly.": sentences.SERVICE_STOPPING(seconds=9),
    "This message waits already, and was sent 64 times more. Wait for its outcome.": (
        sentences.COPIES_WAITING(number=64, seconds=9)
    ),
    "This message waits already, and was sent again too often. Wait for its outcome.": (
        sentences.COPIES_FULL(seconds=9)
    ),
    "The message could not be stored. Send it again shortly.": sentences.NOT_STORED(),
    "The disk is full": sentences.NOT_WRITTEN(error="The disk is full"),
    "The disk is full. Try again shortly.": sentences.TURN_HELD(
        error="The disk is full", seconds=5
    ),
    "This channel failed too often and rests for a while.": sentences.CHANNEL_SUSPENDED(seconds=5),
    "The service was closed.": sentences.SERVICE_CLOSED(),
    "This message could not be handled.": sentences.NOT_HANDLED(),
    "This message was accepted by another version of rosey-llm; this one cannot read it.": (
        sentences.UNREADABLE()
    ),
    "The answer started again after a fault, and became another one. `chat` with the same "
    "request_id returns it.": sentences.ANSWER_CHANGED(),
    "There was no answer within 1800 s.": sentences.TURN_TIMEOUT(seconds=1800.0),
    "There was no answer within 0.05 s.": sentences.TURN_TIMEOUT(seconds=0.05),
    "ollama gave an empty answer.": sentences.BLANK_ANSWER(provider="ollama"),
    "The answer has 20 bytes, more than the NATS server takes (10). Ask for a shorter one, or "
    "raise the server's max_payload.": sentences.ANSWER_TOO_LARGE(bytes=20, limit=10),
    "OpenAI API error: 401 Unauthorized": (
        sentences.PROVIDER_AUTH(error="OpenAI API error: 401 Unauthorized", provider="openai")
    ),
    "The message is empty. Send some text.": message_faults.MESSAGE_EMPTY(),
    "The message is too long: 12 bytes; the limit is 10. Send less text.": (
        message_faults.MESSAGE_TOO_LONG(bytes=12, limit=10)
    ),
    "The message is not text: it contains NUL characters.": message_faults.MESSAGE_NOT_TEXT(),
    "action: missing": message_faults.FIELD_INVALID(field="action", error="action: missing"),
    "username: expected a string, got a list": (
        message_faults.FIELD_NOT_STRING(field="username", value="a list")
    ),
    "This message breaks the rules of this room, so it is not answered.": (
        refusals.MESSAGE_REFUSED()
    ),
    "The answer broke the rules of this room, so it is not shown.": refusals.ANSWER_REFUSED(),
    "This message could not be checked, so it is not answered. Try again later.": (
        refusals.MESSAGE_UNCHECKED()
    ),
    "The answer could not be checked, so it is not shown. Try again later.": (
        refusals.ANSWER_UNCHECKED()
    ),
    "username: expected text, got NUL characters.": message_faults.FIELD_NOT_TEXT(field="username"),
    "username: not text: character 3 is a lone surrogate.": (
        message_faults.FIELD_NOT_UNICODE(field="username", number=3)
    ),
    "username: expected at most 10 bytes, got 12.": (
        message_faults.FIELD_TOO_LONG(field="username", limit=10, bytes=12)
    ),
    "request_id: expected at most 128 characters, got 129.": (
        message_faults.ID_TOO_LONG(field="request_id", limit=128, number=129)
    ),
    "channel_id: expected a channel's name, got nothing": message_faults.CHANNEL_EMPTY(),
    'channel_id: "(engine)" is kept for the engine\'s own events': (
        message_faults.CHANNEL_RESERVED(channel="(engine)")
    ),
    "reply_to: expected a subject as a string.": message_faults.REPLY_TO_NOT_STRING(),
    "reply_to: expected a subject without wildcards that is not ours.": (
        message_faults.REPLY_TO_UNUSABLE()
    ),
    'reply_to: expected a subject that begins with "_INBOX". Others must be listed in [nats] '
    "reply_to_allow.": message_faults.REPLY_TO_NOT_ALLOWED(inbox="_INBOX"),
    "The message is not JSON in UTF-8: unexpected end of data.": (
        message_faults.NOT_JSON(error="unexpected end of data")
    ),
    "Expected a JSON object, got a list.": message_faults.NOT_AN_OBJECT(value="a list"),
    "The message is nested too deeply. Leave out what is not needed.": (
        message_faults.NESTED_TOO_DEEPLY()
    ),
    "An engine is here. It carries out no message with the header Rosey-Probe.": (
        message_faults.PROBE(header="Rosey-Probe")
    ),
}
ALIKE = {key for key, each in TABLE.items() if each.english == "{error}"}


@pytest.mark.parametrize("english", SAID)
def test_a_sentence_is_what_it_was_before_it_could_be_replaced(english: str) -> None:
    assert str(SAID[english]) == english


def test_all_sentences_are_among_them() -> None:
    forms = {each.one.key for each in TABLE.values() if each.one is not None}
    kept = {said.form.key for said in SAID.values()} | {
        "admins",
        "role",
        "model_fallen_back",
    }  # within others
    assert kept | ALIKE | forms == set(TABLE)
