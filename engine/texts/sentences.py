"""What the engine itself says in a room, in English: answers to commands, and failures.

The answer to a command begins with the word that the user typed. Each is one line without Markdown,
because some rooms show nothing else, and none begins with "!chat": a bot that hears itself would
take it as a command.
"""

from __future__ import annotations

from engine.texts.sentence import Sentence

# What commands answer.

HELP = Sentence(
    "help",
    "Help: !chat TEXT talks to me; !chat reset starts a new conversation; "
    "!chat persona lists the personas; !chat persona NAME switches to one; "
    "!chat model tells the model; !chat model NAME switches it; "
    "!chat stop stops the answer that is being written and drops your waiting messages; "
    "!chat stop all drops everybody's; "
    "!chat usage tells what was used today; !chat help shows this.",
    "the answer to `!chat help`, and to `!chat` alone",
)
CONVERSATION_RESET = Sentence(
    "conversation_reset",
    "Conversation reset: {number} messages cleared.",
    "the answer to `!chat reset`",
)
PERSONAS_LISTED = Sentence(
    "personas_listed",
    "Persona: {name}. Others: {others}. Switch with: !chat persona NAME",
    "the answer to `!chat persona`",
)
PERSONA_SWITCHED = Sentence(
    "persona_switched", "Persona: {name} from now on.", "the answer to `!chat persona NAME`"
)
QUESTIONS = Sentence(
    "questions",
    "{number} questions",
    "in place of `{questions}` and `{channel_questions}`",
    one=Sentence("questions_one", "1 question", "the same, if it is one", may=("number",)),
)
TOKENS = Sentence(
    "tokens",
    "{number} tokens",
    "in place of `{tokens}` and `{channel_tokens}`",
    one=Sentence("tokens_one", "1 token", "the same, if it is one", may=("number",)),
)
USAGE = Sentence(
    "usage",
    "Usage today: you {questions}, {tokens}; this channel {channel_questions}, {channel_tokens}.",
    "the answer to `!chat usage`",
)
USAGE_OF_CHANNEL = Sentence(
    "usage_of_channel",
    "Usage today: this channel {channel_questions}, {channel_tokens}.",
    "the answer to `!chat usage` of a sender without a name",
)
YOUR_BUDGET_USED = Sentence(
    "your_budget_used",
    "{usage} Your budget is used to {percent} %.",
    "the same, where the sender has a budget",
)
CHANNEL_BUDGET_USED = Sentence(
    "channel_budget_used",
    "{usage} This channel's budget is used to {percent} %.",
    "the same, where the channel has one",
)
STOPPED = Sentence("stopped", "Stopped.", "the answer to a `!chat stop` that stopped an answer")
STOPPED_AND_DROPPED = Sentence(
    "stopped_and_dropped",
    "Stopped, and {number} waiting messages dropped.",
    "the same, if messages were dropped, too",
    one=Sentence(
        "stopped_and_dropped_one",
        "Stopped, and 1 waiting message dropped.",
        "the same, if it was one",
        may=("number",),
    ),
)
DROPPED = Sentence(
    "dropped",
    "Stop: {number} waiting messages dropped.",
    "the answer to a `!chat stop` that ended no answer",
    one=Sentence(
        "dropped_one",
        "Stop: 1 waiting message dropped.",
        "the same, if it was one",
        may=("number",),
    ),
)
NOTHING_TO_STOP = Sentence(
    "nothing_to_stop", "Stop: no answer is being written.", "the answer to any other `!chat stop`"
)

# What ends an answer before its time: the code `cancelled`.

ANSWER_STOPPED = Sentence(
    "answer_stopped", "The answer to {name} was stopped.", "`!chat stop` has stopped the answer"
)
MESSAGE_DROPPED = Sentence(
    "message_dropped",
    "The waiting message of {name} was dropped.",
    "`!chat stop` has dropped it before its turn",
)
MESSAGE_ERASED = Sentence(
    "message_erased", "This message was erased.", "its message was erased by an operator"
)

# What is wrong with a persona: `unknown_persona`.

UNKNOWN_PERSONA = Sentence(
    "unknown_persona",
    'Persona "{name}" is unknown. There are: {names}.',
    "there is no such persona",
)

# What the sender may not do: `not_allowed`.

