"""Compression of updates and versions: the steps that make them smaller, and the way back. Pure."""
