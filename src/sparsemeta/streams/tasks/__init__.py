"""The tasks: each draws streams, and has an oracle that knows its rules."""
