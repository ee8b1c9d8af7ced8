"""Untrusted pickles: only a `defaultdict(list)` of whole numbers is read, and nothing is run.

Anything else is refused in one sentence.
"""

import copyreg
import os
import pickle
import resource
import subprocess
from collections import OrderedDict, defaultdict
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hapens_bench.data import unpickling
from hapens_bench.data.load import load
from hapens_bench.data.unpickling import read_lists
from hapens_bench.errors import UserError
from tests.conftest import make_config
from tests.faults.bounded import cases

LISTS = {0: [5, 300], 2: [70_000], 1: [0, 255]}
HEAD = b"\x80\x03ccollections\ndefaultdict\nq\x00cbuiltins\nlist\nq\x01\x85q\x02Rq\x03"
CLASS = b"cbuiltins\nlist\n"
COPY = CLASS + b"h\x04\x85R"  # of the list at place 4
MARK = "ran"  # the file that hostile pickles would leave


def dumped(value: object, protocol: int = 3) -> bytes:
    return pickle.dumps(value, protocol=protocol)


def lists(content: dict | None = None) -> defaultdict:
    return defaultdict(list, LISTS if content is None else content)


class Calls:
    """Calls something when it is unpickled."""

    def __init__(self, function, *arguments, state=None) -> None:
        self.reduced = (function, arguments) if state is None else (function, arguments, state)

    def __reduce__(self):
        return self.reduced


class Named:
    """Has a persistent id when `WithIds` pickles it."""


class WithIds(pickle.Pickler):
    def persistent_id(self, obj):
        return "an id" if isinstance(obj, Named) else None


def with_ids(protocol: int) -> bytes:
    buffer = BytesIO()
    WithIds(buffer, protocol).dump(lists({0: [Named()]}))
    return buffer.getvalue()


def registered(code: int) -> bytes:
    copyreg.add_extension("os", "system", code)
    try:
        return pickle.dumps(os.system, protocol=2)
    finally:
        copyreg.remove_extension("os", "system", code)


