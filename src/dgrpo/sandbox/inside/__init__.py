"""What runs on the far side: the warm worker, the jail around each run, the harness in it.

Nothing here may import anything outside the standard library and this folder: the worker is started
without site-packages and without the rest of `dgrpo`. `plain` and `frames` are used on both sides.
"""
