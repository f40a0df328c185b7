"""What freezes and restores workloads on a node, one module for each kind."""
