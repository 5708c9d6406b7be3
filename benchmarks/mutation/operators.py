"""Mistakes that cosmic-ray's own operators do not make: a wrong end, a lost argument, a step left out."""

from collections.abc import Iterator
from typing import Any

from cosmic_ray.operators.operator import Operator
from parso.python.tree import Keyword, Name

_OTHER = {"min": "max", "max": "min", "any": "all", "all": "any"}
_IN_PLACE = {"+=", "-=", "|=", "&="}

Place = tuple[Any, Any]
"""Where something can be changed: line and column of its beginning and of its end."""


class _Own(Operator):  # type: ignore[misc]  # cosmic-ray has no types
    @classmethod
    def examples(cls) -> tuple[()]:
        """Give none: cosmic-ray's own tests use them."""
        return ()


class SwapEnds(_Own):
    """`min` for `max`, `any` for `all`, and the other way round."""

    def mutation_positions(self, node: Any) -> Iterator[Place]:
        """Give the node's place if it is such a name."""
        if isinstance(node, Name) and node.value in _OTHER:
            yield node.start_pos, node.end_pos

    def mutate(self, node: Any, index: int) -> Any:
        """Give the other name."""
        return Name(_OTHER[node.value], node.start_pos, node.prefix)


class DropArgument(_Own):
    """A call without one of its keyword arguments; `strict` of `zip` only checks what holds anyway."""

    def mutation_positions(self, node: Any) -> Iterator[Place]:
        """Give the place of each keyword argument."""
        for one in self._named(node):
            yield one.start_pos, one.end_pos

    def mutate(self, node: Any, index: int) -> Any:
        """Give the arguments without that one."""
        if node.type == "argument":
            return None
        at = node.children.index(self._named(node)[index])
        del node.children[at : at + 2]
        return node

    @staticmethod
    def _named(node: Any) -> list[Any]:
        of_one = node.type == "argument" and node.parent.type == "trailer"
        arguments = node.children if node.type == "arglist" else [node] if of_one else []
        named = [one for one in arguments if one.type == "argument" and one.children[0].type == "name"]
        return [one for one in named if one.children[0].value != "strict"]


class DropStatement(_Own):
    """`pass` in place of a call, or of a change in place, that stands by itself."""

    def mutation_positions(self, node: Any) -> Iterator[Place]:
        """Give the statement's place if it is one."""
        if node.type == "simple_stmt" and self._does_something(node.children[0]):
            yield node.children[0].start_pos, node.children[0].end_pos

    def mutate(self, node: Any, index: int) -> Any:
        """Give the line with `pass`."""
        first = node.children[0]
        node.children[0] = Keyword("pass", first.start_pos, first.get_first_leaf().prefix)
        return node

    @staticmethod
    def _does_something(statement: Any) -> bool:
        if statement.type == "atom_expr":
            return bool(statement.children[-1].type == "trailer")
        return statement.type == "expr_stmt" and getattr(statement.children[1], "value", "") in _IN_PLACE
