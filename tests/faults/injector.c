/* Preloaded into a process (LD_PRELOAD): counts its calls that change files below a directory, mount or unmount there, or send something
 * to a server, and at one of them kills the process, or lets the call fail. The count is shared by all processes and threads that inherit
 * the environment, so every call is one numbered point.
 *
 * INJECT_ROOT   only files below this directory count
 * INJECT_COUNT  file of seven numbers of eight bytes, `struct control`: the count, and what is commanded
 * INJECT_LOG    optional file; a line "NUMBER CALL PATH" is appended for each call that counts, or for each that fails if commanded
 * INJECT_AT     number of the call at which something happens; 0 for none
 * INJECT_NET    1: calls that send something over TCP count too; their PATH is "ADDRESS:PORT" and the text that is sent begins with
 * INJECT_DO     kill: SIGKILL before the call; tear: SIGKILL after half of a write; a number: the errno of that call. Of what is sent
 *               also: after: SIGKILL when it was sent; lose: the answer is waited for and thrown away, and the connection ends;
 *               command: what the file of the count says, while the process runs, of the classes of calls that it names
 * INJECT_TIMES  how many calls, beginning with that one, fail with the errno (1)
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <ctype.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <dirent.h>
#include <limits.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define ANSWER_MS 1000 /* a part of a request has no answer */
#define TEXT_BYTES 72

/* Classes of calls; those of OPENS and beyond are of the whole process if ANYWHERE is commanded. */
enum { CHANGES = 1, SPACE = 2, READS = 4, OPENS = 8, MEMORY = 16, THREADS = 32, CLOCK = 64, ANYWHERE = 128 };

struct control {
    unsigned long count, at, times, failure, classes, bytes_min; /* bytes_min: of an allocation that counts */
    long jump_s;                                                 /* added to the time of day */
};

