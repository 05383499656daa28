"""What `!chat model` does: shows the channel's model, switches it, or switches back."""

from __future__ import annotations

from engine.actors.conversation import Conversation
from engine.answering import turn_result
from engine.answering.turn_result import TurnResult
from engine.answering.turn_settings import TurnSettings
from engine.commands.records import Chat, SetModel
from engine.commands.request import Request
from engine.config.allowed_models import DEFAULT, ChosenModel
from engine.errors import NotAllowed
from engine.texts import model_sentences
from engine.texts.sentence import Value
from engine.texts.texts import Texts


def show(
    request: Request, conversation: Conversation, settings: TurnSettings, texts: Texts
) -> TurnResult:
    """Say which model answers in the channel, and which may be chosen."""
    chosen = conversation.model
    used = _in_force(settings.with_model(chosen), conversation)
    name: Value = str(used)
    if chosen is not None and chosen not in settings.models.allowed:
        name = model_sentences.MODEL_FALLEN_BACK(name=str(used), chosen=str(chosen))
    others = [each for each in settings.models.allowed.patterns if each != str(used)]
    said = model_sentences.MODEL_ALONE(name=name)
    if others:
        said = model_sentences.MODELS_LISTED(name=name, others=", ".join(others))
    return turn_result.done(request, "models", said, texts, used=used)


def switch(
    request: Request,
    command: SetModel,
    conversation: Conversation,
    settings: TurnSettings,
    texts: Texts,
) -> TurnResult:
    """Switch the channel's model, or switch back to the configured one."""
    if command.name.lower() == DEFAULT:
        used = _in_force(settings, conversation)
        said = model_sentences.MODEL_CONFIGURED(name=str(used))
        return turn_result.done(request, "model", said, texts, used=used)
    try:
        chosen = settings.models.allowed.find(command.name)
    except NotAllowed as exc:
        return turn_result.failed(request, exc, texts)
    said = model_sentences.MODEL_SWITCHED(name=str(chosen))
    result = turn_result.done(request, "model", said, texts, used=chosen)
    (row,) = result.rows
    row = row._replace(provider=chosen.provider, model=chosen.model)
    return result._replace(rows=(row,))


def _in_force(settings: TurnSettings, conversation: Conversation) -> ChosenModel:
    """Return the model of the channel's next answer, if nothing fails."""
    _, persona = settings.personas.get(settings.persona_name(conversation.persona))
    primary = settings.chain.primary
    return ChosenModel(primary.name, primary.settled(settings.options(Chat(""), persona)).model)