TOUCH = f"touch {MARK}"
HOSTILE = {
    **{f"os.system, protocol {n}": dumped(Calls(os.system, TOUCH), n) for n in range(6)},
    "eval": dumped(Calls(eval, f"open({MARK!r}, 'w')")),
    "exec": dumped(Calls(exec, f"open({MARK!r}, 'w')")),
    "subprocess": dumped(Calls(subprocess.Popen, ["touch", MARK])),
    "a path's method": dumped(Calls(Path.touch, Path(MARK))),
    "getattr of a module": dumped(Calls(getattr, Calls(__import__, "os"), "system")),
    "a chain of calls": CLASS + b"(" + CLASS + b"(tRtRcos\nsystem\n(V" + TOUCH.encode() + b"\ntR.",
    "inside a list": dumped(lists({0: [1, Calls(os.system, TOUCH)]})),
    "inside a list, protocol 5": dumped(lists({0: [1, Calls(os.system, TOUCH)]}), 5),
    "as a key": dumped({Calls(os.system, TOUCH): [1]}),
    "as the factory": dumped(defaultdict(os.getcwd, {0: [1]})),
    "as what fills the dictionary": dumped(Calls(defaultdict, list, Calls(os.system, TOUCH))),
    "INST": b"(S'" + TOUCH.encode() + b"'\nios\nsystem\n.",
    "OBJ": b"(cos\nsystem\nS'" + TOUCH.encode() + b"'\no.",
    "NEWOBJ": b"\x80\x02cos\nsystem\nX\x09\x00\x00\x00touch ran\x85\x81.",
    "NEWOBJ_EX": b"\x80\x04\x8c\x02os\x8c\x06system\x93)}\x92.",
    "STACK_GLOBAL": b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x09touch ran\x85R.",
    "a dotted name": b"\x80\x04\x8c\x08builtins\x8c\x0dlist.__class__\x93.",
    "a name in an admitted module": b"cbuiltins\nexec\n(Vopen('ran','w')\ntR.",
    "a subclass of what is admitted": dumped(OrderedDict(LISTS)),
    "the name list of Python 2": dumped(lists(), 0),
    **{f"a persistent id, protocol {n}": with_ids(n) for n in (0, 3)},
    **{f"extension {code}": registered(code) for code in (7, 300, 70_000)},
    "an extension of no one": b"\x80\x02\x82\x63.",
    "BUILD on an instance": dumped(Calls(defaultdict, list, state={"__class__": int})),
    "BUILD on a class": b"\x80\x03cbuiltins\nlist\n}X\x06\x00\x00\x00appendK\x01sb.",
    "BUILD with slots": HEAD + b"N}X\x0f\x00\x00\x00default_factorycbuiltins\nlist\nss\x86b.",
    "deep lists": HEAD + b"K\x00" + b"]" * 300_000 + b"a" * 299_999 + b"s.",
    "deep tuples as a key": HEAD + b"K\x00" + b"\x85" * 300_000 + b"]s.",
    "a list in itself": HEAD + b"K\x00]q\x04h\x04as.",
    "a list copied again and again": HEAD + b"]q\x04(" + b"K\x01" * 9999 + b"e" + COPY * 99,
    "a second call": HEAD + CLASS + b"R.",
    "a place far out in the memo": b"\x80\x03]r\xff\xff\xff\x7f.",
    "a place that is taken twice": b"\x80\x03]q\x00q\x00.",
    "LONG4 of 2 GiB": b"\x80\x03\x8b\xff\xff\xff\x7f\x01.",
    "LONG1 of 255 bytes": HEAD + b"K\x00](\x8a\xff" + b"\x7f" * 255 + b"es.",
    "BINBYTES8 of 8 EiB": b"\x80\x04\x8e" + b"\xff" * 7 + b"\x7f.",
    "BYTEARRAY8 of 1 TiB": b"\x80\x05\x96" + (2**40).to_bytes(8, "little") + b".",
    "BINUNICODE of 4 GiB": b"\x80\x03X\xff\xff\xff\xff.",
    "a frame of 8 EiB": b"\x80\x04\x95" + b"\xff" * 7 + b"\x7f.",
    "digits without end": b"I" + b"9" * 100_000 + b"\n.",
    "a buffer from elsewhere": b"\x80\x05\x97.",
    "a protocol of the future": b"\x80\x09" + HEAD[2:] + b".",
    "a name without an end": b"cbuiltins",
    "a name that is no text": b"c\xff\xfe\n\xff\n.",
    "a line break in a name": b"cbuiltins\r\nlist\r\n.",
    "something after its end": dumped(lists()) + b"cos\nsystem\n.",
    "no end": dumped(lists())[:-1],
    "nothing on the stack": b"\x80\x03.",
    "no pickle": b"user item\n0 1\n",
}
OTHER = {
    "a dictionary": dumped(dict(LISTS)),
    "a list": dumped([1, 2]),
    "a number": dumped(5),
    "the class itself": b"cbuiltins\nlist\n.",
    "another factory": b"ccollections\ndefaultdict\nccollections\ndefaultdict\n\x85R.",
    "no factory": dumped(defaultdict(None, LISTS)),
    "a text as a key": dumped(lists({"0": [1]})),
    "a number for a list": dumped(lists({0: 5})),
    "a list as an item": dumped(lists({0: [[1]]})),
    "a class as a key": HEAD + b"cbuiltins\nlist\n](K\x01es.",
    "a class as an item": HEAD + b"K\x00](cbuiltins\nlist\nes.",
    "a tuple for a list": dumped(lists({0: (1, 2)})),
    "truth as an item": dumped(lists({0: [True]})),
    "half an item": dumped(lists({0: [0.5]})),
    "a negative item": dumped(lists({0: [-1]})),
    "a negative user": dumped(lists({-3: [1]})),
    "no item": dumped(lists({0: [], 1: []})),
    "no user": dumped(lists({})),
    "nothing": b"",
}


def refused(content: bytes, folder: Path) -> str:
    """Return the sentence that refuses the bytes."""
    (folder / "file.pkl").write_bytes(content)
    with pytest.raises(UserError) as caught:
        read_lists(folder / "file.pkl")
    said = str(caught.value)
    assert said.isprintable() and str(folder / "file.pkl") in said
    assert len(said) < 200 + len(str(folder))
    return said


