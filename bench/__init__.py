"""What this system costs, beside what others cost, in one run."""
