"""The logins of a bot and an engine at a nats-server, with what the bot may hear."""

from __future__ import annotations

BOT = "nats://bot:bot-secret@127.0.0.1"


def logins(subscribe: str, publish: str = '"rosey.command.chat", "llm.request"') -> str:
    """Return a server's configuration: an engine, and a bot with these permissions."""
    return f"""
    authorization {{ users: [
      {{ user: engine, password: engine-secret }}
      {{ user: bot, password: bot-secret,
         permissions: {{ subscribe: {{ {subscribe} }}, publish: [{publish}] }} }}
    ] }}"""


ENGINE = {"user": "engine", "password": "engine-secret"}
SHARED = '"llm.response", "llm.error", "llm.stream"'
INBOX = '"_INBOX.bot.>"'
# What a bot may subscribe to: one subject for all, three, whatever it likes, three without replies,
# replies alone.
RIGHTS = {
    "one": f'allow: ["llm.*", {INBOX}], deny: "llm.request"',
    "three": f"allow: [{SHARED}, {INBOX}]",
    "all": 'allow: ">"',
    "no replies": f"allow: [{SHARED}]",
    "replies": f"allow: {INBOX}",
}