static struct control *control;
static unsigned long fail_at, fail_times = 1;
static const char *root;
static size_t root_length;
static enum { NOTHING, KILL, TEAR, FAIL, AFTER, LOSE, COMMANDED } what = NOTHING;
static int failure;
static int counts_network;
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
    control = (struct control *)syscall(SYS_mmap, NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    syscall(SYS_close, fd);
    if (control == MAP_FAILED) {
        control = NULL;
        return;
    }
    if (log_path) { /* high, out of the way of programs that close or count descriptors */
        fd = (int)syscall(SYS_openat, AT_FDCWD, log_path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
        log_fd = fcntl(fd, F_DUPFD_CLOEXEC, 900);
        syscall(SYS_close, fd);
    }
    counts_network = getenv("INJECT_NET") && !strcmp(getenv("INJECT_NET"), "1");
    if (getenv("INJECT_AT"))
        fail_at = strtoul(getenv("INJECT_AT"), NULL, 10);
    if (getenv("INJECT_TIMES"))
        fail_times = strtoul(getenv("INJECT_TIMES"), NULL, 10);
    if (todo && !strcmp(todo, "kill"))
        what = KILL;
    else if (todo && !strcmp(todo, "tear"))
        what = TEAR;
    else if (todo && !strcmp(todo, "after"))
        what = AFTER;
    else if (todo && !strcmp(todo, "lose"))
        what = LOSE;
    else if (todo && !strcmp(todo, "command"))
        what = COMMANDED;
    else if (todo) {
        what = FAIL;
        failure = atoi(todo);
    }
}

static int is_below(const char *path) { return !strncmp(path, root, root_length) && (path[root_length] == '/' || !path[root_length]); }

static void note(unsigned long number, const char *call, const char *path) {
    char line[PATH_MAX + 64];
    int length;
    if (log_fd >= 0) {
        length = snprintf(line, sizeof line, "%lu %s %s\n", number, call, path);
        syscall(SYS_write, log_fd, line, (size_t)length);
    }
}

static int is_commanded(int classes) { return what == COMMANDED && control && (control->classes & (unsigned long)classes); }

/* Whether calls of these classes count now. */
static int count_now(int classes) { return control && (what == COMMANDED ? is_commanded(classes) : (classes & CHANGES)); }

/* The number of this call. */
static unsigned long next(const char *call, const char *path) {
    unsigned long number = __sync_add_and_fetch(&control->count, 1);
    if (what != COMMANDED)
        note(number, call, path);
    else if (control->at && number >= control->at && number - control->at < control->times)
        note(number, call, path);
    return number;
}

/* The same for a file's, or 0 if it does not count. */
static unsigned long numbered(const char *call, int classes, const char *path) {
    if (is_below(path))
        return next(call, path + root_length);
    return (classes & ~(CHANGES | SPACE | READS)) && is_commanded(ANYWHERE) ? next(call, path) : 0;
}

/* Dies here if that is what should happen; whether the call is to fail. */
static int fails(unsigned long number) {
    if (!number)
        return 0;
    if (what == COMMANDED) {
        if (!control->at || number < control->at || number - control->at >= control->times)
            return 0;
        errno = (int)control->failure;
        return 1;
    }
    if (number < fail_at || !fail_at)
        return 0;
    if (what == KILL && number == fail_at)
        syscall(SYS_kill, getpid(), SIGKILL);
    if (what == FAIL && number < fail_at + fail_times) {
        errno = failure;
        return 1;
    }
    return 0;
}

static unsigned long of_path(const char *call, int classes, int directory, const char *path) {
    char whole[PATH_MAX * 2], link[64];
    ssize_t length;
    if (!count_now(classes) || !path)
        return 0;
    if (path[0] == '/')
        return numbered(call, classes, path);
    if (directory == AT_FDCWD)
        length = syscall(SYS_readlinkat, AT_FDCWD, "/proc/self/cwd", whole, (size_t)PATH_MAX);
    else {
        snprintf(link, sizeof link, "/proc/self/fd/%d", directory);
        length = syscall(SYS_readlinkat, AT_FDCWD, link, whole, (size_t)PATH_MAX);
    }
    if (length <= 0)
        return 0;
    snprintf(whole + length, sizeof whole - (size_t)length, "/%s", path);
    return numbered(call, classes, whole);
}

static unsigned long of_fd(const char *call, int classes, int fd) {
    char path[PATH_MAX], link[64];
    ssize_t length;
    int kept = errno;
    if (!count_now(classes))
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    length = syscall(SYS_readlinkat, AT_FDCWD, link, path, sizeof path - 1);
    errno = kept;
    if (length <= 0)
        return 0;
    path[length] = 0;
    return numbered(call, classes, path);
}

static int tears(unsigned long number) { return what == TEAR && number && number == fail_at; }

/* The number of a call that sends something over TCP, or 0 for another. What can be read of it says which request it is. */
static unsigned long of_socket(const char *call, int fd, const char *data, size_t size) {
    struct sockaddr_storage peer;
    socklen_t length = sizeof peer;
    char text[TEXT_BYTES + INET6_ADDRSTRLEN + 16];
    size_t i, end;
    int kept = errno, port, is_other;
    if (!control || what == COMMANDED || !counts_network || !size)
        return 0;
    is_other = getpeername(fd, (struct sockaddr *)&peer, &length) || (peer.ss_family != AF_INET && peer.ss_family != AF_INET6);
    errno = kept;
    if (is_other)
        return 0;
    if (peer.ss_family == AF_INET) {
        inet_ntop(AF_INET, &((struct sockaddr_in *)&peer)->sin_addr, text, INET6_ADDRSTRLEN);
        port = ntohs(((struct sockaddr_in *)&peer)->sin_port);
    } else {
        inet_ntop(AF_INET6, &((struct sockaddr_in6 *)&peer)->sin6_addr, text, INET6_ADDRSTRLEN);
        port = ntohs(((struct sockaddr_in6 *)&peer)->sin6_port);
    }
    end = strlen(text);
    end += (size_t)sprintf(text + end, ":%d ", port);
    for (i = 0; i < size && i < TEXT_BYTES && data[i] != '\n'; i++)
        if (isprint((unsigned char)data[i]))
            text[end++] = data[i];
    text[end] = 0;
    return next(call, text);
}

/* What happens to a request that was sent. */
static void sent(unsigned long number, int fd) {
    struct pollfd answer = {.fd = fd, .events = POLLIN};
    char thrown_away[4096];
    int kept = errno;
    if (!number || number != fail_at)
        return;
    if (what == AFTER)
        syscall(SYS_kill, getpid(), SIGKILL);
    if (what != LOSE)
        return;
    poll(&answer, 1, ANSWER_MS);
    while (syscall(SYS_recvfrom, fd, thrown_away, sizeof thrown_away, MSG_DONTWAIT, NULL, NULL) > 0)
        ;
    shutdown(fd, SHUT_RDWR);
    errno = kept;
}

#define SEND(name, parameters, arguments)                                                                                                            \
    ssize_t name parameters {                                                                                                                        \
        unsigned long number = of_socket("send", fd, data, size);                                                                                    \
        ssize_t done;                                                                                                                                \
        if (fails(number))                                                                                                                           \
            return -1;                                                                                                                               \
        if (tears(number)) {                                                                                                                         \
            syscall(SYS_sendto, fd, data, size / 2, flags, NULL, 0);                                                                                 \
            syscall(SYS_kill, getpid(), SIGKILL);                                                                                                    \
        }                                                                                                                                            \
        done = REAL(name) arguments;                                                                                                                 \
        sent(number, fd);                                                                                                                            \
        return done;                                                                                                                                 \
    }
SEND(send, (int fd, const void *data, size_t size, int flags), (fd, data, size, flags))
SEND(sendto, (int fd, const void *data, size_t size, int flags, const struct sockaddr *to, socklen_t length), (fd, data, size, flags, to, length))

/* Torn: the first part only. */
#define SEND_PARTS(parts, parts_count, real)                                                                                                   \
    ssize_t done;                                                                                                                                    \
    if (fails(number))                                                                                                                               \
        return -1;                                                                                                                                   \
    if (tears(number)) {                                                                                                                             \
        syscall(SYS_write, fd, (parts)->iov_base, (parts)->iov_len / ((parts_count) > 1 ? 1 : 2));                                                   \
        syscall(SYS_kill, getpid(), SIGKILL);                                                                                                        \
    }                                                                                                                                                \
    done = real;                                                                                                                                     \
    sent(number, fd);                                                                                                                                \
    return done;

static size_t parts_bytes(const struct iovec *parts, size_t parts_count) {
    size_t i, bytes = 0;
    for (i = 0; i < parts_count; i++)
        bytes += parts[i].iov_len;
    return bytes;
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags) {
    size_t size = parts_bytes(message->msg_iov, message->msg_iovlen) ? message->msg_iov->iov_len : 0;
    unsigned long number = of_socket("send", fd, size ? message->msg_iov->iov_base : NULL, size);
    SEND_PARTS(message->msg_iov, message->msg_iovlen, REAL(sendmsg)(fd, message, flags))
}

/* Of a file or of a socket. */
static unsigned long of_written(const char *call, int fd, const void *data, size_t size) {
    unsigned long number = of_fd(call, CHANGES | SPACE, fd);
    return number ? number : of_socket("send", fd, data, size);
}

ssize_t write(int fd, const void *data, size_t size) {
    unsigned long number = of_written("write", fd, data, size);
    ssize_t done;
    if (fails(number))
        return -1;
    if (tears(number)) {
        syscall(SYS_write, fd, data, size / 2);
        syscall(SYS_kill, getpid(), SIGKILL);
    }
    done = REAL(write)(fd, data, size);
    sent(number, fd);
    return done;
}

#define PWRITE(name)                                                                                                                                 \
    ssize_t name(int fd, const void *data, size_t size, off64_t offset) {                                                                            \
        unsigned long number = of_fd("pwrite", CHANGES | SPACE, fd);                                                                                                  \
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
        unsigned long number = of_fd("pwritev", CHANGES | SPACE, fd);                                                                                                 \
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
    unsigned long number = of_written("writev", fd, parts_count ? parts->iov_base : NULL, parts_count ? parts->iov_len : 0);
    SEND_PARTS(parts, parts_count, REAL(writev)(fd, parts, parts_count))
}

#define ON_FD(type, name, call, classes, parameters, arguments)                                                                                               \
    type name parameters {                                                                                                                           \
        if (fails(of_fd(call, classes, fd)))                                                                                                                  \
            return -1;                                                                                                                               \
        return REAL(name) arguments;                                                                                                                 \
    }
ON_FD(int, fsync, "fsync", CHANGES | SPACE, (int fd), (fd))
ON_FD(int, fdatasync, "fdatasync", CHANGES | SPACE, (int fd), (fd))
ON_FD(int, ftruncate, "ftruncate", CHANGES, (int fd, off_t size), (fd, size))
ON_FD(int, ftruncate64, "ftruncate", CHANGES, (int fd, off64_t size), (fd, size))

#define ON_PATH(name, call, classes, directory, path, parameters, arguments)                                                                                  \
    int name parameters {                                                                                                                            \
        if (fails(of_path(call, classes, directory, path)))                                                                                                   \
            return -1;                                                                                                                               \
        return REAL(name) arguments;                                                                                                                 \
    }
ON_PATH(rename, "rename", CHANGES | SPACE, AT_FDCWD, new, (const char *old, const char *new), (old, new))
ON_PATH(renameat, "rename", CHANGES | SPACE, to, new, (int from, const char *old, int to, const char *new), (from, old, to, new))
ON_PATH(renameat2, "rename", CHANGES | SPACE, to, new, (int from, const char *old, int to, const char *new, unsigned flags), (from, old, to, new, flags))
ON_PATH(link, "link", CHANGES | SPACE, AT_FDCWD, new, (const char *old, const char *new), (old, new))
ON_PATH(linkat, "link", CHANGES | SPACE, to, new, (int from, const char *old, int to, const char *new, int flags), (from, old, to, new, flags))
ON_PATH(symlink, "symlink", CHANGES | SPACE, AT_FDCWD, new, (const char *old, const char *new), (old, new))
ON_PATH(symlinkat, "symlink", CHANGES | SPACE, to, new, (const char *old, int to, const char *new), (old, to, new))
ON_PATH(unlink, "unlink", CHANGES, AT_FDCWD, path, (const char *path), (path))
ON_PATH(unlinkat, "unlink", CHANGES, directory, path, (int directory, const char *path, int flags), (directory, path, flags))
ON_PATH(rmdir, "rmdir", CHANGES, AT_FDCWD, path, (const char *path), (path))
ON_PATH(mkdir, "mkdir", CHANGES | SPACE, AT_FDCWD, path, (const char *path, mode_t mode), (path, mode))
ON_PATH(mkdirat, "mkdir", CHANGES | SPACE, directory, path, (int directory, const char *path, mode_t mode), (directory, path, mode))

ON_PATH(mount, "mount", CHANGES, AT_FDCWD, to, (const char *what, const char *to, const char *kind, unsigned long flags, const void *options),
        (what, to, kind, flags, options))
ON_PATH(umount, "umount", CHANGES, AT_FDCWD, path, (const char *path), (path))
ON_PATH(umount2, "umount", CHANGES, AT_FDCWD, path, (const char *path, int flags), (path, flags))

#define OPEN(name, directory, parameters, arguments)                                                                                                 \
    int name parameters {                                                                                                                            \
        mode_t mode = 0;                                                                                                                             \
        if (flags & (O_CREAT | O_TMPFILE)) {                                                                                                         \
            va_list more;                                                                                                                            \
            va_start(more, flags);                                                                                                                   \
            mode = va_arg(more, mode_t);                                                                                                             \
            va_end(more);                                                                                                                            \
        }                                                                                                                                            \
        if (fails(flags & O_CREAT ? of_path("create", CHANGES | SPACE | OPENS, directory, path) : of_path("open", READS | OPENS, directory, path)))                                                                          \
            return -1;                                                                                                                               \
        return REAL(name) arguments;                                                                                                                 \
    }
OPEN(open, AT_FDCWD, (const char *path, int flags, ...), (path, flags, mode))
OPEN(open64, AT_FDCWD, (const char *path, int flags, ...), (path, flags, mode))
OPEN(openat, directory, (int directory, const char *path, int flags, ...), (directory, path, flags, mode))
OPEN(openat64, directory, (int directory, const char *path, int flags, ...), (directory, path, flags, mode))

/* What only counts on command. */

ON_FD(ssize_t, read, "read", READS, (int fd, void *data, size_t size), (fd, data, size))
ON_FD(ssize_t, readv, "read", READS, (int fd, const struct iovec *parts, int parts_count), (fd, parts, parts_count))
ON_FD(ssize_t, pread, "pread", READS, (int fd, void *data, size_t size, off_t offset), (fd, data, size, offset))
ON_FD(ssize_t, pread64, "pread", READS, (int fd, void *data, size_t size, off64_t offset), (fd, data, size, offset))
ON_FD(ssize_t, preadv, "pread", READS, (int fd, const struct iovec *parts, int parts_count, off_t offset), (fd, parts, parts_count, offset))
ON_FD(ssize_t, preadv64, "pread", READS, (int fd, const struct iovec *parts, int parts_count, off64_t offset), (fd, parts, parts_count, offset))
ON_FD(ssize_t, preadv2, "pread", READS, (int fd, const struct iovec *parts, int parts_count, off_t offset, int flags),
      (fd, parts, parts_count, offset, flags))
ON_FD(ssize_t, preadv64v2, "pread", READS, (int fd, const struct iovec *parts, int parts_count, off64_t offset, int flags),
      (fd, parts, parts_count, offset, flags))
ON_FD(int, fstat, "stat", READS, (int fd, struct stat *found), (fd, found))
ON_FD(int, fstat64, "stat", READS, (int fd, struct stat64 *found), (fd, found))
ON_FD(int, fstatvfs, "statvfs", READS, (int fd, struct statvfs *found), (fd, found))
ON_FD(int, fstatvfs64, "statvfs", READS, (int fd, struct statvfs64 *found), (fd, found))
ON_FD(ssize_t, copy_file_range, "copy_file_range", SPACE, (int from, off64_t *from_at, int fd, off64_t *at, size_t size, unsigned flags),
      (from, from_at, fd, at, size, flags))
ON_FD(int, fallocate, "fallocate", SPACE, (int fd, int mode, off_t offset, off_t size), (fd, mode, offset, size))
ON_FD(int, fallocate64, "fallocate", SPACE, (int fd, int mode, off64_t offset, off64_t size), (fd, mode, offset, size))
ON_PATH(stat, "stat", READS, AT_FDCWD, path, (const char *path, struct stat *found), (path, found))
ON_PATH(stat64, "stat", READS, AT_FDCWD, path, (const char *path, struct stat64 *found), (path, found))
ON_PATH(lstat, "stat", READS, AT_FDCWD, path, (const char *path, struct stat *found), (path, found))
ON_PATH(lstat64, "stat", READS, AT_FDCWD, path, (const char *path, struct stat64 *found), (path, found))
ON_PATH(fstatat, "stat", READS, directory, path, (int directory, const char *path, struct stat *found, int flags), (directory, path, found, flags))
ON_PATH(fstatat64, "stat", READS, directory, path, (int directory, const char *path, struct stat64 *found, int flags),
        (directory, path, found, flags))
ON_PATH(statvfs, "statvfs", READS, AT_FDCWD, path, (const char *path, struct statvfs *found), (path, found))
ON_PATH(statvfs64, "statvfs", READS, AT_FDCWD, path, (const char *path, struct statvfs64 *found), (path, found))

/* They return the errno. */
int posix_fallocate(int fd, off_t offset, off_t size) {
    return fails(of_fd("fallocate", CHANGES | SPACE, fd)) ? errno : REAL(posix_fallocate)(fd, offset, size);
}
int posix_fallocate64(int fd, off64_t offset, off64_t size) {
    return fails(of_fd("fallocate", CHANGES | SPACE, fd)) ? errno : REAL(posix_fallocate64)(fd, offset, size);
}

DIR *opendir(const char *path) { return fails(of_path("opendir", READS | OPENS, AT_FDCWD, path)) ? NULL : REAL(opendir)(path); }

/* Descriptors that are no files, and what has no place at all. */
static int fails_anywhere(const char *call, int class) {
    return is_commanded(class) && is_commanded(ANYWHERE) && fails(next(call, "-"));
}

#define MAKES_FD(name, parameters, arguments)                                                                                                        \
    int name parameters { return fails_anywhere(#name, OPENS) ? -1 : REAL(name) arguments; }
MAKES_FD(socket, (int domain, int type, int protocol), (domain, type, protocol))
MAKES_FD(accept, (int fd, struct sockaddr *address, socklen_t *size), (fd, address, size))
MAKES_FD(accept4, (int fd, struct sockaddr *address, socklen_t *size, int flags), (fd, address, size, flags))
MAKES_FD(pipe2, (int fds[2], int flags), (fds, flags))
MAKES_FD(dup, (int fd), (fd))

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*work)(void *), void *argument) {
    return fails_anywhere("pthread_create", THREADS) ? EAGAIN : REAL(pthread_create)(thread, attributes, work, argument);
}

static int is_refused(const char *call, size_t size) {
    return is_commanded(MEMORY) && size >= control->bytes_min && fails(next(call, "-"));
}

extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t);
void *malloc(size_t size) { return is_refused("malloc", size) ? NULL : __libc_malloc(size); }
void *calloc(size_t number, size_t size) { return is_refused("calloc", number * size) ? NULL : __libc_calloc(number, size); }
void *realloc(void *old, size_t size) { return is_refused("realloc", size) ? NULL : __libc_realloc(old, size); }

static void *mapped(void *at, size_t size, int protection, int flags, int fd, off64_t offset) {
    if (fd < 0 ? is_refused("mmap", size) : fails(of_fd("mmap", READS, fd)))
        return MAP_FAILED;
    return (void *)syscall(SYS_mmap, at, size, protection, flags, fd, offset);
}
void *mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset) { return mapped(at, size, protection, flags, fd, offset); }
void *mmap64(void *at, size_t size, int protection, int flags, int fd, off64_t offset) { return mapped(at, size, protection, flags, fd, offset); }

/* The time of day as it is after a jump; the monotonic clock has none. */
int clock_gettime(clockid_t clock, struct timespec *now) {
    int result = (int)syscall(SYS_clock_gettime, clock, now);
    if (!result && clock == CLOCK_REALTIME && is_commanded(CLOCK))
        now->tv_sec += control->jump_s;
    return result;
}
time_t time(time_t *at) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (at)
        *at = now.tv_sec;
    return now.tv_sec;
}
int gettimeofday(struct timeval *at, void *zone) {
    struct timespec now;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &now);
    at->tv_sec = now.tv_sec;
    at->tv_usec = now.tv_nsec / 1000;
    return 0;
}
