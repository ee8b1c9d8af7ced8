"""A few floats as one value, which a compiled loop keeps in the processor's registers.

numba has no such type: a sum over rows of an array goes through memory, element by element, and is
vectorised only behind checks that no two arrays overlap. LLVM splits a vector of any length into
the registers that a processor has.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, register_model


class Lanes(types.Type):
    """The type of n float32 numbers."""

    def __init__(self, n: int) -> None:
        super().__init__(name=f"Lanes({n})")
        self.vector = ir.VectorType(ir.FloatType(), n)


@register_model(Lanes)
class _Model(models.PrimitiveModel):
    def __init__(self, manager: Any, lanes: Lanes) -> None:
        super().__init__(manager, lanes, lanes.vector)


def _place(context: Any, builder: Any, lanes: Lanes, kind: Any, array: Any, at: Any) -> Any:
    """Return the address of array[at], as one of lanes."""
    data = context.make_array(kind)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [at]), lanes.vector.as_pointer())


def _spread(builder: Any, lanes: Lanes, number: Any) -> Any:
    """Return a number in every lane."""
    nothing, i32 = ir.Constant(lanes.vector, ir.Undefined), ir.IntType(32)
    first = builder.insert_element(nothing, number, i32(0))
    everywhere = ir.Constant(ir.VectorType(i32, lanes.vector.count), None)
    return builder.shuffle_vector(first, nothing, everywhere)


@intrinsic(prefer_literal=True)
def zeros(_: Any, n: Any) -> Any:
    """Return n zeros; n is written as a literal."""
    lanes = Lanes(n.literal_value)
    return lanes(n), lambda *_: ir.Constant(lanes.vector, None)


@intrinsic
def load(_: Any, like: Any, array: Any, at: Any) -> Any:
    """Return array[at : at + n] of a flat array, as many as `like` has."""

    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        place = _place(context, builder, like, array, *values[1:])
        loaded = builder.load(place)
        loaded.align = 4
        return loaded

    return like(like, array, types.intp), code


@intrinsic
def store(_: Any, array: Any, at: Any, x: Any) -> Any:
    """Write x to array[at : at + n] of a flat array."""

    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        place = _place(context, builder, x, array, *values[:2])
        builder.store(values[2], place).align = 4
        return context.get_dummy_value()

    return types.void(array, types.intp, x), code


@intrinsic
def add_product(_: Any, total: Any, number: Any, x: Any) -> Any:
    """Return total + number x, rounded once where the processor can do that."""

    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        fused = ("contract",)
        product = builder.fmul(_spread(builder, x, values[1]), values[2], flags=fused)
        return builder.fadd(values[0], product, flags=fused)

    return x(x, types.float32, x), code


@intrinsic
def dot(_: Any, x: Any, y: Any) -> Any:
    """Return the sum of the products of two values, in any order."""

    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        number, any_order = ir.FloatType(), ("reassoc", "contract", "nsz")
        kind = ir.FunctionType(number, [number, x.vector])
        name = f"llvm.vector.reduce.fadd.v{x.vector.count}f32"
        total = cgutils.get_or_insert_function(builder.module, kind, name)
        product = builder.fmul(*values, flags=any_order)
        return builder.call(total, [number(-0.0), product], fastmath=any_order)

    return types.float32(x, y), code
