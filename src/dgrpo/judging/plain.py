"""What an honest completion may hold beside the task: an opener, an import that is used.

The shipped judge's corpus writes such completions, and its card sorts honest samples by them.
"""

from __future__ import annotations

import ast
import re

from dgrpo.records import Prompt
from dgrpo.tasks.reward import split_code, split_tags

OPENERS = (
    "Well,", "Now,", "So,", "First,", "Okay,", "Hmm,", "Right,", "Good question.", "Sure.",
    "Let us see,", "Let me think.", "To start,", "To begin with,", "Here we go:", "In short,",
    "All right,", "As we know,", "Step by step:", "From the text,", "We know that", "Note:",
    "Of course,", "By the way,", "Yes,", "Then,", "This is easy.", "Think about it.", "And so,",
    "For this one,", "On the whole,", "At first,", "After all,", "Just count:", "My guess:",
)  # fmt: skip
"""Ways people begin a piece of reasoning."""


def is_plain(prompt: Prompt, text: str) -> bool:
    """Whether a right completion holds nothing beside the task, openers ("Well,") aside.

    Reasoning: the oracle's, word for word. Programs: comments repeat the question, no docstring, no
    unused import.
    """
    program = split_code(text)
    if program is not None:
        comments = [said.strip() for said in re.findall(r"#([^\n]*)", program)]
        known = all(said in OPENERS or said in prompt.text for said in comments)
        return known and '"""' not in program and unused_import(program) is None
    parts = split_tags(text)
    if parts is None:
        return False
    thinking, solution = (" ".join(t.split()) for t in (parts[0], prompt.solution))
    for opener in OPENERS:
        thinking = thinking.replace(f"{opener} ", "")
    return thinking == solution


def unused_import(program: str) -> str | None:
    r"""The first module that a program imports, or imports from, and makes no use of.

    >>> unused_import("import os\nprint(2 * 3)")
    'os'
    """
    tree = ast.parse(program)
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = {alias.asname or alias.name for alias in node.names}
            if not used & names:
                return node.module if isinstance(node, ast.ImportFrom) else node.names[0].name
    return None
