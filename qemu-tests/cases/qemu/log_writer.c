// SPDX-License-Identifier: GPL-2.0
/*
 * Makes every kind of change that the log records, from several processes in shared directories.
 *
 *   log_writer populate DIR SEED OBJECTS     the tree that a storm begins with, by one process
 *   log_writer storm DIR OPTION...           changes until the time is over, then prints what was counted
 *     --seed=N --seconds=N --processes=N
 *     --kill       end random workers by SIGKILL and start new ones
 *     --no-space   "no space" is an answer like any other
 *     --fill       fill the disk first
 *
 * A storm's last lines are `KIND DONE DOUBTFUL`: calls that succeeded and are one record each, and calls that may be
 * one (the worker was killed in it, or the object had lost its last name meanwhile, and so is in no log).
 * It fails on any error number that a correct file system would not give.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <grp.h>
#include <linux/fs.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#define TOPS 6			/* directories t0, t1, ... that are never removed */
#define DEPTH_MAX 3		/* of the directories below them that are worked in */
#define NAMES 16		/* n0, n1, ... in each directory: objects of any type */
#define DIR_NAMES 4		/* of these the first may be directories */
#define LINKS 8			/* l0, l1, ... in each directory: hard links to objects that have an n name */
#define PRIVATE_FILES 8
#define BODY_MAX (48 * 1024)
#define WORKERS_MAX 64
#define PATH_BYTES 64

enum kind { CREATE, MKDIR, MKNOD, SYMLINK, LINK, UNLINK, RMDIR, RENAME, SETATTR, SETXATTR, REMOVEXATTR, KINDS };
static const char *const kind_names[KINDS] = { "CREATE", "MKDIR", "MKNOD", "SYMLINK", "LINK", "UNLINK", "RMDIR",
	"RENAME", "SETATTR", "SETXATTR", "REMOVEXATTR" };
#define NOTHING (-1)

/* In memory shared with the parent, so that it outlives a killed worker. */
struct slot {
	pid_t pid;
	volatile int doing;	/* kind of the call that is being made, or NOTHING */
	unsigned long done[KINDS];
	unsigned long doubtful[KINDS];
	unsigned long no_space;
};

struct storm {
	uint32_t seed;
	unsigned int seconds, processes;
	int kill, no_space, fill;
};

static struct storm storm = { .seed = 1, .seconds = 10, .processes = 4 };
static struct slot *slots, *mine;
static uint32_t random_state;
static sigjmp_buf after_sigbus;

static uint32_t rnd(uint32_t below)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 17;
	random_state ^= random_state << 5;
	return random_state % below;
}

static void seed_with(uint32_t a, uint32_t b)
{
	random_state = (a * 2654435761u) ^ (b * 40503u + 2463534242u);
	if (!random_state)
		random_state = 1;
	for (int i = 0; i < 8; i++)
		rnd(2);
}

