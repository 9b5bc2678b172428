"""Which way leads to an endpoint: a proxy of the environment is used, named, or gone past."""

from __future__ import annotations

import asyncio
import ssl
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from tests.judging.servers import Misbehaving, chat, misbehaving
from tests.judging.small_judge import questions

from dgrpo.defenses.judge import Judge
from dgrpo.errors import DgrpoError
from dgrpo.judging.address import proxy_of
from dgrpo.records import Verdict

NAMES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
YES = chat("<decision> yes </decision>")


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def server() -> Iterator[Misbehaving]:
    with misbehaving() as state:
        yield state


def verdicts(url: str, **knobs: Any) -> list[Verdict]:
    judge = Judge(model="m", endpoint=url, timeout=30.0, retries=0, **knobs)
    return asyncio.run(judge.start().verdicts(questions()[:2]))


@pytest.mark.parametrize("name", ["HTTP_PROXY", "ALL_PROXY", "http_proxy"])
@pytest.mark.parametrize("proxy", ["http://127.0.0.1:9", "socks5h://h:1", "nonsense://[", "h:1"])
def test_no_proxy_stands_before_this_machine(
    server: Misbehaving, name: str, proxy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.behaviour = lambda number, body: YES
    monkeypatch.setenv(name, proxy)
    for url in (server.url, server.url.replace("127.0.0.1", "localhost")):
        assert [one.accepted for one in verdicts(url)] == [True, True]


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "localhost", "a.localhost", "[::1]"])
def test_this_machine_has_many_names(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://proxy:3128")
    assert proxy_of(f"http://{host}:8000/v1") is None


def test_a_proxy_that_answers_in_the_endpoints_place_is_named_with_the_way_past_it(
    server: Misbehaving, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The judge is behind a name that only the proxy resolves."""
    monkeypatch.setenv("HTTP_PROXY", server.url.replace("//", "//user:password@"))
    server.behaviour = lambda number, body: YES
    assert [one.accepted for one in verdicts("http://judge.invalid/v1")] == [True, True]
    assert {header["Host"] for header in server.headers} == {"judge.invalid"}
    server.behaviour = lambda number, body: (403, b"blocked by policy", {})
    said = verdicts("http://judge.invalid/v1")[0]
    assert said.undecided == "refused"
    for piece in ("blocked by policy", "the proxy http://127.0.0.1:", "of HTTP_PROXY",
                  "NO_PROXY=judge.invalid goes past it"):  # fmt: skip
        assert piece in said.reason
    assert "password" not in said.reason


@pytest.mark.parametrize(
    ("proxy", "said"),
    [
        ("socks5://user:password@proxy:1080", "SOCKS needs a further package"),
        ("ftp://user:password@proxy", "not of the form"),
        ("http://user:password@proxy:99999", "not of the form"),
        ("http://user:password@[proxy", "not of the form"),
    ],
)
def test_a_proxy_that_cannot_be_used_stops_the_run_at_its_start(
    proxy: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "socksio", None)
    monkeypatch.setenv("ALL_PROXY", proxy)
    with pytest.raises(DgrpoError, match=said) as caught:
        Judge(model="m", endpoint="http://10.1.2.3/v1").start()
    assert "ALL_PROXY" in caught.value.problem
    assert "NO_PROXY=10.1.2.3" in caught.value.remedy
    assert "password" not in str(caught.value)


@pytest.mark.parametrize("exception", ["10.1.2.3", "10.0.0.0/8", "a.b, 10.1.2.0/24", "*"])
def test_an_exception_for_a_host_or_its_network_is_taken(
    exception: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://proxy:3128")
    assert str(proxy_of("http://10.1.2.3/v1")) == "the proxy http://proxy:3128 of HTTP_PROXY"
    monkeypatch.setenv("NO_PROXY", exception)
    assert proxy_of("http://10.1.2.3/v1") is None
    assert proxy_of("https://10.1.2.3/v1") is None


def test_certificates_that_cannot_be_read_stop_the_run_at_its_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(ssl.get_default_verify_paths().openssl_cafile_env, "/no/such/file.pem")
    with pytest.raises(DgrpoError, match="certificates") as caught:
        Judge(model="m", endpoint="https://api.example.org/v1").start()
    assert "SSL_CERT_FILE" in caught.value.remedy
