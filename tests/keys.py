"""Real SSH keys for tests, made by ssh-keygen when they are needed."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

needs_keygen = pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="this machine has no ssh-keygen")


class Ring:
    """Keys of people in a folder, and the list of those who may sign."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.signers = folder / "allowed_signers"
        self.signers.touch()

    def key(self, name: str, *, listed: bool = True, options: str = "") -> Path:
        """A new key of this person; ``options`` stand in the list as ``valid-before="..."`` would."""
        path = self.folder / f"{name}-{len(list(self.folder.iterdir()))}"
        make = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(path)]
        subprocess.run(make, check=True, capture_output=True, timeout=30)
        if listed:
            public = path.with_suffix(".pub").read_text()
            with self.signers.open("a") as file:
                file.write(f"{name} {options + ' ' if options else ''}{public}")
        return path
