/* A disk that fails, for a program that writes a SQLite database: preloaded, it stands between the program and libc.
 *
 * It acts on files whose names end in .db, .db-wal and .db-shm, and only on one order at a time, which it reads from the
 * file $STINT_DISK before each call (so that a test may give it while the program runs):
 *
 *   full        every write fails with ENOSPC
 *   sync once   the next fsync or fdatasync fails with EIO
 *   sync each   every one does
 *   read        the next read fails with EIO, once
 *   kill N      the process is killed before the Nth write, sync or cut from now on
 *   tear N      the same, when half of that write is done
 *   halt N      the process is killed before the Nth change of any file of the folder that $STINT_DISK is in: whatever
 *               is made, written, synced, cut, linked, renamed or removed there
 *
 * With $STINT_TRACE it keeps a record of what became of each file, one record a call: letter (w write, t truncate,
 * s sync), file (d database, w log), offset and length as 8 bytes each, little-endian, and what was written. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;
static long left = -1; /* calls until the end */
static char given[64]; /* the order that `left` was set by */

static ssize_t (*real_pwrite)(int, const void *, size_t, off_t);
static ssize_t (*real_write)(int, const void *, size_t);
static ssize_t (*real_pread)(int, void *, size_t, off_t);
static ssize_t (*real_read)(int, void *, size_t);
static int (*real_fsync)(int);
static int (*real_fdatasync)(int);
static int (*real_ftruncate)(int, off_t);
static int (*real_open)(const char *, int, ...);
static int (*real_rename)(const char *, const char *);
static int (*real_unlink)(const char *);
static int (*real_linkat)(int, const char *, int, const char *, int);
static int (*real_unlinkat)(int, const char *, int);
static int (*real_rmdir)(const char *);
static int (*real_mkdir)(const char *, mode_t);
static int (*real_chmod)(const char *, mode_t);
static ssize_t (*real_copy)(int, off_t *, int, off_t *, size_t, unsigned);

__attribute__((constructor)) static void find(void) {
    real_pwrite = dlsym(RTLD_NEXT, "pwrite64");
    real_write = dlsym(RTLD_NEXT, "write");
    real_pread = dlsym(RTLD_NEXT, "pread64");
    real_read = dlsym(RTLD_NEXT, "read");
    real_fsync = dlsym(RTLD_NEXT, "fsync");
    real_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
    real_ftruncate = dlsym(RTLD_NEXT, "ftruncate64");
    real_open = dlsym(RTLD_NEXT, "open64");
    real_rename = dlsym(RTLD_NEXT, "rename");
    real_unlink = dlsym(RTLD_NEXT, "unlink");
    real_linkat = dlsym(RTLD_NEXT, "linkat");
    real_unlinkat = dlsym(RTLD_NEXT, "unlinkat");
    real_rmdir = dlsym(RTLD_NEXT, "rmdir");
    real_mkdir = dlsym(RTLD_NEXT, "mkdir");
    real_chmod = dlsym(RTLD_NEXT, "chmod");
    real_copy = dlsym(RTLD_NEXT, "copy_file_range");
}

static int ends(const char *name, const char *with) {
    size_t a = strlen(name), b = strlen(with);
    return a >= b && !strcmp(name + a - b, with);
}

/* 'd' the database, 'w' its log, 0 what is none of ours. */
static char ours(int fd) {
    char link[64], name[4096];
    struct stat seen;
    if (fstat(fd, &seen) || !S_ISREG(seen.st_mode)) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, name, sizeof name - 1);
    if (n <= 0) return 0;
    name[n] = 0;
    if (ends(name, ".db")) return 'd';
    return ends(name, ".db-wal") ? 'w' : 0;
}

static void order(char *into, size_t size) {
    const char *path = getenv("STINT_DISK");
    into[0] = 0;
    if (!path) return;
    int fd = real_open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return;
    ssize_t n = real_pread(fd, into, size - 1, 0);
    into[n > 0 ? n : 0] = 0;
    close(fd);
}

static int always(const char *word) {
    char says[64];
    order(says, sizeof says);
    return !strncmp(says, word, strlen(word));
}

/* An order that holds once is taken back. */
static int once(const char *word) {
    int holds = always(word);
    if (holds) real_unlink(getenv("STINT_DISK"));
    return holds;
}

/* Counts one call of a file, a database's or (0) another's; 1 where it is the one to be torn. */
static int step(char file) {
    char says[64];
    order(says, sizeof says);
    if (strcmp(says, given)) {
        strcpy(given, says);
        int known = !strncmp(says, "kill ", 5) || !strncmp(says, "tear ", 5) || !strncmp(says, "halt ", 5);
        left = known ? atol(says + 5) : -1;
    }
    if (!file && given[0] != 'h') return 0;
    if (left < 0 || left-- > 0) return 0;
    if (given[0] == 't') return 1;
    kill(getpid(), SIGKILL);
    return 0;
}

/* Whether a name is of the folder. */
static int inside(const char *name) {
    const char *path = getenv("STINT_DISK");
    const char *slash = path ? strrchr(path, '/') : NULL;
    return slash && strcmp(name, path) && !strncmp(name, path, (size_t)(slash - path));
}

/* Counts the change of a file that is no database's. */
static void met(const char *name) {
    if (!inside(name)) return;
    pthread_mutex_lock(&turn);
    step(0);
    pthread_mutex_unlock(&turn);
}

