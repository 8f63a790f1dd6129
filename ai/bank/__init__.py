"""The question bank: what the interviewer says when no model speaks."""
