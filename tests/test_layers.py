"""The architecture, as a table: which room may import which. An arrow that points up fails."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
BOT = ROOT / "bot"

# Lowest first. A room imports rooms of lower layers, and its own; the rooms of one layer only where said below.
LAYERS: list[set[str]] = [
    {"model", "errors", "spoken"},
    {"reads", "batches", "traces"},
    {"redact", "images", "quiet"},
    {"world", "strictyaml", "logs"},
    {"action", "workflow", "clients", "npm", "registries", "reference"},
    {"steps", "gcp", "accounts", "external", "installations"},
    {"playbook", "oidc", "choices"},
    {"tables", "turns"},
    {"store", "scenario"},
    {
        "vault", "evidence", "signing", "timeline", "doors", "export", "heartbeat", "store_slack", "posts",
        "store_intake", "store_learn", "store_drills", "store_workers",
    },
    {"signals"},  # below the actions, which judge an incident's window; it is handed a recogniser
    {"actions", "triage"},
    {"engine"},
    {"story"},
    {"learn"},
    {"intake", "choosing", "schedule", "makes_way", "rehearsal"},
    {"alarm"},
    {"drill", "clock", "settings", "backup", "lessons", "rekey", "classroom"},
    {"paging", "stage", "training", "replay", "moved", "watch", "health"},
    {"web", "slack", "paging_door", "doorway", "sites"},
    {"app"},
    {"doctor"},
    {"cli"},
    {"__main__"},
]
SIDEWAYS = {("steps", "reference"), ("playbook", "reference")}
RANGE_MAY = {"range", "model", "errors"}  # servers in a process of their own
STARTS_RANGE = {"cli", "__main__"}

# A foreign library has one room.
LIBRARIES = {
    "boto3": {"clients", "range"},
    "botocore": {"clients", "actions", "range"},
    "github": {"clients", "sites"},
    "sqlalchemy": {
        "tables", "store", "store_slack", "store_drills", "store_workers", "posts", "store_intake", "store_learn",
        "vault", "timeline", "migrations",
    },
    "alembic": {"store", "migrations"},
    "sqlite3": {"backup"},
    "dbos": {"engine"},
    "hvac": {"external"},
    "lightkube": {"external"},
    "httpx2": {"external"},
    "isal": {"signals"},
    "moto": {"range"},
    "msgspec": {"signals"},
    "opentelemetry": {"traces"},
    "kingfisher_sdk": {"triage"},
    "starlette": {"web", "range"},
    "uvicorn": {"web", "range"},
    "jinja2": {"web", "range", "replay"},
    "slack_sdk": {"slack"},
    "slack_bolt": {"slack"},
    "stamina": {"reads"},
    "structlog": {"logs"},
    "pagerduty": {"paging"},
    "prometheus_client": {"web"},
    "PIL": {"replay"},
    "flask": {"range"},
    "apscheduler": {"clock"},
    "nacl": {"actions", "range"},
    "cryptography": {"vault", "triage", "intake", "range", "signals"},
    "sigstore": {"signals"},
    "jwt": {"gcp", "intake", "range"},
    "typer": {"cli", "__main__"},
    "rich": {"story", "cli", "__main__"},
    "pydantic_settings": {"settings"},
}


def room_of(path: Path) -> str:
    """The direct child of bot/ that a file belongs to."""
    return path.relative_to(BOT).parts[0].removesuffix(".py")


def imports(path: Path) -> set[str]:
    """Every module that a file imports, wherever in the file it does so."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found.add(node.module or "")
            found |= {f"{node.module}.{alias.name}" for alias in node.names} if node.module == "bot" else set()
    return found


def files() -> list[Path]:
    return sorted(p for p in BOT.rglob("*.py") if p != BOT / "__init__.py")


def layer(room: str) -> int:
    return next(i for i, rooms in enumerate(LAYERS) if room in rooms)


def allowed(room: str, other: str) -> bool:
    """Whether the table lets one room import another."""
    if room == other or other == "":
        return True
    if room == "migrations":
        return other == "tables"
    if other == "migrations":
        return False
    if room == "range":
        return other in RANGE_MAY
    if other == "range":
        return room in STARTS_RANGE
    return layer(other) < layer(room) or (room, other) in SIDEWAYS


@pytest.mark.parametrize("path", files(), ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_down_only(path: Path) -> None:
    room = room_of(path)
    for module in imports(path):
        top, _, rest = module.partition(".")
        if top == "bot":
            other = rest.split(".")[0]
            assert allowed(room, other), f"{room} imports {other}, which the table does not allow"
        elif top in LIBRARIES:
            assert room in LIBRARIES[top], f"{top} has its rooms: {sorted(LIBRARIES[top])}; this is {room}"


def test_the_table_names_every_room_and_no_room_that_is_not_there() -> None:
    rooms = {room_of(path) for path in files()}
    named = set().union(*LAYERS) | {"range", "migrations"}
    assert rooms - named == set(), "a room without a layer"
    assert named - rooms == set(), "a layer names a room that is not there"


def test_production_never_imports_what_changes_botocore_for_the_whole_process() -> None:
    for path in files():
        if room_of(path) != "range":
            assert not any(m.split(".")[0] == "moto" for m in imports(path)), path
