"""TFLite's FlatBuffer schema, version 3, as `flatbuffer.Reader` reads it. Pure.

The tables of `tensorflow/lite/schema/schema.fbs`, up to TensorFlow 2.21; a test compares them with
TensorFlow's own where that is installed. Options of operators are read to check
their structure and to find the subgraphs that they call, so only those fields have names.
"""

from typing import Final

from fedbus.frameworks.tflite.flatbuffer import Field, Schema, Unions

IDENTIFIER: Final = b"TFL3"
VERSION: Final = 3

ELEMENT_BITS: Final = {
    0: 32, 1: 16, 2: 32, 3: 8, 4: 64, 6: 8, 7: 16, 8: 64, 9: 8, 10: 64, 11: 128, 12: 64, 15: 32,
    16: 16, 17: 4, 18: 16, 19: 2, 20: 4,
}  # fmt: skip
"""Bits of one element, by tensor type; strings, resources and variants have no fixed size."""
DTYPES: Final = {
    0: "float32", 1: "float16", 2: "int32", 3: "uint8", 4: "int64", 6: "bool", 7: "int16",
    8: "complex64", 9: "int8", 10: "float64", 11: "complex128", 12: "uint64", 15: "uint32",
    16: "uint16",
}  # fmt: skip
"""Names in numpy, for the types that numpy has."""
STRING: Final = 5
RESOURCE: Final = 13
VARIANT: Final = 14

CUSTOM: Final = 32
"""The builtin code of an operator that is named by its `custom_code`."""

CALLEE: Final = "callee"
"""Prefix of fields that hold the number of a subgraph, or a vector of several."""

CALLING: Final = {118: "IfOptions", 119: "WhileOptions", 129: "CallOnceOptions"}
"""Builtin operators that call subgraphs, and the options that name these; required."""

UNSTEADY: Final = frozenset({
    CUSTOM, 23, 34, 60, 67, 68, 69, 85, 94, 96, 97, 100, 118, 119, 122, 130, 131, 192,
})  # fmt: skip
"""Builtin operators whose time or output's size may depend on the numbers that they get: calls of
subgraphs, and those that have a shape or a count among their inputs (RESIZE_BILINEAR, PAD, PADV2,
TRANSPOSE_CONV, SPARSE_TO_DENSE, TILE, ONE_HOT, FILL, RANGE, RESIZE_NEAREST_NEIGHBOR, MIRROR_PAD,
IF, WHILE, SCATTER_ND, BROADCAST_TO, RFFT2D, STABLEHLO_WHILE), and custom ones."""

