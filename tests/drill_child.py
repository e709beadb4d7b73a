"""Run a drill in a process that can be killed: ``drill_child.py HOME RANGE_JSON NAMES_FILE [KILL_AT]``.

Every boundary that is passed is written to NAMES_FILE; at KILL_AT the process kills itself, as a power cut would.
The last line of the output is the drill's result.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import signal
import sys
from pathlib import Path

from bot import app, drill
from bot.actions import CATALOGUE
from bot.playbook import load_folder
from bot.scenario import load_drill
from bot.settings import Settings


def main(home: str, range_json: str, names: str, kill_at: str = "") -> None:
    source = app.SHIPPED / "drills" / "aws-key-in-public-log.yaml"
    scenario = load_drill(source.read_text(), str(source), load_folder([app.SHIPPED / "containment"], CATALOGUE))
    scenario = dataclasses.replace(scenario, delay_s=0.02)
    range_ = drill.Range(info=json.loads(range_json))
    settings = Settings(home=Path(home), responders=",".join(scenario.responders))

    def boundary(name: str) -> None:
        with open(names, "a") as file:
            file.write(name + "\n")
        if name == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    with app.opened(settings, sites={"range": app.range_site(range_.endpoints)}) as bulkhead:
        result = asyncio.run(drill.Run(scenario, bulkhead, range_, lambda _kind, _data: None).run(boundary=boundary))
    print(json.dumps(result.as_json()))


if __name__ == "__main__":
    main(*sys.argv[1:])
