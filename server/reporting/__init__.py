"""Reports: composed from checked ratings, and shown as Markdown, HTML and PDF.

Pure functions: whoever calls them has the interview, its turns and its ratings in hand.
"""

from server.reporting.compose import compose_report

__all__ = ["compose_report"]
