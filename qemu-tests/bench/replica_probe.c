// SPDX-License-Identifier: GPL-2.0
// Measures in two guests whose trees are replicas of each other.
//   replica_probe fill DIR         makes 10,000 files of 4 KiB, in 100 directories
//   replica_probe await DIR        until all of them are there, with all their bytes as to their sizes
//   replica_probe verify DIR       reads them all
//   replica_probe read DIR         tells the writer, by UDP, when a file can be read, until that says `end`
//   replica_probe write DIR ADDRESS COUNT
//       makes so many files, one after the other; for each prints microseconds from after close() until the reader's
//       word was here, and before, for an empty exchange of words, `rtt` and its microseconds

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { kPort = 7799, kSize = 4096, kDirectories = 100, kFilesEach = 100, kExchanges = 200 };
enum { kPollMicroseconds = 500, kPauseMicroseconds = 20000, kWordSize = 64 };

static int64_t now(void)
{
	struct timespec time;
	clock_gettime(CLOCK_MONOTONIC, &time);
	return (int64_t)time.tv_sec * 1000000 + time.tv_nsec / 1000;
}

// Bytes that no compression makes fewer, and that depend on the name.
static void content_of(const char *name, char *bytes)
{
	uint64_t state = 14695981039346656037u;
	for (const char *at = name; *at; at++)
		state = (state ^ (unsigned char)*at) * 1099511628211u;
	for (int i = 0; i < kSize; i++) {
		state = state * 6364136223846793005u + 1442695040888963407u;
		bytes[i] = (char)(state >> 56);
	}
}

static void write_file(int directory, const char *name)
{
	char bytes[kSize];
	content_of(name, bytes);
	const int fd = openat(directory, name, O_WRONLY | O_CREAT | O_EXCL, 0644);
	if (fd < 0 || write(fd, bytes, kSize) != kSize || close(fd))
		err(1, "%s", name);
}

static int is_readable(int directory, const char *name)
{
	char bytes[kSize], wanted[kSize];
	const int fd = openat(directory, name, O_RDONLY);
	if (fd < 0)
		return 0;
	const ssize_t size = read(fd, bytes, kSize);
	close(fd);
	content_of(name, wanted);
	return size == kSize && !memcmp(bytes, wanted, kSize);
}

static int open_directory(const char *path)
{
	const int fd = open(path, O_RDONLY | O_DIRECTORY);
	if (fd < 0)
		err(1, "%s", path);
	return fd;
}

static void name_of(int number, char *name)
{
	snprintf(name, kWordSize, "d%02d/file%02d", number / kFilesEach, number % kFilesEach);
}

static void fill(int top)
{
	char name[kWordSize];
	for (int number = 0; number < kDirectories * kFilesEach; number++) {
		snprintf(name, sizeof(name), "d%02d", number / kFilesEach);
		if (number % kFilesEach == 0 && mkdirat(top, name, 0755))
			err(1, "%s", name);
		name_of(number, name);
		write_file(top, name);
	}
}

// In the order in which they were made: what is there once stays.
static void await_all(const char *path)
{
	char name[kWordSize];
	struct stat it;
	int top;
	while ((top = open(path, O_RDONLY | O_DIRECTORY)) < 0)
		usleep(kPollMicroseconds);
	for (int number = 0; number < kDirectories * kFilesEach; number++) {
		name_of(number, name);
		while (fstatat(top, name, &it, 0) || it.st_size != kSize)
			usleep(10 * kPollMicroseconds);
	}
}

static void verify(int top)
{
	char name[kWordSize];
	for (int number = 0; number < kDirectories * kFilesEach; number++) {
		name_of(number, name);
		if (!is_readable(top, name))
			errx(1, "%s is not as it was made", name);
	}
}

static void reader(int top)
{
	struct sockaddr_in peer, own = { .sin_family = AF_INET, .sin_port = htons(kPort) };
	char word[kWordSize];
	const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || bind(fd, (struct sockaddr *)&own, sizeof(own)))
		err(1, "socket");
	for (;;) {
		socklen_t length = sizeof(peer);
		const ssize_t size = recvfrom(fd, word, sizeof(word) - 1, 0, (struct sockaddr *)&peer, &length);
		if (size < 0)
			err(1, "recvfrom");
		word[size] = 0;
		// First that it looks, then that it has seen.
		sendto(fd, word, (size_t)size, 0, (struct sockaddr *)&peer, length);
		if (!strcmp(word, "end"))
			return;
		if (!strcmp(word, "ping"))
			continue;
		while (!is_readable(top, word))
			usleep(kPollMicroseconds);
		sendto(fd, word, (size_t)size, 0, (struct sockaddr *)&peer, length);
	}
}

static void hear(int fd, const char *wanted)
{
	char word[kWordSize] = "";
	const ssize_t size = recv(fd, word, sizeof(word) - 1, 0);
	if (size < 0 || strcmp(word, wanted))
		errx(1, "no '%s', but '%s'", wanted, size < 0 ? strerror(errno) : word);
}

static void writer(int top, const char *address, int count)
{
	struct sockaddr_in peer = { .sin_family = AF_INET, .sin_port = htons(kPort) };
	const struct timeval patience = { .tv_sec = 30 };
	char name[kWordSize];
	const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || inet_pton(AF_INET, address, &peer.sin_addr) != 1 ||
	    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) ||
	    connect(fd, (struct sockaddr *)&peer, sizeof(peer)))
		err(1, "socket");
	// The reader may not be there yet.
	while (send(fd, "ping", 4, 0) != 4 || recv(fd, name, sizeof(name), 0) != 4)
		usleep(kPauseMicroseconds);
	for (int i = 0; i < kExchanges; i++) {
		const int64_t before = now();
		send(fd, "ping", 4, 0);
		hear(fd, "ping");
		printf("rtt %" PRId64 "\n", now() - before);
	}
	for (int i = 0; i < count; i++) {
		snprintf(name, sizeof(name), "file%04d", i);
		send(fd, name, strlen(name), 0);
		hear(fd, name);
		usleep(kPauseMicroseconds);
		write_file(top, name);
		const int64_t closed = now();
		hear(fd, name);
		printf("lag %" PRId64 "\n", now() - closed);
	}
	send(fd, "end", 3, 0);
}

int main(int argc, char **argv)
{
	const char *what = argc > 2 ? argv[1] : "";
	if (!strcmp(what, "fill"))
		fill(open_directory(argv[2]));
	else if (!strcmp(what, "await"))
		await_all(argv[2]);
	else if (!strcmp(what, "verify"))
		verify(open_directory(argv[2]));
	else if (!strcmp(what, "read"))
		reader(open_directory(argv[2]));
	else if (!strcmp(what, "write") && argc == 5)
		writer(open_directory(argv[2]), argv[3], atoi(argv[4]));
	else
		errx(2, "usage: replica_probe fill|await|verify|read DIR | write DIR ADDRESS COUNT");
	return 0;
}
