"""Asks a few questions and writes a configuration from the answers. It asks for no secrets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.config import loading
from engine.config.setup.answers import Ask, is_yes, whole_number
from engine.config.setup.example import Example
from engine.config.setup.public_room import PublicRoom
from providers import registry
from providers.http import model_names
from providers.validation import ValidationError, suggestion

OFFERED = ("ollama", "openai", "openrouter", "local")
SERVER = "server"
SERVER_KEY = "ROSEY_LLM_SERVER_KEY"


@dataclass(frozen=True, slots=True)
class ServerView:
    """What a provider's server shows: why its address is wrong, if it is, and its models."""

    problem: str = ""
    models: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class FoundNats:
    """A NATS server that answers where the embedded one would listen."""

    address: str
    needs_login: bool


Look = Callable[[str, Mapping[str, Any]], ServerView]


@dataclass(frozen=True, slots=True)
class Configured:
    """The file's text, and the environment variable for its provider's key ("" for none)."""

    text: str
    key_variable: str = ""


class Interview:
    """The questions of `rosey-llm init`, in order.

    ask: called with question, default and `accept`; it repeats the question until `accept(answer)`
        raises no ValueError.
    folder: the new file's folder; relative paths start there.
    look: called with a provider's name and table; returns what its server shows.
    found: a NATS server that answers on this machine.

    An answer that the server contradicts is refused once; the same answer again is taken.
    """

    def __init__(
        self,
        ask: Ask,
        folder: Path,
        look: Look = lambda name, table: ServerView(),
        found: FoundNats | None = None,
    ) -> None:
        self._ask = ask
        self._folder = folder
        self._look = look
        self._found = found
        self._view = ServerView()
        self._contradicted = ""
        self._example = Example()
        self._default: Mapping[str, Any] = self._example.values
        self._key_variable = ""

    def hold(self) -> Configured:
        """Ask all questions and return the result. Exceptions of `ask` end the interview."""
        self._ask(
            "Which provider answers? ollama, openai, openrouter, local (a tiny model on this"
            "\nmachine), or the address of an OpenAI-compatible server, such as http://localhost:8000/v1",
            self._default["default_provider"],
            self._take_provider,
        )
        self._about_the_provider(self._example.values["default_provider"])
        service = self._default["service"]
        self._about("What is the bot called?", ("service", "bot_name"))
        self._about(
            "How does the bot speak in a channel? default, concise, technical or creative",
            ("service", "default_persona"),
        )
        self._ask(
            "How many messages of a channel's conversation does the model see?",
            str(service["max_context_messages"]),
            lambda answer: self._put(("service", "max_context_messages"), whole_number(answer)),
        )
        self._about_nats()
        self._ask("Which folder holds the database and other data?", "data", self._take_folder)
        PublicRoom(self._ask, self._put).hold()
        return Configured(self._example.text, self._key_variable)

    def _about(self, question: str, path: tuple[str, ...]) -> None:
        default: Any = self._default
        for name in path:
            default = default[name]
        self._ask(question, default, lambda answer: self._put(path, answer))

    def _about_nats(self) -> None:
        question = "Where is NATS? embedded (the service runs it), or an address such as"
        question, default = f"{question} nats://host:4222", self._default["nats"]["url"]
        if self._found is not None:
            login = ", which asks for a login (set [nats] user and password afterwards)"
            server = self._found.address + login * self._found.needs_login
            question = f"A NATS server answers at {server}.\n{question}"
            default = default if self._found.needs_login else self._found.address
        self._ask(question, default, self._take_nats)

    def _about_the_provider(self, name: str) -> None:
        if name == "local":
            self._put(("fallback_providers",), [])
            return
        if name == "ollama":
            self._ask(
                "Where is Ollama?", self._default["providers"][name]["base_url"], self._take_ollama
            )
        elif name == SERVER:
            self._key_variable = SERVER_KEY
        else:
            self._key_variable = getattr(registry.find(name), "key_variable", "")
            self._view = self._look(name, self._table(name))
        self._about_the_model(name)
        self._ask(
            "Does the tiny local model answer when that provider cannot? yes or no",
            "yes",
            lambda answer: self._put(("fallback_providers",), ["local"] if is_yes(answer) else []),
        )

    def _about_the_model(self, name: str) -> None:
        models, path = self._view.models, ("providers", name, "default_model")
        has = f" The server has {model_names.few(models)}" if models else ""
        default = self._example.values["providers"][name]["default_model"]
        if models and not model_names.is_listed(default, models):
            default = models[0]

        def take(answer: str) -> None:
            if models and not model_names.is_listed(answer, models):
                near = model_names.near(answer, models)
                self._contradict(answer, f'the server has no model "{answer}"{near}')
            self._put(path, answer)

        self._ask(f"Which model?{has}", default or None, take)

    def _take_ollama(self, answer: str) -> None:
        path = ("providers", "ollama", "base_url")
        self._put(path, answer)
        self._examine("ollama", answer)

    def _examine(self, name: str, answer: str) -> None:
        """Look at the provider's server; ValueError if it shows that the address is wrong."""
        self._view = self._look(name, self._table(name))
        if self._view.problem:
            self._contradict(answer, self._view.problem)

    def _contradict(self, answer: str, problem: str) -> None:
        if answer != self._contradicted:
            self._contradicted = answer
            end = "" if problem.endswith("?") else "."
            raise ValueError(f"{problem}{end} To keep your answer, give it again.")

    def _table(self, name: str) -> Mapping[str, Any]:
        """Return the provider's table with its environment variables replaced."""
        return loading.parse(self._example.values, self._folder).provider_table(name)

    def _take_provider(self, answer: str) -> None:
        if "://" not in answer:
            if answer.lower() not in OFFERED:
                hint = suggestion(answer, list(OFFERED)) or f"; expected {', '.join(OFFERED)} or "
                raise ValueError(f'unknown: "{answer}"{hint.removesuffix(" or ")}')
            self._put(("default_provider",), answer.lower())
            return
        server = {
            "kind": "openai",
            "base_url": answer,
            "api_key": f"${{{SERVER_KEY}}}",
            "default_model": "",
        }
        self._check({"providers": {SERVER: server}})
        if SERVER in self._example.values["providers"]:  # another answer came before
            self._put(("providers", SERVER, "base_url"), answer)
        else:
            self._example.add({("providers", SERVER): server})
        self._examine(SERVER, answer)
        self._put(("default_provider",), SERVER)

    def _take_nats(self, answer: str) -> None:
        if "@" in answer:
            raise ValueError(
                "leave the login out of the address; set [nats] user and password instead"
            )
        self._put(("nats", "url"), answer)
        if answer == "embedded" and self._found is not None:
            self._put(("nats", "port"), 0)  # its own port is taken; bots read the file `url`

    def _take_folder(self, answer: str) -> None:
        folder = answer.rstrip("/") or "/"
        for path in (("storage", "path"), ("nats", "store_dir")):
            default: str = self._default[path[0]][path[1]]
            self._put(path, str(Path(folder) / Path(default).name))

    def _put(self, path: tuple[str, ...], value: Any) -> None:
        """Keep an answer. Raises ValueError with what is wrong with it."""
        change: Any = value
        for name in reversed(path):
            change = {name: change}
        self._check(change)
        self._example.put(path, value)

    def _check(self, change: Mapping[str, Any]) -> None:
        try:
            loading.parse(_merged(self._example.values, change), self._folder)
        except ValidationError as exc:
            raise ValueError(exc.problem) from exc


def _merged(values: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(values)
    for key, value in change.items():
        old = merged.get(key)
        if isinstance(value, Mapping) and isinstance(old, Mapping):
            value = _merged(old, value)
        merged[key] = value
    return merged
