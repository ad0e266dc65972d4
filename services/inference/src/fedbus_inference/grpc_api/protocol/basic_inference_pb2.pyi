from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Tensor32(_message.Message):
    __slots__ = ("array", "shape")
    ARRAY_FIELD_NUMBER: _ClassVar[int]
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    array: _containers.RepeatedScalarFieldContainer[float]
    shape: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, array: _Optional[_Iterable[float]] = ..., shape: _Optional[_Iterable[int]] = ...) -> None: ...

class BasicInferenceRequest(_message.Message):
    __slots__ = ("id", "tensor")
    ID_FIELD_NUMBER: _ClassVar[int]
    TENSOR_FIELD_NUMBER: _ClassVar[int]
    id: int
    tensor: Tensor32
    def __init__(self, id: _Optional[int] = ..., tensor: _Optional[_Union[Tensor32, _Mapping]] = ...) -> None: ...

class BasicInferenceResponse(_message.Message):
    __slots__ = ("id", "tensor")
    ID_FIELD_NUMBER: _ClassVar[int]
    TENSOR_FIELD_NUMBER: _ClassVar[int]
    id: int
    tensor: Tensor32
    def __init__(self, id: _Optional[int] = ..., tensor: _Optional[_Union[Tensor32, _Mapping]] = ...) -> None: ...
