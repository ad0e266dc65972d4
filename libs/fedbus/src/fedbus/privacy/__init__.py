"""Differential privacy: noise, banded noise, the ledger's rules, and accounting.

`dp_accounting` is imported by `accounting.py` alone, where ε is computed.
"""
