"""Logs that let no secret through: what the standard library's logging makes, and what structlog does.

A line is written for people, or as JSON for programs (``BULKHEAD_LOG=json``): time, level, event, incident, step and
worker stand in every line of that form. Which incident and step a line is about is bound with ``about`` and goes along
into tasks and threads.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
import traceback
from collections.abc import Iterable, MutableMapping
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import Any, TextIO

import structlog

from bot.redact import Fingerprinter, Scrubber

PLAIN, JSON = "plain", "json"
_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime"}
_NAMED = ("incident", "step")  # fields of a line that are bound, or given with ``extra``
log = logging.getLogger("bulkhead")


class ScrubFilter(logging.Filter):
    """Lets a log record through without its secrets: message, arguments, traceback and extra fields."""

    def __init__(self, scrubber: Scrubber) -> None:
        super().__init__()
        self._scrubber = scrubber

    def filter(self, record: logging.LogRecord) -> bool:
        extra = record.__dict__.keys() - _STANDARD
        if isinstance(record, _OwnRecord) and record.clean == (id(self), record.msg, extra) and not record.exc_info:
            return True  # every handler would do it again, and it takes its time
        try:
            # Not the record's own: that of ours comes here.
            message = logging.LogRecord.getMessage(record)
        except (TypeError, ValueError, KeyError, IndexError):  # logging itself would print the arguments as they are
            message = f"{record.msg!s} {record.args!r}"
        record.msg, record.args = self._scrubber.scrub(message), None
        if record.exc_info:
            record.exc_text = record.exc_text or "".join(traceback.format_exception(*record.exc_info)).rstrip("\n")
            record.exc_info = None  # a handler that formats it anew would show values, and locals perhaps
        if record.exc_text:
            record.exc_text = self._scrubber.scrub(record.exc_text)
        if record.stack_info:
            record.stack_info = self._scrubber.scrub(record.stack_info)
        for name in extra:
            record.__dict__[name] = self._scrubber.scrub_any(record.__dict__[name])
        if isinstance(record, _OwnRecord):
            record.clean = (id(self), record.msg, extra)
        return True


class _OwnRecord(logging.LogRecord):
    """``clean``: by which filter it was scrubbed, with which message and extra fields. Not one of its fields."""

    __slots__ = ("clean",)
    clean: tuple[int, str, set[str]]

    def __init__(self, *args: Any, **kw: Any) -> None:
        super().__init__(*args, **kw)
        self.clean = (0, "", set())

    def __reduce__(self) -> Any:
        """Copied, or sent to another process, it is a plain record with the same scrubbed fields."""
        return logging.makeLogRecord, (dict(self.__dict__),)


class _Scrubbed:
    """Makes log records that are scrubbed from the first, whichever handler gets to see them.

    Fields of ``extra`` are put into a record after it is made, so it is scrubbed once more when its message is asked
    for: every formatter does that before it looks at the fields.
    """

    def __init__(self, scrub: ScrubFilter) -> None:
        class Record(_OwnRecord):
            __slots__ = ()

            def __init__(self, *args: Any, **kw: Any) -> None:
                super().__init__(*args, **kw)
                scrub.filter(self)

            def getMessage(self) -> str:  # noqa: N802 - logging's own name
                scrub.filter(self)
                return str(self.msg)

        self._make = Record

    def __call__(self, *args: Any, **kw: Any) -> logging.LogRecord:
        return self._make(*args, **kw)


class ScrubProcessor:
    """The same for structlog; stands last before the renderer."""

    def __init__(self, scrubber: Scrubber) -> None:
        self._scrubber = scrubber

    def __call__(self, _logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        if (failure := event.pop("exc_info", None)) and not event.get("exception"):
            event["exception"] = _formatted(failure)
        return dict(self._scrubber.scrub_any(dict(event)))


def _formatted(failure: Any) -> str:
    if isinstance(failure, BaseException):
        return "".join(traceback.format_exception(failure))
    return "".join(traceback.format_exception(*failure)) if isinstance(failure, tuple) else traceback.format_exc()


def install(scrubber: Scrubber, handlers: Iterable[logging.Handler] = ()) -> ScrubFilter:
    """Scrub every log record of this process from now on, also for handlers that are added later.

    Records are made scrubbed (``logging.setLogRecordFactory``). The handlers of the root logger, Python's handler of
    last resort and those given get the filter too: what another process or library hands them was not made here.
    """
    scrub = ScrubFilter(scrubber)
    _Lines.scrubber = scrubber
    logging.setLogRecordFactory(_Scrubbed(scrub))
    last = [logging.lastResort] if logging.lastResort else []
    for handler in (*logging.getLogger().handlers, *last, *handlers):
        for old in [f for f in handler.filters if isinstance(f, ScrubFilter)]:
            handler.removeFilter(old)
        handler.addFilter(scrub)
    return scrub


# lines ----------------------------------------------------------------------------------------------------------------


def configure(form: str, level: int, out: TextIO) -> None:
    """Log to a stream, as ``form`` (plain, json) says. Until a vault is open, secrets are known by their shapes only.

    Where a program has set logging up already, as a test does, nothing is changed.
    """
    handler = logging.StreamHandler(out)
    handler.setFormatter(json_lines() if form == JSON else logging.Formatter(_FORMAT))
    logging.basicConfig(level=level, handlers=[handler])
    install(Scrubber(Fingerprinter(os.urandom(32))))


def named(worker: str) -> None:
    """What this process is called in its lines."""
    _Lines.worker = worker


def about(**said: str) -> AbstractContextManager[None]:
    """Every line that is written while the block runs says this of itself: ``incident``, ``step``."""
    return structlog.contextvars.bound_contextvars(**said)


def json_lines() -> logging.Formatter:
    """The formatter of ``BULKHEAD_LOG=json``: one JSON object a line."""
    formatter: logging.Formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[structlog.contextvars.merge_contextvars, _Lines.arranged],  # traces are gone after these
        processors=[_Lines.scrubbed, structlog.processors.JSONRenderer(json.dumps, ensure_ascii=False)],
        use_get_message=True,
    )
    return formatter


class _Lines:
    """What all JSON lines of this process share."""

    scrubber: Scrubber | None = None
    worker = ""

    @staticmethod
    def arranged(_logger: Any, _method: str, found: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        """The fields of a line, in their order. ``event`` is what has happened, or who speaks where nobody says."""
        record: logging.LogRecord = found["_record"]
        given = record.__dict__
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line = {"time": at.replace("+00:00", "Z"), "level": record.levelname.lower()}
        line["event"] = given.get("event", record.name)
        line |= {name: given.get(name, found.get(name, "")) for name in _NAMED}
        line |= {"worker": _Lines.worker, "message": found["event"]}
        trace = record.exc_text or (_formatted(record.exc_info) if record.exc_info else "")
        return line | ({"error": trace} if trace else {})

    @staticmethod
    def scrubbed(logger: Any, method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        """The same without secrets, whatever has made the record."""
        return ScrubProcessor(_Lines.scrubber)(logger, method, line) if _Lines.scrubber else line


def catch_all() -> None:
    """What Python itself would write to standard error goes the way of every line: warnings, and faults of ours.

    Their texts can hold what a provider has sent.
    """
    logging.captureWarnings(capture=True)

    def uncaught(kind: type[BaseException], exc: BaseException, trace: Any) -> None:
        if issubclass(kind, KeyboardInterrupt):
            sys.__excepthook__(kind, exc, trace)
        else:
            log.critical("a fault of Bulkhead itself ends this process", exc_info=(kind, exc, trace))

    def in_thread(args: Any) -> None:
        if args.exc_value is not None:
            told = (args.exc_type, args.exc_value, args.exc_traceback)
            log.critical("a fault of Bulkhead itself ends a thread", exc_info=told)

    def unraisable(args: Any) -> None:
        if args.exc_value is not None:
            told = (args.exc_type, args.exc_value, args.exc_traceback)
            log.error("a fault that nobody can be told of", exc_info=told)

    sys.excepthook, threading.excepthook, sys.unraisablehook = uncaught, in_thread, unraisable
