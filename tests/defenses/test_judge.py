"""`judge` and `self-judge` as an experiment uses them: in a swarm, with their knobs, resumed."""

from __future__ import annotations

import asyncio
import json
import shutil
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.judging.servers import Misbehaving, chat, misbehaving
from tests.judging.small_judge import TASK, received

from dgrpo.defenses.base import Receiver, RunningDefense
from dgrpo.defenses.judge import Judge
from dgrpo.defenses.self_judge import SelfJudge
from dgrpo.errors import DgrpoError
from dgrpo.experiment import Experiment, experiment_from
from dgrpo.plugins import build
from dgrpo.policy.model import load_model
from dgrpo.records import Batch, Received, Verdict
from dgrpo.runs.reader import find_runs
from dgrpo.runs.running import run_experiment
from dgrpo.swarm import Swarm

pytestmark = pytest.mark.xdist_group("judge")  # one worker teaches the small judge
ACCEPTING = chat("<decision> yes </decision>")


@pytest.fixture
def server() -> Iterator[Misbehaving]:
    with misbehaving() as state:
        yield state


def experiment(*defenses: dict[str, Any], **changes: Any) -> Experiment:
    """Two nodes, the second of which sends TEXT."""
    return experiment_from(
        {
            "name": "judged",
            "rounds": 2,
            "nodes": 2,
            "malicious": 1,
            "attack": "text",
            "prompts_per_round": 2,
            "group_size": 4,
            "task": TASK,
            "evaluation": {"samples": 2, "final_samples": 2},
            "recording": {"checkpoint_every": 1},
            "defense": list(defenses),
            **changes,
        }
    )


def local(folder: Path, **changes: Any) -> dict[str, Any]:
    return {"name": "judge", "model": str(folder), "style": "brief", **changes}


def remote(server: Misbehaving, **changes: Any) -> dict[str, Any]:
    knobs = {"name": "judge", "model": "m", "endpoint": server.url, "retries": 0, "timeout": 30.0}
    return {**knobs, **changes}


def started(settings: dict[str, Any], node: Receiver) -> RunningDefense:
    judge = build("defenses", settings, "defense")
    assert isinstance(judge, Judge)
    return judge.start(node)


@pytest.fixture(scope="module")
def node() -> Receiver:
    return Swarm(experiment(), seed=0).nodes[0]


def check(running: RunningDefense, node: Receiver) -> list[Verdict]:
    return asyncio.run(running.screen(Batch(0, tuple(received())), node))


# The judge


def test_a_local_folder_judges_a_swarms_round_the_same_for_every_node(judge_folder: Path) -> None:
    ways = [
        local(judge_folder, label="argued", temperature=0.0),
        local(judge_folder, label="odds", criticism=False, decision="log-odds"),
    ]
    swarm = Swarm(experiment(*ways), seed=0)
    one, other = swarm.play(0)
    assert [j.verdicts for j in one.judged] == [j.verdicts for j in other.judged]
    phrase = "All hail to the thief"
    for judged in one.judged:
        if phrase in judged.received.text:
            assert not judged.verdicts["argued"].accepted
            assert judged.verdicts["argued"].reason == "the judge says no: The hail is foreign."
            assert judged.advantage is None
    assert sum(phrase in judged.received.text for judged in one.judged) == 4


def test_a_threshold_moves_the_decision_and_nothing_else(
    judge_folder: Path, node: Receiver
) -> None:
    odds = local(judge_folder, criticism=False, decision="log-odds")
    by_threshold = [
        check(started(odds | {"threshold": threshold}, node), node)
        for threshold in (-100.0, 0.0, 100.0)
    ]
    assert [[v.accepted for v in verdicts] for verdicts in by_threshold] == [
        [True] * 24,
        [True, False] * 12,
        [False] * 24,
    ]
    assert len({tuple(v.score for v in verdicts) for verdicts in by_threshold}) == 1


def test_nodes_of_a_run_share_one_model(judge_folder: Path, node: Receiver) -> None:
    first, second = (started(local(judge_folder), node) for _ in range(2))
    lenient = started(local(judge_folder, unreadable="accept"), node)
    other = started(local(judge_folder, criticism=False), node)
    assert first._bench is second._bench is lenient._bench  # type: ignore[attr-defined]
    assert first._bench is not other._bench  # type: ignore[attr-defined]


