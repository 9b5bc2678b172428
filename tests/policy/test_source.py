"""A model on a hub: asked for once, and what is said when it cannot be had."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants

from dgrpo.errors import DgrpoError
from dgrpo.policy.model import load_model
from dgrpo.policy.settings import ModelSettings
from dgrpo.policy.source import loading_options

NAME = "nobody/no-such-model"
COMMIT = "0" * 40


class Hub(ThreadingHTTPServer):
    """Answers every HEAD with one status and one error code, as the hub does."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[str] = []
        self.status, self.codes = 404, {"config.json": "RepoNotFound"}


class _Handler(BaseHTTPRequestHandler):
    server: Hub

    def do_HEAD(self) -> None:
        file = self.path.rpartition("/")[2]
        self.server.asked.append(file)
        code = self.server.codes.get(file, "EntryNotFound")
        self.send_response(200 if code == "OK" else self.server.status)
        self.send_header("X-Error-Code", code)
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", '"1"')
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    with Hub() as server:
        point_at(monkeypatch, f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def point_at(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", url)
    template = url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)


def put_into_cache(folder: Path) -> None:
    place = folder / f"models--{NAME.replace('/', '--')}"
    (place / "refs").mkdir(parents=True)
    (place / "refs" / "main").write_text(COMMIT)
    (place / "snapshots" / COMMIT).mkdir(parents=True)
    (place / "snapshots" / COMMIT / "config.json").write_text("{}")


def refusal() -> tuple[str, str]:
    with pytest.raises(DgrpoError) as caught:
        load_model(ModelSettings(name=NAME))
    assert f"model.name = {NAME!r}" in caught.value.problem
    assert "\n" not in caught.value.problem
    return caught.value.problem, caught.value.remedy


@pytest.mark.parametrize(
    ("status", "codes", "problem", "remedy"),
    [
        (404, {"config.json": "RepoNotFound"}, "no model on the hub", "spelling"),
        (401, {"config.json": "RepoNotFound"}, "no model on the hub", "hf auth login"),
        (403, {"config.json": "GatedRepo"}, "accepted its terms", "hf auth login"),
        (404, {}, "without config.json", "safetensors"),
        (404, {"adapter_config.json": "OK"}, "holds an adapter", "merge_and_unload"),
        (503, {"config.json": "busy"}, "cannot be asked: Server error '503", "network"),
    ],
)
def test_a_model_that_the_hub_does_not_give_is_asked_for_once(
    hub: Hub,
    status: int,
    codes: dict[str, str],
    problem: str,
    remedy: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    hub.status, hub.codes = status, codes
    told, way_out = refusal()
    assert problem in told
    assert remedy in way_out
    assert len(hub.asked) == len(set(hub.asked)) <= 2
    assert not caplog.records  # nothing about retries


def test_a_name_that_no_hub_can_have_is_refused(hub: Hub) -> None:
    with pytest.raises(DgrpoError, match="no model on the hub"):
        load_model(ModelSettings(name="no body/such--model"))
    assert hub.asked == []


def test_without_a_network_it_is_said_at_once_and_the_cache_serves(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    hub.shutdown()
    hub.server_close()
    problem, remedy = refusal()
    assert "the hub http://127.0.0.1" in problem
    assert "cannot be asked" in problem
    assert "network" in remedy
    assert not caplog.records
    put_into_cache(tmp_path)
    assert loading_options(NAME) == {"local_files_only": True}


def test_the_offline_switch_is_named(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    problem, remedy = refusal()
    assert "HF_HUB_OFFLINE is set" in problem
    assert "unset HF_HUB_OFFLINE" in remedy
    put_into_cache(tmp_path)
    assert loading_options(NAME) == {"local_files_only": True}
    assert hub.asked == []


def test_what_the_hub_has_is_fetched_as_usual(hub: Hub) -> None:
    hub.codes = {"config.json": "OK"}
    assert loading_options(NAME) == {}
    assert hub.asked == ["config.json"]
