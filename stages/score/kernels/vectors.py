"""Vectors of sixteen numbers for the kernels, where compilers do not write good vector code by themselves.

Compilers make vectors of the innermost loop alone. Where that runs over pixels, sums over classes go through memory
for each class; vectors that are spelt out let it run over classes, and the sums of sixteen pixels stay in registers.
Every processor can run them: one without registers of this width uses several. Where there are such registers,
compilers by themselves use half of each, and nothing but a type of their width makes them use all of it. What was
measured against plain loops is in `docs/speed.md`.

In kernels vectors take + - * / << | with each other and with numbers of their type; what else they can do is below.
"""

import operator
from collections.abc import Callable
from typing import Any, cast

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils, datamodel
from numba.core.datamodel import models
from numba.extending import intrinsic, lower_builtin, register_model, type_callable

from logitpipe.stages.score.kernels.compiled import Array, inlined, kernel

LANES = 16
BYTES = 4
"""Bytes of a lane: float32 or int32."""
LINE = 16
"""Lanes that a cache line holds."""

Floats = Any
"""A vector of float32, or one float32: what is written for numbers does for vectors."""


class Vector(types.Type):
    """The type of LANES numbers of one type."""

    def __init__(self, element: types.Type) -> None:
        self.element = element
        super().__init__(name=f"Vector({element}, {LANES})")


@register_model(Vector)
class _Model(models.PrimitiveModel):
    def __init__(self, manager: datamodel.DataModelManager, kind: Vector) -> None:
        super().__init__(manager, kind, ir.VectorType(manager.lookup(kind.element).get_value_type(), LANES))


Code = Callable[[Any, ir.IRBuilder, Any, list[ir.Value]], ir.Value]
Written = tuple[Any, Code]
"""What an intrinsic is: its signature, and the function that writes its code."""


def _function(write: Callable[..., Written]) -> Callable[..., Any]:
    """Return what kernels call; `write` is called with the types of its arguments."""
    return intrinsic(write)


def _is_vector(*kinds: types.Type) -> bool:
    return any(isinstance(kind, Vector) for kind in kinds)


def _common(*kinds: types.Type) -> tuple[Any, list[Any]]:
    """Return the result type (the first vector's, else the first number's), and the type to cast each argument to."""
    first = next((kind for kind in kinds if _is_vector(kind)), kinds[0])
    return first, [kind if _is_vector(kind) else getattr(first, "element", first) for kind in kinds]


def _spread(builder: ir.IRBuilder, value: ir.Value) -> ir.Value:
    """Return LANES times the same number."""
    if isinstance(value.type, ir.VectorType):
        return value
    index = ir.IntType(32)
    one = builder.insert_element(ir.Constant(ir.VectorType(value.type, LANES), ir.Undefined), value, index(0))
    return builder.shuffle_vector(one, one, ir.Constant(ir.VectorType(index, LANES), [0] * LANES))


def _alike(builder: ir.IRBuilder, values: list[ir.Value]) -> list[ir.Value]:
    """Return numbers as they are, and as vectors where one of them is a vector."""
    wide = any(isinstance(value.type, ir.VectorType) for value in values)
    return [_spread(builder, value) for value in values] if wide else values


def _operator(python: Callable[..., Any], of_floats: str, of_ints: str) -> None:
    """Teach the kernels an operator between vectors, or a vector and a number, lane by lane.

    Its code is written where it is used. As an `overload` it would be a function of its own for each pair of types,
    and each would take a while to compile.
    """

    @type_callable(python)
    def typed(_context: Any) -> Callable[..., Any]:  # noqa: ANN401
        """Return what tells numba the type of a result."""

        def of_vectors(a: types.Type, b: types.Type) -> object:
            if not _is_vector(a, b):
                return None
            kind, taken = _common(a, b)
            return kind(*taken)

        return of_vectors

    for taken in ((Vector, Vector), (Vector, types.Number), (types.Number, Vector)):

        @lower_builtin(python, *taken)
        def code(_context: object, builder: ir.IRBuilder, signature: Any, args: list[ir.Value]) -> ir.Value:  # noqa: ANN401
            write = getattr(builder, of_floats if signature.return_type.element == types.float32 else of_ints)
            return write(*_alike(builder, args))


_operator(operator.add, "fadd", "add")
_operator(operator.sub, "fsub", "sub")
_operator(operator.mul, "fmul", "mul")
# An empty name: the operator is not for numbers of that type.
_operator(operator.truediv, "fdiv", "")
_operator(operator.lshift, "", "shl")
_operator(operator.or_, "", "or_")


@_function
def splat(_context: object, value: types.Type) -> Written:
    """Return a vector of LANES times the same number."""

    def code(_context: object, builder: ir.IRBuilder, _signature: object, args: list[ir.Value]) -> ir.Value:
        return _spread(builder, args[0])

    return Vector(value)(value), code


def _address(context: object, builder: ir.IRBuilder, array: types.Array, args: list[ir.Value]) -> ir.Value:
    """Return where LANES numbers of an array begin, as a pointer to a vector."""
    data = cgutils.create_struct_proxy(array)(context, builder, args[0]).data
    vector = ir.VectorType(data.type.pointee, LANES)
    return builder.bitcast(builder.gep(data, [args[1]]), vector.as_pointer())