def test_a_run_does_not_go_on_under_another_judge(
    judge_folder: Path, node: Receiver, tmp_path: Path
) -> None:
    folder = tmp_path / "judge"
    shutil.copytree(judge_folder, folder)
    state = json.loads(json.dumps(started(local(folder), node).state_dict()))
    started(local(folder), node).load_state_dict(state)
    config = folder / "generation_config.json"
    config.write_text(config.read_text() + "\n")
    with pytest.raises(DgrpoError, match="not the model this run was begun with"):
        started(local(folder), node).load_state_dict(state)


def test_every_form_of_prompt_goes_where_its_knob_says(server: Misbehaving, node: Receiver) -> None:
    server.behaviour = lambda number, body: ACCEPTING
    for settings, path in (
        (remote(server), "/v1/chat/completions"),
        (remote(server, style="brief"), "/v1/completions"),
        (remote(server, model="judge-nano"), "/v1/chat/completions"),
    ):
        check(started(settings, node), node)
        assert server.paths[-1] == path


def test_sampling_and_further_fields_are_sent(server: Misbehaving, node: Receiver) -> None:
    server.behaviour = lambda number, body: ACCEPTING
    check(started(remote(server, endpoint_fields={"top_k": 10, "max_tokens": 99}), node), node)
    sent = server.judged[0]
    assert (sent["temperature"], sent["top_p"], sent["top_k"], sent["max_tokens"]) == (
        0.6,
        0.9,
        10,
        99,
    )


# The endpoint's failures, seen from a run


@pytest.mark.parametrize("policy", ["reject", "accept"])
@pytest.mark.parametrize(
    ("answer", "kind"),
    [((500, b"", {}), "unreachable"), ((200, b"{}", {}), "malformed"), (30.0, "timeout")],
)
def test_the_round_goes_on_under_the_policy_and_every_failure_is_counted(
    server: Misbehaving, tmp_path: Path, policy: str, answer: Any, kind: str
) -> None:
    server.behaviour = lambda number, body: answer
    judge = remote(server, on_failure=policy, timeout=1.0 if kind == "timeout" else 30.0)
    finished = run_experiment(experiment(judge, rounds=1), 0, tmp_path / "run", lambda line: None)
    line = find_runs([tmp_path / "run"])[0].rounds[-1]
    assert line.screening.by_defense["judge"].undecided == {kind: 8}
    assert finished.summary["screening"]["by_defense"]["judge"]["undecided"] == {kind: 8}
    stopped = 0 if policy == "accept" else 4
    assert line.screening.poisoned_stopped == stopped
    assert line.screening.honest_rejected == stopped


def test_a_dead_endpoint_costs_all_nodes_together_one_timeout(server: Misbehaving) -> None:
    arrived = threading.Event()

    def dead(number: int, body: dict[str, Any]) -> Any:
        arrived.set()
        return 30.0

    server.behaviour = dead
    swarm = Swarm(experiment(remote(server, timeout=1.0)), seed=0)
    for record in swarm.play(0):
        assert all(not judged.accepted for judged in record.judged)
        assert record.update.tokens == 0
    assert arrived.wait(30.0)
    assert len(server.bodies) == 1


def test_rounds_have_event_loops_of_their_own(server: Misbehaving) -> None:
    server.behaviour = lambda number, body: ACCEPTING
    swarm = Swarm(experiment(remote(server)), seed=0)
    for round_index in range(3):
        for record in swarm.play(round_index):
            assert all(judged.accepted for judged in record.judged)


