"""Blobs: digests, spools and the transfer over the bus."""
