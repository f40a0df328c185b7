"""The protocol as a model: every order of its steps and faults, looked at one by one."""
