/* Library for LD_PRELOAD: from a chosen call on, what changes a disk fails, or the process dies.

   The first write that fails writes half of its bytes, as a disk that becomes full does, and as
   a process that is killed may. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

static long left = -1;    /* calls that go well before; -1: all */
static int number;        /* the error; 0: SIGKILL */
static long taken;        /* calls since fail_after */
static long taken_before; /* calls before it, since the one before */

#define NEXT(name) __typeof__(&name) next = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

void fail_after(long calls, int error) {
    left = calls;
    number = error;
    taken_before = taken;
    taken = 0;
}

/* Calls between the last two calls of fail_after. */
long calls_taken_before(void) { return taken_before; }

static int fails(void) {
    taken++;
    if (left < 0 || taken <= left)
        return 0;
    if (number == 0)
        kill(getpid(), SIGKILL);
    errno = number;
    return 1;
}

/* Write half of the bytes at the first failure. */
static int half(void) { return left >= 0 && taken == left && number != EIO; }

ssize_t write(int fd, const void *data, size_t size) {
    NEXT(write);
    if (half() && size > 1 && next(fd, data, size / 2) < 0)
        return -1;
    return fails() ? -1 : next(fd, data, size);
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t at) {
    NEXT(pwrite);
    if (half() && size > 1 && next(fd, data, size / 2, at) < 0)
        return -1;
    return fails() ? -1 : next(fd, data, size, at);
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at) {
    NEXT(pwrite64);
    if (half() && size > 1 && next(fd, data, size / 2, at) < 0)
        return -1;
    return fails() ? -1 : next(fd, data, size, at);
}

int posix_fallocate(int fd, off_t at, off_t size) {
    NEXT(posix_fallocate);
    return fails() ? errno : next(fd, at, size);
}

int posix_fallocate64(int fd, off64_t at, off64_t size) {
    NEXT(posix_fallocate64);
    return fails() ? errno : next(fd, at, size);
}

#define CALL(name, parameters, arguments)      \
    int name parameters {                      \
        NEXT(name);                            \
        return fails() ? -1 : next arguments;  \
    }
CALL(fsync, (int fd), (fd))
CALL(fdatasync, (int fd), (fd))
CALL(ftruncate, (int fd, off_t size), (fd, size))
CALL(ftruncate64, (int fd, off64_t size), (fd, size))
CALL(rename, (const char *from, const char *to), (from, to))
CALL(mkdir, (const char *path, mode_t mode), (path, mode))

/* A full disk can still delete. */
int unlink(const char *path) {
    NEXT(unlink);
    return number != ENOSPC && fails() ? -1 : next(path);
}

static mode_t mode_of(int flags, va_list more) {
    return flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0;
}

#define OPEN(name)                                          \
    int name(const char *path, int flags, ...) {            \
        NEXT(name);                                         \
        va_list more;                                       \
        va_start(more, flags);                              \
        mode_t mode = mode_of(flags, more);                 \
        va_end(more);                                       \
        if (flags & O_CREAT && access(path, F_OK) && fails()) \
            return -1;                                      \
        return next(path, flags, mode);                     \
    }
OPEN(open)
OPEN(open64)
