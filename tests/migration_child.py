"""A worker of its own, with people who answer, that kills itself at one boundary. Its argument is JSON:
``{"home", "range", "kill_at", "until"}``; it works until the step ``until`` is proven, and 0 is its end.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from bot import app, drill, sites
from bot.settings import Settings
from tests.test_migration import House


def main(given: dict[str, Any]) -> None:
    def boundary(name: str) -> None:
        if name == given["kill_at"]:
            os.kill(os.getpid(), signal.SIGKILL)

    site = sites.range_site(drill.Range(info=given["range"]).endpoints)
    settings = Settings(home=Path(given["home"]), responders="bob,cleo", mode="ask")
    with app.opened(settings, sites={"range": site}, boundary=boundary) as bulkhead:
        house = House(SimpleNamespace(clock=site.clock), bulkhead)  # type: ignore[arg-type]
        house.run(lambda: house.proven(given["until"]))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
