# SPDX-License-Identifier: GPL-2.0
"""Runs guests (QEMU and User-mode Linux) and judges what they report."""
