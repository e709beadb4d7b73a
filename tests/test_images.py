"""Pulling an image that somebody else has chosen: what is read, what is refused, and where nothing is asked."""

from __future__ import annotations

import gzip
import http.server
import io
import json
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from bot import errors, images
from bot.images import IMAGE_REF, ImageClient
from bot.range.clock import RangeClock
from bot.range.images import ImageRange, Layer, digest_of
from bot.range.switchboard import Switchboard

NAME = "harbor-lights/ferry"
DAY = datetime(2026, 11, 1, tzinfo=UTC)
Answers = dict[str, tuple[int, dict[str, str], bytes]]  # path -> status, headers, body


@pytest.fixture(scope="module")
def registry() -> Iterator[tuple[ImageRange, Switchboard, str]]:
    board = Switchboard(RangeClock())
    shop = ImageRange(board)
    server = uvicorn.Server(uvicorn.Config(shop.asgi, host="127.0.0.1", port=0, log_level="warning", lifespan="off"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        thread.join(0.01)
    yield shop, board, f"127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join(5)


@pytest.fixture
def shop(registry: tuple[ImageRange, Switchboard, str]) -> tuple[ImageRange, Switchboard, str]:
    registry[0].reset()
    registry[1].reset()
    return registry


def tar(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for info, data in members:
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


@contextmanager
def serving(answers: Answers) -> Iterator[tuple[str, list[dict[str, str]]]]:
    """A server of fixed answers by path; gives its address and the headers that it was asked with."""
    asked: list[dict[str, str]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append({"path": self.path, **{k.lower(): v for k, v in self.headers.items()}})
            status, headers, body = answers.get(self.path.partition("?")[0], (404, {}, b""))
            self.send_response(status)
            for name, value in {"content-length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}", asked
    server.shutdown()
    server.server_close()


def handmade(*layers: bytes, **changes: Any) -> Answers:
    """An image as a server of fixed answers holds it."""
    config = json.dumps({"created": "2026-11-01T00:00:00Z", "config": {}, "history": []}).encode()
    rows = [{"digest": digest_of(each), "size": len(each)} for each in layers]
    manifest = {"config": {"digest": digest_of(config), "size": len(config)}, "layers": rows} | changes
    base = f"/v2/{NAME}"
    return {
        f"{base}/manifests/1": (200, {}, json.dumps(manifest).encode()),
        f"{base}/blobs/{digest_of(config)}": (200, {}, config),
        **{f"{base}/blobs/{digest_of(each)}": (200, {}, each) for each in layers},
    }  # fmt: skip


def read(ref: str) -> list[tuple[int, str, bytes]]:
    client = ImageClient(loopback=True)
    return [(f.layer, f.path, f.data) for image in client.describe(ref) for f in client.files(image)]


def test_every_layer_is_read_also_what_a_later_one_deletes(shop: tuple[ImageRange, Switchboard, str]) -> None:
    store, _, host = shop
    layers = Layer(made_by="COPY", files={"root/a": b"first"}), Layer(made_by="RUN rm", files={"root/.wh.a": b""})
    digest = store.push(NAME, "1.4", layers, created=DAY, author="mara", labels={"x": "y"}, env=("A=1",))
    for ref in (f"{host}/{NAME}:1.4", f"{host}/{NAME}@{digest}"):
        [image] = ImageClient(loopback=True).describe(ref)
        assert (image.digest, image.author, image.labels) == (digest, "mara", {"x": "y"})
        assert image.created == DAY.isoformat()
        assert image.texts == {"environment": "A=1", "history": "COPY\nRUN rm"}
        assert read(ref) == [(1, "root/a", b"first"), (2, "root/.wh.a", b"")]


def test_what_is_not_there_is_not_found(shop: tuple[ImageRange, Switchboard, str]) -> None:
    store, board, host = shop
    store.push(NAME, "1.4", (Layer(made_by="COPY"),), created=DAY)
    with pytest.raises(errors.NotFound, match="not there, or not public"):
        read(f"{host}/{NAME}:9")
    board.add([{"server": "registry", "method": "GET", "route": "*", "status": 429, "times": 1}])
    with pytest.raises(errors.RateLimited):
        read(f"{host}/{NAME}:1.4")
    board.add([{"server": "registry", "method": "GET", "route": "*", "reset": True, "times": 3}])
    with pytest.raises(errors.Unavailable):
        read(f"{host}/{NAME}:1.4")


@pytest.mark.parametrize(
    "ref", ["169.254.169.254:80/latest/meta-data:1", "registry.internal/team/app:1", "ghcr.io.evil.example/a/b:1"]
)
def test_the_real_client_asks_known_registries_only(ref: str) -> None:
    assert IMAGE_REF.fullmatch(ref)
    with pytest.raises(errors.InputError, match="images are not pulled from"):
        ImageClient().describe(ref)


def test_the_ranges_client_stays_on_loopback() -> None:
    with pytest.raises(errors.InputError, match="the range's own"):
        ImageClient(loopback=True).describe("ghcr.io/harbor-lights/ferry:1")


def test_a_redirect_leads_nowhere_else() -> None:
    answers = {f"/v2/{NAME}/manifests/1": (307, {"location": "http://10.0.0.1/secret"}, b"")}
    with serving(answers) as (host, _), pytest.raises(errors.InputError, match=r"10\.0\.0\.1"):
        read(f"{host}/{NAME}:1")


def test_redirects_do_not_go_on_for_ever() -> None:
    path = f"/v2/{NAME}/manifests/1"
    with serving({path: (307, {"location": path}, b"")}) as (host, asked):
        with pytest.raises(errors.Rejected, match="redirects more than"):
            read(f"{host}/{NAME}:1")
        assert len(asked) == images.MAX_HOPS


def test_an_anonymous_token_is_asked_for_and_stays_with_the_registry() -> None:
    layer = gzip.compress(tar((tarfile.TarInfo("a"), b"x")))
    answers = handmade(layer)
    blob = f"/v2/{NAME}/blobs/{digest_of(layer)}"
    with serving({"/there": (200, {}, layer)}) as (other, elsewhere):
        answers[blob] = (307, {"location": f"http://{other}/there"}, b"")
        with serving({"/token": (200, {}, b'{"token": "made-up"}')}) as (realm, asked):
            gate = (401, {"www-authenticate": f'Bearer realm="http://{realm}/token",service="s",scope="x"'}, b"")
            first = dict.fromkeys(answers, gate)

            class Once(dict[str, Any]):
                """The first time 401, then the answer."""

                def get(self, path: str, default: Any = None) -> Any:
                    return first.pop(path, None) or answers.get(path, default)

            with serving(Once()) as (host, heard):
                assert read(f"{host}/{NAME}:1") == [(1, "a", b"x")]
    assert {"scope=repository%3Aharbor-lights%2Fferry%3Apull" in row["path"] for row in asked} == {True}
    assert "Bearer made-up" in {row.get("authorization") for row in heard}
    assert [row.get("authorization") for row in elsewhere] == [None]


def test_another_blob_than_was_named_is_refused() -> None:
    layer = gzip.compress(tar((tarfile.TarInfo("a"), b"x")))
    answers = handmade(layer)
    answers[f"/v2/{NAME}/blobs/{digest_of(layer)}"] = (200, {}, layer[:-1] + b"?")
    with serving(answers) as (host, _), pytest.raises(errors.Rejected, match="another layer"):
        read(f"{host}/{NAME}:1")


def test_more_bytes_than_were_said_are_refused() -> None:
    layer = gzip.compress(tar((tarfile.TarInfo("a"), b"x")))
    answers = handmade(layer, layers=[{"digest": digest_of(layer), "size": 5}])
    with serving(answers) as (host, _), pytest.raises(errors.Rejected, match="more than it said"):
        read(f"{host}/{NAME}:1")


def test_a_bomb_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "MAX_UNPACKED", 100_000)
    layer = gzip.compress(tar((tarfile.TarInfo("zeros"), bytes(10_000_000))))
    with serving(handmade(layer)) as (host, _), pytest.raises(errors.Rejected, match="cannot be read"):
        read(f"{host}/{NAME}:1")


def test_an_image_that_says_it_is_huge_is_not_begun() -> None:
    rows = [{"digest": digest_of(b""), "size": images.MAX_IMAGE + 1}]
    with serving(handmade(layers=rows)) as (host, asked), pytest.raises(errors.Rejected, match="larger than"):
        read(f"{host}/{NAME}:1")
    assert not [row for row in asked if digest_of(b"") in row["path"]]


def test_nothing_is_written_wherever_a_path_points(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    link = tarfile.TarInfo("etc")
    link.type, link.linkname = tarfile.SYMTYPE, str(tmp_path)
    device = tarfile.TarInfo("dev/x")
    device.type = tarfile.CHRTYPE
    layer = tar((tarfile.TarInfo("../../escape"), b"1"), (link, b""), (device, b""), (tarfile.TarInfo("/abs"), b"2"))
    with serving(handmade(layer)) as (host, _):
        assert [path for _, path, _ in read(f"{host}/{NAME}:1")] == ["../../escape", "/abs"]
    assert list(tmp_path.iterdir()) == []
    assert not (tmp_path.parent.parent / "escape").exists()


@pytest.mark.parametrize("manifest", [b"[]", b"{", b'{"config": 1, "layers": 2}', b'{"config": {"digest": "x"}}'])
def test_what_is_no_manifest_is_refused(manifest: bytes) -> None:
    answers: Answers = {f"/v2/{NAME}/manifests/1": (200, {}, manifest)}
    with serving(answers) as (host, _), pytest.raises((errors.Rejected, errors.NotFound)):
        read(f"{host}/{NAME}:1")


def test_every_platform_of_an_index_is_read() -> None:
    one, two = (gzip.compress(tar((tarfile.TarInfo(name), b"x"))) for name in ("one", "two"))
    answers: Answers = {}
    rows = []
    for layer in (one, two):
        part = handmade(layer)
        manifest = part.pop(f"/v2/{NAME}/manifests/1")[2]
        answers |= part | {f"/v2/{NAME}/manifests/{digest_of(manifest)}": (200, {}, manifest)}
        rows.append({"digest": digest_of(manifest), "platform": {"os": "linux"}})
    rows.append({"digest": "sha256:0", "platform": {"os": "unknown"}})  # an attestation
    answers[f"/v2/{NAME}/manifests/1"] = (200, {}, json.dumps({"manifests": rows}).encode())
    with serving(answers) as (host, _):
        assert [path for _, path, _ in read(f"{host}/{NAME}:1")] == ["one", "two"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("our image ghcr.io/harbor-lights/ferry:1.4 has it", "ghcr.io/harbor-lights/ferry:1.4"),
        ("127.0.0.1:5000/a/b:latest", "127.0.0.1:5000/a/b:latest"),
        (f"(quay.io/a/b@sha256:{'0' * 64})", f"quay.io/a/b@sha256:{'0' * 64}"),
        ("https://github.com/a/b/actions/runs/1", None), ("https://ghcr.io/a/b:1", None), ("see a.b/c", None),
        ("x@example.org/a:1", None), ("at 10:30 in a/b:c", None),
    ],
)  # fmt: skip
def test_an_image_in_a_text(text: str, found: str | None) -> None:
    match = IMAGE_REF.search(text)
    assert (match and match[0]) == found
