"""Files unlike the common ones: what cannot be seen through is refused whole, and nothing of it changes."""

from __future__ import annotations

import pytest

from bot.oidc.find import carriers
from bot.oidc.plan import Plan, plan
from bot.oidc.refusal import CODES
from bot.oidc.repository import FOLDER, Repository
from bot.oidc.splice import restored

PATH = f"{FOLDER}w.yml"
ID, KEY = "${{ secrets.AWS_ACCESS_KEY_ID }}", "${{ secrets.AWS_SECRET_ACCESS_KEY }}"
PAIR = f"AWS_ACCESS_KEY_ID: '{ID}', AWS_SECRET_ACCESS_KEY: '{KEY}'"
USE = "      - run: aws s3 ls\n        env: {" + PAIR + "}\n"
HEAD = "on: {push: {branches: [main]}}\n"
JOB = HEAD + "jobs:\n  a:\n    runs-on: ubuntu-latest\n"
STEP = JOB + "    steps:\n"
LOGIN = STEP + "      - run: aws s3 ls\n        env:\n          AWS_ACCESS_KEY_ID: " + ID
LOGIN += "\n          AWS_SECRET_ACCESS_KEY: " + KEY + "\n"

REFUSED = {
    "all secrets to an action": LOGIN + "      - uses: acme/x@v1\n        with: {all: '${{ toJSON(secrets) }}'}\n",
    "a secret named by the matrix": LOGIN + "      - run: echo '${{ secrets[matrix.name] }}'\n",
    "a secret that is a job's output": JOB + f"    outputs: {{key: '{KEY}'}}\n    steps:\n" + USE,
    "a password of a container": JOB + "    container: {image: x, credentials: {username: '" + ID + "', password: '"
    + KEY + "'}}\n    steps:\n" + USE,
    "a password of a service": JOB + "    services: {db: {image: x, env: {K: '" + KEY + "'}}}\n    steps:\n" + USE,
    "a condition on the secret": LOGIN + "      - run: echo there\n        if: secrets.AWS_ACCESS_KEY_ID != ''\n",
    "an input of an unknown action": LOGIN + "      - uses: acme/deploy@v1\n        with: {key: '" + KEY + "'}\n",
    "an anchor that two steps share": STEP + USE.replace("- run", "- &one\n        run") + "      - *one\n",
    "a secret that goes to another repository": LOGIN + "  b:\n    uses: acme/ci/.github/workflows/x.yml@v1\n"
    "    secrets: {AWS_SECRET_ACCESS_KEY: '" + KEY + "'}\n",
    "two documents": LOGIN + "---\non: push\n",
    "a key that stands twice": LOGIN + "        env: {}\n",
    "a lone carriage return": LOGIN.replace("run: aws s3 ls", "run: aws s3 ls # \r x"),
}  # fmt: skip
KEPT = {
    "carriage returns": LOGIN.replace("\n", "\r\n"),
    "mixed line ends": LOGIN.replace("\n", "\r\n", 3),
    "a mark at the beginning": "\ufeff" + LOGIN,
    "no last newline": LOGIN.rstrip("\n"),
    "tabs in a script": LOGIN.replace("aws s3 ls", "|\n          if true; then\n          \taws s3 ls\n          fi"),
    "a table in braces": STEP + "      - {run: aws s3 ls, env: {" + PAIR + ", STAGE: x}}\n",
    "all may be read": LOGIN.replace("    steps", "    permissions: read-all\n    steps"),
    "all may be written": LOGIN.replace("    steps", "    permissions: write-all\n    steps"),
    "nothing is allowed": LOGIN.replace("    steps", "    permissions: {}\n    steps"),
    "the file's env": HEAD + f"env:\n  AWS_ACCESS_KEY_ID: {ID}\n  AWS_SECRET_ACCESS_KEY: {KEY}\n"
    + JOB.removeprefix(HEAD) + "    steps:\n      - run: aws s3 ls\n",
    "an environment's secrets": LOGIN.replace("    steps", "    environment: {name: live, url: x}\n    steps"),
    "a matrix": LOGIN.replace("    steps", "    strategy: {matrix: {region: [a, b]}}\n    steps"),
    "two credentials in one step": LOGIN + "          NPM_TOKEN: ${{ secrets.NPM_TOKEN }}\n      - run: npm publish\n"
    "        env: {NODE_AUTH_TOKEN: '${{ secrets.NPM_TOKEN }}'}\n",
}  # fmt: skip


def planned(text: str) -> tuple[bytes, Plan]:
    data = text.encode()
    return data, plan(Repository.of({PATH: data}))


@pytest.mark.parametrize("text", REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_seen_through_is_refused_whole(text: str) -> None:
    data, made = planned(text)
    aws = [outcome for outcome in made.outcomes if outcome.credential.provider == "aws"]
    unreadable = text in {
        REFUSED[name] for name in ("two documents", "a key that stands twice", "a lone carriage return")
    }
    assert (PATH in made.before.unreadable) is unreadable
    assert unreadable or (aws and all(each.refusal and each.refusal.code in CODES for each in aws))
    assert made.after.files[PATH] == data


@pytest.mark.parametrize("text", KEPT.values(), ids=KEPT)
def test_what_is_written_in_another_way_is_migrated_and_no_other_byte_moves(text: str) -> None:
    data, made = planned(text)
    aws = [outcome for outcome in made.outcomes if outcome.credential.provider == "aws"]
    assert [str(each.refusal) for each in aws] == ["None"]
    body = made.after.files[PATH].decode().removeprefix("\ufeff")
    for outcome in reversed(made.outcomes):
        body = restored(body, outcome.splices.get(PATH, ()))
    assert body == data.decode().removeprefix("\ufeff")
    assert made.after.files[PATH].startswith(b"\xef\xbb\xbf") is data.startswith(b"\xef\xbb\xbf")
    left = [
        c
        for c in carriers(made.after.workflows[PATH])
        if {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} & set(c.secrets)
    ]
    assert left == []
    assert plan(made.after).changed == {}
