# SPDX-License-Identifier: GPL-2.0
# The commands of the project; the work is in the scripts they call. Everything built goes to
# ${XDG_CACHE_HOME:-~/.cache}/intermezzo, named by a hash of its inputs; nothing is built in the tree but by `module`.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
# One step after the other: the steps use all cores themselves.
.NOTPARALLEL:
export CASE V KEEP KSRC MIRROR CACHE SUITE

KDIR ?= $(shell ls -d /usr/src/linux-headers-6.12*-amd64 2> /dev/null | grep -v -e -rt- -e -cloud- | sort -V | tail -n 1)

help: ## this list
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 22
	@printf '%s\n' '' 'Variables:' \
	    '  CASE=words   run only the tests whose name has them' \
	    "  V=1          show the guests' consoles" \
	    '  KEEP=1       keep the logs and disks of tests that passed' \
	    '  KSRC=path    use that pristine Linux 6.12 tree or tarball' \
	    '  MIRROR=url   use that Debian mirror instead of the one apt is configured for' \
	    '  KDIR=path    kernel headers or build tree that `make module` builds against' \
	    '  SUITE=name   Debian suite of `make fresh-machine`: bookworm (default) or trixie' \
	    '  CACHE=path   build cache that `make fresh-machine` uses; default: a new one'

deps: ## install the Debian packages that are missing (prints them first)
	@.ci/install-packages

test: deps ## everything that must pass: builds, lint, host, UML and QEMU tests; a table of times at the end
	@qemu-tests/run-stages

test-full: deps ## the same with ten minutes of fuzzing instead of one and 2,000 power cuts
	@qemu-tests/run-stages --full

demo: deps ## boot Debian on rootfstype=intermezzo in QEMU, alone and as two replicas, and show what works today
	@qemu-tests/demo

intersync: deps ## the user half: builds, unit tests with sanitizers, 20 seconds of fuzzing
	@qemu-tests/run-stages intersync

lint: deps ## checkpatch, sparse, clang-tidy, clang-format, shellcheck, shfmt, flake8, layering, diagrams, licences
	@qemu-tests/run-stages lint

host-test: deps ## tests of the scripts that need no guest
	@qemu-tests/run-stages host-test

uml-test: deps ## file system tests in User-mode Linux under lockdep and KASAN
	@qemu-tests/run-stages uml-test

qemu-test: deps ## boot tests in QEMU
	@qemu-tests/run-stages qemu-test

# IZO_STORM_SECONDS= and IZO_STORM_SEED= are for the test.
storm: deps ## ten minutes of changes, kills, freezes and full disks under a lockdep kernel (built when first asked for)
	@kernel="$$(kernel-patch/build-kernel lockdep)" && \
	    export IZO_BZIMAGE="$$kernel/bzImage" IZO_LOCKDEP=1 IZO_STORM_SECONDS="$${IZO_STORM_SECONDS:-600}" && \
	    CASE=log_storm qemu-tests/run-stages qemu-test

qemu-shell: deps ## a root shell in a QEMU guest whose root is intermezzo
	@qemu-tests/qemu-shell

demo-shell: deps ## both replicas of the demo left open; `qemu-tests/demo-shell server|client` is a console of one
	@qemu-tests/demo-shell

fresh-machine: deps ## both README commands in a minimal Debian 12 tree where nothing was installed for them
	@qemu-tests/fresh-machine

kernel: deps ## build the two test kernels (QEMU, then User-mode Linux)
	@kernel-patch/build-kernel qemu
	@kernel-patch/build-kernel uml

patch: ## print the kernel patch for Linux 6.12 on stdout
	@kernel-patch/create-patch 6.12

module: deps ## build kmod/intermezzo.ko against KDIR (default: Debian's 6.12 headers)
	@$(MAKE) -C kmod KDIR=$(KDIR)

image: deps ## build the Debian root image
	@images/build-root

initramfs: deps ## build the BusyBox initramfs
	@initramfs/busybox/build

clean: ## remove what `make module` left in kmod/ (the cache is kept; its path is on top of this file)
	@rm -rf kmod/{.tmp_versions,Module.symvers,modules.order} kmod/*.{o,ko,mod,mod.c} kmod/.*.{o,cmd,d}

.PHONY: help deps test test-full demo intersync lint host-test uml-test qemu-test storm qemu-shell demo-shell fresh-machine kernel patch module image initramfs clean
