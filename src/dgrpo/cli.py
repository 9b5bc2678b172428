"""The command line: dgrpo run | export | report | reproduce | list | show | judge | pretrain.

Leaves out: everything that is not reading arguments, choosing a display and printing errors.
"""

from __future__ import annotations

import inspect
import sys
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter, validators
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from dgrpo import plugins
from dgrpo.arguments import seed_numbers, some_seeds, whole_number
from dgrpo.console import EscapingConsole, escape_other_output
from dgrpo.errors import DgrpoError
from dgrpo.extras import naming_missing_extras
from dgrpo.terminal import print_anything

WHOLE = Parameter(converter=whole_number)
FROM_ONE = Parameter(converter=whole_number, validator=validators.Number(gte=1))

app = App(
    name="dgrpo",
    help="Decentralised GRPO: train, attack, defend, measure.",
    version_flags=["--version"],
    suppress_keyboard_interrupt=False,
)
out, err = EscapingConsole(), EscapingConsole(stderr=True)


def main() -> None:
    """Entry point: runs a command, turns known faults into a message and exit code 2."""
    print_anything()
    escape_other_output()
    try:
        with naming_missing_extras():
            app(console=out, error_console=err)
    except DgrpoError as error:
        err.print(Text.assemble(("error:", "bold red"), f" {error}"), soft_wrap=True)
        sys.exit(2)
    except KeyboardInterrupt as stop:
        err.print(escape(str(stop) or "stopped"), soft_wrap=True, highlight=False)
        sys.exit(getattr(stop, "exit_code", 130))


@app.command
def run(
    file: Path,
    *overrides: Annotated[str, Parameter(allow_leading_hyphen=True, show=False)],
    out_folder: Annotated[Path | None, Parameter(name="--out")] = None,
    seeds: Annotated[list[int], Parameter(consume_multiple=True, converter=seed_numbers)] = [0],  # noqa: B006
    rounds: Annotated[int | None, WHOLE] = None,
    threads: Annotated[int | None, FROM_ONE] = None,
) -> None:
    """Run an experiment file: every seed to its last round, resuming what was interrupted.

    Any setting of the file can be given as a dotted option, e.g. --attack.phrase "Hello," or
    --learner.learning_rate 5e-4 (values are read as TOML).

    Parameters
    ----------
    file
        Experiment file (TOML); the shipped ones are in experiments/.
    overrides
        Dotted settings with their values.
    out_folder
        Folder for this experiment's seeds; default runs/NAME-DIGEST.
    seeds
        Seeds to run, one after another: 0 1 2, or 0,1,2, or 0-2.
    rounds
        Updates per node; more than a finished run has extends it.
    threads
        CPU threads for torch; default: all cores.

    """
    some_seeds(seeds)  # an option without a value comes as an empty list
    settings = dotted_overrides(overrides)
    if rounds is not None:
        settings["rounds"] = rounds
    from dgrpo.experiment import load_experiment

    experiment = load_experiment(file, settings)
    if threads is not None:
        import torch

        torch.set_num_threads(threads)
    from dgrpo.progress import watch_runs
    from dgrpo.runs.running import check_folders, experiment_folder, run_experiment

    folder = experiment_folder(experiment, out_folder)
    check_folders(experiment, seeds, out_folder)
    with watch_runs(out, [(experiment, seed) for seed in seeds]) as watcher:
        for seed in seeds:
            run_experiment(experiment, seed, out_folder, watcher.of(experiment, seed))
    out.print(f"finished: {folder}", soft_wrap=True, markup=False)
    out.print(f"page:     dgrpo report {folder} --out page.html", soft_wrap=True, markup=False)


@app.command
def export(
    run: Path,
    *,
    out_folder: Annotated[Path, Parameter(name="--out")],
    node: Annotated[int, WHOLE] = 0,
) -> None:
    """Write a run's trained model as an ordinary Hugging Face folder.

    The model is that of the run's last checkpoint, finished or not.

    Parameters
    ----------
    run
        A seed's folder, or an experiment's folder with one seed.
    out_folder
        The folder to write; nothing may lie there.
    node
        Whose model; nodes are counted from 0, honest ones first.

    """
    from dgrpo.runs.export import export_model

    trained = export_model(run, out_folder, node)
    out.print(
        f"written to {out_folder}: node {trained.node} after {trained.round} rounds; "
        f'use it with --model.name "{out_folder}"',
        soft_wrap=True,
        markup=False,
    )


@app.command
def report(
    *runs: Path,
    out_file: Annotated[Path, Parameter(name="--out")],
    png: Path | None = None,
) -> None:
    """Write one self-contained page (and a picture) from run folders, and print the table.

    Parameters
    ----------
    runs
        Seed folders, experiment folders, or folders of experiments.
    out_file
        The page to write (HTML).
    png
        Also write the charts as a picture.

    """
    from dgrpo.escaping import visible
    from dgrpo.report.groups import group_runs, measured_apart
    from dgrpo.report.page import write_report
    from dgrpo.report.tables import experiment_rows, rich_table
    from dgrpo.runs.reader import find_runs

    if not runs:
        raise DgrpoError("no run folder is given", remedy="dgrpo report runs --out page.html")
    found = find_runs(list(runs))
    write_report(found, out_file, png)
    out.print(rich_table(experiment_rows(found)))
    for note in measured_apart(group_runs(found)):
        out.print(visible(note), soft_wrap=True, markup=False)
    out.print(f"page: {out_file}", soft_wrap=True, markup=False)


