"""The worker that resumes waits and sends their continuations."""
