"""Keep freed memory in the process.

A step makes and frees dozens of arrays, over and over the same. glibc hands freed memory back to the system as soon as
some of it lies together, and to fetch it again costs a page fault for every 4 kB: half the time of a million starts on
a landscape, a third of a tiny GPT's gradient. So importing this package tells glibc, once and for the whole process, to
keep up to 2 GB of what is freed, in blocks of up to 32 MB, the most it takes. Other C libraries have no such call.
"""

import ctypes
from contextlib import suppress

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h

with suppress(AttributeError, OSError, TypeError):  # no mallopt; no C library by that name (Windows)
    mallopt = ctypes.CDLL(None).mallopt
    mallopt(M_MMAP_THRESHOLD, 2**25)
    mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
