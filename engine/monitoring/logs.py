"""The service's log: one line an event, as text for people or as JSON for programs."""

from __future__ import annotations

import logging
import sys
import time
from typing import Any

from engine.config.settings import LogSettings
from engine.monitoring.event import LogEvent, as_json, one_line, shown
from engine.monitoring.stderr import StderrHandler


class TextFormat(logging.Formatter):
    """`2026-11-22T23:50:01.123Z info rosey_llm.channel turn.answered channel=#lobby ...`

    A trace follows on lines of its own, each indented, so that no line of it looks like an event.
    """

    def format(self, record: logging.LogRecord) -> str:
        text = one_line(record.getMessage())
        line = f"{_time(record.created)} {record.levelname.lower()} {record.name} {text}"
        if record.exc_info and record.exc_info[1] is not None:
            exc = record.exc_info[1]
            line += f" exception={shown(f'{type(exc).__name__}: {exc}')}"
        for each in _trace(self, record).splitlines():
            line += f"\n    {one_line(each)}"
        return line


class JsonFormat(logging.Formatter):
    """One object a line: ts, level, logger, then `event` with its fields, or `message`."""

    def format(self, record: logging.LogRecord) -> str:
        values: dict[str, Any] = {
            "ts": _time(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
        }
        if isinstance(record.msg, LogEvent):
            values |= {"event": record.msg.name, **record.msg.fields}
        else:
            values["message"] = record.getMessage()
        if trace := _trace(self, record):
            values["exception"] = trace
        return as_json(values)


def configure(settings: LogSettings) -> None:
    """From here on this process logs to standard error, as the settings say."""
    root = logging.getLogger()
    if not any(isinstance(each, StderrHandler) for each in root.handlers):
        # Where there is no standard error, its number may be that of any other file.
        root.addHandler(StderrHandler() if sys.stderr is not None else logging.NullHandler())
    apply(settings)


def apply(settings: LogSettings) -> None:
    """Log by other settings from now on, where `configure` was called; else this does nothing."""
    root = logging.getLogger()
    for handler in root.handlers:
        if isinstance(handler, StderrHandler):
            handler.setFormatter(JsonFormat() if settings.format == "json" else TextFormat())
            root.setLevel(settings.level.upper())


def _time(created_s: float) -> str:
    seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(created_s))
    return f"{seconds}.{int(created_s % 1 * 1000):03d}Z"


def _trace(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    parts = []
    if record.exc_info:
        parts.append(formatter.formatException(record.exc_info))
    if record.stack_info:
        parts.append(record.stack_info)
    return "\n".join(parts)
