"""The format of the service's log: one line per event, as text for people or JSON for programs."""

from __future__ import annotations

import logging
import sys
import time
from typing import Any

from engine.config.settings import LogSettings
from engine.monitoring.event import LogEvent, as_json, event_of, one_line, shown, unnamed
from engine.monitoring.stderr import StderrHandler


class TextFormat(logging.Formatter):
    """A formatter for people: `2026-11-22T23:50:01.123Z info rosey_llm.turn turn.answered ...`.

    After the event comes its sentence, then the fields that the sentence does not name.
    A traceback follows on its own lines, each indented, so that none of them looks like an event.
    """

    def format(self, record: logging.LogRecord) -> str:
        text = one_line(record.getMessage())
        if not isinstance(record.msg, LogEvent):
            name, fields = event_of(record)
            text = f"{name} {text}{unnamed(record, fields)}"
        line = f"{_time(record.created)} {record.levelname.lower()} {record.name} {text}"
        if record.exc_info and record.exc_info[1] is not None:
            exc = record.exc_info[1]
            line += f" exception={shown(f'{type(exc).__name__}: {exc}')}"
        for each in _traceback(self, record).splitlines():
            line += f"\n    {one_line(each)}"
        return line


class JsonFormat(logging.Formatter):
    """A formatter for programs: a JSON object per line.

    Its keys are ts, level, logger, event, message (the sentence, if there is one), then the fields.
    """

    def format(self, record: logging.LogRecord) -> str:
        values: dict[str, Any] = {
            "ts": _time(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
        }
        values["event"], fields = event_of(record)
        if not isinstance(record.msg, LogEvent):
            values["message"] = record.getMessage()
        values |= fields
        if traceback := _traceback(self, record):
            values["exception"] = traceback
        return as_json(values)


def configure(settings: LogSettings) -> None:
    """Make this process log to standard error from now on, as the settings say."""
    root = logging.getLogger()
    if not any(isinstance(each, StderrHandler) for each in root.handlers):
        # Without a standard error, descriptor 2 may be any other file.
        root.addHandler(StderrHandler() if sys.stderr is not None else logging.NullHandler())
    apply(settings)


def apply(settings: LogSettings) -> None:
    """Log by these settings from now on; does nothing if `configure` was not called."""
    root = logging.getLogger()
    for handler in root.handlers:
        if isinstance(handler, StderrHandler):
            handler.setFormatter(JsonFormat() if settings.format == "json" else TextFormat())
            root.setLevel(settings.level.upper())


def _time(created_s: float) -> str:
    seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(created_s))
    return f"{seconds}.{int(created_s % 1 * 1000):03d}Z"


def _traceback(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    parts = []
    if record.exc_info:
        parts.append(formatter.formatException(record.exc_info))
    if record.stack_info:
        parts.append(record.stack_info)
    return "\n".join(parts)
