"""Drills in processes that can be killed. Each line of the input is one process:
``{"home", "range", "kill_at", "database", "drill"}``, of which ``database`` is empty for SQLite in HOME.

It is forked from this one, which has done nothing but import: that saves the seconds of importing, and what is killed
is a whole process all the same. Every boundary that is passed is written to HOME/names; at ``kill_at`` the process
kills itself, as a power cut would. What it prints goes to HOME/out; the answer to each line is its wait status.
"""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import json
import os
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from bot import app, drill, sites
from bot.actions import CATALOGUE
from bot.playbook import load_folder
from bot.scenario import load_drill
from bot.settings import Settings


def run(home: str, info: dict[str, Any], kill_at: str, database: str, name: str) -> None:
    """One drill, to its end or to its death."""
    source = app.SHIPPED / "drills" / f"{name}.yaml"
    scenario = load_drill(source.read_text(), str(source), load_folder([app.SHIPPED / "containment"], CATALOGUE))
    scenario = dataclasses.replace(scenario, delay_s=0.02)
    range_ = drill.Range(info=info)
    key = SecretStr(base64.b64encode(bytes(range(32))).decode())
    split = {"database_url": database, "vault_key": key, "evidence": f"{home}/evidence"} if database else {}
    settings = Settings(home=Path(home), responders=",".join(scenario.responders), **split)

    def boundary(name: str) -> None:
        with Path(home, "names").open("a") as file:
            file.write(name + "\n")
        if name == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    with app.opened(
        settings, sites={"range": sites.range_site(range_.endpoints)}, boundary=boundary, release=True
    ) as bulkhead:
        result = asyncio.run(drill.Run(scenario, bulkhead, range_, lambda _kind, _data: None).run())
    (Path(home) / "result.json").write_text(json.dumps(result.as_json()))


def forked(order: dict[str, Any]) -> int:
    """Run one order in a process of its own; returns its wait status."""
    pid = os.fork()
    if pid == 0:
        out = os.open(f"{order['home']}/out", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(out, 1)
        os.dup2(out, 2)
        try:
            run(order["home"], order["range"], order["kill_at"], order["database"], order["drill"])
        except BaseException:  # noqa: BLE001 - whatever it was, this is a child that must not go on as its parent
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


if __name__ == "__main__":
    for line in sys.stdin:
        print(forked(json.loads(line)), flush=True)
