"""Reads the answers of OpenAI's moderation API."""

from __future__ import annotations

import re

from providers.base import Moderation
from providers.errors import BadAnswer
from providers.http.error_mapping import as_dict

# Names such as "harassment/threatening". A server that answers with anything else is not believed:
# categories stand in the history for ever, and no words of people may get there.
_NAME = re.compile(r"[a-z][a-z0-9_/ -]{0,63}", re.IGNORECASE)
MOST_CATEGORIES = 32
UNNAMED = "flagged"


def read_moderation(label: str, answer: object) -> Moderation:
    """Return the judgement in an answer. Raises BadAnswer."""
    results = as_dict(answer).get("results")
    if not isinstance(results, list) or not results:
        raise BadAnswer(f"{label} gave no judgement")
    flagged, categories = False, set()
    for result in map(as_dict, results):
        if not isinstance(result.get("flagged"), bool):
            raise BadAnswer(f"{label} gave no judgement")
        if result["flagged"]:
            flagged = True
            found = as_dict(result.get("categories"))
            categories |= {name for name, applies in found.items() if applies is True}
    named = sorted(name for name in categories if _NAME.fullmatch(name))[:MOST_CATEGORIES]
    return Moderation(flagged, tuple(named) or (UNNAMED,) if flagged else ())
