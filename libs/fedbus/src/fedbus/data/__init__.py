"""The data an agent trains on: batches that are counted and can be stopped, and what they hold."""

from fedbus.data.dataset import SHUFFLED_BYTES, Batch, Dataset, describe, npz, of, shuffled

__all__ = ["SHUFFLED_BYTES", "Batch", "Dataset", "describe", "npz", "of", "shuffled"]
