// SPDX-License-Identifier: GPL-2.0
// Runs in guests whose trees are replicas of each other.
//   text_writer write DIR NAME SEED COUNT   makes files in DIR/d0 to d2, each with a text that is in no other; says
//                                           of each text, when it is safe from a power cut, `durable SUM`
//   text_writer manifest DIR                prints all that must be the same on every replica, but DIR's own

#define _GNU_SOURCE
#include <dirent.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { kDirectories = 3, kLongest = 6000, kPauseMicroseconds = 8000 };

static uint64_t g_random;

static unsigned chance(unsigned below)
{
	g_random = g_random * 6364136223846793005u + 1442695040888963407u;
	return (unsigned)(g_random >> 33) % below;
}

static uint64_t sum_of(const char *bytes, size_t size, uint64_t sum)
{
	for (size_t i = 0; i < size; i++)
		sum = (sum ^ (unsigned char)bytes[i]) * 1099511628211u;
	return sum;
}

#define SUM_OF_NOTHING 14695981039346656037u

// A name that the other side may take at the same time, for every third text; else one of our own.
static int create(int directory, const char *name, unsigned number, char *path, size_t size)
{
	if (number % 3 == 0) {
		snprintf(path, size, "both-%u", number);
		const int fd = openat(directory, path, O_WRONLY | O_CREAT | O_EXCL, 0644);
		if (fd >= 0 || errno != EEXIST)
			return fd;
	}
	snprintf(path, size, "%s-%u", name, number);
	return openat(directory, path, O_WRONLY | O_CREAT | O_EXCL, 0644);
}

static void write_one(int top, const char *name, unsigned number)
{
	char path[300], text[kLongest + 100], place[20];
	snprintf(place, sizeof(place), "d%u", chance(kDirectories));
	const int directory = openat(top, place, O_RDONLY | O_DIRECTORY);
	if (directory < 0)
		err(1, "open %s", place);
	size_t size = (size_t)snprintf(text, sizeof(text), "text %u of %s\n", number, name);
	for (unsigned more = chance(kLongest); more > 0; more--)
		text[size++] = (char)('a' + number % 26);
	const int fd = create(directory, name, number, path, sizeof(path));
	if (fd < 0)
		err(1, "create %s", path);
	if (write(fd, text, size) != (ssize_t)size || fsync(fd))
		err(1, "write %s", path);
	close(fd);
	if (number % 4 == 1) {
		char renamed[310];
		snprintf(renamed, sizeof(renamed), "renamed-%s", path);
		// What has come from the other side under that name must not be replaced: it would be gone.
		if ((renameat2(directory, path, directory, renamed, RENAME_NOREPLACE) && errno != EEXIST) ||
		    fsync(directory))
			err(1, "rename %s", path);
	}
	close(directory);
	printf("durable %016" PRIx64 "\n", sum_of(text, size, SUM_OF_NOTHING));
	fflush(stdout);
}

static void write_all(const char *where, const char *name, const char *seed, const char *count)
{
	const int top = open(where, O_RDONLY | O_DIRECTORY);
	if (top < 0)
		err(1, "open %s", where);
	g_random = strtoull(seed, NULL, 10) + sum_of(name, strlen(name), SUM_OF_NOTHING);
	for (unsigned number = 0; number < strtoul(count, NULL, 10); number++) {
		write_one(top, name, number);
		usleep(chance(kPauseMicroseconds));
	}
}

static uint64_t sum_of_file(int directory, const char *name)
{
	char bytes[4096];
	uint64_t sum = SUM_OF_NOTHING;
	const int fd = openat(directory, name, O_RDONLY);
	if (fd < 0)
		return 0; // removed meanwhile: the next manifest will be another
	for (ssize_t size = 1; size > 0;) {
		size = read(fd, bytes, sizeof(bytes));
		if (size > 0)
			sum = sum_of(bytes, (size_t)size, sum);
	}
	close(fd);
	return sum;
}

static void print_all(int top, const char *path)
{
	struct dirent **names;
	const int count = scandirat(top, ".", &names, NULL, alphasort);

	for (int i = 0; i < count; i++) {
		const char *name = names[i]->d_name;
		struct stat it;

		if (!strcmp(name, ".") || !strcmp(name, "..") ||
		    fstatat(top, name, &it, AT_SYMLINK_NOFOLLOW))
			continue;
		printf("%s/%s %o %u:%u %jd.%09ld", path, name, it.st_mode, it.st_uid, it.st_gid,
		       (intmax_t)it.st_mtim.tv_sec, it.st_mtim.tv_nsec);
		if (!S_ISDIR(it.st_mode)) {
			printf(" %ju %jd %016" PRIx64 "\n", (uintmax_t)it.st_nlink, (intmax_t)it.st_size,
			       sum_of_file(top, name));
			continue;
		}
		printf("\n");
		const int below = openat(top, name, O_RDONLY | O_DIRECTORY);
		if (below >= 0) {
			char *longer;
			if (asprintf(&longer, "%s/%s", path, name) < 0)
				err(1, "asprintf");
			print_all(below, longer);
			free(longer);
			close(below);
		}
	}
}

int main(int argc, char **argv)
{
	if (argc == 6 && !strcmp(argv[1], "write")) {
		write_all(argv[2], argv[3], argv[4], argv[5]);
	} else if (argc == 3 && !strcmp(argv[1], "manifest")) {
		const int top = open(argv[2], O_RDONLY | O_DIRECTORY);
		if (top < 0)
			err(1, "open %s", argv[2]);
		print_all(top, "");
	} else {
		errx(2, "usage: text_writer write DIR NAME SEED COUNT | manifest DIR");
	}
	return 0;
}
