# SPDX-License-Identifier: GPL-2.0
"""What runs inside the guests: the case runner and the library the cases use."""
