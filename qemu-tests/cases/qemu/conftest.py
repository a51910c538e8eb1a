# SPDX-License-Identifier: GPL-2.0
"""The long storm runs when it is asked for: `make storm`."""

import os

collect_ignore = [] if "IZO_STORM_SECONDS" in os.environ else ["test_log_storm.py"]
