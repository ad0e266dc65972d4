"""Stores of records and blobs."""
