"""What two processes must agree on: words, messages, settings, SQL. Never imports workers."""