def test_lists_become_pairs_in_their_order(tmp_path):
    (tmp_path / "file.pkl").write_bytes(dumped(lists()))
    array = read_lists(tmp_path / "file.pkl")
    assert array.dtype == np.int64
    assert array.tolist() == [[0, 5], [0, 300], [2, 70_000], [1, 0], [1, 255]]
    many = {user: list(range(user % 7)) for user in range(3000)}  # places beyond 255
    (tmp_path / "file.pkl").write_bytes(dumped(lists(many)))
    pairs = [[user, item] for user, items in many.items() for item in items]
    assert read_lists(tmp_path / "file.pkl").tolist() == pairs


@pytest.mark.parametrize("name", [*HOSTILE, *OTHER])
def test_every_other_pickle_is_refused_and_runs_nothing(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = refused((HOSTILE | OTHER)[name], tmp_path)
    assert os.listdir(tmp_path) == ["file.pkl"], said


@pytest.mark.parametrize("protocol", range(4))
def test_a_name_that_is_not_admitted_is_named(protocol, tmp_path):
    said = refused(HOSTILE[f"os.system, protocol {protocol}"], tmp_path)
    assert f"it names '{os.system.__module__}.system'" in said


@pytest.mark.parametrize("name", ["os.system", "builtins.eval", "collections.OrderedDict", "list."])
def test_the_unpickler_itself_admits_two_names(name):
    module, _, word = name.partition(".")
    unpickler = unpickling._Unpickler(BytesIO())
    with pytest.raises(pickle.UnpicklingError, match="it names"):
        unpickler.find_class(module, word)
    assert unpickler.find_class("collections", "defaultdict") is defaultdict
    assert unpickler.find_class("builtins", "list") is list


def test_hostile_pickles_take_no_memory(tmp_path):
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for content in HOSTILE.values():
        refused(content, tmp_path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - used < 200 * 1024  # kilobytes


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """Change, cut, insert or repeat some bytes of a pickle, or draw any bytes after its head."""
    small = [content for content in HOSTILE.values() if len(content) < 999]
    content = draw(st.sampled_from([dumped(lists()), *small]))
    opcodes = st.sampled_from(sorted([*unpickling.SIZES, pickle.GLOBAL]))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(content)))
        end = draw(st.integers(at, min(len(content), at + 9)))
        put = draw(st.one_of(st.binary(max_size=6), st.lists(opcodes, max_size=6).map(b"".join)))
        content = content[:at] + put * draw(st.integers(0, 3)) + content[end:]
    return draw(st.sampled_from([content, HEAD + content, content[:-3] + b"."]))


@pytest.mark.parametrize("n", [500, pytest.param(20_000, marks=pytest.mark.faults)])
def test_damaged_bytes_are_read_or_refused_in_one_sentence(n, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    @cases(n)
    @given(damaged())
    def fuzz(content: bytes) -> None:
        Path("file.pkl").write_bytes(content)
        try:
            pairs = read_lists(Path("file.pkl"))
        except UserError as error:
            assert str(error).isprintable() and "file.pkl" in str(error)
        else:
            assert pairs.min() >= 0 and pairs.shape[1] == 2

    fuzz()
    assert os.listdir(tmp_path) == ["file.pkl"]


def test_every_byte_of_a_small_pickle_may_be_wrong(tmp_path):
    whole = dumped(lists())
    for at in range(len(whole)):
        for other in range(256):
            (tmp_path / "file.pkl").write_bytes(whole[:at] + bytes([other]) + whole[at + 1 :])
            try:
                assert read_lists(tmp_path / "file.pkl").min() >= 0
            except UserError as error:
                assert str(error).isprintable()


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("tmall", (10_000, 14_965, 369_730, 45_671, 46_498)),
        ("taobao", (22_976, 29_149, 352_749, 47_846, 38_710)),
    ],
)
def test_the_authors_files_have_the_counts_of_sdns_table_1(name, counts, mirror, tmp_path):
    config = make_config(f"dataset={name}", "protocol=sdns")
    assert config["dataset"]["source"] == "author"
    split = load(config["dataset"], config["protocol"], tmp_path, mirror)
    parts = [len(part) for part in (split.train, split.valid, split.test)]
    assert (split.n_users, split.n_items, *parts) == counts
    paper = config["dataset"]["paper"]
    assert [*counts[:2], sum(parts)] == [paper[key] for key in ("users", "items", "interactions")]