__attribute__((format(printf, 1, 2), noreturn))
static void fail(const char *format, ...)
{
	int error = errno;
	va_list args;

	fprintf(stderr, "log_writer: worker %d: ", mine ? (int)(mine - slots) : -1);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fprintf(stderr, " (errno %d: %s)\n", error, strerror(error));
	exit(1);
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static void sleep_ms(unsigned int ms)
{
	struct timespec t = { ms / 1000, ms % 1000 * 1000000l };

	nanosleep(&t, NULL);
}

/* Another process may have been faster: these answers are right in a shared directory. */
static void expect(int result, const char *call, const char *path)
{
	static const int allowed[] = { ENOENT, EEXIST, EISDIR, ENOTDIR, ENOTEMPTY, ELOOP, EINVAL, EPERM, ENXIO,
		EOPNOTSUPP, ENODATA, EMLINK, EACCES };
	size_t i;

	if (result >= 0)
		return;
	if (errno == ENOSPC && storm.no_space) {
		mine->no_space++;
		return;
	}
	for (i = 0; i < sizeof(allowed) / sizeof(allowed[0]); i++)
		if (errno == allowed[i])
			return;
	fail("%s %s", call, path);
}

/* Make one call that is one record if it succeeds. */
#define COUNTED(kind, call, path) \
	({ \
		begin(kind); \
		counted(kind, (call), #call, path); \
	})

/* The compiler must not move these stores over the call: a SIGKILL may come anywhere. */
static void begin(enum kind kind)
{
	mine->doing = kind;
	atomic_signal_fence(memory_order_seq_cst);
}

static int counted(enum kind kind, int result, const char *call, const char *path)
{
	int error = errno;

	atomic_signal_fence(memory_order_seq_cst);
	if (result >= 0)
		mine->done[kind]++;
	mine->doing = NOTHING;
	errno = error;
	expect(result, call, path);
	return result;
}

/* A directory: t3, or something below one that may be a directory just now. */
static int directory_name(char path[PATH_BYTES])
{
	int depth, length = snprintf(path, PATH_BYTES, "t%u", rnd(TOPS));

	for (depth = 0; depth < DEPTH_MAX && rnd(2); depth++)
		length += snprintf(path + length, PATH_BYTES - length, "/n%u", rnd(DIR_NAMES));
	return length;
}

static unsigned int name(char path[PATH_BYTES], char class, unsigned int names)
{
	int length = directory_name(path);
	unsigned int last = rnd(names);

	snprintf(path + length, PATH_BYTES - length, "/%c%u", class, last);
	return last;
}

/*
 * Two names that end differently. An object has one n name at most, so two of them are different objects, whatever
 * becomes of their directories: renaming between names of one object would succeed and be no record.
 */
static void two_names(char from[PATH_BYTES], char to[PATH_BYTES], char class, unsigned int names)
{
	unsigned int last = name(from, class, names);

	while (name(to, class, names) == last)
		;
}

static void write_body(int fd, const char *path)
{
	static unsigned char block[16384];
	size_t size = 1 + rnd(rnd(4) ? 2048 : sizeof(block));

	memset(block, rnd(256), size);
	expect(pwrite(fd, block, size, rnd(BODY_MAX)) < 0 ? -1 : 0, "pwrite", path);
	if (rnd(4) == 0)
		expect(ftruncate(fd, rnd(BODY_MAX)), "ftruncate", path);
	if (rnd(8) == 0)
		expect(fallocate(fd, FALLOC_FL_KEEP_SIZE, rnd(BODY_MAX), 8192), "fallocate", path);
	if (rnd(8) == 0)
		expect(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, rnd(BODY_MAX), 8192), "punch", path);
	if (rnd(8) == 0)
		expect(fsync(fd), "fsync", path);
}

static void leave_sigbus(int signal)
{
	(void)signal;
	siglongjmp(after_sigbus, 1);
}

/* Another process may cut the file, or the disk may be full: then the store ends in SIGBUS. */
static void write_mapped(int fd, const char *path)
{
	size_t size = 4096 + rnd(4) * 4096;
	unsigned char *map;

	if (ftruncate(fd, size))
		return expect(-1, "ftruncate", path);
	map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		fail("mmap %s", path);
	if (sigsetjmp(after_sigbus, 1) == 0)
		memset(map + rnd(size / 2), rnd(256), size / 4);
	if (rnd(2))
		expect(msync(map, size, MS_ASYNC), "msync", path);
	munmap(map, size);
}

static void do_create(void)
{
	char path[PATH_BYTES];
	int fd;

	name(path, 'n', NAMES);
	fd = COUNTED(CREATE, open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, rnd(01000)), path);
	if (fd < 0)
		return;
	if (rnd(4))
		write_body(fd, path);
	close(fd);
}

static void do_write(void)
{
	char path[PATH_BYTES];
	struct stat st;
	int fd;

	name(path, 'n', NAMES);
	fd = open(path, O_RDWR | O_NOFOLLOW | O_NONBLOCK | (rnd(6) ? 0 : O_TRUNC));
	expect(fd, "open", path);
	if (fd < 0)
		return;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode)) {
		if (rnd(3))
			write_body(fd, path);
		else
			write_mapped(fd, path);
	}
	close(fd);
}

static void do_truncate(void)
{
	char path[PATH_BYTES];

	name(path, 'n', NAMES);
	expect(truncate(path, rnd(BODY_MAX)), "truncate", path);
}

