"""Asking a language model whether a completion is fit to learn from.

* `prompts.py`: what a judge is asked, with the completion fenced in
* `verdicts.py`: reading a decision from what a judge said, and what to do where there is none
* `reasoning.py`: what a judge said, apart from what it thought before
* `local.py`: a judge in this process, by a generated reply or by yes/no log-odds
* `template.py`: a judge's own chat template, rendered alike on every day
* `endpoint.py`: a judge behind an OpenAI-compatible HTTP API, and the rounds' circuit breaker
* `suspicion.py`: whether a failing endpoint is an outage, or a peer's doing
* `fields.py`: what every request carries, and the remedy where a server refuses a field
* `line.py`: one request, tried again where that may help
* `replies.py`, `failures.py`: reading what a server sends back, and why there is no reply
* `address.py`: where an endpoint is, its key, and proxies of the environment
* `bench.py`: one judge for all nodes of a run, each completion judged once
* `plain.py`: what an honest completion may hold beside the task
* `acceptance/`: what a judge accepts, by kind of completion (the paper's Table 1)

The defenses `judge` and `self-judge` are built from these. To add a form of prompt: a new `Style`
in `prompts.py`; the shipped judge is trained on what "brief" returns, so that one must not change
without training it again.
"""
