"""The text of `!chat help`."""

HELP = """\
!chat <text> - talk to me
!chat reset - start this channel's conversation afresh
!chat persona - the personas, and which one this channel uses
!chat persona <name> - switch this channel's persona
!chat stop - cut off the answer being written
!chat help - this list"""
