"""Run folders: the public format that scripts read. See docs/formats.md.

* `folder.py`: `RunFolder`, one seed's folder while it is being written; resume
* `identity.py`: whether a folder holds the run that is asked for, measured as asked
* `interruption.py`: Ctrl-C and SIGTERM while a run is played
* `files.py`: files that are whole at any moment, read and written as a stranger's
* `fields.py`: the values that the fields of experiment.json and summary.json may have
* `checkpoint.py`: reads the checkpoint that a run goes on from
* `lines.py`: what a line of rounds.jsonl and summary.json say, computed from a round's records
* `reader.py`: the one reader of finished and unfinished folders
* `export.py`: a node's model out of a run; `model_folder.py`: as a Hugging Face folder;
  `model_card.py`: what its cards say
* `running.py`: `run_experiment`, which plays a swarm into a folder
"""
