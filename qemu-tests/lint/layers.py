#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Who may include or call whom. Prints each line that crosses a layer; exit 1 if there is one.

Usage: layers.py <file>... (paths from the top of the tree). One row of RULES is one border.
"""

import fnmatch
import re
import sys
from typing import Iterator, NamedTuple


class Rule(NamedTuple):
    """Lines matching `offence` in files matching `where` (none of `but`) cross a border, told in `why`."""

    where: str
    but: str
    offence: str
    why: str


# What acts on an open file of the cache, not on a name or an inode there.
OPEN_FILE = "llseek|fsync|fallocate|fadvise|copy_file|clone_file|dedupe_file|ioctl"
# What repl/ may include of C++, and of the system for its constants.
PURE = ("algorithm|array|compare|cstddef|cstdint|cstdio|deque|functional|linux/(fs|intermezzo_reint).h|map|"
        "memory|optional|set|span|string|string_view|sys/stat.h|system_error|unordered_map|unordered_set|"
        "utility|variant|vector")
REPL_TESTS = "intersync/src/repl/*_test.cc intersync/src/repl/model_*"
# Who opens a page of docs/: tests that type its commands; tests that decode its examples, or compare its
# table with a manual's.
TYPE_DOCS = ("qemu-tests/cases/qemu/test_quickstart.py qemu-tests/cases/uml/guest_quickstart.py "
             "qemu-tests/cases/uml/guest_client_root.py qemu-tests/cases/uml/guest_log_anew.py")
READ_DOCS = ("qemu-tests/cases/host/test_device_protocol.py qemu-tests/cases/host/test_kml_format.py "
             "intersync/src/kml/codec_test.cc intersync/tests/test_manuals.py")

RULES = [
    Rule("kmod/uapi/*", "", r'#\s*include\s+(?!<linux/(types|ioctl)\.h>)',
         "a uapi header includes <linux/types.h> and <linux/ioctl.h> only"),
    Rule("kmod/*", "", r'#\s*include\s+"[^"]*(compat|\.\.)',
         "compat comes by forced include, the rest from kmod/ itself"),
    # Making the lower mount (super.c) and moving our own file position are no calls into the lower tree; an
    # attribute that xattr.c reads, rights tested, changes nothing there.
    Rule("kmod/*", "kmod/lower*.c",
         rf'\b(__vfs_(?!getxattr)|vfs_(?!setpos|parse_fs|get_tree|create_mount|{OPEN_FILE}))\w+\s*\(',
         "only lower*.c call vfs_* with a dentry"),
    Rule("kmod/*", "kmod/file.c kmod/log_area.c kmod/readdir.c kmod/reint_body.c",
         rf'\b(__)?vfs_({OPEN_FILE})\w*\s*\(',
         "only file.c, log_area.c, readdir.c and reint_body.c call vfs_* with an open file"),
    Rule("kmod/*", "kmod/compat/*", r'\b(LINUX_VERSION_CODE|KERNEL_VERSION)\b',
         "version tests stay in compat/"),
    Rule("kmod/*.c", "", r'#\s*(el)?if.*\bCONFIG_', "no CONFIG_ in bodies: an empty inline in the header"),
    # User space compiles it too, with kml/kernel_shim/ for what is of the kernel.
    Rule("kmod/kml_record.[ch]", "",
         r'#\s*include\s+(?!<linux/(crc32|intermezzo_kml|kernel|string|types)\.h>|"kml_record\.h")',
         "kml_record includes the log's format and what the shim of user space has"),
    Rule("kmod/*", "kmod/psdev.c kmod/main.c kmod/intermezzo.h", r'\bizo_psdev_\w+\s*\(',
         "psdev.c calls others; only main.c calls it, at the start and at the end"),
    Rule("qemu-tests/*", "qemu-tests/lint/* qemu-tests/cases/host/test_layers.py",
         r'\bkmod/[\w/]+\.[ch]\b', "tests see kernels and images, no sources"),
    # The corpus is data; the stage that runs the fuzz targets gives each the corpus beside its sources.
    Rule("qemu-tests/*", "qemu-tests/lint/* qemu-tests/cases/host/test_layers.py qemu-tests/run-stages",
         r'\bintersync/(src|fuzz)\b(?!/kml/corpus/)', "tests see programs, not what these are made of"),
    # Its tests have a small kmod/ of their own.
    Rule("kernel-patch/*", "kernel-patch/tests/*", r'\bkmod/[\w/]+\.[ch]\b',
         "kernel-patch/ takes kmod/ as a list of files: it knows none by name"),
    Rule("kernel-patch/*", "", r'\b(bootloader|images|initramfs|intersync)/|\bqemu-tests/(?!kernel\b)',
         "kernel-patch/ makes kernels of kmod/ and of fragments, nothing else"),
    Rule("images/*", "", r'\b(kmod|kernel-patch|qemu-tests)/|\bintersync/(src|fuzz|tests|CMakeLists)\b',
         "an image is made of what is installed, not of sources"),
    Rule("kmod/*", "", r'\b(bootloader|images|initramfs|intersync|qemu-tests)/',
         "the kernel half knows nothing of what runs on it"),
    # The kernel's codec and the header with its corpus are tested beside ours.
    Rule("intersync/*", "intersync/src/kml/CMakeLists.txt intersync/src/kml/corpus_test.cc",
         r'\bkmod\b(?!/uapi\b)', "kernel and user space meet in kmod/uapi/ alone"),
    Rule("*", f"qemu-tests/lint/layers.py qemu-tests/cases/host/test_layers.py {TYPE_DOCS} {READ_DOCS}",
         r'(?<!"")["\']docs["\'/]|/docs\b', "nothing depends on docs/: a comment may name a page"),
    # But lint/run, whether a diagram is as its text says. Python's commands are in quotes.
    Rule("*", "*.py qemu-tests/lint/run", r'(^|[\s=])docs/', "no command has a path in docs/"),
    # The codec is for everybody: daemon, tools, tests, the fuzzer.
    Rule("intersync/src/kml/*", "", r'#\s*include\s+("(?!kml/)|<(glib|curl|microhttpd|nlohmann))',
         "kml/ depends on nothing but the forms shared with the kernel"),
    Rule("intersync/src/kernel/*", "", r'#\s*include\s+("(?!(kernel|base|kml|repl)/)|<(curl|microhttpd))',
         "kernel/ uses base/, kml/ and repl's interfaces"),
    Rule("intersync/src/base/*", "", r'#\s*include\s+("(?!base/)|<(curl|microhttpd|gnutls|zstd|linux/inter))',
         "base/ is below all others"),
    Rule("intersync/src/http/*", "", r'#\s*include\s+"(?!(base|http)/)', "http/ sees base/ only"),
    Rule("intersync/src/proto/*", "", r'#\s*include\s+"(?!(base|kml|http|repl|proto)/)',
         "proto/ is made of http/ and what repl/ asks for"),
    Rule("intersync/src/repl/*", "",
         r'#\s*include\s+("(?!(base|kml|repl)/)|<(curl|microhttpd|nlohmann|sys/(ioctl|socket)))',
         "repl/ decides only: kernel and network are behind its interfaces"),
    # One input has one outcome, so that the simulation's seed is one history.
    Rule("intersync/src/repl/*", REPL_TESTS, rf'#\s*include\s+("base/(?!error\.h)|<(?!({PURE})>))',
         "repl/ includes what only computes: no descriptors, threads, clocks or random numbers"),
    Rule("intersync/src/repl/*", REPL_TESTS,
         r'(?<![\w>])::[a-z]\w*\s*\(|\w_clock\b|\bstd::(f?(printf|puts)|fopen|getenv|rand|time|clock)\b',
         "repl/ calls nothing of the system and no clock"),
    Rule("intersync/src/ext/*", "", r'#\s*include\s+"(?!(base|ext)/)', "ext/ sees base/ only"),
    Rule("intersync/src/tools/*", "", r'#\s*include\s+"(?!(base|ext|kernel|kml|repl|tools)/)',
         "tools work without daemon and network"),
    Rule("intersync/src/[!dt]*", "intersync/src/ext/*", r'#\s*include\s+"(daemon|ext|tools)/',
         "daemon/, ext/ and tools/ are on top: nothing includes them"),
    Rule("intersync/src/daemon/*", "", r'#\s*include\s+"(ext|tools)/',
         "daemon/ does without ext/ and tools/"),
    Rule("intersync/*", "intersync/src/http/*", r'#\s*include\s+<(curl|microhttpd|gnutls)',
         "libcurl, libmicrohttpd and GnuTLS are seen by http/ only"),
    Rule("intersync/src/http/*.h", "intersync/src/http/*_core.h intersync/src/http/response.h",
         r'#\s*include\s+<(curl|microhttpd|gnutls)',
         "what others include of http/ shows no libcurl, libmicrohttpd or GnuTLS"),
    Rule("intersync/*", "intersync/src/proto/*", r'#\s*include\s+<zstd', "zstd is seen by proto/ only"),
    Rule("intersync/*", "intersync/src/base/main_loop.cc intersync/src/tools/program.cc",
         r'#\s*include\s+<(glib|gio)', "GLib is seen by base/main_loop.cc and tools/program.cc"),
    # Decisions, disk and kernel are the main loop's; the libraries' threads end in http/.
    Rule("intersync/src/*", "intersync/src/http/* intersync/src/*_test.cc",
         r'#\s*include\s+<(thread|future|pthread\.h|threads\.h)>|\bstd::(async|jthread|thread)\b|'
         r'\b(pthread_create|g_thread_new)\b',
         "threads are begun by http/ only"),
    Rule("intersync/*", "", r'#\s*include\s+"\.\.?/', "includes are written from intersync/src"),
    Rule("initramfs/*", "", r'\b(kmod|kernel-patch|qemu-tests|images|intersync|bootloader)/',
         "an initramfs uses installed commands and its own lib/"),
]
COMMENT = re.compile(r'\s*(#(?!\s*(include|if|elif|define))|\*|//|/\*)')
# What a reader reads, what git or patch(1) reads, and data.
LET_THROUGH = re.compile(r'\.(md|msc|svg|patch|gitignore|\d)$|_golden\.txt$|/corpus/')


def crossings(path: str) -> Iterator[str]:
    rules = [rule for rule in RULES
             if fnmatch.fnmatch(path, rule.where)
             and not any(fnmatch.fnmatch(path, pattern) for pattern in rule.but.split())]
    if not rules or LET_THROUGH.search(path):
        return
    with open(path, encoding="utf-8", errors="replace") as source:
        for number, line in enumerate(source, 1):
            if COMMENT.match(line):
                continue
            for rule in rules:
                if re.search(rule.offence, line):
                    yield f"{path}:{number}: {rule.why}: {line.strip()}"


def main() -> int:
    found = [crossing for path in sys.argv[1:] for crossing in crossings(path)]
    for crossing in found:
        print(crossing)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
