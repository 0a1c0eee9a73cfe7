/* Preloaded into a process (LD_PRELOAD): counts its calls that change files below a directory, and at one of them kills the process, or
 * lets the call fail. The count is shared by all processes and threads that inherit the environment, so every call is one numbered point.
 *
 * INJECT_ROOT   only files below this directory count
 * INJECT_COUNT  file of eight bytes that holds the count
 * INJECT_LOG    optional file; a line "NUMBER CALL PATH" is appended for each call that counts
 * INJECT_AT     number of the call at which something happens; 0 for none
 * INJECT_DO     kill: SIGKILL before the call; tear: SIGKILL after half of a write; a number: the errno of that call
 * INJECT_TIMES  how many calls, beginning with that one, fail with the errno (1)
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static unsigned long *count;
static unsigned long fail_at, fail_times = 1;
static const char *root;
static size_t root_length;
static enum { NOTHING, KILL, TEAR, FAIL } what = NOTHING;
static int failure;
static int log_fd = -1;

__attribute__((constructor)) static void begin(void) {
    const char *count_path = getenv("INJECT_COUNT"), *log_path = getenv("INJECT_LOG"), *todo = getenv("INJECT_DO");
    int fd;
    root = getenv("INJECT_ROOT");
    if (!root || !count_path)
        return;
    root_length = strlen(root);
    fd = (int)syscall(SYS_openat, AT_FDCWD, count_path, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return;
    count = mmap(NULL, sizeof *count, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    syscall(SYS_close, fd);
    if (count == MAP_FAILED) {
        count = NULL;
        return;
    }
    if (log_path) { /* high, out of the way of programs that close or count descriptors */
        fd = (int)syscall(SYS_openat, AT_FDCWD, log_path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
        log_fd = fcntl(fd, F_DUPFD_CLOEXEC, 900);
        syscall(SYS_close, fd);
    }
    if (getenv("INJECT_AT"))
        fail_at = strtoul(getenv("INJECT_AT"), NULL, 10);
    if (getenv("INJECT_TIMES"))
        fail_times = strtoul(getenv("INJECT_TIMES"), NULL, 10);
    if (todo && !strcmp(todo, "kill"))
        what = KILL;
    else if (todo && !strcmp(todo, "tear"))
        what = TEAR;
    else if (todo) {
        what = FAIL;
        failure = atoi(todo);
    }
}

static int is_below(const char *path) { return !strncmp(path, root, root_length) && (path[root_length] == '/' || !path[root_length]); }

/* The number of this call, or 0 if it does not count. */
static unsigned long numbered(const char *call, const char *path) {
    char line[PATH_MAX + 64];
    unsigned long number;
    int length;
    if (!is_below(path))
        return 0;
    number = __sync_add_and_fetch(count, 1);
    if (log_fd >= 0) {
        length = snprintf(line, sizeof line, "%lu %s %s\n", number, call, path + root_length);
        syscall(SYS_write, log_fd, line, (size_t)length);
    }
    return number;
}

/* Dies here if that is what should happen; whether the call is to fail. */
static int fails(unsigned long number) {
    if (!number || number < fail_at || !fail_at)
        return 0;
    if (what == KILL && number == fail_at)
        syscall(SYS_kill, getpid(), SIGKILL);
    if (what == FAIL && number < fail_at + fail_times) {
        errno = failure;
        return 1;
    }
    return 0;
}

static unsigned long of_path(const char *call, int directory, const char *path) {
    char whole[PATH_MAX * 2], link[64];
    ssize_t length;
    if (!count || !path)
        return 0;
    if (path[0] == '/')
        return numbered(call, path);
    if (directory == AT_FDCWD)
        length = syscall(SYS_readlinkat, AT_FDCWD, "/proc/self/cwd", whole, (size_t)PATH_MAX);
    else {
        snprintf(link, sizeof link, "/proc/self/fd/%d", directory);
        length = syscall(SYS_readlinkat, AT_FDCWD, link, whole, (size_t)PATH_MAX);
    }
    if (length <= 0)
        return 0;
    snprintf(whole + length, sizeof whole - (size_t)length, "/%s", path);
    return numbered(call, whole);
}

static unsigned long of_fd(const char *call, int fd) {
    char path[PATH_MAX], link[64];
    ssize_t length;
    int kept = errno;
    if (!count)
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    length = syscall(SYS_readlinkat, AT_FDCWD, link, path, sizeof path - 1);
    errno = kept;
    if (length <= 0)
        return 0;
    path[length] = 0;
    return numbered(call, path);
}

static int tears(unsigned long number) { return what == TEAR && number && number == fail_at; }

ssize_t write(int fd, const void *data, size_t size) {
    unsigned long number = of_fd("write", fd);
    if (fails(number))
        return -1;
    if (tears(number)) {
        syscall(SYS_write, fd, data, size / 2);
        syscall(SYS_kill, getpid(), SIGKILL);
    }
    return REAL(write)(fd, data, size);
}

