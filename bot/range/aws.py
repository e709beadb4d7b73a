"""AWS of the range: moto's IAM, S3 and ECR, and our own CodeArtifact, behind a layer that enforces what moto does not.

moto keeps users, keys, roles, policies and buckets and speaks their protocols; it does not enforce key status,
session age, conditions, trust policies or web identity tokens (tried with 5.2.5). So every request is first
authenticated, authorized and recorded here, and moto's own checks stay off. moto's state belongs to the process: of
several ``AwsRange`` the one that was reset last has it.

Left out on purpose: bucket policies and ACLs, presigned URLs, resource policies other than role trust, SCPs.
"""

from __future__ import annotations

import json
import threading
import time as machine
import xml.etree.ElementTree as ET
from collections.abc import Iterable
from email.utils import format_datetime
from http.client import responses
from typing import Any

from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server
from werkzeug.test import run_wsgi_app

from bot.range import aws_codeartifact, aws_rest, aws_trail, aws_wire, iam_policy
from bot.range.aws_account import Account, Dates
from bot.range.aws_codeartifact import CodeArtifact
from bot.range.aws_ecr import LAYERS, Ecr
from bot.range.aws_sts import ACCOUNT, SECOND, Caller, Session, Sts, account_in
from bot.range.aws_trail import Trail, reads_only
from bot.range.aws_wire import AwsError, Call, Reply
from bot.range.clock import RangeClock
from bot.range.issuer import OidcIssuer
from bot.range.switchboard import Fault, Switchboard

# STS operations that session credentials may call (API Reference, GetSessionToken and GetFederationToken).
_STS_OF_SESSIONS = {"user": {"AssumeRole", "GetCallerIdentity"}, "federated": {"GetCallerIdentity"}}
# Operations that need no Allow; an explicit Deny still stops them, GetCallerIdentity not even that.
_FREE = {"sts:GetSessionToken"}
_EMPTY = {"ecr:DescribeRepositories", "codeartifact:ListRepositories"}  # in any account but the company's own
_S3_ACTIONS = {
    "ListBuckets": "ListAllMyBuckets", "ListObjects": "ListBucket", "ListObjectsV2": "ListBucket",
    "HeadBucket": "ListBucket", "HeadObject": "GetObject", "CopyObject": "PutObject", "DeleteObjects": "DeleteObject",
    "CreateMultipartUpload": "PutObject", "UploadPart": "PutObject", "CompleteMultipartUpload": "PutObject",
    "ListObjectVersions": "ListBucketVersions",
}  # fmt: skip


