"""The collector gathers the agents' updates and folds them into one."""
