"""What the engine says in a room about models: the answers to `!chat model`, in English."""

from __future__ import annotations

from engine.texts.sentence import Sentence

MODELS_LISTED = Sentence(
    "models_listed",
    "Model: {name}. Others: {others}. Switch with: !chat model NAME",
    "the answer to `!chat model`",
)
MODEL_ALONE = Sentence(
    "model_alone",
    "Model: {name}. No other one can be chosen here.",
    "the same, if `[models] allow` has no other one for the channel",
)
MODEL_FALLEN_BACK = Sentence(
    "model_fallen_back",
    "{name}, because {chosen} is not allowed any more",
    "in place of `{name}` of these two: the chosen model is not allowed any more",
)
MODEL_SWITCHED = Sentence(
    "model_switched", "Model: {name} from now on.", "the answer to `!chat model NAME`"
)
MODEL_CONFIGURED = Sentence(
    "model_configured",
    "Model: {name} from now on, as configured.",
    "the answer to `!chat model default`",
)

# What is wrong with a model that a room wants: `not_allowed`.

MODEL_FIXED = Sentence(
    "model_fixed",
    'Model "{name}" cannot be chosen: [models] allow names none for this channel.',
    "no model can be chosen there",
)
MODEL_NOT_LISTED = Sentence(
    "model_not_listed",
    'Model "{name}" cannot be chosen here. There are: {names}.',
    "`[models] allow` has no such model for the channel",
)
MODEL_AMBIGUOUS = Sentence(
    "model_ambiguous",
    'Model "{name}" may be {names}: write it with the provider.',
    "a name without a provider can mean several models",
)
MODEL_PATTERN = Sentence(
    "model_pattern",
    'Model "{name}" is a pattern: write the name of one model.',
    "the name has `*` or `?`",
)
MODEL_NOT_ALLOWED = Sentence(
    "model_not_allowed",
    "Only {whom} may switch the model here.",
    "a `!chat model NAME` without the role",
)