class AwsRange:
    """Two accounts on loopback, the company's own first. ``wsgi`` is the server, ``calls`` the CloudTrail record."""

    def __init__(self, clock: RangeClock, switchboard: Switchboard, issuer: OidcIssuer) -> None:
        self.clock, self._switchboard = clock, switchboard
        dates = Dates(clock)
        self.accounts = {number: Account(dates, number) for number in (ACCOUNT, SECOND)}
        self.account = self.accounts[ACCOUNT]
        self.ecr = Ecr(clock)
        self.packages = CodeArtifact(clock)
        self.trail = Trail(clock)
        self.sts = Sts(clock, issuer, self.accounts)
        self._lock = threading.RLock()  # moto is not made for threads; one call after the other, as one history

    @property
    def calls(self) -> list[dict[str, Any]]:
        """Every authenticated call as CloudTrail writes it, oldest first."""
        with self._lock:
            return [row["event"] for row in self.trail.events]

    def reset(self) -> None:
        """An empty account."""
        with self._lock:
            for account in self.accounts.values():
                account.reset()
            self.ecr.reset()
            self.packages.reset()
            self.sts.reset()
            self.trail.reset()

    def snapshot(self) -> dict[str, Any]:
        """The account's state, for comparing end states; what differs from run to run is under ``volatile``."""
        with self._lock:
            home, second = (account.snapshot() for account in self.accounts.values())
            volatile = home.pop("volatile") | {"second": second.pop("volatile")}
            kept = {"images": self.ecr.snapshot(), "packages": self.packages.snapshot()}
            return home | kept | {"second": second, "volatile": volatile}

    def values(self) -> list[str]:
        """Every secret that it knows: a test asks whether one has been written down somewhere."""
        with self._lock:
            held = [value for account in self.accounts.values() for value in account.values()]
            return held + self.sts.values() + self.packages.values()

    def wsgi(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Answer one request, with the faults and the latency that the switchboard has for it."""
        call = aws_wire.read(environ)
        if call.raw_path.startswith(LAYERS):  # a link that was signed for whoever asked for it: no call of the API
            layer = self.ecr.layer(call)
            start_response(f"{layer.status} {responses[layer.status]}", [*layer.headers, _length(layer)])
            return [layer.body]
        if call.service == "s3":
            call.operation, call.params = self.account.s3_operation(environ)
        fault = self._switchboard.before("aws", call.method, call.route) or Fault()
        if fault.delay_s:
            machine.sleep(fault.delay_s)
        reply = None
        if not fault.loses_answer or fault.after_commit:
            with self._lock:
                reply = self._answer(call)
        status = reply.status if reply else fault.status
        detail = json.dumps(aws_trail.camel(call.params), sort_keys=True) if call.params else ""
        # A request whose sender was killed has no body, and so no operation: it asks for nothing.
        mutating = bool(call.operation) and not reads_only(call.operation)
        self._switchboard.count("aws", call.method, call.route, status, mutating, detail, fault.name)
        if fault.reset:
            aws_wire.cut(environ)
        if fault.body:
            reply = Reply(fault.status, [("Content-Type", "text/html"), *fault.headers.items()], fault.body.encode())
        elif fault.status or reply is None:
            code = fault.code or ("ServiceUnavailable" if fault.status >= 500 else "Throttling")
            reply = aws_wire.refusal(call, AwsError(code, "fault of the range", fault.status))
            reply.headers.extend(fault.headers.items())
        headers = reply.headers
        if call.method != "HEAD":  # a HEAD's length is of the body that a GET would have
            headers = [*(h for h in headers if h[0].lower() != "content-length"), _length(reply)]
        headers = [h for h in headers if h[0].lower() != "date"]  # the server tells the range's time itself
        start_response(f"{reply.status} {responses.get(reply.status, '')}", headers)
        return [b"" if call.method == "HEAD" else reply.body]

    def _answer(self, call: Call) -> Reply:
        try:
            if call.operation == "AssumeRoleWithWebIdentity":
                return self._web_identity(call)
            caller = self.sts.identify(call)
            aws_wire.check_signature(call, caller.secret)
        except AwsError as error:
            return aws_wire.refusal(call, error)  # not authenticated: CloudTrail does not see it
        self.accounts[caller.account].used(call.key_id, call.service, call.region)
        who = aws_trail.identity(caller)
        management = call.service != "s3" or "Bucket" in call.operation  # objects are data events
        result: dict[str, Any] | None = None
        minted: Session | None = None
        failure = None
        try:
            reply, result, minted = self._perform(caller, call)
            if reply.status >= 400:
                failure = _error_of(reply)
        except AwsError as refused:
            reply, failure = aws_wire.refusal(call, refused), refused
        self.trail.record(
            call, who, result, failure, management=management, minted=minted, account=caller.account
        )  # fmt: skip
        if minted is not None and minted.owner.account != caller.account:
            # The role's account has its own record, which does not name who it was (CloudTrail User Guide).
            stranger = {"type": "AWSAccount", "principalId": caller.user_id, "accountId": caller.account}
            self.trail.record(call, stranger, result, None, minted=minted, account=minted.owner.account)
        return reply

    def _perform(self, caller: Caller, call: Call) -> tuple[Reply, dict[str, Any] | None, Session | None]:
        if call.route == "sts:AssumeRole":
            minted, result = self.sts.assume_role(caller, call.params, lambda arn: self._verdict(caller, call, arn)[0])
            return aws_wire.answer(call, result), result, minted
        self._authorize(caller, call)
        account = self.accounts[caller.account]
        match call.route:
            case "sts:GetSessionToken":
                minted, result = self.sts.get_session_token(caller, call.params)
                return aws_wire.answer(call, result), result, minted
            case "sts:GetFederationToken":
                minted, result = self.sts.get_federation_token(caller, call.params)
                return aws_wire.answer(call, result), result, minted
            case "sts:GetCallerIdentity":
                result = {"Arn": caller.arn, "UserId": caller.user_id, "Account": caller.account}
                return aws_wire.answer(call, result), None, None
            case "sts:GetAccessKeyInfo":
                number = account_in(str(call.params.get("AccessKeyId", "")))
                return aws_wire.answer(call, {"Account": number}), None, None
            case "cloudtrail:LookupEvents":
                return aws_wire.answer(call, self.trail.lookup(call.params, call.region, caller.account)), None, None
            case "iam:AddClientIDToOpenIDConnectProvider" | "iam:RemoveClientIDFromOpenIDConnectProvider":
                account.change_audience(call)  # moto has neither
                return aws_wire.answer(call, {}), {}, None
            case "iam:SimulatePrincipalPolicy":
                return aws_wire.answer(call, self._simulate(account, call.params)), None, None
        if call.route in _EMPTY and caller.account != ACCOUNT:
            return aws_wire.answer(call, {"repositories": []}), None, None
        if call.service == "ecr" and caller.account != ACCOUNT:
            raise AwsError("InvalidAction", "The range has images in one account only", 400)
        if call.service == "ecr" and (told := self.ecr.answer(call)) is not None:
            return aws_wire.answer(call, told), told, None
        if call.service == aws_codeartifact.SERVICE:
            if caller.account != ACCOUNT:
                raise AwsError("ValidationException", "The range has packages in one account only", 400)
            told = self.packages.answer(call)
            shown = aws_rest.plain({name: value for name, value in told.items() if name != "asset"})
            return aws_wire.answer(call, told), shown, None
        if call.service not in ("iam", "s3", "ecr", "secretsmanager", "ssm"):
            raise AwsError("InvalidAction", f"The range has no {call.route}", 400)
        account.check(call)
        reply = self._moto(account, call)
        if call.operation.endswith("LoginProfile") and reply.status < 400:
            profile = account.login_profile(call)
            reply = aws_wire.answer(call, {"LoginProfile": profile} if profile else {})
        return reply, _result_of(call, reply), None

    def _moto(self, account: Account, call: Call) -> Reply:
        environ = call.environ | {"HTTP_X_MOTO_ACCOUNT_ID": account.number}
        body, status, headers = run_wsgi_app(account.app(call.service), environ, buffered=True)
        kept = [(k, v) for k, v in headers if k.lower() != "connection"]
        return Reply(int(status.split(" ", 1)[0]), kept, b"".join(body))

    def _web_identity(self, call: Call) -> Reply:
        claims, provider, minted, result = self.sts.assume_role_with_web_identity(call.params)
        who = aws_trail.web_identity(claims, provider)
        self.trail.record(call, who, result, None, minted=minted, account=minted.owner.account)
        return aws_wire.answer(call, result)

    def _authorize(self, caller: Caller, call: Call) -> None:
        kind = caller.session.kind if caller.session else ""
        if kind in _STS_OF_SESSIONS:
            if call.service == "iam":  # without MFA no IAM operation (API Reference, GetSessionToken)
                raise AwsError("InvalidClientTokenId", "The security token included in the request is invalid.")
            if call.service == "sts" and call.operation not in _STS_OF_SESSIONS[kind]:
                raise AwsError("AccessDenied", f"Cannot call {call.operation} with session credentials")
        if call.route == "sts:GetCallerIdentity":
            return
        if call.service == "sts" and kind in ("role", "web") and call.operation.startswith("Get"):
            raise AwsError("AccessDenied", f"Cannot call {call.operation} with session credentials")
        resource = self.accounts[caller.account].resource(call, caller.principal)
        verdict, action = self._verdict(caller, call, resource)
        if verdict == "allow" or (verdict == "none" and call.route in _FREE):
            return
        why = "with an explicit deny in" if verdict == "deny" else "because no"
        tail = "an identity-based policy" if verdict == "deny" else f"identity-based policy allows the {action} action"
        said = f"User: {caller.arn} is not authorized to perform: {action} on resource: {resource} {why} {tail}"
        raise AwsError("AccessDenied", said)

    def _verdict(self, caller: Caller, call: Call, resource: str) -> tuple[iam_policy.Verdict, str]:
        """What identity policies, boundary and session policy say together, and the action's name."""
        name = _S3_ACTIONS.get(call.operation, call.operation) if call.service == "s3" else call.operation
        action = f"{call.service}:{name}"
        context = caller.context(self.clock.time()) | {"aws:requestedregion": call.region}
        if "PolicyArn" in call.params:
            context["iam:policyarn"] = str(call.params["PolicyArn"])
        policies, limits = self.accounts[caller.account].policies(caller.principal)
        if caller.session and (caller.session.policy or caller.session.kind == "federated"):
            limits = [*limits, caller.session.policy or '{"Statement": []}']
        return _together(policies, limits, action, resource, context), action

    def _simulate(self, account: Account, params: dict[str, Any]) -> dict[str, Any]:
        """SimulatePrincipalPolicy for the identity policies of a user or a role, with given context entries."""
        arn = str(params.get("PolicySourceArn", ""))
        name = arn.rsplit("/", 1)[-1]
        principal = account.user(name) if ":user/" in arn else account.role(name)
        if principal is None:
            raise AwsError("NoSuchEntity", f"The entity {arn} cannot be found.", 404)
        context: dict[str, Any] = {"aws:principalarn": arn}
        if principal.kind == "user":
            context["aws:username"] = principal.name
        for entry in params.get("ContextEntries") or []:
            context[str(entry["ContextKeyName"]).lower()] = entry["ContextKeyValues"]
        policies, limits = account.policies(principal)
        words = {"allow": "allowed", "deny": "explicitDeny", "none": "implicitDeny"}
        results = [
            {
                "EvalActionName": action, "EvalResourceName": resource, "MatchedStatements": [],
                "EvalDecision": words[_together(policies, limits, action, resource, context)],
                "MissingContextValues": [],
            }
            for action in params.get("ActionNames") or []
            for resource in params.get("ResourceArns") or ["*"]
        ]  # fmt: skip
        return {"EvaluationResults": results, "IsTruncated": False}


def _together(
    policies: list[str], limits: list[str], action: str, resource: str, context: dict[str, Any]
) -> iam_policy.Verdict:
    verdict = iam_policy.evaluate(policies, action, resource, context)
    for limit in limits:  # a boundary or a session policy only takes away
        other = iam_policy.evaluate([limit], action, resource, context)
        if other != "allow" and verdict != "deny":
            verdict = other
    return verdict


def _error_of(reply: Reply) -> AwsError:
    if reply.body.startswith(b"{"):
        said = json.loads(reply.body)
        return AwsError(str(said.get("__type", reply.status)), str(said.get("message", "")), reply.status)
    root = ET.fromstring(reply.body or b"<Error/>")  # noqa: S314 - moto's own answer
    found = {node.tag.rsplit("}", 1)[-1]: node.text or "" for node in root.iter()}
    return AwsError(found.get("Code", str(reply.status)), found.get("Message", ""), reply.status)


def _result_of(call: Call, reply: Reply) -> dict[str, Any] | None:
    """The result element of a query answer that changed something, as nested dictionaries."""
    if call.service != "iam" or reply.status >= 400 or reads_only(call.operation):
        return None
    root = ET.fromstring(reply.body)  # noqa: S314 - moto's own answer
    for child in root:
        if child.tag.endswith("Result"):
            found = _plain(child)
            return found if isinstance(found, dict) else None
    return None


def _plain(node: ET.Element) -> Any:
    if not len(node):
        return node.text or ""
    if all(child.tag.endswith("member") for child in node):
        return [_plain(child) for child in node]
    return {child.tag.rsplit("}", 1)[-1]: _plain(child) for child in node}


def _length(reply: Reply) -> tuple[str, str]:
    return "Content-Length", str(len(reply.body))


class _Handler(WSGIRequestHandler):
    # headers and body are two writes; with Nagle's algorithm each answer would wait 40 ms for an ACK
    disable_nagle_algorithm = True

    def log(self, type: str, message: str, *args: Any) -> None:  # noqa: A002 - werkzeug's own name
        """Nothing: the switchboard keeps the log of requests."""


def serve(aws: AwsRange) -> tuple[str, BaseWSGIServer]:
    """Serve on 127.0.0.1, on a port of the system's choice, in threads. Returns its URL and the running server."""

    class Handler(_Handler):
        def date_time_string(self, timestamp: float | None = None) -> str:
            return format_datetime(aws.clock.now(), usegmt=True)

    server = make_server("127.0.0.1", 0, aws.wsgi, threaded=True, request_handler=Handler)
    threading.Thread(target=server.serve_forever, daemon=True, name="range-aws").start()
    return f"http://127.0.0.1:{server.server_port}", server
