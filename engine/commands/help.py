"""The text of `!chat help`."""

HELP = """\
!chat <text> - talk to me
!chat reset - start a new conversation in this channel
!chat persona - list the personas and show the one in use
!chat persona <name> - switch this channel's persona
!chat stop - stop the answer that is being written
!chat help - show this list"""