ADMINS = Sentence("admins", "admins", "in place of `{whom}`: the role `admin` is needed")
ROLE = Sentence(
    "role", 'people with the role "{role}"', "in place of `{whom}`: another role is needed"
)
RESET_NOT_ALLOWED = Sentence(
    "reset_not_allowed",
    "Only {whom} may reset this conversation.",
    "a `!chat reset` without the role of `[permissions]`",
)
PERSONA_NOT_ALLOWED = Sentence(
    "persona_not_allowed",
    "Only {whom} may switch the persona here.",
    "a `!chat persona NAME` without the role",
)
STOP_NOT_ALLOWED = Sentence(
    "stop_not_allowed",
    "Only {whom} may stop the answer to others.",
    "a `!chat stop` of the answer to somebody else, without the role",
)
STOP_ALL_NOT_ALLOWED = Sentence(
    "stop_all_not_allowed",
    "Only {whom} may drop what others have waiting.",
    "a `!chat stop all` without the role",
)
DENIED = Sentence(
    "denied", "You are not allowed to talk to this bot.", "`[access]` denies it, and says so"
)

# Who sent too much: `limit_reached`. {wait}: how long to wait, such as "42 s", "5 min" or "3 h".


def _limit(key: str, who: str, time: str, when: str) -> Sentence:
    end = f"{time}. Try again in {{wait}}."
    one = f"{who} can send 1 message {end}"
    return Sentence(
        key,
        f"{who} can send {{number}} messages {end}",
        when,
        one=Sentence(f"{key}_one", one, "the same, if the limit is 1", may=("number",)),
    )


USER_PER_MINUTE = _limit(
    "user_per_minute", "You", "a minute", "the limit `user_per_minute` is reached"
)
USER_PER_HOUR = _limit("user_per_hour", "You", "an hour", "the limit `user_per_hour`")
USER_PER_DAY = _limit("user_per_day", "You", "a day", "the limit `user_per_day`")
CHANNEL_PER_MINUTE = _limit(
    "channel_per_minute", "This channel", "a minute", "the limit `channel_per_minute`"
)

# What has no budget left: `budget_spent`. {wait}: until it starts again, such as "3 h" or "12 d".


def _budget(key: str, english: str, when: str) -> Sentence:
    return Sentence(key, f"{english} It starts again in {{wait}}.", when)


BUDGET_OF_USER = _budget(
    "budget_of_user", "Your budget is used up.", "a budget of the sender is spent"
)
BUDGET_OF_CHANNEL = _budget(
    "budget_of_channel", "The budget of this channel is used up.", "the same, of the channel"
)
BUDGET_OF_PERSONA = _budget(
    "budget_of_persona", "The budget of the persona {name} is used up.", "the same, of a persona"
)
BUDGET_OF_PROVIDER = _budget(
    "budget_of_provider", "The budget of {name} is used up.", "the same, of the only provider"
)
BUDGET_OF_ALL = _budget(
    "budget_of_all", "The bot's budget is used up.", "the same, of all together"
)
PRICE_UNKNOWN = Sentence(
    "price_unknown",
    "The price of the model {name} is not known, so it is not asked while a budget of money is set."
    " The operator can add it to [prices].",
    '`budget_spent`: `[budgets] unpriced` is "refuse"',
)

# What has to wait: `busy` and `suspended`. {seconds}: about how long.

