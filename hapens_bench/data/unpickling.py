"""Untrusted pickles: a `defaultdict(list)` of whole numbers, and nothing else.

No other module unpickles anything.
"""

from __future__ import annotations

import collections
import pickle
import pickletools
from io import BytesIO
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from hapens_bench.data.interactions import IntArray
from hapens_bench.data.sources import read_bytes
from hapens_bench.errors import UserError

ADMITTED = {("collections", "defaultdict"): collections.defaultdict, ("builtins", "list"): list}
SIZES = {  # the opcodes of such a pickle, and how many bytes of argument each one has
    pickle.PROTO: 1,
    pickle.MARK: 0,
    pickle.TUPLE1: 0,
    pickle.REDUCE: 0,
    pickle.BINPUT: 1,
    pickle.LONG_BINPUT: 4,
    pickle.BININT1: 1,
    pickle.BININT2: 2,
    pickle.BININT: 4,
    pickle.EMPTY_LIST: 0,
    pickle.APPEND: 0,
    pickle.APPENDS: 0,
    pickle.SETITEM: 0,
    pickle.SETITEMS: 0,
    pickle.STOP: 0,
}
NAMES = {opcode.code.encode("latin-1"): opcode.name for opcode in pickletools.opcodes}
PUTS, ONCE = (pickle.BINPUT, pickle.LONG_BINPUT), (pickle.TUPLE1, pickle.REDUCE)
REFUSED = (  # what the unpickler raises for opcodes that do not go together
    pickle.UnpicklingError,
    EOFError,
    ValueError,
    TypeError,
    IndexError,
    AttributeError,
    MemoryError,
)


class _Unpickler(pickle.Unpickler):
    """Admits the two names that a `defaultdict(list)` needs."""

    def find_class(self, module: str, name: str) -> Any:
        """Return an admitted class, and raise for every other name."""
        _check_name(module, name)
        return ADMITTED[module, name]


def read_lists(path: Path) -> IntArray:
    """Return the pairs of a pickled `defaultdict(list)`, user -> items, in its order.

    Shape:
        -> [n, 2].

    Raises:
        UserError: when it is damaged, or holds or does anything else.
    """
    content = read_bytes(path)
    try:
        _check_opcodes(content)
        lists = _Unpickler(BytesIO(content)).load()
    except REFUSED as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise UserError(
            f"{path} is not a pickled defaultdict(list) of numbers ({reason})"
        ) from None
    if type(lists) is not collections.defaultdict or lists.default_factory is not list:
        raise UserError(f"{path} holds something other than a defaultdict(list)")
    if not all(type(items) is list for items in lists.values()):
        raise UserError(f"{path}: a user has something other than a list of items")
    users, items = list(lists), list(chain.from_iterable(lists.values()))
    if not all(type(number) is int and number >= 0 for number in chain(users, items)):
        raise UserError(f"{path} holds something other than whole numbers from 0")
    if not items:
        raise UserError(f"{path} holds no pair of a user and an item")
    owner = np.repeat(np.array(users, dtype=np.int64), [len(values) for values in lists.values()])
    return np.column_stack([owner, np.array(items, dtype=np.int64)])


def _check_opcodes(content: bytes) -> None:
    """Check the opcodes without executing them.

    An unpickler hashes tuples of any depth, copies a list as often as it is told to, and makes room
    for any place in its memo. So one tuple and one call are allowed, and places must be taken in
    order.

    Raises:
        UnpicklingError: for an opcode that a `defaultdict(list)` of whole numbers does not need.
        ValueError: when the bytes end too early.
    """
    at, puts, once = 0, 0, set()
    while (opcode := content[at : at + 1]) != pickle.STOP:
        if opcode == pickle.GLOBAL:
            end = content.index(b"\n", content.index(b"\n", at) + 1)
            _check_name(*content[at + 1 : end].decode("utf-8", "replace").split("\n"))
            at = end + 1
            continue
        if opcode not in SIZES or opcode in once:
            raise pickle.UnpicklingError(f"byte {at} is {_name(opcode)}")
        begin, at = at + 1, at + 1 + SIZES[opcode]
        if opcode in ONCE:
            once.add(opcode)
        if opcode in PUTS:
            if int.from_bytes(content[begin:at], "little") != puts:
                raise pickle.UnpicklingError(f"byte {begin} is no next place of the memo")
            puts += 1
    if at + 1 != len(content):
        raise pickle.UnpicklingError("it goes on after its end")


def _check_name(module: str, name: str) -> None:
    """Raise for a name that is not admitted."""
    if (module, name) not in ADMITTED:
        raise pickle.UnpicklingError(f"it names {f'{module}.{name}'[:60]!r}")


def _name(opcode: bytes) -> str:
    """Return the name of an opcode."""
    if opcode in NAMES:
        return f"the opcode {NAMES[opcode]}"
    return "no opcode" if opcode else "beyond its end"
