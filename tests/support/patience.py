"""How long a test waits for what must come, in seconds.

It only ends a hang: no machine, however busy, may need as long. pytest's own limit is longer.
"""

WAIT_S = 60.0
