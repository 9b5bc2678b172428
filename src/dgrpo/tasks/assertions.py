"""Tests of plain assertions: the calls go into the sandbox, values come out, and are judged here.

An assertion is plain when it makes one call of the candidate with literal arguments, and does with
the value only what `_value` knows: comparisons, `not`, sums and differences, and a few functions of
numbers and containers. Values are exact builtins rebuilt from tagged JSON, so that `==` here is
Python's own. Tests of any other form are run in a jail of their own (`sandbox.examine`).
"""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from dgrpo.sandbox import Failed
from dgrpo.sandbox.inside.plain import MOST_HASHED

_COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Is: operator.is_,
    ast.IsNot: operator.is_not,
}
_ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "abs": abs,
    "tuple": tuple,
    "list": list,
    "set": set,
    "sorted": sorted,
    "len": len,
}
_LARGEST_NUMBER = 1e30
_CALL = "\0"
"""Stands for the candidate's value; no name in Python source can be this."""


class _NotPlain(Exception):  # noqa: N818
    """The tests need a process of their own."""


@dataclass(frozen=True)
class Assertion:
    """One call, as an expression of the candidate's program, and what must hold of its value."""

    call: str
    _holds: ast.expr

    def holds(self, value: object) -> bool:
        """Whether the assertion holds of what the call gave."""
        if isinstance(value, Failed):
            return False
        try:
            return bool(_value(self._holds, value))
        except (TypeError, ValueError, OverflowError, ZeroDivisionError, _NotPlain):
            return False


def plain_assertions(test: str, function: str) -> Sequence[Assertion] | None:
    """The assertions of a test file whose `check(candidate)` has only plain ones, else None.

    `function` is what the candidate is called in its own program. Raises SyntaxError for a file
    that is not Python, and ValueError where it has no `check` of one argument.
    """
    module = ast.parse(test)
    checks = [
        node for node in module.body if isinstance(node, ast.FunctionDef) and node.name == "check"
    ]
    if len(checks) != 1 or len(checks[0].args.args) != 1:
        raise ValueError("no single function `check` of one argument")
    try:
        return _assertions(checks[0], function)
    except _NotPlain:
        return None


def _assertions(check: ast.FunctionDef, function: str) -> list[Assertion]:
    candidate = check.args.args[0].arg
    found = []
    for statement in check.body:
        if isinstance(statement, ast.Pass):
            continue
        if not isinstance(statement, ast.Assert):
            raise _NotPlain
        taken = _TakeCall(candidate, function)
        condition = taken.visit(statement.test)
        if isinstance(condition, ast.Constant) and condition.value:
            continue  # `assert True, "This prints if …"`
        if len(taken.calls) != 1:
            raise _NotPlain
        _check_form(condition)
        found.append(Assertion(taken.calls[0], condition))
    if not found:
        raise _NotPlain
    return found


class _TakeCall(ast.NodeTransformer):
    """Replaces calls of the candidate by a mark, and keeps them."""

    def __init__(self, candidate: str, function: str) -> None:
        self._candidate = candidate
        self._function = function
        self.calls: list[str] = []

    def visit_Call(self, node: ast.Call) -> ast.AST:
        if not (isinstance(node.func, ast.Name) and node.func.id == self._candidate):
            return self.generic_visit(node)
        for part in (*node.args, *(keyword.value for keyword in node.keywords)):
            if not all(isinstance(inner, _LITERAL) for inner in ast.walk(part)):
                raise _NotPlain
        self.calls.append(ast.unparse(ast.Call(ast.Name(self._function), node.args, node.keywords)))
        return ast.Name(_CALL)


_LITERAL = (
    ast.Constant,
    ast.List,
    ast.Tuple,
    ast.Set,
    ast.Dict,
    ast.UnaryOp,
    ast.BinOp,
    ast.unaryop,
    ast.operator,
    ast.expr_context,
)


def _check_form(condition: ast.expr) -> None:
    """Raise _NotPlain for a condition that `_value` cannot judge, whatever the value."""
    for node in ast.walk(condition):
        if isinstance(node, ast.Compare):
            names_one = isinstance(node.comparators[-1], ast.Constant) and (
                node.comparators[-1].value in (None, True, False)
            )
            by_identity = any(isinstance(op, (ast.Is, ast.IsNot)) for op in node.ops)
            if len(node.ops) != 1 or type(node.ops[0]) not in _COMPARISONS:
                raise _NotPlain
            if by_identity and not names_one:
                raise _NotPlain
        elif isinstance(node, ast.Call):
            named = isinstance(node.func, ast.Name) and node.func.id in _FUNCTIONS
            if not named or len(node.args) != 1 or node.keywords:
                raise _NotPlain
        elif isinstance(node, ast.Name):
            if node.id != _CALL and node.id not in _FUNCTIONS:
                raise _NotPlain
        elif isinstance(node, ast.BinOp):
            if type(node.op) not in _ARITHMETIC:
                raise _NotPlain
        elif isinstance(node, ast.UnaryOp):
            if not isinstance(node.op, (ast.Not, ast.USub, ast.UAdd)):
                raise _NotPlain
        elif not isinstance(node, (*_LITERAL, ast.cmpop)):
            raise _NotPlain


def _value(node: ast.expr, given: object) -> Any:
    """The value of a condition, with `given` in place of the call. Bounded in time and memory."""
    match node:
        case ast.Name(id=name) if name == _CALL:
            return given
        case ast.Constant(value=constant):
            return constant
        case ast.List(elts=items):
            return [_value(item, given) for item in items]
        case ast.Tuple(elts=items):
            return tuple(_value(item, given) for item in items)
        case ast.Set(elts=items):
            return {_value(item, given) for item in items}
        case ast.Dict(keys=keys, values=values) if None not in keys:
            pairs = zip(keys, values, strict=True)
            return {_value(k, given): _value(v, given) for k, v in pairs if k is not None}
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return not _value(operand, given)
        case ast.UnaryOp(op=op, operand=operand):
            number = _number(_value(operand, given))
            return -number if isinstance(op, ast.USub) else number
        case ast.BinOp(left=left, op=op, right=right):
            return _arithmetic(_value(left, given), op, _value(right, given))
        case ast.Compare(left=left, ops=[op], comparators=[right]):
            return _COMPARISONS[type(op)](_value(left, given), _value(right, given))
        case ast.Call(func=ast.Name(id=name), args=[argument]):
            value = _value(argument, given)
            if name == "set" and isinstance(value, (list, tuple)) and len(value) > MOST_HASHED:
                raise _NotPlain  # colliding hashes cost the square of it
            return _FUNCTIONS[name](value)
    raise _NotPlain


def _arithmetic(left: Any, op: ast.operator, right: Any) -> Any:
    if isinstance(op, ast.Add) and type(left) is type(right) and type(left) in (str, list, tuple):
        return left + right
    return _ARITHMETIC[type(op)](_number(left), _number(right))


def _number(value: Any) -> Any:
    """A number small enough to compute with. Raises TypeError."""
    if not isinstance(value, (int, float)) or not (
        math.isfinite(value) and abs(value) < _LARGEST_NUMBER
    ):
        raise TypeError("not a number to compute with")
    return value
