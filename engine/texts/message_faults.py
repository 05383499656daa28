"""What the engine says of a message that it cannot take: the code `invalid_request`, in English.

Users can do something about the first two only; the others are for people who write a bot.
"""

from __future__ import annotations

from engine.texts.sentence import Sentence

MESSAGE_EMPTY = Sentence(
    "message_empty", "The message is empty. Send some text.", "an empty text on `llm.request`"
)
MESSAGE_TOO_LONG = Sentence(
    "message_too_long",
    "The message is too long: {bytes} bytes; the limit is {limit}. Send less text.",
    "a text longer than `max_message_bytes`",
)
MESSAGE_NOT_TEXT = Sentence(
    "message_not_text",
    "The message is not text: it contains NUL characters.",
    "a text with NUL characters",
)
FIELD_INVALID = Sentence(
    "field_invalid", "{error}", "a field is missing or wrong", may=("error", "field")
)
FIELD_NOT_STRING = Sentence(
    "field_not_string", "{field}: expected a string, got {value}", "a field is not a string"
)
FIELD_NOT_TEXT = Sentence(
    "field_not_text",
    "{field}: expected text, got NUL characters.",
    "a field with NUL characters",
)
FIELD_NOT_UNICODE = Sentence(
    "field_not_unicode",
    "{field}: not text: character {number} is a lone surrogate.",
    "a field that is not valid Unicode",
)
FIELD_TOO_LONG = Sentence(
    "field_too_long",
    "{field}: expected at most {limit} bytes, got {bytes}.",
    "a field that is too long",
)
ID_TOO_LONG = Sentence(
    "id_too_long",
    "{field}: expected at most {limit} characters, got {number}.",
    "a `request_id`, `correlation_id`, `user_id` or role that is too long",
)
ROLES_NOT_WORDS = Sentence(
    "roles_not_words",
    "roles: expected a list of at most {number} words.",
    "`roles` that are no list, or too many",
)
CHANNEL_EMPTY = Sentence(
    "channel_empty",
    "channel_id: expected a channel's name, got nothing",
    "an empty `channel_id`",
)
CHANNEL_RESERVED = Sentence(
    "channel_reserved",
    'channel_id: "{channel}" is kept for the engine\'s own events',
    "the channel of the engine",
)
REPLY_TO_NOT_STRING = Sentence(
    "reply_to_not_string",
    "reply_to: expected a subject as a string.",
    "a `reply_to` that is not a string",
)
REPLY_TO_UNUSABLE = Sentence(
    "reply_to_unusable",
    "reply_to: expected a subject without wildcards that is not ours.",
    "a `reply_to` that is no subject, or one of the engine's",
)
REPLY_TO_NOT_ALLOWED = Sentence(
    "reply_to_not_allowed",
    'reply_to: expected a subject that begins with "{inbox}". Others must be listed in'
    " [nats] reply_to_allow.",
    "a `reply_to` that `reply_to_allow` does not list",
)
NOT_JSON = Sentence("not_json", "The message is not JSON in UTF-8: {error}.", "it is not JSON")
NOT_AN_OBJECT = Sentence(
    "not_an_object", "Expected a JSON object, got {value}.", "it is JSON, but no object"
)
NESTED_TOO_DEEPLY = Sentence(
    "nested_too_deeply",
    "The message is nested too deeply. Leave out what is not needed.",
    "it is JSON that is nested too deeply",
)
PROBE = Sentence(
    "probe",
    "An engine is here. It carries out no message with the header {header}.",
    "the reply to a message with the header `Rosey-Probe`",
)
