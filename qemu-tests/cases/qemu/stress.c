// SPDX-License-Identifier: GPL-2.0
/*
 * stress run DIR SECONDS PROCESSES: several processes create, write, map, rename, link and remove in shared
 * directories, each also keeping private files whose content it knows. Fails on any error number that a
 * correct file system would not give, and on any byte that differs.
 * stress list DIR: one sorted line for each object below DIR, to compare a tree seen through two mounts.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#define SHARED_DIRS 4
#define SHARED_NAMES 24
#define PRIVATE_FILES 8
#define FILE_MAX (48 * 1024)

struct private_file {
	int exists;
	size_t size;
	unsigned char bytes[FILE_MAX];
};

static struct private_file files[PRIVATE_FILES];
static uint32_t random_state;
static int worker;
static unsigned long operations;

static uint32_t rnd(uint32_t below)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 17;
	random_state ^= random_state << 5;
	return random_state % below;
}

__attribute__((format(printf, 1, 2), noreturn))
static void fail(const char *format, ...)
{
	int error = errno;
	va_list args;

	fprintf(stderr, "stress: worker %d after %lu operations: ", worker, operations);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fprintf(stderr, " (errno %d: %s)\n", error, strerror(error));
	exit(1);
}

/* Another process may have been faster: these answers are right in a shared directory. */
static void expect_shared(int result, const char *call, const char *path)
{
	static const int allowed[] = { ENOENT, EEXIST, EISDIR, ENOTDIR, ENOTEMPTY, ELOOP, EINVAL, EPERM };
	size_t i;

	if (result >= 0)
		return;
	for (i = 0; i < sizeof(allowed) / sizeof(allowed[0]); i++)
		if (errno == allowed[i])
			return;
	fail("%s %s", call, path);
}

static void shared_name(char path[64])
{
	if (rnd(3) == 0)
		snprintf(path, 64, "d%u/sub%u/n%u", rnd(SHARED_DIRS), rnd(2), rnd(SHARED_NAMES));
	else
		snprintf(path, 64, "d%u/n%u", rnd(SHARED_DIRS), rnd(SHARED_NAMES));
}

static void write_some(int fd, const char *path)
{
	static unsigned char block[16384];
	size_t size = 1 + rnd(sizeof(block));

	memset(block, 'a' + worker, size);
	if (pwrite(fd, block, size, rnd(FILE_MAX)) != (ssize_t)size)
		fail("pwrite %s", path);
	if (rnd(4) == 0 && ftruncate(fd, 4096 + rnd(FILE_MAX)))
		fail("ftruncate %s", path);
	if (rnd(4) == 0 && fsync(fd))
		fail("fsync %s", path);
	if (rnd(8) == 0 && fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 8192) && errno != EOPNOTSUPP)
		fail("fallocate %s", path);
}

static void shared_create(const char *path)
{
	int fd = open(path, O_RDWR | O_CREAT | (rnd(2) ? O_EXCL : 0) | O_NOFOLLOW, 0644);

	expect_shared(fd, "open", path);
	if (fd < 0)
		return;
	write_some(fd, path);
	close(fd);
}

static void shared_tmpfile(const char *path)
{
	char proc[64];
	int fd = open("d0", O_TMPFILE | O_RDWR, 0600);

	if (fd < 0 && errno == EOPNOTSUPP)
		return;
	if (fd < 0)
		fail("open O_TMPFILE");
	write_some(fd, "unnamed file");
	snprintf(proc, sizeof(proc), "/proc/self/fd/%d", fd);
	expect_shared(linkat(AT_FDCWD, proc, AT_FDCWD, path, AT_SYMLINK_FOLLOW), "linkat", path);
	close(fd);
}

static void shared_readdir(void)
{
	char path[64];
	struct dirent *entry;
	struct stat st;
	DIR *dir;

	snprintf(path, sizeof(path), "d%u", rnd(SHARED_DIRS));
	dir = opendir(path);
	if (!dir)
		fail("opendir %s", path);
	errno = 0;
	while ((entry = readdir(dir)))
		expect_shared(fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW), "fstatat", entry->d_name);
	closedir(dir);
}

