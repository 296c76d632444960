"""A report on the hub: a server of this machine that speaks the hub's protocol gets what a dry run lists."""

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import synthetic
import tiny_runs

from archbench.reports import build
from archbench.sharing import on_hub
from archbench.tasks.base.errors import InputError


class Hub(ThreadingHTTPServer):
    """What the hub's client needs to create a repository and to commit files; keeps them by repository and path."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, dict[str, bytes]] = {}
        self.created: list[dict[str, Any]] = []
        self.refused = False

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Hub

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.server.refused:
            self.answer(403, {"error": "not yours"})
        elif self.path == "/api/repos/create":
            request = json.loads(body)
            self.server.created.append(request)
            kind = "datasets/" if request.get("type") == "dataset" else ""
            self.answer(200, {"url": f"{self.server.address}/{kind}{request['organization']}/{request['name']}"})
        elif "/preupload/" in self.path:
            listed = json.loads(body)["files"]
            self.answer(200, {"files": [{**file, "uploadMode": "regular", "shouldIgnore": False} for file in listed]})
        elif "/commit/" in self.path:
            repository = self.path.removeprefix("/api/").partition("/commit/")[0]
            stored = self.server.files.setdefault(repository, {})
            for line in body.splitlines():
                entry = json.loads(line)
                if entry["key"] == "file":
                    stored[entry["value"]["path"]] = base64.b64decode(entry["value"]["content"])
            self.answer(
                200,
                {"commitUrl": f"{self.server.address}/{repository}/commit/1", "commitOid": "1" * 40, "success": True},
            )
        else:
            self.answer(200, {"warnings": [], "errors": []})

    def do_GET(self) -> None:
        self.answer(200, {"id": "me/results", "siblings": [], "sha": "1" * 40, "private": False, "tags": []})

    def answer(self, status: int, value: object) -> None:
        raw = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    server = Hub()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    for name in ("ENDPOINT", "HUGGINGFACE_CO_URL_TEMPLATE"):
        monkeypatch.setattr(f"huggingface_hub.constants.{name}", server.address, raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_TOKEN", "hf_test")
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("pushing") / "out"
    synthetic.write_store(place, synthetic.TASKS[:1])
    build(place)
    return place


def test_the_hub_gets_what_a_dry_run_lists_and_no_texts(hub: Hub, root: Path) -> None:
    head, *listed = on_hub.push(root, "hub:me/results", models=False, dry_run=True, say=print)
    assert hub.files == {} and hub.created == []
    assert head.startswith("dataset me/results: ")
    (line,) = on_hub.push(root, "hub:me/results", models=False, dry_run=False, say=print)
    assert line.endswith("/datasets/me/results/commit/1")
    stored = hub.files["datasets/me/results"]
    assert [created["name"] for created in hub.created] == ["results"]
    assert {text.split(" (")[0].strip() for text in listed} == stored.keys()
    assert {"README.md", "tables/runs.parquet", "report/index.html"} <= stored.keys()
    card = stored["README.md"].decode()
    assert "decoder" in card and "archbench reproduce" in card
    source = pd.read_parquet(root / "tables" / "predictions.parquet")["source"].iloc[0]
    assert not any(source.encode() in raw for raw in stored.values())


def test_models_go_to_a_repository_of_their_own(hub: Hub, tmp_path: Path) -> None:
    place = tiny_runs.write_data(tmp_path)
    run = tiny_runs.trained(place, tmp_path / "out", "decoder", "turned")
    entry = {"run": run.name, "dataset": "turned", "match": "parameters", "role": "compared", "architecture": "decoder"}
    head = {"schema": 1, "archbench": "0", "name": "tiny", "command": "", "experiment": {"name": "tiny"}}
    synthetic.write_json(tmp_path / "out" / "experiment.json", {**head, "runs": [run.name], "entries": [entry]})
    build(tmp_path / "out")
    on_hub.push(tmp_path / "out", "hub:me/results", models=True, dry_run=False, say=print)
    assert f"{run.name}/config.json" in hub.files["models/me/results-models"]


def test_without_a_login_nothing_is_sent(hub: Hub, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    monkeypatch.setattr("archbench.reports.page.publish.publish", lambda *_: pytest.fail("the report was built first"))
    with pytest.raises(InputError, match="hub:me/results: not logged in"):
        on_hub.push(root, "hub:me/results", models=False, dry_run=False, say=print)
    assert hub.created == []


@pytest.mark.parametrize("target", ["me/results", "hub:results", "hub:me/results@main", "hub:me/../results", "hub:"])
def test_a_wrong_target_is_named(root: Path, target: str) -> None:
    with pytest.raises(InputError, match="expected hub:owner/name"):
        on_hub.push(root, target, models=False, dry_run=True, say=print)


def test_what_the_hub_refuses_and_a_folder_without_tables_are_one_line(hub: Hub, root: Path, tmp_path: Path) -> None:
    hub.refused = True
    with pytest.raises(InputError, match=r"hub:me/results: .*; check network and name"):
        on_hub.push(root, "hub:me/results", models=False, dry_run=False, say=print)
    with pytest.raises(InputError, match="no tables here; run archbench report first"):
        on_hub.push(tmp_path, "hub:me/results", models=False, dry_run=True, say=print)
