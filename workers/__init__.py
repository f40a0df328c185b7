"""The processes: checkpoint, resume, sweeper, and the command line that runs and shows them."""
