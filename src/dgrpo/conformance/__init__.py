"""The conformance suite: what every plug-in promises, tried on any plug-in.

    python -m dgrpo.conformance my_attack.py:Mine

The package's own plug-ins pass the same suite. It needs pytest (the extra `dgrpo[conformance]`).

* `every_plugin.py`: promises of every kind of plug-in
* `tasks.py`, `attacks.py`, `defenses.py`, `policies.py`, `exchanges.py`: promises of each kind
* `stages.py`: what they are tried on: small pools, a model, a turn, a receiver
* `hostile.py`: texts that peers may send
* `fixtures.py`: the same as pytest's fixtures
* `tried.py`: which plug-ins are tried, and with which settings
* `conftest.py`: `pytest --pyargs dgrpo.conformance`, which tries those that an environment variable
  names
* `promises.py`, `command.py`, `__main__.py`: the command and what it prints

To add a promise: a test function in the kind's file, named for what a plug-in of the kind does. It
asks for fixtures, and is run for each plug-in.
"""
