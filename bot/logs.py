"""Logs that let no secret through: what the standard library's logging makes, and what structlog does."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterable, MutableMapping
from typing import Any

from bot.redact import Scrubber

_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime"}


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
    logging.setLogRecordFactory(_Scrubbed(scrub))
    last = [logging.lastResort] if logging.lastResort else []
    for handler in (*logging.getLogger().handlers, *last, *handlers):
        for old in [f for f in handler.filters if isinstance(f, ScrubFilter)]:
            handler.removeFilter(old)
        handler.addFilter(scrub)
    return scrub
