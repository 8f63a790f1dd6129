"""The sans-I/O core: messages, codec, ids, the interview's state machine, resume decisions.

Nothing here reads a clock, draws a random number, logs, awaits or touches a socket: time and ids
come in with the events, and what is to be done comes out as data.
"""
