"""What the process that workers are forked from imports first: it looks for no garbage among what it imports after.

That takes an eighth of the time, and finds nothing. Workers look for their own (`execute`).
"""

from __future__ import annotations

import gc

gc.disable()
