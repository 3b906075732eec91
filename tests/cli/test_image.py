import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

PNG = b"\x89PNG fake"
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + base64.b64encode(PNG).decode()}}


class Proxy(ThreadingHTTPServer):
    """A proxy that gives one answer to all, and remembers what it was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.status = 200
        self.answer: object = {
            "choices": [{"message": {"content": "Here.", "images": [IMAGE]}, "finish_reason": "stop"}]
        }
        self.asked: list[tuple[dict[str, str], dict[str, object]]] = []


class _Handler(BaseHTTPRequestHandler):
    server: Proxy

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append((dict(self.headers), body))
        data = json.dumps(self.server.answer).encode()
        self.send_response(self.server.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def proxy(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """The proxy the config points at."""
    with Proxy() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        (home / "config.toml").write_text(f"[proxy]\nport = {server.server_port}\n")
        monkeypatch.setenv("CCS_BROKER_CONFIG", str(home / "config.toml"))
        yield server
        server.shutdown()
        thread.join()


def saved(folder: Path) -> tuple[list[Path], list[Path]]:
    return sorted(folder.glob("image_*")), sorted(folder.glob("metadata_*.json"))


def test_an_image_is_saved_with_its_metadata(run, proxy: Proxy, home: Path) -> None:
    ended = run("image", "a", "cute", "cat", "--aspect-ratio", "16:9", "--size", "2k", "--model", "m")
    assert ended.code == 0, ended.err
    (image,), (about,) = saved(home / "generated_images")
    assert image.read_bytes() == PNG
    metadata = json.loads(about.read_text())
    assert (metadata["prompt"], metadata["model"]) == ("a cute cat", "m")
    assert metadata["options"] == {"aspect_ratio": "16:9", "image_size": "2K"}
    assert f"Saved generated_images/{image.name}\n" in ended.out
    assert "Making the image" in ended.err
    ((headers, body),) = proxy.asked
    assert headers["Authorization"] == "Bearer ccs-internal-managed"
    assert body["stream"] is True


def test_whole_and_elsewhere_and_as_json(run, proxy: Proxy, home: Path) -> None:
    ended = run("image", "a cat", "--no-stream", "--out", "here/there", "--json")
    made = json.loads(ended.out)
    (image,), (about,) = saved(home / "here" / "there")
    assert (made["files"], made["metadata"], made["text"]) == (
        [f"here/there/{image.name}"],
        f"here/there/{about.name}",
        "Here.",
    )
    assert proxy.asked[0][1]["stream"] is False


def test_the_key_comes_from_a_file_or_the_environment(
    run, proxy: Proxy, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CCS_BROKER_API_KEY", "fake-env-key")
    run("image", "a cat")
    (home / "key").write_text("fake-file-key\n")
    run("image", "a cat", "--api-key-file", str(home / "key"))
    assert [headers["Authorization"] for headers, _ in proxy.asked] == ["Bearer fake-env-key", "Bearer fake-file-key"]


@pytest.mark.parametrize("base", ["", "/", "/v1", "/v1/"])
def test_a_url_may_end_as_people_write_it(run, proxy: Proxy, base: str) -> None:
    assert run("image", "a cat", "--url", f"http://127.0.0.1:{proxy.server_port}{base}").code == 0


@pytest.mark.parametrize(
    ("status", "answer", "told"),
    [
        (
            200,
            {"choices": [{"message": {"content": "I cannot draw."}, "finish_reason": "stop"}]},
            "the model answered with text only",
        ),
        (
            200,
            {"choices": [{"message": {}, "finish_reason": "content_filter", "native_finish_reason": "IMAGE_SAFETY"}]},
            "blocked by the provider's safety rules (IMAGE_SAFETY)",
        ),
        (503, {"error": {"message": "no account can serve this"}}, "the proxy answered 503: no account can serve this"),
        (401, {"error": {"message": "wrong key"}}, "the proxy answered 401: wrong key"),
    ],
)
def test_no_image_is_told_plainly(run, proxy: Proxy, home: Path, status: int, answer: object, told: str) -> None:
    proxy.status, proxy.answer = status, answer
    ended = run("image", "a cat")
    assert (ended.code, ended.out) == (1, "")
    assert told in ended.err
    assert not (home / "generated_images").exists()


def test_what_the_model_said_instead_is_shown(run, proxy: Proxy) -> None:
    proxy.answer = {"choices": [{"message": {"content": "I cannot draw."}}]}
    assert "gemini-3-pro-image-preview said: I cannot draw.\n" in run("image", "a cat").err


def test_no_image_as_json_is_a_problem_document(run, proxy: Proxy) -> None:
    proxy.status, proxy.answer = 503, {"error": {"message": "no account"}}
    ended = run("image", "a cat", "--json")
    problem = json.loads(ended.out)
    assert ended.code == 1
    assert (problem["version"], problem["title"], problem["status"]) == (1, "No image was made", 503)
    assert problem["detail"] == "the proxy answered 503: no account"


def test_no_proxy_ends_with_4(run, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Proxy() as server:
        port = server.server_port
    ended = run("image", "a cat", "--url", f"http://127.0.0.1:{port}")
    assert ended.code == 4
    assert "Start it: ccs-broker up" in ended.err


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ([], "Missing argument"),
        (["  "], "PROMPT is empty"),
        (["a", "--aspect-ratio", "2:1"], "'2:1' is not one of"),
        (["a", "--size", "8K"], "'8K' is not one of"),
        (["a", "--timeout", "0"], "is not between"),
        (["a", "--url", "http://192.0.2.1"], "plain http is used for loopback hosts only"),
        (["a", "--url", "https://proxy.example"], "needs a key of its own"),
        (["a", "--api-key-file", "missing"], "missing: No such file"),
        (["a", "--api-key-file", "empty"], "empty holds no key"),
        (["a", "--api-key-file", "binary"], "binary: not text"),
    ],
)
def test_bad_usage(run, home: Path, line: list[str], says: str) -> None:
    (home / "empty").write_text("\n")
    (home / "binary").write_bytes(b"\xff\xfe")
    ended = run("image", *line)
    assert ended.code == 2
    assert says in ended.err