#define PWRITE(name)                                                                                                                                 \
    ssize_t name(int fd, const void *data, size_t size, off64_t offset) {                                                                            \
        unsigned long number = of_fd("pwrite", fd);                                                                                                  \
        if (fails(number))                                                                                                                           \
            return -1;                                                                                                                               \
        if (tears(number)) {                                                                                                                         \
            syscall(SYS_pwrite64, fd, data, size / 2, offset);                                                                                       \
            syscall(SYS_kill, getpid(), SIGKILL);                                                                                                    \
        }                                                                                                                                            \
        return REAL(name)(fd, data, size, offset);                                                                                                   \
    }
PWRITE(pwrite)
PWRITE(pwrite64)

/* A torn vector: its first part only. */
#define PWRITEV(name)                                                                                                                                \
    ssize_t name(int fd, const struct iovec *parts, int parts_count, off64_t offset) {                                                               \
        unsigned long number = of_fd("pwritev", fd);                                                                                                 \
        if (fails(number))                                                                                                                           \
            return -1;                                                                                                                               \
        if (tears(number)) {                                                                                                                         \
            syscall(SYS_pwrite64, fd, parts->iov_base, parts->iov_len / (parts_count > 1 ? 1 : 2), offset);                                          \
            syscall(SYS_kill, getpid(), SIGKILL);                                                                                                    \
        }                                                                                                                                            \
        return REAL(name)(fd, parts, parts_count, offset);                                                                                           \
    }
PWRITEV(pwritev)
PWRITEV(pwritev64)

ssize_t writev(int fd, const struct iovec *parts, int parts_count) {
    unsigned long number = of_fd("writev", fd);
    if (fails(number))
        return -1;
    if (tears(number)) {
        syscall(SYS_write, fd, parts->iov_base, parts->iov_len / (parts_count > 1 ? 1 : 2));
        syscall(SYS_kill, getpid(), SIGKILL);
    }
    return REAL(writev)(fd, parts, parts_count);
}

#define ON_FD(type, name, call, parameters, arguments)                                                                                               \
    type name parameters {                                                                                                                           \
        if (fails(of_fd(call, fd)))                                                                                                                  \
            return -1;                                                                                                                               \
        return REAL(name) arguments;                                                                                                                 \
    }
ON_FD(int, fsync, "fsync", (int fd), (fd))
ON_FD(int, fdatasync, "fdatasync", (int fd), (fd))
ON_FD(int, ftruncate, "ftruncate", (int fd, off_t size), (fd, size))
ON_FD(int, ftruncate64, "ftruncate", (int fd, off64_t size), (fd, size))

#define ON_PATH(name, call, directory, path, parameters, arguments)                                                                                  \
    int name parameters {                                                                                                                            \
        if (fails(of_path(call, directory, path)))                                                                                                   \
            return -1;                                                                                                                               \
        return REAL(name) arguments;                                                                                                                 \
    }
ON_PATH(rename, "rename", AT_FDCWD, new, (const char *old, const char *new), (old, new))
ON_PATH(renameat, "rename", to, new, (int from, const char *old, int to, const char *new), (from, old, to, new))
ON_PATH(renameat2, "rename", to, new, (int from, const char *old, int to, const char *new, unsigned flags), (from, old, to, new, flags))
ON_PATH(link, "link", AT_FDCWD, new, (const char *old, const char *new), (old, new))
ON_PATH(linkat, "link", to, new, (int from, const char *old, int to, const char *new, int flags), (from, old, to, new, flags))
ON_PATH(symlink, "symlink", AT_FDCWD, new, (const char *old, const char *new), (old, new))
ON_PATH(symlinkat, "symlink", to, new, (const char *old, int to, const char *new), (old, to, new))
ON_PATH(unlink, "unlink", AT_FDCWD, path, (const char *path), (path))
ON_PATH(unlinkat, "unlink", directory, path, (int directory, const char *path, int flags), (directory, path, flags))
ON_PATH(rmdir, "rmdir", AT_FDCWD, path, (const char *path), (path))
ON_PATH(mkdir, "mkdir", AT_FDCWD, path, (const char *path, mode_t mode), (path, mode))
ON_PATH(mkdirat, "mkdir", directory, path, (int directory, const char *path, mode_t mode), (directory, path, mode))

#define OPEN(name, directory, parameters, arguments)                                                                                                 \
    int name parameters {                                                                                                                            \
        mode_t mode = 0;                                                                                                                             \
        if (flags & (O_CREAT | O_TMPFILE)) {                                                                                                         \
            va_list more;                                                                                                                            \
            va_start(more, flags);                                                                                                                   \
            mode = va_arg(more, mode_t);                                                                                                             \
            va_end(more);                                                                                                                            \
        }                                                                                                                                            \
        if ((flags & O_CREAT) && fails(of_path("create", directory, path)))                                                                          \
            return -1;                                                                                                                               \
        return REAL(name) arguments;                                                                                                                 \
    }
OPEN(open, AT_FDCWD, (const char *path, int flags, ...), (path, flags, mode))
OPEN(open64, AT_FDCWD, (const char *path, int flags, ...), (path, flags, mode))
OPEN(openat, directory, (int directory, const char *path, int flags, ...), (directory, path, flags, mode))
OPEN(openat64, directory, (int directory, const char *path, int flags, ...), (directory, path, flags, mode))
