"""Datatypes of the Open Inference Protocol and the dtypes that they stand for. Pure.

`BYTES` (strings) and `BF16` have no dtype of numpy, and no model here takes them.
"""

from typing import Final

import numpy as np

from fedbus.errors import WireError
from fedbus.model.layout import Array
from fedbus.text import listed
from fedbus_inference.array_checks import shown

DTYPES_BY_DATATYPE: Final = {
    "BOOL": "bool",
    "UINT8": "uint8",
    "UINT16": "uint16",
    "UINT32": "uint32",
    "UINT64": "uint64",
    "INT8": "int8",
    "INT16": "int16",
    "INT32": "int32",
    "INT64": "int64",
    "FP16": "float16",
    "FP32": "float32",
    "FP64": "float64",
}
_DATATYPES: Final = {dtype: datatype for datatype, dtype in DTYPES_BY_DATATYPE.items()}


def datatype_of(dtype: str) -> str:
    """Return the datatype of a dtype of `fedbus.model.layout.DTYPES`."""
    return _DATATYPES[dtype]


def dtype_of(where: str, datatype: object) -> str:
    """Return the dtype of a datatype; raise WireError if it has none."""
    if isinstance(datatype, str) and datatype in DTYPES_BY_DATATYPE:
        return DTYPES_BY_DATATYPE[datatype]
    known = listed(DTYPES_BY_DATATYPE)
    if datatype == "BYTES":
        raise WireError(f"{where}: BYTES (strings) is not taken by any model here; send {known}")
    raise WireError(f"{where}: expected a datatype among {known}, got {shown(datatype)}")


def little_endian(array: Array) -> bytes:
    """Return an array's elements in row order, little-endian."""
    return array.astype(np.dtype(array.dtype).newbyteorder("<"), copy=False).tobytes()
