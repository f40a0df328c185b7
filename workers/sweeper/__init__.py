"""The loop that finds what is left or late."""
