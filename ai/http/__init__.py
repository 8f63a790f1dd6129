"""HTTP as the relay needs it: bodies are pushed to who listens, so that no task wakes for one."""
