"""The interviewer: prompts, the model's streams, the question bank, ledger entries."""