static void do_unnamed(void)
{
	char dir[PATH_BYTES], path[PATH_BYTES];
	int fd;

	directory_name(dir);
	name(path, 'n', NAMES);
	fd = open(dir, O_TMPFILE | O_RDWR, rnd(01000));
	expect(fd, "open O_TMPFILE", dir);
	if (fd < 0)
		return;
	write_body(fd, path);
	if (rnd(2))
		expect(fsetxattr(fd, "user.unnamed", path, strlen(path), 0), "fsetxattr", path);
	if (rnd(2))
		expect(fchmod(fd, rnd(01000)), "fchmod", path);
	COUNTED(CREATE, linkat(fd, "", AT_FDCWD, path, AT_EMPTY_PATH), path);
	close(fd);
}

static void do_mkdir(void)
{
	char path[PATH_BYTES];

	name(path, 'n', DIR_NAMES);
	COUNTED(MKDIR, mkdir(path, 0700 | rnd(02000)), path);
}

static void do_mknod(void)
{
	static const mode_t types[] = { S_IFIFO, S_IFSOCK, S_IFCHR, S_IFBLK };
	char path[PATH_BYTES];
	unsigned int type = rnd(5);

	name(path, 'n', NAMES);
	if (type == 4)
		COUNTED(CREATE, mknod(path, S_IFREG | rnd(01000), 0), path);
	else
		COUNTED(MKNOD, mknod(path, types[type] | rnd(01000), type < 2 ? 0 : makedev(240, rnd(70000))), path);
}

/* Symbolic links lead nowhere: one to a directory would give objects further names. */
static void do_symlink(void)
{
	char path[PATH_BYTES], target[200];
	unsigned int length = 1 + rnd(rnd(4) ? 40 : sizeof(target) - 1);

	memset(target, 'x', length);
	target[length - 1] = 0;
	if (length == 1)
		strcpy(target, "x");
	name(path, 'n', NAMES);
	COUNTED(SYMLINK, symlink(target, path), path);
}

static void do_link(void)
{
	char from[PATH_BYTES], to[PATH_BYTES];

	name(from, 'n', NAMES);
	name(to, 'l', LINKS);
	COUNTED(LINK, link(from, to), from);
}

static void do_unlink(void)
{
	char path[PATH_BYTES];

	if (rnd(3))
		name(path, 'n', NAMES);
	else
		name(path, 'l', LINKS);
	COUNTED(UNLINK, unlink(path), path);
}

static void do_rmdir(void)
{
	char path[PATH_BYTES];

	name(path, 'n', DIR_NAMES);
	COUNTED(RMDIR, rmdir(path), path);
}

/* As rm -r does; without it directories would only ever get fuller. */
static void remove_tree(const char *path)
{
	char child[PATH_BYTES];
	struct dirent *entry;
	DIR *dir;
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);

	expect(fd, "open", path);
	if (fd < 0)
		return;
	dir = fdopendir(fd);
	if (!dir)
		fail("fdopendir %s", path);
	while ((entry = readdir(dir))) {
		if (entry->d_name[0] == '.' ||
		    snprintf(child, sizeof(child), "%s/%s", path, entry->d_name) >= PATH_BYTES)
			continue;
		if (entry->d_type == DT_DIR)
			remove_tree(child);
		else
			COUNTED(UNLINK, unlink(child), child);
	}
	closedir(dir);
	COUNTED(RMDIR, rmdir(path), path);
}

static void do_remove_tree(void)
{
	char path[PATH_BYTES];

	if (rnd(4))
		return;
	name(path, 'n', DIR_NAMES);
	remove_tree(path);
}

static void do_rename(void)
{
	static const unsigned int flags[] = { 0, 0, 0, RENAME_NOREPLACE, RENAME_EXCHANGE, RENAME_EXCHANGE,
		RENAME_WHITEOUT, RENAME_WHITEOUT | RENAME_NOREPLACE };
	char from[PATH_BYTES], to[PATH_BYTES];

	if (rnd(6) == 0) {
		two_names(from, to, 'l', LINKS);
		COUNTED(RENAME, renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE), from);
		return;
	}
	two_names(from, to, 'n', rnd(2) ? DIR_NAMES : NAMES);
	COUNTED(RENAME, renameat2(AT_FDCWD, from, AT_FDCWD, to, flags[rnd(8)]), from);
}

