"""Prompts, ground truth and rewards; and how prompts are assigned to nodes.

* `base.py`: `Task` (the plug-in) and `LoadedTask` (its pools and reward)
* `reward.py`: the paper's binary reward; `answers.py`: which number an answer says, in one
  notation (`notation.py`)
* `checked.py`: rewards are numbers that everyone can compute with
* `copies.py`: which prompts ask the same; `files.py`: data files, in one way
* `assignment.py`: vertical and horizontal
* `executed.py`: tasks whose completions are programs, run in the sandbox; `programs.py`: programs
  as text; `equations.py`: from a trace in words to a program's steps
* `gsm_symbolic.py`, `gsm8k.py`, `gsm_python.py`, `unit_tests.py`: one file per task;
  `assertions.py`: tests taken apart, so that they are judged outside the sandbox

To add one: a file here (or in your own package, with an entry point in `dgrpo.tasks`) with one
subclass of `Task` that has a `name` and `pools`. The conformance suite picks it up; a task that
reads files writes small ones for it in `example_settings`.
"""

from dgrpo.tasks.base import LoadedTask, Task

BASE = Task

__all__ = ["BASE", "LoadedTask", "Task"]