@_function
def load(_context: object, array: types.Array, _start: types.Type) -> Written:
    """Return LANES numbers of a contiguous array, from `start` on, counted from its first element.

    Neither this nor `store` looks whether they lie within the array.
    """

    def code(context: object, builder: ir.IRBuilder, _signature: object, args: list[ir.Value]) -> ir.Value:
        # A block may begin at any number: no more than the alignment of a single one is promised.
        return builder.load(_address(context, builder, array, args), align=BYTES)

    return Vector(array.dtype)(array, types.intp), code


@_function
def store(_context: object, array: types.Array, _start: types.Type, value: types.Type) -> Written:
    """Write a vector into a contiguous array, from `start` on, counted from its first element."""

    def code(context: object, builder: ir.IRBuilder, _signature: object, args: list[ir.Value]) -> ir.Value:
        builder.store(args[2], _address(context, builder, array, args), align=BYTES)
        return cast(Any, context).get_dummy_value()

    return types.none(array, types.intp, value), code


def _choice(order: str) -> Callable[..., Any]:
    @_function
    def choose(_context: object, a: types.Type, b: types.Type) -> Written:
        """Return a where the comparison `a order b` holds, else b."""
        kind, taken = _common(a, b)

        def code(_context: object, builder: ir.IRBuilder, _signature: object, args: list[ir.Value]) -> ir.Value:
            first, second = _alike(builder, args)
            return builder.select(builder.fcmp_ordered(order, first, second), first, second)

        return kind(*taken), code

    return choose


greater = _choice(">")
"""The greater of two float32 or vectors of them, lane by lane; of NaN nothing is promised."""
lesser = _choice("<")
"""The lesser of two float32 or vectors of them, lane by lane; of NaN nothing is promised."""


@_function
def where_greater(_context: object, a: types.Type, b: types.Type, c: types.Type, d: types.Type) -> Written:
    """Return c where a > b, else d, lane by lane: a, b float32 or vectors of them, c and d of one type."""
    kind, taken = _common(c, d)

    def code(_context: object, builder: ir.IRBuilder, _signature: object, args: list[ir.Value]) -> ir.Value:
        is_greater = builder.fcmp_ordered(">", *_alike(builder, args[:2]))
        return builder.select(is_greater, *_alike(builder, args[2:]))

    return kind(*_common(a, b)[1], *taken), code


@_function
def fused(_context: object, a: types.Type, b: types.Type, c: types.Type) -> Written:
    """Return a * b + c of float32 or vectors; one instruction, rounded once, if the processor has it."""
    kind, taken = _common(a, b, c)

    def code(_context: object, builder: ir.IRBuilder, _signature: object, args: list[ir.Value]) -> ir.Value:
        alike = _alike(builder, args)
        name = f"llvm.fmuladd.v{LANES}f32" if _is_vector(kind) else "llvm.fmuladd.f32"
        function = ir.FunctionType(alike[0].type, [alike[0].type] * 3)
        return builder.call(cgutils.get_or_insert_function(builder.module, function, name), alike)

    return kind(*taken), code


def _of_one(source: types.Type, target: types.Type, write: str) -> Callable[..., Any]:
    """Return a conversion of numbers or vectors."""

    @_function
    def convert(_context: object, value: types.Type) -> Written:
        """Convert each lane."""
        signature = Vector(target)(Vector(source)) if _is_vector(value) else target(source)

        def code(context: object, builder: ir.IRBuilder, _signature: object, args: list[ir.Value]) -> ir.Value:
            return getattr(builder, write)(args[0], cast(Any, context).get_value_type(signature.return_type))

        return signature, code

    return convert


as_float = _of_one(types.int32, types.float32, "bitcast")
"""The float32 that have the bits of some int32: a number or a vector."""
as_int = _of_one(types.float32, types.int32, "bitcast")
"""The bits of float32 as int32: a number or a vector."""
to_float = _of_one(types.int32, types.float32, "sitofp")
"""Integers as float32: a number or a vector."""


@_function
def shift_right(_context: object, value: types.Type, _bits: types.Type) -> Written:
    """Return int32 divided by 2**bits and rounded down: a number or a vector."""
    kind = value if _is_vector(value) else types.int32

    def code(_context: object, builder: ir.IRBuilder, _signature: object, args: list[ir.Value]) -> ir.Value:
        return builder.ashr(*_alike(builder, args))

    return kind(kind, types.int32), code


@kernel
def apart(count: int) -> int:
    """Padded width: round up to an odd number of cache lines to avoid set conflicts.

    Widths of images tend to be powers of two. At such a distance the same pixel of all planes falls into the same few
    sets of a cache, and the planes evict each other; an odd number of lines spreads them over all sets.
    """
    return (-(-count // LINE) | 1) * LINE


@inlined
def lanes(vector: Floats) -> Array:
    """Return the numbers of a vector of floats: float32 (LANES,)."""
    out = np.empty(LANES, np.float32)
    store(out, 0, vector)
    return out
