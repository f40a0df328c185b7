"""The worker that takes and restores checkpoints, and drains the queue `deferrals`."""
