"""`viva talk`: an interview in the terminal, over the same contract as every other client."""
