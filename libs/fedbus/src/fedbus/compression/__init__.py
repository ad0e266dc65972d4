"""Compression of updates and versions: the steps that make them smaller, and the way back. Pure.

A chain of steps chooses numbers (top-k, random-k), writes each of them in fewer bits (cast,
quantize), and packs the bytes (zstandard). Only trained tensors lose anything: statistics and whole
numbers are sent as they are.
"""

from fedbus.compression.body import Content, Frozen
from fedbus.compression.bounds import compressed_bounds
from fedbus.compression.chain import Chain, chain_of, loses_numbers
from fedbus.compression.decode import decode, decode_into
from fedbus.compression.encode import encode

__all__ = [
    "Chain",
    "Content",
    "Frozen",
    "chain_of",
    "compressed_bounds",
    "decode",
    "decode_into",
    "encode",
    "loses_numbers",
]
