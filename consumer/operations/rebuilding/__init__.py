"""A workspace rebuilt on purpose: every document of ours made anew, from its newest event."""
