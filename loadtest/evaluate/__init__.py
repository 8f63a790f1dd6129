"""The quality of interviews: simulated candidates are interviewed, and what happened is checked."""
