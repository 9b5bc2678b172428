"""Asking a language model whether a completion is fit to learn from.

* `prompts.py`: what a judge is asked, with the completion fenced in
* `verdicts.py`: reading a decision from what a judge wrote, and what to do where there is none
* `local.py`: a judge in this process, by a generated reply or by yes/no log-odds
* `endpoint.py`: a judge behind an OpenAI-compatible HTTP API
* `bench.py`: one judge for all nodes of a run, each completion judged once

The defenses `judge` and `self-judge` are built from these. To add a form of prompt: a new `Style`
in `prompts.py`; the shipped judge is trained on what "brief" returns, so that one must not change
without training it again.
"""