@app.command
def reproduce(
    *names: str,
    seeds: Annotated[int, FROM_ONE] = 5,
    quick: Annotated[bool, Parameter(negative="")] = False,
    status: Annotated[bool, Parameter(negative="")] = False,
    collect: Annotated[bool, Parameter(negative="")] = False,
    out_folder: Annotated[Path, Parameter(name="--out")] = Path("runs"),
    workers: Annotated[int | None, FROM_ONE] = None,
    experiments: Path = Path("experiments"),
    results: Path = Path("docs/results"),
) -> None:
    """Run what is missing of the paper's experiments, and write the page that compares figures.

    Finished runs are never repeated, interrupted ones go on, a failed one stops no other.

    Parameters
    ----------
    names
        Experiments, by name or glob pattern ("text-*"); default: every file in --experiments.
    seeds
        Seeds of headline experiments; ablations get at most 3.
    quick
        A smoke run of the headline experiments in at most 20 minutes; it proves nothing.
    status
        Show what is finished and missing, with the time it takes; run nothing.
    collect
        Copy the small files of finished runs into --results and write the page; run nothing.
    out_folder
        Where runs are played.
    workers
        Runs played at a time, one thread each; default: one per core.
    experiments
        Folder of experiment files.
    results
        Folder of committed results: its runs count as finished, paper.md is written there.

    """
    from dgrpo.reproduce import command

    settings = command.Settings(
        names, seeds, quick, out_folder, workers or command.cores(), experiments, results
    )
    try:
        code = command.reproduce(settings, out, status=status, collecting=collect)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("stopped; the same command goes on from what was saved") from None
    sys.exit(code)


@app.command(name="list")
def list_plugins(kind: str | None = None) -> None:
    """List attacks, defenses and tasks with one line each.

    Parameters
    ----------
    kind
        Only this kind: attacks, defenses or tasks.

    """
    for one in plugins.KINDS if kind is None else (kind,):
        table = Table("name", "what it does", title=one, title_justify="left")
        for name, cls in plugins.available(one).items():
            table.add_row(name, escape(plugins.summary(cls)))
        out.print(table)


@app.command
def show(name: str) -> None:
    """Show what a plug-in does and its knobs, or the fields of an experiment (`show experiment`).

    Parameters
    ----------
    name
        A plug-in's name, path/to/file.py:ClassName, or `experiment`.

    """
    cls, kind = _find_anywhere(name)
    out.print(f"[bold]{escape(name)}[/] ({kind})\n")
    out.print(escape(inspect.getdoc(cls) or ""), end="\n\n")
    table = Table("setting", "type", "default", "meaning")
    for field_name, field in cls.model_fields.items():
        default = (
            "required"
            if field.is_required()
            else repr(field.get_default(call_default_factory=True, validated_data={}))
        )
        annotation = getattr(field.annotation, "__name__", None) or str(field.annotation)
        table.add_row(
            field_name,
            escape(annotation.replace("typing.", "")),
            escape(default),
            escape(field.description or ""),
        )
    out.print(table)


@app.command
def judge(
    *overrides: Annotated[str, Parameter(allow_leading_hyphen=True, show=False)],
    samples: Annotated[int, WHOLE] = 100,
    out_file: Annotated[Path | None, Parameter(name="--out")] = None,
) -> None:
    """Measure what a judge accepts of honest and of poisoned completions (the paper's Table 1).

    The judge is the shipped one, or any that the `judge` defense can use: every setting of that
    (dgrpo show judge) is an option, e.g. --model path/to/model, or --model NAME --endpoint
    http://localhost:8000/v1 --criticism false.

    Parameters
    ----------
    overrides
        Settings of the `judge` defense with their values.
    samples
        Completions of each kind, at most 500.
    out_file
        Also write the figures here (JSON).

    """
    from dgrpo.defenses.judge import Judge
    from dgrpo.judging.acceptance.command import measure_acceptance
    from dgrpo.overrides import apply_override

    table: dict[str, Any] = {}
    for dotted, value in dotted_overrides(overrides).items():
        apply_override(table, dotted, value)
    chosen = plugins.build("defenses", {**table, "name": "judge"}, "judge")
    assert isinstance(chosen, Judge)
    measure_acceptance(chosen, samples, out, out_file)


@app.command
def pretrain(
    name: str, *, out_folder: Annotated[Path | None, Parameter(name="--out")] = None
) -> None:
    """Make a shipped small model again from its recipe, and measure its card.

    Parameters
    ----------
    name
        Name of the recipe, e.g. gsm-nano.
    out_folder
        Where to write the model; default models/NAME.

    """
    from dgrpo.pretraining.pretrain import make_model
    from dgrpo.pretraining.recipe import find_recipe

    recipe = find_recipe(name)
    target = out_folder or Path("models") / name
    make_model(recipe, target, lambda line: out.print(line, highlight=False))
    out.print(
        f'written to {target}; use it with --model.name "{target}"', soft_wrap=True, markup=False
    )


def dotted_overrides(tokens: tuple[str, ...]) -> dict[str, Any]:
    """`--a.b value` and `--a.b=value` pairs as {"a.b": value}.

    Raises DgrpoError for an option without a value or a value without an option.
    """
    from dgrpo.overrides import parse_value

    settings: dict[str, Any] = {}
    left = list(tokens)
    while left:
        option = left.pop(0)
        if not option.startswith("--"):
            raise DgrpoError(
                f"{option!r} does not belong to any option",
                remedy="settings are given as --name.of.setting value",
            )
        name, equals, value = option[2:].partition("=")
        if not equals:
            if not left:
                raise DgrpoError(f"--{name} has no value")
            value = left.pop(0)
        settings[name.replace("-", "_")] = parse_value(value, name)
    return settings


def _find_anywhere(name: str) -> tuple[Any, str]:
    """The class called `name` in any kind of plug-in, or the experiment itself."""
    from dgrpo.experiment import Experiment

    if name == "experiment":
        return Experiment, "an experiment file"
    return plugins.find_anywhere(name, ["experiment"])
