"""What each engine's phases take, beside the bare tool by hand, in one run."""
