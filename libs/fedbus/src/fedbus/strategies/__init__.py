"""Strategies: which agents train in a round and how their updates become one."""
