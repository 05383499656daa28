"""The permissions that the NATS server refuses the engine; each refusal is logged once."""

from __future__ import annotations

import logging
import re

from engine.config.settings import SubjectSettings

log = logging.getLogger("rosey_llm.nats")

_VIOLATION = re.compile(r'permissions violation for (subscription|publish) to "([^"]*)"')
TODO = "Give its login the permissions in docs/security.md; the engine keeps trying."


def refusal(exc: Exception) -> tuple[str, str]:
    """Return ("subscription" or "publish", subject in lower case) of a refusal, else ("", "")."""
    found = _VIOLATION.search(str(exc).lower())
    return (found[1], found[2]) if found else ("", "")


class Permissions:
    """The subjects that the server refuses now.

    It refuses without being asked: the error comes between the subscription or the message and the
    end of the next flush. nats-py gives its text in lower case.
    """

    def __init__(self, subjects: SubjectSettings) -> None:
        inputs, outputs = (subjects.chat, subjects.request), (subjects.response, subjects.error)
        self._inputs = {subject.lower(): subject for subject in inputs}
        self._optional = (subjects.stream, subjects.status)
        self._outputs = {subject.lower(): subject for subject in (*outputs, *self._optional)}
        # Each refused input with the number of the attempt that was refused.
        self._refused_inputs: dict[str, int] = {}
        self._attempt = 0
        # Each refused output; True: a message was published since, and was not refused yet.
        self._refused_outputs: dict[str, bool] = {}
        self._logged: set[str] = set()
        # What the engine may be refused without harm: (verb, subject), and whether it was.
        self._questions: dict[tuple[str, str], bool] = {}
        self.services_refused = False

    def question(self, *, publish: str = "", subscribe: str = "") -> None:
        """Do not log it if the server refuses this."""
        if publish:
            self._questions["publish", publish.lower()] = False
        if subscribe:
            self._questions["subscription", subscribe.lower()] = False

    def refuses_question(self, publish: str, subscribe: str) -> bool:
        """Return whether the server refused the question or its answer."""
        asked = ("publish", publish.lower()), ("subscription", subscribe.lower())
        return any(self._questions[each] for each in asked)

    @property
    def refused_inputs(self) -> list[str]:
        return [subject for subject in self._inputs.values() if subject in self._refused_inputs]

    @property
    def problem(self) -> str | None:
        """What the server refuses that bots need, and what to do; None if it is nothing."""
        outputs = [each for each in self._refused_outputs if each not in self._optional]
        refused = [
            f"{verb} {' and '.join(subjects)}"
            for verb, subjects in (("subscribe to", self.refused_inputs), ("publish on", outputs))
            if subjects
        ]
        return f"NATS does not let the engine {' or '.join(refused)}. {TODO}" if refused else None

    def note(self, exc: Exception) -> bool:
        """Keep and log a refusal; return whether the error is one."""
        if "permissions violation" not in str(exc).lower():
            return False
        verb, subject = refusal(exc)
        if (verb, subject) in self._questions:
            self._questions[verb, subject] = True
        elif verb == "subscription" and subject in self._inputs:
            self._refused_inputs[self._inputs[subject]] = self._attempt
            subject = self._inputs[subject]
            if self._is_news(subject):
                log.error(
                    "NATS does not let the engine subscribe to %(subject)s: it hears no message"
                    " there. %(todo)s",
                    {"event": "nats.input_refused", "subject": subject, "todo": TODO},
                )
        elif verb == "publish" and subject in self._outputs:
            self._refused_outputs[self._outputs[subject]] = False
            subject = self._outputs[subject]
            if self._is_news(subject):
                log.error(
                    "NATS does not let the engine publish on %(subject)s: no bot hears its messages"
                    " there. %(todo)s",
                    {"event": "nats.output_refused", "subject": subject, "todo": TODO},
                )
        elif verb == "subscription" and subject.startswith("$srv."):
            self._log_micro_service()
        else:
            log.error(
                "NATS refused: %(error)s. Compare the engine's permissions with docs/security.md.",
                {"event": "nats.permission_missing", "error": exc},
            )
        return True

    def attempt(self) -> None:
        """Call before the inputs are subscribed to."""
        self._attempt += 1

    def published(self, subject: str) -> None:
        """Call after each message that was queued."""
        if subject in self._refused_outputs:
            self._refused_outputs[subject] = True

    def flushed(self) -> None:
        """Call after a flush: what the server did not refuse by now, it permits."""
        if not (self._refused_inputs or self._refused_outputs):
            return
        for subject in self.refused_inputs:
            if self._refused_inputs[subject] < self._attempt:
                del self._refused_inputs[subject]
                self._logged.discard(subject)
                log.warning(
                    "The engine hears %(subject)s now.",
                    {"event": "nats.input_recovered", "subject": subject},
                )
        for subject in [each for each, sent in self._refused_outputs.items() if sent]:
            del self._refused_outputs[subject]
            self._logged.discard(subject)
            log.warning(
                "The engine publishes on %(subject)s now.",
                {"event": "nats.output_recovered", "subject": subject},
            )

    def _is_news(self, subject: str) -> bool:
        """Return whether a refusal of this subject is not logged yet; note that it is now."""
        is_news = subject not in self._logged
        self._logged.add(subject)
        return is_news

    def _log_micro_service(self) -> None:
        self.services_refused = True
        if self._is_news("$SRV"):
            log.warning(
                "NATS does not let the engine answer $SRV.PING, INFO and STATS; all else works."
                " Give it the permission in docs/security.md.",
                {"event": "nats.status_refused"},
            )
