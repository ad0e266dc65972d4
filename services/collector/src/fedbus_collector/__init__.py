"""The collector receives the updates of a round and commits their aggregate."""