static void met_by(int fd) {
    char link[64], name[4096];
    struct stat seen;
    if (!getenv("STINT_DISK") || fstat(fd, &seen) || !(S_ISREG(seen.st_mode) || S_ISDIR(seen.st_mode))) return;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, name, sizeof name - 1);
    if (n <= 0) return;
    name[n] = 0;
    met(name);
}

static void number(int fd, uint64_t n) {
    unsigned char bytes[8];
    for (int i = 0; i < 8; i++) bytes[i] = (unsigned char)(n >> (8 * i));
    real_write(fd, bytes, 8);
}

static void record(char what, char file, off_t at, size_t length, const void *bytes) {
    static int fd = -1;
    const char *path = getenv("STINT_TRACE");
    if (!path) return;
    if (fd < 0) fd = real_open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    char head[2] = {what, file};
    real_write(fd, head, 2);
    number(fd, (uint64_t)at);
    number(fd, length);
    if (bytes) real_write(fd, bytes, length);
}

static ssize_t put(int fd, char file, const void *bytes, size_t length, off_t at) {
    ssize_t done;
    pthread_mutex_lock(&turn);
    if (always("full")) {
        done = -1;
        errno = ENOSPC;
    } else if (step(file)) {
        real_pwrite(fd, bytes, length / 2, at);
        kill(getpid(), SIGKILL);
        done = -1;
    } else {
        done = real_pwrite(fd, bytes, length, at);
        if (done > 0) record('w', file, at, (size_t)done, bytes);
    }
    int error = errno;
    pthread_mutex_unlock(&turn);
    errno = error;
    return done;
}

ssize_t pwrite64(int fd, const void *bytes, size_t length, off_t at) {
    char file = ours(fd);
    if (!file) met_by(fd);
    return file ? put(fd, file, bytes, length, at) : real_pwrite(fd, bytes, length, at);
}

ssize_t pwrite(int fd, const void *bytes, size_t length, off_t at) { return pwrite64(fd, bytes, length, at); }

ssize_t write(int fd, const void *bytes, size_t length) {
    char file = ours(fd);
    if (!file) met_by(fd);
    return file ? put(fd, file, bytes, length, lseek(fd, 0, SEEK_CUR)) : real_write(fd, bytes, length);
}

ssize_t pread64(int fd, void *bytes, size_t length, off_t at) {
    if (ours(fd) && once("read")) {
        errno = EIO;
        return -1;
    }
    return real_pread(fd, bytes, length, at);
}

ssize_t pread(int fd, void *bytes, size_t length, off_t at) { return pread64(fd, bytes, length, at); }

ssize_t read(int fd, void *bytes, size_t length) {
    if (getenv("STINT_DISK") && ours(fd) && once("read")) {
        errno = EIO;
        return -1;
    }
    return real_read(fd, bytes, length);
}

static int sync_one(int fd, int (*real)(int)) {
    char file = ours(fd);
    if (!file) {
        met_by(fd);
        return real(fd);
    }
    pthread_mutex_lock(&turn);
    if (step(file)) kill(getpid(), SIGKILL);
    int done = -1;
    if (once("sync once") || always("sync each")) {
        errno = EIO;
    } else {
        done = real(fd);
        if (!done) record('s', file, 0, 0, NULL);
    }
    int error = errno;
    pthread_mutex_unlock(&turn);
    errno = error;
    return done;
}

int fsync(int fd) { return sync_one(fd, real_fsync); }

int fdatasync(int fd) { return sync_one(fd, real_fdatasync); }

int ftruncate64(int fd, off_t length) {
    char file = ours(fd);
    if (!file) {
        met_by(fd);
        return real_ftruncate(fd, length);
    }
    pthread_mutex_lock(&turn);
    if (step(file)) kill(getpid(), SIGKILL);
    int done = real_ftruncate(fd, length);
    if (!done) record('t', file, length, 0, NULL);
    pthread_mutex_unlock(&turn);
    return done;
}

int ftruncate(int fd, off_t length) { return ftruncate64(fd, length); }

int open64(const char *name, int flags, ...) {
    mode_t mode = 0;
    if (flags & (O_CREAT | O_TMPFILE)) {
        va_list more;
        va_start(more, flags);
        mode = va_arg(more, mode_t);
        va_end(more);
    }
    if (flags & O_CREAT) met(name);
    return real_open(name, flags, mode);
}

int open(const char *name, int flags, ...) {
    mode_t mode = 0;
    if (flags & (O_CREAT | O_TMPFILE)) {
        va_list more;
        va_start(more, flags);
        mode = va_arg(more, mode_t);
        va_end(more);
    }
    if (flags & O_CREAT) met(name);
    return real_open(name, flags, mode);
}

int rename(const char *from, const char *to) {
    met(to);
    return real_rename(from, to);
}

int unlink(const char *name) {
    met(name);
    return real_unlink(name);
}

int linkat(int from, const char *old, int to, const char *name, int flags) {
    met(name);
    return real_linkat(from, old, to, name, flags);
}

/* The names are within a folder that is open. */
int unlinkat(int folder, const char *name, int flags) {
    if (name[0] == '/') {
        met(name);
    } else {
        met_by(folder);
    }
    return real_unlinkat(folder, name, flags);
}

int rmdir(const char *name) {
    met(name);
    return real_rmdir(name);
}

int mkdir(const char *name, mode_t mode) {
    met(name);
    return real_mkdir(name, mode);
}

int chmod(const char *name, mode_t mode) {
    met(name);
    return real_chmod(name, mode);
}

ssize_t copy_file_range(int from, off_t *at, int to, off_t *there, size_t length, unsigned flags) {
    met_by(to);
    return real_copy(from, at, to, there, length, flags);
}
