"""Blobs: spools, files, and the transfer over the bus."""
