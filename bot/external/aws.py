"""AWS Secrets Manager and Systems Manager Parameter Store.

A secret is one text: the value itself, or a JSON object of which some keys are ours. Neither has compare-and-set, so
what is read right before a write is what it is compared with. docs.aws.amazon.com/secretsmanager/latest/apireference
(PutSecretValue, DescribeSecret); docs.aws.amazon.com/systems-manager/latest/APIReference (PutParameter).
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Mapping
from typing import Any, ClassVar

from bot.clients import aws_errors
from bot.errors import InputError, NotFound
from bot.world import Aws, Held


def _values(text: str) -> dict[str, str]:
    """A secret's text as a whole, and the keys of the JSON object that it may be."""
    found = {"": text}
    try:
        read = json.loads(text)
    except ValueError:
        return found
    return found | {k: v for k, v in read.items() if isinstance(v, str)} if isinstance(read, dict) else found


def _text(name: str, values: Mapping[str, str], held: Held) -> str:
    """The text to write. Raises InputError where keys are to go into what is no JSON object."""
    if "" in values:
        return values[""]
    try:
        read = json.loads(held.values[""])
    except ValueError:
        read = None
    if not isinstance(read, dict):
        raise InputError(f"{name} is no JSON object, and so has no keys: leave keys out where it is the value itself")
    return json.dumps(read | dict(values))


class SecretsManager:
    """Secrets of one account and region. A write has a token made of what it writes: the same again is one version."""

    kind: ClassVar[str] = "secretsmanager"

    def __init__(self, aws: Aws, region: str = "") -> None:
        self._aws, self._region = aws, region

    def _call(self, operation: str, what: str, **given: Any) -> dict[str, Any]:
        with aws_errors(what):
            found: dict[str, Any] = getattr(self._aws.client("secretsmanager", self._region), operation)(**given)
        return found

    def read(self, name: str) -> Held:
        about = self._call("describe_secret", f"look at the secret {name}", SecretId=name)
        if about.get("DeletedDate"):
            raise NotFound(f"the secret {name} is about to be deleted: restore it, or declare another", provider="aws")
        found = self._call("get_secret_value", f"read the secret {name}", SecretId=name)
        if "SecretString" not in found:
            raise InputError(f"the secret {name} holds bytes, not text; a person puts the new value there")
        locked = f"the secret {name} is rotated by its own function; start that" if about.get("RotationEnabled") else ""
        return Held(
            values=_values(found["SecretString"]), version=str(found["VersionId"]), locked=locked,
            changed_at=found["CreatedDate"].isoformat(),
        )  # fmt: skip

    def write(self, name: str, values: Mapping[str, str], held: Held) -> None:
        made = _text(name, values, held)
        token = str(uuid.UUID(hashlib.sha256(f"{held.version} {made}".encode()).hexdigest()[:32]))
        self._call(
            "put_secret_value", f"write the secret {name}", SecretId=name, SecretString=made, ClientRequestToken=token
        )


class ParameterStore:
    """Parameters of one account and region. Type, key and tier stay: without them AWS would take its defaults."""

    kind: ClassVar[str] = "ssm"

    def __init__(self, aws: Aws, region: str = "") -> None:
        self._aws, self._region = aws, region

    def _call(self, operation: str, what: str, **given: Any) -> dict[str, Any]:
        with aws_errors(what):
            found: dict[str, Any] = getattr(self._aws.client("ssm", self._region), operation)(**given)
        return found

    def read(self, name: str) -> Held:
        found = self._call("get_parameter", f"read the parameter {name}", Name=name, WithDecryption=True)["Parameter"]
        if found["Type"] == "StringList":
            raise InputError(f"the parameter {name} is a list; a person puts the new value there")
        return Held(
            values=_values(found["Value"]), version=str(found["Version"]),
            changed_at=found["LastModifiedDate"].isoformat(),
        )  # fmt: skip

    def write(self, name: str, values: Mapping[str, str], held: Held) -> None:
        named = [{"Key": "Name", "Option": "Equals", "Values": [name]}]
        rows = self._call("describe_parameters", f"look at the parameter {name}", ParameterFilters=named)["Parameters"]
        if not rows:
            raise NotFound(f"there is no parameter {name} any more", provider="aws")
        kept = {key: rows[0][key] for key in ("Type", "KeyId", "Tier") if rows[0].get(key)}
        self._call(
            "put_parameter", f"write the parameter {name}", Name=name, Value=_text(name, values, held), Overwrite=True,
            **kept,
        )  # fmt: skip
