"""What an Ollama server says of a model, and how a prompt that it cut can be recognised."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

from providers.control_marks import ControlMarks
from providers.http.error_mapping import as_dict

_NO_MARKS = ControlMarks()
# A prompt that Ollama cut ends this near to the end of the window: it drops whole messages.
_NEAR_TOKENS = 128
# If the last message alone is too long, it keeps half of the window and these first tokens.
_KEPT_TOKENS = 8


@dataclass(frozen=True, slots=True)
class OllamaModel:
    """A model, as /api/show describes it.

    thinks: whether it thinks unless it is told not to. For other models, `think` is an error.
    marks: the control marks of its template.
    context_tokens: the most tokens that it can have as its window; None if it is not known.
    """

    thinks: bool = False
    marks: ControlMarks = _NO_MARKS
    context_tokens: int | None = None

    @classmethod
    def of(cls, details: dict[str, Any]) -> Self:
        capabilities = details.get("capabilities")
        texts = [details.get(name) for name in ("template", "parameters")]
        info = as_dict(details.get("model_info"))
        limits = [value for name, value in info.items() if name.endswith(".context_length")]
        return cls(
            isinstance(capabilities, list) and "thinking" in capabilities,
            ControlMarks.of((), *(text for text in texts if isinstance(text, str))),
            next((value for value in limits if type(value) is int and value > 0), None),
        )


def is_cut(prompt_tokens: int, size_bytes: int, window: int, limit: int | None) -> bool:
    """Return whether Ollama seems to have dropped the start of a prompt, which it never says.

    prompt_tokens: those that it read. size_bytes: those of the whole prompt as JSON.
    window: the tokens that were asked for; limit: the most that the model can have.
    """
    window = min(window, limit or window)
    if size_bytes < window:  # a token has a byte at least, so the prompt fits
        return False
    near = min(_NEAR_TOKENS, window // 16)
    half = window // 2
    return prompt_tokens >= window - near or half < prompt_tokens <= half + _KEPT_TOKENS