static void shared_step(void)
{
	char a[64], b[64];

	shared_name(a);
	shared_name(b);
	switch (rnd(12)) {
	case 0:
	case 1:
		return shared_create(a);
	case 2:
		return expect_shared(rename(a, b), "rename", a);
	case 3:
		return expect_shared(renameat2(AT_FDCWD, a, AT_FDCWD, b, RENAME_EXCHANGE), "exchange", a);
	case 4:
		return expect_shared(unlink(a), "unlink", a);
	case 5:
		return expect_shared(link(a, b), "link", a);
	case 6:
		return expect_shared(symlink("n0", a), "symlink", a);
	case 7:
		return expect_shared(mkdir(a, 0755), "mkdir", a);
	case 8:
		return expect_shared(rmdir(a), "rmdir", a);
	case 9:
		return shared_tmpfile(a);
	case 10:
		if (lsetxattr(a, "user.stress", b, strlen(b), 0) && errno != EPERM)
			expect_shared(-1, "lsetxattr", a);
		return expect_shared(chmod(a, 0600 + rnd(64)), "chmod", a);
	default:
		return shared_readdir();
	}
}

static void private_name(char path[64], unsigned int number)
{
	snprintf(path, 64, "private%d/f%u", worker, number);
}

static void private_verify(unsigned int number)
{
	static unsigned char seen[FILE_MAX + 1];
	struct private_file *file = &files[number];
	char path[64];
	ssize_t size;
	int fd;

	private_name(path, number);
	fd = open(path, O_RDONLY);
	if (!file->exists) {
		if (fd >= 0 || errno != ENOENT)
			fail("%s was removed but is there", path);
		return;
	}
	if (fd < 0)
		fail("open %s", path);
	size = pread(fd, seen, sizeof(seen), 0);
	if (size < 0 || (size_t)size != file->size)
		fail("%s has %zd bytes instead of %zu", path, size, file->size);
	if (memcmp(seen, file->bytes, file->size))
		fail("%s read() gives other bytes than were written", path);
	if (file->size) {
		unsigned char *map = mmap(NULL, file->size, PROT_READ, MAP_SHARED, fd, 0);

		if (map == MAP_FAILED)
			fail("mmap %s", path);
		if (memcmp(map, file->bytes, file->size))
			fail("%s a mapping shows other bytes than were written", path);
		munmap(map, file->size);
	}
	close(fd);
}