CHANNEL_BUSY = Sentence(
    "channel_busy",
    "This channel is busy: {number} messages are waiting. Try again shortly.",
    "the channel's mailbox is full",
    may=("seconds",),
    one=Sentence(
        "channel_busy_one",
        "This channel is busy: 1 message is waiting. Try again shortly.",
        "the same, if one message waits",
        may=("number", "seconds"),
    ),
)
SHARE_USED = Sentence(
    "share_used",
    "You have {number} messages waiting in this channel, and one person may have {limit}."
    " Wait for an answer, or drop them with !chat stop.",
    "the sender has as many without an outcome as `mailbox_limit_per_user` lets it",
    may=("limit", "seconds"),
    one=Sentence(
        "share_used_one",
        "You have 1 message waiting in this channel, and one person may have {limit}."
        " Wait for an answer, or drop it with !chat stop.",
        "the same, if one message waits",
        may=("number", "limit", "seconds"),
    ),
)
SERVICE_BUSY = Sentence(
    "service_busy",
    "The service is busy: {number} messages are waiting. Try again shortly.",
    "too many messages wait in all channels together",
    may=("seconds",),
    one=Sentence(
        "service_busy_one",
        "The service is busy: 1 message is waiting. Try again shortly.",
        "the same, if one message waits",
        may=("number", "seconds"),
    ),
)
SERVICE_STOPPING = Sentence(
    "service_stopping",
    "The service is stopping. Try again shortly.",
    "the service ends, or starts again",
    may=("seconds",),
)
STOPPING_ALREADY = Sentence(
    "stopping_already",
    "Stop: this answer is being stopped already.",
    "too many `!chat stop` for one answer",
    may=("seconds",),
)
NOT_STOPPED = Sentence(
    "not_stopped",
    "Stop failed: the service ended first, and the answer starts again.",
    "the service ended before an answer was stopped",
)
COPIES_WAITING = Sentence(
    "copies_waiting",
    "This message waits already, and was sent {number} times more. Wait for its outcome.",
    "one message was sent too often",
    may=("seconds",),
)
COPIES_FULL = Sentence(
    "copies_full",
    "This message waits already, and was sent again too often. Wait for its outcome.",
    "the same, also before a restart of the service",
    may=("seconds",),
)
NOT_STORED = Sentence(
    "not_stored",
    "The message could not be stored. Send it again shortly.",
    "a message was sent again, and the first one was not kept",
)
NOT_WRITTEN = Sentence(
    "not_written",
    "{error}",
    "the database cannot be written, such as on a full disk",
    may=("error",),
)
TURN_HELD = Sentence(
    "turn_held",
    "{error}. Try again shortly.",
    "the database cannot be written, and an answer waits for it",
    may=("error", "seconds"),
)
CHANNEL_SUSPENDED = Sentence(
    "channel_suspended",
    "This channel failed too often and rests for a while.",
    "the code `suspended`",
    may=("seconds",),
)
SERVICE_CLOSED = Sentence(
    "service_closed", "The service was closed.", "a call of an `LLMService` that ends"
)

# What went wrong in the engine: `internal`.

NOT_HANDLED = Sentence(
    "not_handled", "This message could not be handled.", "a defect of rosey-llm; the log has it"
)
UNREADABLE = Sentence(
    "unreadable",
    "This message was accepted by another version of rosey-llm; this one cannot read it.",
    "after an older version took over from a newer one",
)
ANSWER_CHANGED = Sentence(
    "answer_changed",
    "The answer started again after a fault, and became another one. "
    "`chat` with the same request_id returns it.",
    "an `LLMService.stream` whose turn crashed",
)

# What went wrong with the model. {error}: what the provider said, in English.

TURN_TIMEOUT = Sentence(
    "turn_timeout",
    "There was no answer within {seconds} s.",
    "the turn took longer than `turn_timeout_s` (`provider_timeout`)",
)
BLANK_ANSWER = Sentence(
    "blank_answer",
    "{provider} gave an empty answer.",
    "nothing is left of an answer without the names before it (`provider_error`)",
)
ANSWER_TOO_LARGE = Sentence(
    "answer_too_large",
    "The answer has {bytes} bytes, more than the NATS server takes ({limit}). "
    "Ask for a shorter one, or raise the server's max_payload.",
    "NATS does not take the answer (`provider_error`)",
)


def _of_provider(key: str, when: str) -> Sentence:
    return Sentence(key, "{error}", when, may=("error", "provider"))


PROVIDER_UNAVAILABLE = _of_provider("provider_unavailable", "the code `provider_unavailable`")
PROVIDER_TIMEOUT = _of_provider("provider_timeout", "the code `provider_timeout`")
PROVIDER_AUTH = _of_provider("provider_auth", "the code `provider_auth`")
RATE_LIMITED = _of_provider("rate_limited", "the code `rate_limited`: too many requests")
QUOTA_EXHAUSTED = _of_provider("quota_exhausted", "`rate_limited`: the quota is used up")
REFUSED = _of_provider("refused", "the code `refused`")
MODEL_NOT_FOUND = _of_provider("model_not_found", "the code `model_not_found`")
CONTEXT_TOO_LONG = _of_provider("context_too_long", "the code `context_too_long`")
EMPTY_ANSWER = _of_provider("empty_answer", "`provider_error`: the answer was empty")
INCOMPLETE_ANSWER = _of_provider("incomplete_answer", "`provider_error`: the answer broke off")
PROVIDER_ERROR = _of_provider("provider_error", "the code `provider_error`, for all else")
HOST_EXHAUSTED = _of_provider("host_exhausted", "`busy`: this machine lacks files or memory")