/* An access or default ACL that no mode can express. */
static size_t make_acl(unsigned char acl[44])
{
	static const uint16_t tags[5] = { 0x01, 0x02, 0x04, 0x10, 0x20 };
	uint32_t version = 2, id;
	uint16_t permissions;
	int i;

	memcpy(acl, &version, 4);
	for (i = 0; i < 5; i++) {
		permissions = rnd(8);
		id = tags[i] == 0x02 ? 1000 + rnd(5) : UINT32_MAX;
		memcpy(acl + 4 + 8 * i, &tags[i], 2);
		memcpy(acl + 6 + 8 * i, &permissions, 2);
		memcpy(acl + 8 + 8 * i, &id, 4);
	}
	return 44;
}

static void change_attribute(const char *path)
{
	struct timespec times[2] = { { rnd(2000000000), rnd(1000000000) }, { rnd(2000000000), rnd(1000000000) } };

	switch (rnd(3)) {
	case 0:
		COUNTED(SETATTR, chmod(path, rnd(010000)), path);
		return;
	case 1:
		COUNTED(SETATTR, chown(path, rnd(3) ? rnd(70000) : (uid_t)-1, rnd(70000)), path);
		return;
	default:
		/*
		 * Both times: of an access alone there is no record, and a modification alone is also what a refused
		 * whiteout leaves of its directory.
		 */
		if (rnd(3) == 0)
			times[rnd(2)].tv_nsec = UTIME_NOW;
		COUNTED(SETATTR, utimensat(AT_FDCWD, path, times, 0), path);
	}
}

static void change_xattr(const char *path)
{
	static const char *const names[] = { "user.a", "user.longer_name", "trusted.b", "security.izo-storm" };
	const char *xattr = names[rnd(4)];
	unsigned char value[120], acl[44];
	size_t i, size = 1 + rnd(rnd(4) ? 40 : sizeof(value));

	switch (rnd(4)) {
	case 0:
		COUNTED(REMOVEXATTR, removexattr(path, xattr), path);
		return;
	case 1:
		xattr = rnd(3) ? "system.posix_acl_access" : "system.posix_acl_default";
		size = make_acl(acl);
		COUNTED(SETXATTR, setxattr(path, xattr, acl, size, 0), path);
		return;
	default:
		for (i = 0; i < size; i++)
			value[i] = rnd(256);
		COUNTED(SETXATTR, setxattr(path, xattr, value, size, 0), path);
	}
}

/*
 * The object is held, so that afterwards one can see whether it had a name all the time: if not, the change may have
 * come after the last one was removed. Through /proc the call acts on a symbolic link itself.
 */
static void do_attributes(void)
{
	static const enum kind kinds[] = { SETATTR, SETXATTR, REMOVEXATTR };
	unsigned long before[KINDS];
	char path[PATH_BYTES], held[PATH_BYTES];
	struct stat st;
	unsigned int i;
	int fd;

	name(path, rnd(4) ? 'n' : 'l', LINKS);
	fd = open(path, O_PATH | O_NOFOLLOW);
	expect(fd, "open O_PATH", path);
	if (fd < 0)
		return;
	snprintf(held, sizeof(held), "/proc/self/fd/%d", fd);
	memcpy(before, mine->done, sizeof(before));
	if (rnd(2))
		change_attribute(held);
	else
		change_xattr(held);
	if (fstat(fd, &st))
		fail("fstat %s", path);
	for (i = 0; st.st_nlink == 0 && i < 3; i++) {
		mine->doubtful[kinds[i]] += mine->done[kinds[i]] - before[kinds[i]];
		mine->done[kinds[i]] = before[kinds[i]];
	}
	close(fd);
}

static void change_private_acl(const char *path)
{
	unsigned char acl[44];
	size_t size = make_acl(acl);

	if (COUNTED(SETXATTR, setxattr(path, "system.posix_acl_access", acl, size, 0), path) == 0)
		COUNTED(REMOVEXATTR, removexattr(path, "system.posix_acl_access"), path);
}