static void private_write(unsigned int number)
{
	struct private_file *file = &files[number];
	size_t offset = rnd(FILE_MAX), length = 1 + rnd(FILE_MAX - offset), i;
	char path[64];
	int fd;

	private_name(path, number);
	fd = open(path, O_RDWR | O_CREAT, 0644);
	if (fd < 0)
		fail("open %s", path);
	if (!file->exists || offset + length > file->size) {
		if (ftruncate(fd, offset + length))
			fail("ftruncate %s", path);
		if (file->exists)
			memset(file->bytes + file->size, 0, offset + length - file->size);
		else
			memset(file->bytes, 0, offset + length);
		file->size = offset + length;
		file->exists = 1;
	}
	for (i = offset; i < offset + length; i++)
		file->bytes[i] = rnd(256);
	if (rnd(2)) {
		unsigned char *map = mmap(NULL, file->size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

		if (map == MAP_FAILED)
			fail("mmap %s", path);
		memcpy(map + offset, file->bytes + offset, length);
		munmap(map, file->size);
	} else if (pwrite(fd, file->bytes + offset, length, offset) != (ssize_t)length) {
		fail("pwrite %s", path);
	}
	close(fd);
}

static void private_rename(unsigned int from, unsigned int to)
{
	char a[64], b[64];

	private_name(a, from);
	private_name(b, to);
	if (from == to || !files[from].exists)
		return;
	if (rename(a, b))
		fail("rename %s %s", a, b);
	files[to] = files[from];
	files[from].exists = 0;
}

static void private_step(void)
{
	unsigned int number = rnd(PRIVATE_FILES);
	char path[64];

	private_name(path, number);
	switch (rnd(5)) {
	case 0:
	case 1:
		return private_write(number);
	case 2:
		return private_rename(number, rnd(PRIVATE_FILES));
	case 3:
		if (files[number].exists && unlink(path))
			fail("unlink %s", path);
		files[number].exists = 0;
		return;
	default:
		return private_verify(number);
	}
}

static void work(int number, time_t until)
{
	char path[64];
	unsigned int i;

	worker = number;
	random_state = 2463534242u + 7919u * number;
	snprintf(path, sizeof(path), "private%d", worker);
	if (mkdir(path, 0755))
		fail("mkdir %s", path);
	while (time(NULL) < until) {
		shared_step();
		private_step();
		operations += 2;
	}
	for (i = 0; i < PRIVATE_FILES; i++)
		private_verify(i);
	printf("worker %d: %lu operations\n", worker, operations);
	exit(0);
}

static int run(const char *dir, int seconds, int processes)
{
	time_t until = time(NULL) + seconds;
	char path[64];
	int i, j, status, failed = 0;

	if (chdir(dir))
		fail("chdir %s", dir);
	for (i = 0; i < SHARED_DIRS; i++) {
		snprintf(path, sizeof(path), "d%d", i);
		if (mkdir(path, 0755))
			fail("mkdir %s", path);
		for (j = 0; j < 2; j++) {
			snprintf(path, sizeof(path), "d%d/sub%d", i, j);
			if (mkdir(path, 0755))
				fail("mkdir %s", path);
		}
	}
	fflush(stdout);
	for (i = 0; i < processes; i++)
		if (fork() == 0)
			work(i, until);
	while (wait(&status) > 0)
		failed |= status;
	return failed ? 1 : 0;
}

static uint64_t hash_of(const char *path)
{
	static unsigned char buffer[65536];
	uint64_t hash = 14695981039346656037ull;
	ssize_t got, i;
	int fd = open(path, O_RDONLY);

	if (fd < 0)
		fail("open %s", path);
	while ((got = read(fd, buffer, sizeof(buffer))) > 0)
		for (i = 0; i < got; i++)
			hash = (hash ^ buffer[i]) * 1099511628211ull;
	if (got < 0)
		fail("read %s", path);
	close(fd);
	return hash;
}

static int list_one(const char *path, const struct stat *st, int type, struct FTW *where)
{
	char target[PATH_MAX] = "", value[128] = "";
	uint64_t hash = 0;

	(void)type;
	(void)where;
	if (S_ISLNK(st->st_mode) && readlink(path, target, sizeof(target) - 1) < 0)
		fail("readlink %s", path);
	if (S_ISREG(st->st_mode))
		hash = hash_of(path);
	if (!S_ISLNK(st->st_mode))
		lgetxattr(path, "user.stress", value, sizeof(value) - 1);
	printf("%s %o links %lu size %lld mtime %lld.%09ld %016llx %s %s\n", path, st->st_mode,
	       (unsigned long)st->st_nlink, S_ISDIR(st->st_mode) ? 0ll : (long long)st->st_size,
	       (long long)st->st_mtim.tv_sec, st->st_mtim.tv_nsec, (unsigned long long)hash, target, value);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 5 && !strcmp(argv[1], "run"))
		return run(argv[2], atoi(argv[3]), atoi(argv[4]));
	if (argc == 3 && !strcmp(argv[1], "list")) {
		if (chdir(argv[2]))
			fail("chdir %s", argv[2]);
		return nftw(".", list_one, 16, FTW_PHYS) ? 1 : 0;
	}
	fprintf(stderr, "usage: stress run DIR SECONDS PROCESSES | stress list DIR\n");
	return 2;
}
