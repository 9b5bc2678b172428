"""Experiments: what is wrong is named with a way out, and equal descriptions are equal runs."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dgrpo import cli
from dgrpo.attacks.honest import Honest
from dgrpo.attacks.silent import Silent
from dgrpo.attacks.text import Text
from dgrpo.errors import DgrpoError
from dgrpo.experiment import (
    OUTSIDE_DIGEST,
    Experiment,
    experiment_from,
    load_experiment,
)

SHIPPED = sorted((Path(__file__).parents[1] / "experiments").glob("**/*.toml"))

ATTACKED: dict[str, Any] = {
    "name": "attacked",
    "malicious": 1,
    "attack": {"name": "text", "phrase": "Hello,"},
    "measure": ["text"],
    "defense": ["top-k", {"name": "top-k", "label": "strict", "k": 5}],
}


def attacked(**changes: Any) -> Experiment:
    """The attacked experiment with some settings changed."""
    return experiment_from({**ATTACKED, **changes})


@pytest.mark.parametrize(
    ("changes", "problem", "remedy"),
    [
        # a setting that does not exist
        ({"rouns": 5}, "rouns is not a setting", "'rounds'"),
        ({"sampling": {"temprature": 1}}, "sampling.temprature is not", "'temperature'"),
        ({"learner": {"lr": 1}}, "learner.lr is not a setting", "known: learning_rate"),
        ({"evaluation": {"sample": 1}}, "evaluation.sample is not", "'samples'"),
        ({"recording": {"complitions": 1}}, "recording.complitions is not", "'completions'"),
        ({"model": {"nam": "x"}}, "model.0.nam is not a setting", "'name'"),
        ({"task": {"name": "gsm8k", "train": 5}}, "task.train is not", "'train_file'"),
        ({"attack": {"name": "text", "phrse": "x"}}, "attack.phrse is not", "'phrase'"),
        ({"defense": [{"name": "top-k", "K": 5}]}, "defense[0].K is not", "known: k"),
        ({"measure": [{"name": "silent", "x": 5}]}, "measure[0].x is not", "known: none"),
        # a value that cannot be
        ({"rounds": 0}, "rounds = 0", ""),
        ({"rounds": "many"}, "rounds = 'many'", ""),
        ({"rounds": 1.5}, "rounds = 1.5", ""),
        ({"name": "Not A Folder"}, "name = 'Not A Folder'", ""),
        ({"name": "../up"}, "name = '../up'", ""),
        ({"topology": "diagonal"}, "topology = 'diagonal'", ""),
        ({"on_reject": "keep"}, "on_reject = 'keep'", ""),
        ({"group_size": 1, "nodes": 1, "malicious": 0, "attack": []}, "group_size = 1", ""),
        ({"sampling": {"top_p": 0}}, "sampling.top_p = 0", ""),
        ({"learner": {"learning_rate": -1}}, "learner.learning_rate = -1", ""),
        ({"learner": 5}, "learner = 5", ""),
        ({"model": []}, "model: 0 tables", "give one for all, or 4"),
        ({"task": 5}, "task = 5", ""),
        ({"task": {"name": "gsm-symbolic", "train": 0}}, "task.train = 0", ""),
        ({"task": {"name": "gsm-symbolic", "templates": []}}, "task.templates = []", ""),
        ({"attack": 5}, "attack.0 = 5", ""),
        ({"attack": {"name": "text", "position": "x"}}, "attack.position = 'x'", ""),
        ({"defense": 5}, "defense.0 = 5", ""),
        ({"defense": [5]}, "defense.0 = 5", ""),
        ({"defense": [{"name": "top-k", "k": 0}]}, "defense[0].k = 0", ""),
        ({"defense": [{"name": "top-k", "label": 5}]}, "defense.label = 5", ""),
        # a plug-in that does not exist
        ({"task": "gsm8"}, "no plug-in called 'gsm8' in dgrpo.tasks", "'gsm8k'"),
        ({"attack": "texd"}, "no plug-in called 'texd' in dgrpo.attacks", "'text'"),
        ({"measure": ["texd"]}, "no plug-in called 'texd' in dgrpo.attacks", "'text'"),
        ({"defense": ["topk"]}, "no plug-in called 'topk' in dgrpo.defenses", "'top-k'"),
        ({"attack": {"phrase": "x"}}, "attack.name is missing", "text"),
        ({"defense": [{"k": 5}]}, "defense[0].name is missing", "top-k"),
        # settings that contradict one another
        ({"nodes": 5}, "group_size = 12: ", "use group_size = 10 or 15"),
        ({"nodes": 3, "topology": "vertical"}, "prompts_per_round = 16: ", "15 or 18"),
        ({"malicious": 4}, "malicious = 4 leaves no honest node of nodes = 4", "malicious = 3"),
        ({"malicious": 9}, "malicious = 9 leaves no honest node of nodes = 4", "malicious = 3"),
        ({"malicious": 0}, "attack is given but malicious = 0", "set malicious"),
        ({"attack": []}, "malicious = 1, but attack is missing", 'name = "honest"'),
        ({"attack": ["text", "silent"]}, "attack: 2 tables", "give one for all, or 1"),
        (
            {"malicious": 3, "attack": ["text", "silent"]},
            "attack: 2 tables",
            "give one for all, or 3",
        ),
        ({"model": [{}, {}]}, "model: 2 tables", "give one for all, or 4"),
        ({"defense": ["top-k", "top-k"]}, "defense: two are called 'top-k'", "`label`"),
        (
            {"defense": [{"name": "top-k", "label": "a"}, {"name": "top-k", "label": "a", "k": 5}]},
            "defense: two are called 'a'",
            "`label`",
        ),
        (
            {"measure": ["text", {"name": "text", "phrase": "x"}]},
            "measure: two are called 'text'",
            "once",
        ),
    ],
    ids=lambda value: json.dumps(value) if isinstance(value, dict) else "",
)
def test_what_is_wrong_is_named_with_its_value_and_the_way_out(
    changes: dict[str, Any], problem: str, remedy: str
) -> None:
    with pytest.raises(DgrpoError) as caught:
        attacked(**changes)
    assert problem in caught.value.problem
    assert remedy in caught.value.remedy


def test_all_faults_of_a_file_are_reported_together() -> None:
    with pytest.raises(DgrpoError) as caught:
        attacked(rounds=0, group_size="x", rouns=5)
    assert caught.value.problem.count(";") == 2
    for fault in ("rounds = 0", "group_size = 'x'", "rouns is not a setting"):
        assert fault in caught.value.problem


@pytest.mark.filterwarnings("ignore:Cyclopts application invoked without tokens")
@pytest.mark.parametrize(
    ("text", "arguments", "expected"),
    [
        ('name = "x"\nrouns = 5', [], ["rouns is not a setting", "'rounds'"]),
        ('name = "x"\nrounds = [', [], ["is not valid TOML"]),
        ('name = "x"', ["--rounds", "0"], ["rounds = 0"]),
        ('name = "x"', ["--attack.name", "texd"], ["'texd'", "'text'"]),
        ('name = "x"\n[[defense]]\nname = "top-k"', ["--defense.k", "5"], ["--defense.0.k"]),
        ('name = "x"', ["--sampling.top_k"], ["--sampling.top_k has no value"]),
        ("", [], ["experiment.toml is empty", "experiments/"]),
        ("# nothing yet\n", ["--rounds", "5"], ["experiment.toml is empty"]),
        ("rounds = 5", [], ["name is missing"]),
        ('name = "x"', ["--measure", "[text]"], ["--measure [text]", "broken TOML"]),
    ],
)
def test_the_command_line_prints_a_fault_and_no_stack_trace(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    text: str,
    arguments: list[str],
    expected: list[str],
) -> None:
    file = tmp_path / "experiment.toml"
    file.write_text(text)
    monkeypatch.setattr("sys.argv", ["dgrpo", "run", str(file), *arguments])
    with pytest.raises(SystemExit) as left:
        cli.main()
    printed = " ".join(capsys.readouterr().err.split())
    assert left.value.code == 2
    assert "error:" in printed
    assert "Traceback" not in printed
    for part in expected:
        assert part in printed


def test_a_byte_order_mark_is_no_part_of_a_file(tmp_path: Path) -> None:
    """Editors on Windows write one, and line ends of their own."""
    file = tmp_path / "marked.toml"
    file.write_bytes(b"\xef\xbb\xbf" + b'name = "x"\r\nrounds = 5\r\n')
    assert load_experiment(file).rounds == 5
    file.write_bytes('name = "x"'.encode("utf-16"))
    with pytest.raises(DgrpoError, match="UTF-16") as caught:
        load_experiment(file)
    assert "UTF-8" in caught.value.remedy


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DgrpoError, match=r"no experiment file (.|\n)*experiments/"):
        load_experiment(tmp_path / "none.toml")
    with pytest.raises(DgrpoError, match="cannot be read"):
        load_experiment(tmp_path)
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(DgrpoError, match="cannot be read"):
        load_experiment(file / "x.toml")


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.stem)
def test_a_shipped_experiment_is_valid_and_named_like_its_file(file: Path) -> None:
    experiment = load_experiment(file)
    assert experiment.name == file.stem
    assert experiment.claim


@pytest.mark.parametrize(
    "experiment",
    [
        experiment_from({"name": "plain"}),
        attacked(),
        attacked(topology="vertical", malicious=2, attack=["text", {"name": "silent"}]),
        attacked(model=[{"name": "gsm-nano"}, {}, {"dtype": "bfloat16"}, {}]),
        attacked(learner={"max_gradient_norm": 0.5, "clip_low": 0.2}, sampling={"top_k": 0}),
        attacked(task={"name": "gsm8k", "train_file": "train.jsonl"}, measure=["text", "silent"]),
        *map(load_experiment, SHIPPED),
    ],
    ids=lambda experiment: f"{experiment.name}-{experiment.digest[:4]}",
)
def test_the_resolved_form_builds_an_equal_experiment_even_through_json(
    experiment: Experiment,
) -> None:
    again = Experiment(**json.loads(json.dumps(experiment.resolved())))
    assert again == experiment
    assert again.resolved() == experiment.resolved()
    assert again.digest == experiment.digest


def test_the_digest_ignores_what_a_finished_round_does_not_depend_on() -> None:
    changes: dict[str, Any] = {
        "name": "other",
        "claim": "Another sentence.",
        "rounds": 7,
        "evaluation": {"samples": 3, "final_samples": 5, "examples": 0},
        "recording": {"completions": "none", "checkpoint_every": 3},
        "measure": ["text", "silent"],
    }
    assert set(changes) == set(OUTSIDE_DIGEST)
    for name, value in changes.items():
        assert attacked(**{name: value}).digest == attacked().digest, name


EXAMPLES = Path(__file__).parents[1] / "examples"
CHANGES: dict[str, list[dict[str, Any]]] = {
    "topology": [{"topology": "vertical"}],
    "nodes": [{"nodes": 2}],
    "malicious": [{"malicious": 2}],
    "prompts_per_round": [{"prompts_per_round": 8}],
    "group_size": [{"group_size": 8}],
    "on_reject": [{"on_reject": "zero-reward"}],
    "task": [{"task": {"name": "gsm-symbolic", "train": 99}}, {"task": "gsm8k"}],
    "model": [{"model": {"dtype": "bfloat16"}}, {"model": {"name": "elsewhere"}}],
    "sampling": [{"sampling": {"top_k": 49}}, {"sampling": {"max_tokens": 95}}],
    "admission": [
        {"admission": {"believe": "claimed"}},
        {"admission": {"foreign_share": 0.2}},
        {"admission": {"foreign_least": 0}},
    ],
    "policy": [{"policy": "frozen"}],
    "exchange": [{"exchange": f"{EXAMPLES / 'my_exchange.py'}:Mailboxes"}],
    "learner": [{"learner": {"learning_rate": 2e-3}}, {"learner": {"updates_per_round": 2}}],
    "attack": [{"attack": "text"}, {"attack": "honest"}, {"attack": "silent"}],
    "defense": [
        {"defense": []},
        {"defense": ["top-k"]},
        {"defense": ["top-k", {"name": "top-k", "label": "strict", "k": 6}]},
    ],
}


@pytest.mark.parametrize("field", [f for f in Experiment.model_fields if f not in OUTSIDE_DIGEST])
def test_the_digest_changes_with_every_other_setting(field: str) -> None:
    digests = {attacked(**change).digest for change in CHANGES[field]}
    assert len(digests | {attacked().digest}) == len(CHANGES[field]) + 1


def test_a_written_default_is_the_same_experiment_as_none() -> None:
    written = attacked(sampling={"temperature": 1.0}, task="gsm-symbolic", on_reject="drop")
    assert written == attacked()
    assert written.digest == attacked().digest


def test_an_experiment_cannot_be_changed_once_made() -> None:
    with pytest.raises(ValueError, match="frozen"):
        attacked().rounds = 5


def test_the_last_nodes_are_the_malicious_ones() -> None:
    experiment = attacked(nodes=4, malicious=2, attack="text")
    assert [type(experiment.attack_of(n)) for n in range(4)] == [Honest, Honest, Text, Text]


def test_each_malicious_node_may_have_an_attack_of_its_own() -> None:
    experiment = attacked(malicious=2, attack=["silent", {"name": "text", "phrase": "Hello,"}])
    assert [type(experiment.attack_of(n)) for n in range(4)] == [Honest, Honest, Silent, Text]


def test_each_node_may_have_a_model_of_its_own() -> None:
    own = attacked(model=[{"name": name} for name in "abcd"])
    assert [own.model_of(n).name for n in range(4)] == list("abcd")
    assert {attacked().model_of(n).name for n in range(4)} == {"gsm-nano"}


def test_a_defense_is_called_by_its_label_or_else_by_its_own_name() -> None:
    file = Path(__file__).parents[1] / "examples" / "my_defense.py"
    experiment = attacked(defense=[*ATTACKED["defense"], f"{file}:Chorus"])
    assert [d.label for d in experiment.defense] == ["top-k", "strict", "chorus"]
    assert [type(d.check).name for d in experiment.defense] == ["top-k", "top-k", "chorus"]


def test_overrides_reach_the_experiment_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "experiment.toml"
    file.write_text('name = "x"\nmalicious = 1\n[attack]\nname = "text"\n')
    experiment = load_experiment(file, {"attack.phrase": "Hello,", "learner.beta": 0.1})
    assert experiment.attack[0] == Text(phrase="Hello,")
    assert experiment.learner.beta == 0.1
    other = load_experiment(file, {"attack.name": "silent"})
    assert other.attack[0] == Silent()


SIGNATURE = "examples/my_attack.py:Signature"


@pytest.mark.parametrize(
    ("attack", "measure"),
    [
        ({"name": "text", "phrase": "Ahoy,"}, "text"),
        ({"name": "text", "phrase": "Ahoy,"}, {"name": "text"}),
        (Text(phrase="Ahoy,"), "text"),
        ({"name": SIGNATURE, "author": "Bob"}, SIGNATURE),
        ({"name": SIGNATURE, "author": "Bob"}, f"./{SIGNATURE}"),
        ({"name": str(Path(SIGNATURE).resolve()), "author": "Bob"}, SIGNATURE),
    ],
    ids=str,
)
def test_a_measure_by_name_alone_is_the_mounted_attack_however_it_was_given(
    attack: object, measure: object
) -> None:
    experiment = experiment_from(
        {"name": "x", "malicious": 1, "attack": attack, "measure": [measure]}
    )
    assert experiment.measure == experiment.attack
    assert {"Ahoy,", "Bob"} & set(experiment.measure[0].settings().values())


def test_a_task_without_a_name_is_the_usual_one() -> None:
    experiment = experiment_from({"name": "x", "task": {"train": 64}})
    assert experiment.task.settings()["name"] == "gsm-symbolic"
    assert experiment.task.settings()["train"] == 64


def test_a_measure_with_settings_is_measured_as_it_is_written() -> None:
    hello = {"name": "text", "phrase": "Hello,"}
    experiment = attacked(attack={"name": "text", "phrase": "Ahoy,"}, measure=[hello])
    assert experiment.measure == (Text(phrase="Hello,"),)


def test_without_measure_the_mounted_attacks_that_have_a_rate_are_measured() -> None:
    text = {"name": "text", "phrase": "Ahoy,"}
    table = {"name": "x", "malicious": 3, "attack": [text, {"name": "long-answer"}, text]}
    assert experiment_from(table).measure == (Text(phrase="Ahoy,"),)
    assert experiment_from(table).digest == experiment_from({**table, "measure": []}).digest
    assert experiment_from({**table, "measure": []}).measure == ()
    assert experiment_from({"name": "x"}).measure == ()


def test_a_bare_measure_of_two_mounted_attacks_is_refused() -> None:
    attack = [{"name": "text", "phrase": phrase} for phrase in ("Ahoy,", "Hello,")]
    table = {"name": "x", "malicious": 2, "attack": attack}
    for measure in ({"measure": ["text"]}, {}):
        with pytest.raises(DgrpoError, match="'text' could be either of two") as caught:
            experiment_from({**table, **measure})
        assert "with its settings" in caught.value.remedy
    experiment = experiment_from({**table, "measure": attack[:1]})
    assert experiment.measure[0].settings()["phrase"] == "Ahoy,"
    same = [attack[0], attack[0]]
    assert experiment_from({**table, "attack": same, "measure": ["text"]}).measure


def test_mounting_one_attack_and_measuring_another_is_refused() -> None:
    attack = {"name": SIGNATURE}
    with pytest.raises(DgrpoError, match="not in it") as caught:
        experiment_from({"name": "x", "malicious": 1, "attack": attack, "measure": ["text"]})
    assert "--measure" in str(caught.value)


def test_edited_plug_in_code_is_another_experiment(tmp_path: Path) -> None:
    """In processes of their own: a process imports a file once."""
    source = (Path("examples") / "my_defense.py").read_text()
    file = tmp_path / "my_defense.py"
    defense = [{"label": "mine", "name": f"{file}:Chorus"}]
    program = (
        "from dgrpo.experiment import experiment_from\n"
        f"print(experiment_from({{'name': 'x', 'defense': {defense!r}}}).digest)"
    )

    def digest(text: str) -> str:
        file.write_text(text)
        command = [sys.executable, "-c", program]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    first, edited = digest(source), digest(source + "# edited")
    assert edited != first
    assert experiment_from({"name": "x", "defense": defense}).digest == edited
    assert digest(source) == first


def test_an_experiment_is_recorded_as_plain_json_even_with_an_infinite_bound() -> None:
    unclipped = attacked(learner={"max_gradient_norm": math.inf})
    text = json.dumps(unclipped.resolved(), allow_nan=False)
    assert experiment_from(json.loads(text)) == unclipped


def test_nodes_may_draw_otherwise_than_one_another() -> None:
    tables = [{"max_tokens": 48}, {"max_tokens": 64, "top_k": 20}]
    experiment = attacked(nodes=2, sampling=tables)
    drawn = [experiment.policy_settings(node).sampling for node in (0, 1)]
    assert [(one.max_tokens, one.top_k) for one in drawn] == [(48, 50), (64, 20)]
    assert experiment.longest == 64
    assert Experiment(**experiment.resolved()) == experiment
    assert experiment.digest != attacked(nodes=2, sampling=tables[0]).digest


def test_one_table_of_sampling_is_the_same_run_however_it_is_written() -> None:
    table = {"max_tokens": 48}
    assert attacked(sampling=[table]).digest == attacked(sampling=table).digest
    assert attacked(sampling=table).resolved()["sampling"]["max_tokens"] == 48


@pytest.mark.parametrize(
    ("sampling", "told"),
    [
        ({"max_tokens": 0}, r"^sampling\.max_tokens = 0: "),
        ([{}, {"top_k": -1}], r"^sampling\[1\]\.top_k = -1: "),
        ([{}, {"topk": 1}], r"^sampling\[1\]\.topk is not a setting\n.*'top_k'"),
        ([{}, 3], r"^sampling\[1\] = 3: it is no table"),
        (None, r"^sampling = None: it is no table"),
        ([{}] * 3, r"^sampling: 3 tables are given\n.* one for all, or 4$"),
        ([], r"^sampling: 0 tables are given"),
    ],
)
def test_wrong_sampling_is_named_by_its_table(sampling: object, told: str) -> None:
    with pytest.raises(DgrpoError, match=told):
        attacked(sampling=sampling)
