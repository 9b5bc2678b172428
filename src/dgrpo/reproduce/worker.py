"""The process that plays one run, and what it tells the scheduler.

torch is imported in here, after the process has set itself up: one thread, output into a log file,
Ctrl-C left to the scheduler. SIGTERM ends the run as an exception does, so that what the run has
opened is closed; in a round it is finished first, if the scheduler waits so long, and saved. Its
folder is whole at any moment, and the run goes on from its last checkpoint.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dgrpo.console import escape_other_output, escaped_trace
from dgrpo.errors import DgrpoError
from dgrpo.escaping import one_line

if TYPE_CHECKING:
    from dgrpo.experiment import Experiment


@dataclass(frozen=True, slots=True)
class Assignment:
    """What a worker is to play."""

    experiment: dict[str, Any]
    """The resolved experiment."""
    seed: int
    folder: str
    """The experiment's folder; the seed's lies inside."""
    log: str
    threads: int


@dataclass(frozen=True, slots=True)
class Line:
    """A point was measured."""

    round: int
    accuracy: float | None
    success: float | None
    """Attack success by the first measure."""


@dataclass(frozen=True, slots=True)
class Ended:
    """The run is finished, or failed with `problem`."""

    problem: str = ""


def play(assignment: Assignment, connection: Connection) -> None:
    """Play one run to its last round. Never raises: what goes wrong is sent, and written down."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _stop)
    os.environ["OMP_NUM_THREADS"] = str(assignment.threads)
    escape_other_output()
    try:
        with _logging(Path(assignment.log)):
            _run(assignment, connection)
        connection.send(Ended())
    except BrokenPipeError:  # the scheduler is gone
        pass
    except KeyboardInterrupt:  # SIGTERM, and the round is saved
        _stop()
    except DgrpoError as error:
        connection.send(Ended(str(error)))
    except Exception as error:
        connection.send(Ended(one_line(str(error)) or type(error).__name__))
    finally:
        connection.close()


def _run(assignment: Assignment, connection: Connection) -> None:
    import torch

    from dgrpo.experiment import experiment_from
    from dgrpo.runs.running import run_experiment

    torch.set_num_threads(assignment.threads)
    experiment = experiment_from(assignment.experiment)
    _check_way(experiment, Path(assignment.folder) / f"seed-{assignment.seed}")

    def watch(line: dict[str, Any]) -> None:
        success = next(iter(line["attack_success"].values()), None)
        connection.send(Line(line["round"], line["accuracy"], success))

    run_experiment(experiment, assignment.seed, Path(assignment.folder), watch, tell=lambda _: None)


def _check_way(experiment: Experiment, folder: Path) -> None:
    """Raise where a finished run lies there that is not the one asked for, and keep it.

    One with fewer rounds is no hindrance: it goes on.
    """
    from dgrpo.reproduce.matrix import find_finished, shortfall

    for one in find_finished([folder])[0]:
        summary = one.run.summary or {}
        if summary["rounds"] < experiment.rounds:
            continue
        if lacking := shortfall(one, experiment):
            raise RuntimeError(f"{folder} {lacking}: move it away to run it again")


def _stop(*_: object) -> None:
    raise SystemExit(128 + signal.SIGTERM)


@contextmanager
def _logging(file: Path) -> Iterator[None]:
    """Send what this process and its children print into `file`, and what goes wrong inside.

    Drops an empty one. Raises DgrpoError where it cannot be made.
    """
    from dgrpo.runs.files import open_end, refuse_link, writing

    with writing(file):
        refuse_link(file.parent).mkdir(parents=True, exist_ok=True)
        log = open_end(file)
    with log:
        for stream in (sys.stdout, sys.stderr):
            os.dup2(log.fileno(), stream.fileno())
        try:
            yield
        except Exception as error:
            with suppress(OSError):  # the disk is full, perhaps, and the reason goes elsewhere, too
                sys.stderr.write(escaped_trace(error))
            raise
        finally:
            with suppress(OSError):
                sys.stderr.flush()
                sys.stdout.flush()
        if file.stat().st_size == 0:
            file.unlink(missing_ok=True)