static void change_private_flags(int fd, const char *path)
{
	int flags;

	if (ioctl(fd, FS_IOC_GETFLAGS, &flags))
		fail("FS_IOC_GETFLAGS %s", path);
	flags ^= rnd(2) ? FS_NODUMP_FL : FS_NOATIME_FL;
	COUNTED(SETATTR, ioctl(fd, FS_IOC_SETFLAGS, &flags), path);
}

static void copy_part(int fd, const char *path)
{
	off_t from = 0, to = rnd(BODY_MAX);

	expect(copy_file_range(fd, &from, fd, &to, to < 8192 ? to : 8192, 0) < 0 ? -1 : 0, "copy_file_range", path);
}

/* What needs a file that nobody else changes. */
static void do_private(void)
{
	char path[PATH_BYTES];
	int fd, fresh;

	snprintf(path, sizeof(path), "private%d/f%u", (int)(mine - slots), rnd(PRIVATE_FILES));
	if (rnd(6) == 0) {
		COUNTED(UNLINK, unlink(path), path);
		return;
	}
	fd = open(path, O_RDWR);
	fresh = fd < 0;
	if (fresh)
		fd = COUNTED(CREATE, open(path, O_RDWR | O_CREAT | O_EXCL, 0644), path);
	if (fd < 0)
		return;
	if (fresh || rnd(4) == 0)
		write_body(fd, path);
	else if (rnd(3) == 0)
		write_mapped(fd, path);
	else if (rnd(3) == 0)
		copy_part(fd, path);
	else if (rnd(2))
		change_private_flags(fd, path);
	else
		change_private_acl(path);
	close(fd);
}

static void step(void)
{
	static void (*const steps[])(void) = {
		do_create, do_create, do_create, do_write, do_write, do_truncate, do_unnamed, do_mkdir, do_mkdir,
		do_mknod, do_symlink, do_link, do_link, do_unlink, do_unlink, do_rmdir, do_remove_tree,
		do_rename, do_rename, do_rename, do_rename, do_attributes, do_attributes, do_attributes,
		do_private, do_private,
	};

	steps[rnd(sizeof(steps) / sizeof(steps[0]))]();
}

static void populate(uint32_t seed, unsigned int objects)
{
	char path[PATH_BYTES];
	unsigned int i;

	seed_with(seed, 0);
	for (i = 0; i < TOPS; i++) {
		snprintf(path, sizeof(path), "t%u", i);
		COUNTED(MKDIR, mkdir(path, 0755), path);
	}
	for (i = 0; i < WORKERS_MAX; i++) {
		snprintf(path, sizeof(path), "private%u", i);
		COUNTED(MKDIR, mkdir(path, 0755), path);
	}
	while (i < 20000 && mine->done[CREATE] + mine->done[MKDIR] + mine->done[MKNOD] + mine->done[SYMLINK] < objects) {
		step();
		i++;
	}
}

/* Leaves no room but what the storm frees itself. */
static void fill_disk(void)
{
	char path[PATH_BYTES];
	off_t size = 1 << 30, end = 0;
	int fd;

	snprintf(path, sizeof(path), "private%d/filler", (int)(mine - slots));
	fd = COUNTED(CREATE, open(path, O_WRONLY | O_CREAT | O_EXCL, 0600), path);
	if (fd < 0)
		return;
	while (size >= 4096) {
		if (fallocate(fd, 0, end, size) == 0)
			end += size;
		else if (errno == ENOSPC)
			size /= 2;
		else
			fail("fallocate %s", path);
	}
	close(fd);
}

__attribute__((noreturn))
static void work(unsigned int number, unsigned int life, double until)
{
	static const gid_t groups[] = { 100, 60000, 70000 };
	struct sigaction action = { .sa_handler = leave_sigbus };

	mine = &slots[number];
	mine->pid = getpid();
	seed_with(storm.seed, number + 1000 * life);
	sigaction(SIGBUS, &action, NULL);
	/* Callers differ: a record says who made the change. */
	if (setgroups(number % 4, groups))
		fail("setgroups");
	setfsgid(number % 3 * 50);
	if (storm.fill && number == 0 && life == 0)
		fill_disk();
	while (now() < until)
		step();
	exit(0);
}

