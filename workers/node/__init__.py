"""What holds on one machine: its locks, the settling of a process, its agent."""