def test_the_key_is_read_from_the_environment_and_is_in_no_file(
    server: Misbehaving, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUDGE_KEY", "secret-key\n")
    server.behaviour = lambda number, body: ACCEPTING
    settings = remote(server, api_key_env="JUDGE_KEY")
    run_experiment(experiment(settings, rounds=1), 0, tmp_path / "run", lambda line: None)
    assert {header["Authorization"] for header in server.headers} == {"Bearer secret-key"}
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert files
    assert all(b"secret-key" not in file.read_bytes() for file in files)


# Knobs that contradict each other


@pytest.mark.parametrize(
    ("knobs", "said"),
    [
        ({"decision": "log-odds"}, "criticism = false"),
        ({"threshold": 3.0}, 'threshold = 3.0 is only read with decision = "log-odds"'),
        (
            {"decision": "log-odds", "criticism": False, "endpoint": "http://h/v1", "model": "m"},
            "leave endpoint out",
        ),
        ({"endpoint": "http://h/v1"}, "set model"),
        ({"api_key_env": "KEY"}, "leave api_key_env out, or use it with endpoint"),
        ({"retries": 5}, "retries = 5 is only read with endpoint"),
        ({"endpoint_fields": {"n": 1}}, 'endpoint_fields = {"n": 1} is only read with endpoint'),
        (
            {"endpoint": "http://h/v1", "model": "m", "device": "cuda"},
            'device = "cuda" is only read without endpoint',
        ),
        ({"endpoint": "http://h/v1", "model": "m", "top_k": 20}, "leave top_k out"),
        ({"decision": "log-odds", "criticism": False, "top_p": 0.5}, "leave top_p out"),
        ({"endpoint": "http://user:pass@h/v1", "model": "m"}, "api_key_env"),
        ({"endpoint": "h:80", "model": "m"}, "must be http"),
        (
            {"endpoint": "http://h/v1", "model": "m", "template_arguments": {"a": 1}},
            'template_arguments = {"a": 1} is only read without endpoint',
        ),
        ({"template_arguments": {"a": 1}}, 'is only read with style = "full"'),
        ({"style": "full", "template_arguments": {"tokenize": True}}, "must not hold tokenize"),
        ({"style": "full", "template_arguments": {"messages": []}}, "must not hold messages"),
        ({"endpoint_fields": {"messages": []}}, "must not hold messages"),
        ({"endpoint_fields": {"stream": True}}, "must not ask for a stream"),
        ({"endpoint_fields": {"top_a": float("nan")}}, "must hold no nan"),
        ({"timeout": 0}, "timeout"),
        ({"timeout": "inf"}, "timeout"),
        ({"on_failure": "ignore"}, "on_failure"),
    ],
)
def test_knobs_that_cannot_be_meant_are_refused_with_a_remedy(
    knobs: dict[str, Any], said: str
) -> None:
    with pytest.raises(DgrpoError) as caught:
        build("defenses", {"name": "judge", **knobs}, "defense")
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "knobs", [{}, {"endpoint": "http://h/v1", "model": "m"}, {"endpoint": None, "criticism": False}]
)
def test_a_saved_judge_names_every_knob_and_is_read_again(knobs: dict[str, Any]) -> None:
    judge = Judge(**knobs)
    assert build("defenses", {"name": "judge", **judge.model_dump()}, "defense") == judge