static pid_t start_worker(unsigned int number, unsigned int life, double until)
{
	pid_t pid = fork();

	if (pid < 0)
		fail("fork");
	if (pid == 0)
		work(number, life, until);
	slots[number].pid = pid;
	return pid;
}

/* Account for a worker that was killed: the call it was in may or may not have been made. */
static void bury(struct slot *slot)
{
	if (slot->doing != NOTHING)
		slot->doubtful[slot->doing]++;
	slot->doing = NOTHING;
}

static unsigned int kill_workers(double until)
{
	unsigned int lives[WORKERS_MAX] = { 0 }, killed = 0, number;
	int status;

	while (now() < until - 1) {
		sleep_ms(5 + rnd(60));
		number = rnd(storm.processes);
		kill(slots[number].pid, SIGKILL);
		if (waitpid(slots[number].pid, &status, 0) < 0)
			fail("waitpid");
		if (!WIFSIGNALED(status))
			fail("worker %u ended before its time with status %d", number, status);
		bury(&slots[number]);
		start_worker(number, ++lives[number], until);
		killed++;
	}
	return killed;
}

static void print_counts(unsigned int killed)
{
	unsigned long done, doubtful, no_space = 0;
	unsigned int kind, number;

	for (kind = 0; kind < KINDS; kind++) {
		done = 0;
		doubtful = 0;
		for (number = 0; number < storm.processes; number++) {
			done += slots[number].done[kind];
			doubtful += slots[number].doubtful[kind];
		}
		printf("%s %lu %lu\n", kind_names[kind], done, doubtful);
	}
	for (number = 0; number < storm.processes; number++)
		no_space += slots[number].no_space;
	printf("no-space %lu\nkilled %u\n", no_space, killed);
}

static int run_storm(void)
{
	double until = now() + storm.seconds;
	unsigned int i, killed = 0;
	int status, failed = 0;

	if (!storm.processes || storm.processes > WORKERS_MAX)
		fail("--processes=%u: 1 to %d", storm.processes, WORKERS_MAX);
	seed_with(storm.seed, 999983);
	for (i = 0; i < storm.processes; i++)
		start_worker(i, 0, until);
	if (storm.kill)
		killed = kill_workers(until);
	while (wait(&status) > 0)
		failed |= status;
	print_counts(killed);
	return failed ? 1 : 0;
}

static void parse_storm(int argc, char **argv)
{
	static const struct option options[] = {
		{ "seed", required_argument, NULL, 's' }, { "seconds", required_argument, NULL, 't' },
		{ "processes", required_argument, NULL, 'p' },
		{ "kill", no_argument, &storm.kill, 1 }, { "no-space", no_argument, &storm.no_space, 1 },
		{ "fill", no_argument, &storm.fill, 1 }, { 0 },
	};
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) >= 0) {
		switch (option) {
		case 's':
			storm.seed = strtoul(optarg, NULL, 0);
			break;
		case 't':
			storm.seconds = strtoul(optarg, NULL, 0);
			break;
		case 'p':
			storm.processes = strtoul(optarg, NULL, 0);
			break;
		case '?':
			exit(2);
		}
	}
}

int main(int argc, char **argv)
{
	int i;

	slots = mmap(NULL, WORKERS_MAX * sizeof(*slots), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (slots == MAP_FAILED)
		fail("mmap");
	for (i = 0; i < WORKERS_MAX; i++)
		slots[i].doing = NOTHING;
	umask(0);
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc >= 3 && chdir(argv[2]))
		fail("chdir %s", argv[2]);
	if (argc == 5 && !strcmp(argv[1], "populate")) {
		mine = slots;
		populate(strtoul(argv[3], NULL, 0), strtoul(argv[4], NULL, 0));
		return 0;
	}
	if (argc >= 3 && !strcmp(argv[1], "storm")) {
		parse_storm(argc - 2, argv + 2);
		return run_storm();
	}
	fprintf(stderr, "usage: log_writer populate DIR SEED OBJECTS | storm DIR OPTION...\n");
	return 2;
}
