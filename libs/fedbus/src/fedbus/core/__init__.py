"""Events, actions, keys and timers: what a core and its shell exchange."""
