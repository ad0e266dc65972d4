"""MistNet jobs: features of many agents are gathered once, and one agent trains on them."""
