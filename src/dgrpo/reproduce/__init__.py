"""`dgrpo reproduce`: run the matrix of experiments, and set each figure of the paper beside ours.

* `paper.toml`: what the paper says, figure by figure, and which run gives our number. ADD A ROW
  HERE to compare another claim; nothing else needs an edit
* `paper.py`: that file's schema, read and checked
* `matrix.py`: which runs the experiment files ask for, which of them are finished, what is missing
* `estimate.py`: seconds that a missing run will take, from finished ones
* `worker.py`, `scheduler.py`: one process per run, failures isolated, Ctrl-C clean
* `display.py`: progress over the whole matrix
* `compare.py`: our figure with its interval over seeds, and the verdict
* `defended.py`: the attack × defense tables
* `poisoned_share.py`, `share_charts.py`: measured points beside the theory of poisoned share
* `page.py`, `render.py`: what the comparison says; as Markdown and as one self-contained HTML page
* `collect.py`: copy the small files of finished runs to where committed results live
* `command.py`: what `dgrpo reproduce` does, in order

Leaves out: playing a run (`runs.running`), drawing runs over rounds (`report`).
"""