# Type number, name, kinds of fields; the kind `@` is the number of a subgraph, `[@` several.
_OPTIONS: Final = """
1 Conv2DOptions b i i b i i b
2 DepthwiseConv2DOptions b i i i b i i
3 ConcatEmbeddingsOptions i [i [i
4 LSHProjectionOptions b
5 Pool2DOptions b i i i i b
6 SVDFOptions i b ?
7 RNNOptions b ?
8 FullyConnectedOptions b b ? ? b
9 SoftmaxOptions f
10 ConcatenationOptions i b
11 AddOptions b ?
12 L2NormOptions b
13 LocalResponseNormalizationOptions i f f f
14 LSTMOptions b f f b ?
15 ResizeBilinearOptions i i ? ?
16 CallOptions @
17 ReshapeOptions [i
18 SkipGramOptions i i ?
19 SpaceToDepthOptions i
20 EmbeddingLookupSparseOptions b
21 MulOptions b
22 PadOptions
23 GatherOptions i i
24 BatchToSpaceNDOptions
25 SpaceToBatchNDOptions
26 TransposeOptions
27 ReducerOptions ?
28 SubOptions b ?
29 DivOptions b
30 SqueezeOptions [i
31 SequenceRNNOptions ? b ?
32 StridedSliceOptions i i i i i ?
33 ExpOptions
34 TopKV2Options
35 SplitOptions i
36 LogSoftmaxOptions
37 CastOptions b b
38 DequantizeOptions
39 MaximumMinimumOptions
40 ArgMaxOptions b
41 LessOptions
42 NegOptions
43 PadV2Options
44 GreaterOptions
45 GreaterEqualOptions
46 LessEqualOptions
47 SelectOptions
48 SliceOptions
49 TransposeConvOptions b i i b b
50 SparseToDenseOptions ?
51 TileOptions
52 ExpandDimsOptions
53 EqualOptions
54 NotEqualOptions
55 ShapeOptions b
56 PowOptions
57 ArgMinOptions b
58 FakeQuantOptions f f i ?
59 PackOptions i i
60 LogicalOrOptions
61 OneHotOptions i
62 LogicalAndOptions
63 LogicalNotOptions
64 UnpackOptions i i
65 FloorDivOptions
66 SquareOptions
67 ZerosLikeOptions
68 FillOptions
69 BidirectionalSequenceLSTMOptions b f f ? ? ?
70 BidirectionalSequenceRNNOptions ? b ? ?
71 UnidirectionalSequenceLSTMOptions b f f ? ? ?
72 FloorModOptions
73 RangeOptions
74 ResizeNearestNeighborOptions ? ?
75 LeakyReluOptions f
76 SquaredDifferenceOptions
77 MirrorPadOptions b
78 AbsOptions
79 SplitVOptions i
80 UniqueOptions b
81 ReverseV2Options
82 AddNOptions
83 GatherNdOptions
84 CosOptions
85 WhereOptions
86 RankOptions
87 ReverseSequenceOptions i i
88 MatrixDiagOptions
89 QuantizeOptions
90 MatrixSetDiagOptions
91 HardSwishOptions
92 IfOptions @ @
93 WhileOptions @ @
94 DepthToSpaceOptions i
95 NonMaxSuppressionV4Options
96 NonMaxSuppressionV5Options
97 ScatterNdOptions
98 SelectV2Options
99 DensifyOptions
100 SegmentSumOptions
101 BatchMatMulOptions ? ? ?
102 CumsumOptions ? ?
103 CallOnceOptions @
104 BroadcastToOptions
105 Rfft2dOptions
106 Conv3DOptions b i i i b i i i
107 HashtableOptions i b b
108 HashtableFindOptions
109 HashtableImportOptions
110 HashtableSizeOptions
111 VarHandleOptions s s
112 ReadVariableOptions
113 AssignVariableOptions
114 RandomOptions q q
115 BucketizeOptions [f
116 GeluOptions ?
117 DynamicUpdateSliceOptions
118 UnsortedSegmentProdOptions
119 UnsortedSegmentMaxOptions
120 UnsortedSegmentMinOptions
121 UnsortedSegmentSumOptions
122 ATan2Options
123 SignOptions
124 BitcastOptions
125 BitwiseXorOptions
126 RightShiftOptions
"""
_OPTIONS_2: Final = """
1 StablehloConcatenateOptions q
2 StablehloBroadcastInDimOptions [q
3 StablehloSliceOptions [q [q [q
4 StablehloConvolutionOptions [q [q [q [q [? q q [q q q [q q q [q q q [I
5 StablehloCustomCallOptions s ? s i [@ [B
6 StablehloReduceOptions [q @
7 StablehloScatterOptions ? [q [q [q q ? @
8 StablehloCompareOptions I I
9 StablehloDynamicSliceOptions [q
10 StablehloPadOptions [q [q [q
11 StablehloIotaOptions q
12 StablehloDotGeneralOptions [q [q [q [q [I
13 StablehloReduceWindowOptions [q [q [q [q [q @
14 StablehloSortOptions q ? @
15 StablehloWhileOptions @ @
16 StablehloGatherOptions [q [q [q q [q ?
17 StablehloTransposeOptions [q
18 DilateOptions
19 StablehloRngBitGeneratorOptions b
20 ReduceWindowOptions i
21 StableHLOCompositeOptions s @ [B b i
22 StablehloShiftLeftOptions
23 StablehloCaseOptions [@
"""


def _parsed(text: str) -> dict[int, tuple[str, tuple[Field, ...]]]:
    found = {}
    for line in text.split("\n"):
        if line:
            number, name, *kinds = line.split()
            found[int(number)] = name, tuple(_option(n, kind) for n, kind in enumerate(kinds))
    return found


