"""The one exception that command lines turn into a line of text and exit status 2."""


class UserError(Exception):
    """Something the user can mend: the message names the cause and the remedy in one line."""
