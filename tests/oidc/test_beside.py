"""What files beside the workflows decide: a script of the repository may read what a workflow hands it by a name."""

from __future__ import annotations

from bot.oidc.plan import plan
from bot.oidc.repository import FOLDER, Repository
from tests.oidc.test_cases import CASES

FILE = f"{FOLDER}report.yml"


def test_a_key_of_a_job_that_a_file_of_the_repository_names_is_left() -> None:
    text = (CASES / "gcp" / "key-of-a-job.before.yml").read_bytes()
    [outcome] = plan(Repository.of({FILE: text, "report.py": b"import os\n"})).outcomes
    assert outcome.refusal is None
    [outcome] = plan(Repository.of({FILE: text, "report.py": b"key = os.environ['REPORTS_KEY']\n"})).outcomes
    assert outcome.refusal is not None
    assert outcome.refusal.code == "renamed"


def test_a_name_that_hands_a_key_on_and_that_a_script_reads_is_left() -> None:
    text = (CASES / "aws" / "handed-by-env.before.yml").read_bytes()
    assert plan(Repository.of({FILE: text, "site.py": b"import os\n"})).changed
    assert plan(Repository.of({FILE: text, "site.py": b"key = os.environ['SITE_KEY']\n"})).changed == {}