def _option(number: int, kind: str) -> Field:
    name = f"{CALLEE}_{number}" if "@" in kind else f"option_{number}"
    return name, kind.replace("@", "i")


_FIRST: Final = _parsed(_OPTIONS)
_SECOND: Final = _parsed(_OPTIONS_2)

SCHEMA: Final[Schema] = {
    "model": (
        ("version", "I"),
        ("operator_codes", "[.operator_code"),
        ("subgraphs", "[.subgraph"),
        ("description", "s"),
        ("buffers", "[.buffer"),
        ("metadata_buffer", "[i"),
        ("metadata", "[.metadata"),
        ("signature_defs", "[.signature_def"),
    ),
    "operator_code": (
        ("deprecated_builtin_code", "b"),
        ("custom_code", "s"),
        ("version", "i"),
        ("builtin_code", "i"),
    ),
    "subgraph": (
        ("tensors", "[.tensor"),
        ("inputs", "[i"),
        ("outputs", "[i"),
        ("operators", "[.operator"),
        ("name", "s"),
        ("debug_metadata_index", "i"),
    ),
    "tensor": (
        ("shape", "[i"),
        ("type", "b"),
        ("buffer", "I"),
        ("name", "s"),
        ("quantization", ".quantization"),
        ("is_variable", "?"),
        ("sparsity", ".sparsity"),
        ("shape_signature", "[i"),
        ("has_rank", "?"),
        ("variant_tensors", "[.variant_sub_type"),
    ),
    "quantization": (
        ("min", "[f"),
        ("max", "[f"),
        ("scale", "[f"),
        ("zero_point", "[q"),
        ("details_type", "B"),
        ("details", "|quantization_details"),
        ("quantized_dimension", "i"),
    ),
    "custom_quantization": (("custom", "[B"),),
    "blockwise_quantization": (("scales", "i"), ("zero_points", "i"), ("block_size", "i")),
    "sparsity": (
        ("traversal_order", "[i"),
        ("block_map", "[i"),
        ("dim_metadata", "[.dimension_metadata"),
    ),
    "dimension_metadata": (
        ("format", "b"),
        ("dense_size", "i"),
        ("array_segments_type", "B"),
        ("array_segments", "|sparse_index"),
        ("array_indices_type", "B"),
        ("array_indices", "|sparse_index"),
    ),
    "int32_vector": (("values", "[i"),),
    "uint16_vector": (("values", "[H"),),
    "uint8_vector": (("values", "[B"),),
    "variant_sub_type": (("shape", "[i"), ("type", "b"), ("has_rank", "?")),
    "operator": (
        ("opcode_index", "I"),
        ("inputs", "[i"),
        ("outputs", "[i"),
        ("builtin_options_type", "B"),
        ("builtin_options", "|options"),
        ("custom_options", "[B"),
        ("custom_options_format", "b"),
        ("mutating_variable_inputs", "[?"),
        ("intermediates", "[i"),
        ("large_custom_options_offset", "Q"),
        ("large_custom_options_size", "Q"),
        ("builtin_options_2_type", "B"),
        ("builtin_options_2", "|options_2"),
        ("debug_metadata_index", "i"),
    ),
    "buffer": (("data", "[B"), ("offset", "Q"), ("size", "Q")),
    "metadata": (("name", "s"), ("buffer", "I")),
    "signature_def": (
        ("inputs", "[.tensor_map"),
        ("outputs", "[.tensor_map"),
        ("signature_key", "s"),
        ("deprecated_tag", "s"),
        ("subgraph_index", "I"),
    ),
    "tensor_map": (("name", "s"), ("tensor_index", "I")),
    **dict((*_FIRST.values(), *_SECOND.values())),
}

UNIONS: Final[Unions] = {
    "options": {number: name for number, (name, _) in _FIRST.items()},
    "options_2": {number: name for number, (name, _) in _SECOND.items()},
    "quantization_details": {1: "custom_quantization", 2: "blockwise_quantization"},
    "sparse_index": {1: "int32_vector", 2: "uint16_vector", 3: "uint8_vector"},
}
