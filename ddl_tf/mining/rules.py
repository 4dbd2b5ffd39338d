"""Rules over the columns of an index, such as `abs(yaw) < 20 and sharpness > quantile(sharpness, 0.3)`."""

import ast
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from ddl_tf.common.errors import InputError

_COMPARISONS: dict[type, Callable[[Any, Any], Any]] = {
    ast.Lt: lambda a, b: a < b,
    ast.LtE: lambda a, b: a <= b,
    ast.Gt: lambda a, b: a > b,
    ast.GtE: lambda a, b: a >= b,
    ast.Eq: lambda a, b: a == b,
    ast.NotEq: lambda a, b: a != b,
    ast.In: lambda a, b: np.isin(a, b),
    ast.NotIn: lambda a, b: ~np.isin(a, b),
}
_ARITHMETIC: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.Div: lambda a, b: a / b,
}
_FUNCTIONS: dict[str, tuple[int, Callable[..., Any]]] = {"abs": (1, np.abs), "quantile": (2, np.nanquantile)}
# A rule is read and computed by functions that call themselves for each level; a person's rule has a few.
_MOST_LEVELS = 100
_HELP = (
    "a rule compares columns with values, such as `abs(yaw) > 45 and sharpness < quantile(sharpness, 0.2)` or "
    "`race in ('African', 'Asian')`; a name with spaces stands in backticks"
)


def _cell_values(column: pd.Series) -> np.ndarray:
    """A column as a plain array of numbers, truth values or text; where a value is missing there is some other."""
    if pd.api.types.infer_dtype(column, skipna=True) == "boolean":
        return column.fillna(False).to_numpy(bool)
    if not pd.api.types.is_numeric_dtype(column):
        codes, texts = pd.factorize(column)
        return np.asarray([*map(str, texts), ""], str)[codes]
    if pd.api.types.is_extension_array_dtype(column):
        return column.to_numpy(np.float64, na_value=np.nan)
    return column.to_numpy()


def _is_number(value: Any) -> bool:
    """Whether a value or column is of numbers, or of truth values, which count as 0 and 1."""
    return np.asarray(value).dtype.kind in "biuf"