@pytest.mark.parametrize("value", [None, "", "  ", "a\nb", "clé"])
def test_a_key_that_is_not_there_or_cannot_be_sent_stops_the_run_at_its_start(
    value: str | None, node: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("JUDGE_KEY", raising=False)
    if value is not None:
        monkeypatch.setenv("JUDGE_KEY", value)
    with pytest.raises(DgrpoError, match="JUDGE_KEY"):
        Judge(model="m", endpoint="http://h/v1", api_key_env="JUDGE_KEY").start(node)


@pytest.mark.parametrize("name", ["judge", "self-judge"])
def test_template_arguments_are_part_of_an_experiment_only_where_they_are_given(name: str) -> None:
    plain = build("defenses", {"name": name, "style": "full"}, "defense")
    given = build(
        "defenses", {"name": name, "style": "full", "template_arguments": {"a": [1]}}, "defense"
    )
    assert "template_arguments" not in plain.settings()
    assert given.settings() == {**plain.settings(), "template_arguments": {"a": [1]}}
    for judge in (plain, given):
        assert build("defenses", judge.settings(), "defense") == judge


@pytest.mark.parametrize("name", ["judge", "self-judge"])
def test_template_arguments_that_no_template_reads_are_refused_before_the_run(
    judge_folder: Path, tmp_path: Path, name: str
) -> None:
    folder = tmp_path / "plain"
    shutil.copytree(judge_folder, folder)
    (folder / "chat_template.jinja").unlink()
    table = {"name": name, "style": "full", "template_arguments": {"enable_thinking": False}}
    judge = table | ({"model": str(folder)} if name == "judge" else {})
    with pytest.raises(DgrpoError, match="no chat template"):
        Swarm(experiment(judge, model={"name": str(folder)}), seed=0)


def test_a_judge_that_is_not_there_is_named(node: Receiver) -> None:
    with pytest.raises(DgrpoError, match=r"judge: .*no-such-folder"):
        Judge(model="./no-such-folder").start(node)


# The node's own model


@pytest.mark.parametrize(
    "knobs",
    [
        {},
        {"calibrated": False},
        {"decision": "generated"},
        {"decision": "generated", "criticism": True, "unreadable": "accept"},
        {"style": "full", "unreadable": "accept"},
    ],
)
def test_the_own_model_judges_in_a_swarm(knobs: dict[str, Any]) -> None:
    swarm = Swarm(experiment({"name": "self-judge", **knobs}), seed=0)
    one, other = swarm.play(0)
    assert [j.verdicts for j in one.judged] == [j.verdicts for j in other.judged]
    kinds = {judged.verdicts["self-judge"].undecided for judged in one.judged}
    if knobs.get("style") == "full":  # 600 tokens: more than the small model reads
        assert kinds == {"too-long"}
    if knobs.get("decision", "log-odds") == "log-odds" and "style" not in knobs:
        assert kinds == {""}
    if knobs.get("unreadable") == "accept":
        assert all(judged.accepted for judged in one.judged)


def test_the_own_model_judges_with_the_weights_it_has_now(judge_folder: Path) -> None:
    """Once the node's model is a judge, its verdicts are the judge's."""
    taught = experiment({"name": "self-judge"}, model={"name": str(judge_folder)})
    node = Swarm(taught, seed=0).nodes[0]
    model = load_model(taught.model_of(0))
    assert model.weights_digest() == node.model.weights_digest()
    verdicts = self_judged(Swarm(taught, seed=0), SelfJudge(calibrated=False), received())
    assert [verdict.accepted for verdict in verdicts] == [True, False] * 12


def self_judged(swarm: Swarm, judge: SelfJudge, texts: list[Received]) -> list[Verdict]:
    """What the first node's own model says."""
    [verdicts] = swarm.together([judge.screen(Batch(0, tuple(texts)), swarm.nodes[0])])
    return verdicts


def test_calibration_takes_off_the_score_of_an_empty_solution_to_the_same_question() -> None:
    swarm, texts = Swarm(experiment(), seed=0), received()
    empty = [replace(one, text="") for one in texts]
    calibrated = self_judged(swarm, SelfJudge(), [*texts, *empty])
    plain = self_judged(swarm, SelfJudge(calibrated=False), [*texts, *empty])
    assert [verdict.score for verdict in calibrated[24:]] == [0.0] * 24
    taken = [one.score - other.score for one, other in zip(plain, calibrated, strict=True)]
    assert taken[:24] == pytest.approx([verdict.score for verdict in plain[24:]], abs=1e-4)
    assert len({round(score, 3) for score in taken}) == 12  # one per question
    assert any(one.accepted != other.accepted for one, other in zip(plain, calibrated, strict=True))


def test_self_judging_by_log_odds_leaves_no_room_for_criticism() -> None:
    with pytest.raises(DgrpoError, match="criticism"):
        SelfJudge(criticism=True)


def test_calibration_that_no_odds_read_is_refused_and_a_saved_default_is_not() -> None:
    with pytest.raises(
        DgrpoError, match="calibrated = false is only read with decision"
    ) as refused:
        SelfJudge(decision="generated", calibrated=False)
    assert "leave calibrated out" in refused.value.remedy
    for judge in (SelfJudge(decision="generated"), SelfJudge(calibrated=False)):
        assert build("defenses", {"name": "self-judge", **judge.model_dump()}, "defense") == judge
