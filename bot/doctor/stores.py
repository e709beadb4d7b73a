"""Stores outside GitHub: whether each declared copy can be read, and what a thief of these sign-ins could do."""

from __future__ import annotations

from bot.doctor.found import BROKEN, OK, WARNING, Finding, Power
from bot.errors import BulkheadError
from bot.sites import Site


def look(site: Site) -> tuple[list[Finding], list[Power]]:
    """One finding a store. No value leaves it; whether a copy may be written is not tried."""
    findings, powers = [], []
    for name, store in site.external.items():
        copies = [each.copy for each in site.declared if each.copy.store == name]
        bad = []
        for copy in copies:
            try:
                held = store.read(copy.name)
            except BulkheadError as exc:
                bad.append(str(exc))
                continue
            lacking = [key for key in copy.keys.values() if key and key not in held.values]
            bad += [f"{copy} has no key {', '.join(lacking)}"] if lacking else []
            bad += [held.locked] if held.locked else []
        title = f"Store {name}"
        if not copies:
            hint = "Declare under copies what stands in it, or take it out of the file of stores."
            findings.append(Finding(name=title, state=WARNING, detail="no copy is declared in it", suggestion=hint))
        elif bad:
            text = "After a rotation the old value stays there, and people are asked."
            findings += [Finding(name=title, state=BROKEN, detail=one, disables=text) for one in bad]
        else:
            said = f"{store.kind}; {len(copies)} declared, all can be read"
            findings.append(Finding(name=title, state=OK, detail=said))
        powers.append(Power(
            identity=f"the sign-in of store {name} ({store.kind})",
            summary="what it may do beyond the declared copies is not looked for",
            could=(f"read and replace {', '.join(sorted({copy.name for copy in copies}))}",) if copies else (),
            suggestions=("Its policy should name these secrets one by one, for reading and updating alone",),
        ))  # fmt: skip
    return findings, powers