class Rule:
    """A condition on the columns of an index.

    The text is a Python expression of comparisons, `and`, `or`, `not`, `in`, `+ - * /`, `abs(x)` and
    `quantile(column, share)`, the value below which that share of the images lies. Names are columns. An image that
    lacks a value of a column that the rule names is not chosen.

    Args:
        text: the rule, an attribute too.

    Attributes:
        columns: the columns that it names, in order of appearance.

    Raises:
        InputError: if it is no rule.

    Example:
        >>> index = pd.DataFrame({"yaw": [-60.0, 5.0, np.nan, 50.0]})
        >>> Rule("abs(yaw) > 45").select(index)
        array([ True, False, False,  True])
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self._quoted: dict[str, str] = {}

        def name(match: "re.Match[str]") -> str:
            self._quoted[f"_quoted_{len(self._quoted)}"] = match[1]
            return f"_quoted_{len(self._quoted) - 1}"

        try:
            self._tree = ast.parse(re.sub(r"`([^`]+)`", name, text).strip(), mode="eval").body
        except (SyntaxError, ValueError) as error:
            raise self._unreadable(getattr(error, "msg", str(error))) from None
        except (RecursionError, MemoryError):
            raise self._unreadable("it is nested too deeply") from None
        nodes: list[ast.AST] = [self._tree]
        levels = 0
        while nodes:
            levels, nodes = levels + 1, [child for node in nodes for child in ast.iter_child_nodes(node)]
        if levels > _MOST_LEVELS:
            raise self._unreadable(f"it is nested more than {_MOST_LEVELS} levels deep")
        functions = {node.func for node in ast.walk(self._tree) if isinstance(node, ast.Call)}
        names = [node for node in ast.walk(self._tree) if isinstance(node, ast.Name) and node not in functions]
        names.sort(key=lambda node: node.col_offset)
        self.columns = list(dict.fromkeys(self._quoted.get(node.id, node.id) for node in names))
        if not self.columns:
            raise InputError(f"rule {text!r} names no column: {_HELP}")

    def _unreadable(self, why: str) -> InputError:
        shown = self.text if len(self.text) <= 200 else f"{self.text[:200]}..."
        return InputError(f"rule {shown!r} cannot be read ({why}): {_HELP}")

    def _fail(self, why: str) -> InputError:
        return InputError(f"rule {self.text!r}: {why}; {_HELP}")

    def _value(self, node: ast.AST, cells: dict[str, np.ndarray]) -> Any:
        """The value of a part of the rule: `[images]`, or one number or text."""
        if isinstance(node, ast.BoolOp):
            values = [self._condition(part, cells) for part in node.values]
            return (np.logical_and if isinstance(node.op, ast.And) else np.logical_or).reduce(values)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            return ~self._condition(node.operand, cells)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            return -self._number(node.operand, cells)
        if isinstance(node, ast.Compare):
            return self._comparison(node, cells)
        if isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC:
            left, right = self._number(node.left, cells), self._number(node.right, cells)
            try:
                value = _ARITHMETIC[type(node.op)](left, right)
                return self._constant(value) if isinstance(value, int) else value
            except ArithmeticError as error:
                raise self._fail(f"{ast.unparse(node)} cannot be computed ({error})") from None
        if isinstance(node, ast.Call):
            return self._call(node, cells)
        if isinstance(node, ast.Name):
            return cells[self._quoted.get(node.id, node.id)]
        if isinstance(node, ast.Constant) and isinstance(node.value, (int, float, str)):
            return self._constant(node.value)
        if isinstance(node, (ast.Tuple, ast.List, ast.Set)):
            raise self._fail(f"{ast.unparse(node)} stands for several values, which only follow `in` and `not in`")
        raise self._fail(f"{ast.unparse(node)} is not understood")

    def _constant(self, value: Any) -> Any:
        """A number or text as it was written; a whole number that no column can hold as a float."""
        if isinstance(value, str) or abs(value) < 2**63:
            return value
        try:
            return float(value)
        except OverflowError:
            raise self._fail(f"a number of {len(str(value))} digits is too large") from None

    def _values_of(self, node: ast.AST, cells: dict[str, np.ndarray]) -> Any:
        """What follows `in`: numbers or texts in brackets, or one value or column."""
        if not isinstance(node, (ast.Tuple, ast.List, ast.Set)):
            return self._value(node, cells)
        values = [self._value(element, cells) for element in node.elts]
        if not values or any(np.ndim(value) for value in values) or len({_is_number(value) for value in values}) > 1:
            raise self._fail(f"{ast.unparse(node)} is no list of numbers, and none of texts")
        return values

    def _condition(self, node: ast.AST, cells: dict[str, np.ndarray]) -> np.ndarray:
        value = self._value(node, cells)
        if not isinstance(value, np.ndarray) or value.dtype != bool:
            raise self._fail(f"{ast.unparse(node)} is not a comparison")
        return value

    def _number(self, node: ast.AST, cells: dict[str, np.ndarray]) -> Any:
        value = self._value(node, cells)
        if not _is_number(value):
            raise self._fail(f"{ast.unparse(node)} is not a number")
        # As truth values, `-` and the difference of two are refused by NumPy.
        return np.asarray(value, np.int64) if np.asarray(value).dtype == bool else value

    def _call(self, node: ast.Call, cells: dict[str, np.ndarray]) -> Any:
        name = node.func.id if isinstance(node.func, ast.Name) else ast.unparse(node.func)
        if name not in _FUNCTIONS or node.keywords:
            raise self._fail(f"there is no function {name}, only {' and '.join(_FUNCTIONS)}")
        count, function = _FUNCTIONS[name]
        if len(node.args) != count:
            raise self._fail(f"{name} takes {count} argument(s), not {len(node.args)}")
        arguments = [self._number(argument, cells) for argument in node.args]
        if name == "quantile" and not (np.ndim(arguments[1]) == 0 and 0 <= arguments[1] <= 1):
            raise self._fail(f"the share of a quantile is from 0 to 1, not {ast.unparse(node.args[1])}")
        return function(*arguments)

    def _comparison(self, node: ast.Compare, cells: dict[str, np.ndarray]) -> np.ndarray:
        result: Any = True
        left_node = node.left
        for operator, right_node in zip(node.ops, node.comparators):
            if type(operator) not in _COMPARISONS:
                raise self._fail(f"{ast.unparse(node)} is not understood")
            left = self._value(left_node, cells)
            in_values = isinstance(operator, (ast.In, ast.NotIn))
            right = self._values_of(right_node, cells) if in_values else self._value(right_node, cells)
            if _is_number(left) != _is_number(right):
                raise self._fail(f"{ast.unparse(node)} compares a number with text")
            result = result & _COMPARISONS[type(operator)](left, right)
            left_node = right_node
        if not isinstance(result, np.ndarray):
            raise self._fail(f"{ast.unparse(node)} compares no column")
        return result

    def _cells(self, index: pd.DataFrame) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """The columns as plain arrays, numbers or text, and `[images]` bool: whether each has all values."""
        cells, complete = {}, np.ones(len(index), bool)
        for name in self.columns:
            if name not in index:
                names = ", ".join(map(str, index))
                raise InputError(f"rule {self.text!r}: the set has no column {name!r}, only {names}")
            complete &= index[name].notna().to_numpy()
            cells[name] = _cell_values(index[name])
        return cells, complete

    def select(self, index: pd.DataFrame) -> np.ndarray:
        """Find the images that fulfil the rule, `[images]` bool; the index has the rule's columns."""
        cells, complete = self._cells(index)
        # `!=` and `not` would choose a missing value.
        with np.errstate(all="ignore"):
            return self._condition(self._tree, cells) & complete

    def thresholds(self, index: pd.DataFrame) -> dict[str, list[float]]:
        """Find the numbers that a bare column, or its absolute value (both signs), is compared with, for a plot."""
        cells, _ = self._cells(index)
        numbers: dict[str, list[float]] = {}
        for node in ast.walk(self._tree):
            if not isinstance(node, ast.Compare):
                continue
            sides = [node.left, *node.comparators]
            for side, value_side in [*zip(sides, sides[1:]), *zip(sides[1:], sides)]:
                of_abs = isinstance(side, ast.Call) and ast.unparse(side.func) == "abs"
                column = side.args[0] if of_abs else side  # type: ignore[attr-defined]
                if not isinstance(column, ast.Name) or isinstance(value_side, (ast.Name, ast.Tuple, ast.List, ast.Set)):
                    continue
                with np.errstate(all="ignore"):
                    value = self._value(value_side, cells)
                if np.ndim(value) == 0 and not isinstance(value, str):
                    values = numbers.setdefault(self._quoted.get(column.id, column.id), [])
                    values += [float(value), -float(value)] if of_abs else [float(value)]
        return numbers
