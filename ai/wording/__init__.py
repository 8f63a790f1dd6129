"""Wordings that many interviews share: what they are for, who makes them, who speaks them.

See docs/adr/0013-what-is-cached-of-a-question.md.
"""
