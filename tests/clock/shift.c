/* Adds the seconds that stand in the file $AUSCULT_TEST_CLOCK to every reading of the wall clock. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/time.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>

static long offset(void) {
    static long seconds;
    static unsigned reads;
    /* The file is looked at now and then: the clock is read far more often than it jumps. */
    if (__atomic_fetch_add(&reads, 1, __ATOMIC_RELAXED) % 64 == 0) {
        char text[32] = {0};
        const char *path = getenv("AUSCULT_TEST_CLOCK");
        int file = path ? open(path, O_RDONLY) : -1;
        if (file >= 0) {
            if (read(file, text, sizeof text - 1) > 0)
                seconds = atol(text);
            close(file);
        }
    }
    return seconds;
}

int clock_gettime(clockid_t id, struct timespec *time) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real)
        real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(id, time);
    if (result == 0 && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE))
        time->tv_sec += offset();
    return result;
}

int gettimeofday(struct timeval *restrict time, void *restrict zone) {
    static int (*real)(struct timeval *, void *);
    if (!real)
        real = (int (*)(struct timeval *, void *))dlsym(RTLD_NEXT, "gettimeofday");
    int result = real(time, zone);
    if (result == 0)
        time->tv_sec += offset();
    return result;
}

time_t time(time_t *out) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (out)
        *out = now.tv_sec;
    return now.tv_sec;
}

/* The kernel's clock does not jump: a time to wait until is told in the kernel's own. Times of the other clock count from
 * the machine's start. The file may be read anew between a deadline's making and its use: one that lies further away
 * than anybody waits was made under another offset, and is left to be waited for shortly. */
static struct timespec kernels(const struct timespec *until) {
    struct timespec shifted = *until, now;
    if (shifted.tv_sec > 1000000000) {
        shifted.tv_sec -= offset();
        clock_gettime(CLOCK_REALTIME, &now);
        now.tv_sec -= offset();
        if (shifted.tv_sec > now.tv_sec + 1800) {
            shifted = now;
            shifted.tv_sec += 1;
        }
    }
    return shifted;
}

int pthread_cond_timedwait(pthread_cond_t *restrict cond, pthread_mutex_t *restrict mutex,
                           const struct timespec *restrict until) {
    static int (*real)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);
    if (!real)
        real = (int (*)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *))dlvsym(
            RTLD_NEXT, "pthread_cond_timedwait", "GLIBC_2.3.2");
    if (!real)
        real = (int (*)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *))dlsym(
            RTLD_NEXT, "pthread_cond_timedwait");
    struct timespec shifted = kernels(until);
    return real(cond, mutex, &shifted);
}

/* What librdkafka waits by. */
int cnd_timedwait(cnd_t *restrict cond, mtx_t *restrict mutex, const struct timespec *restrict until) {
    static int (*real)(cnd_t *, mtx_t *, const struct timespec *);
    if (!real)
        real = (int (*)(cnd_t *, mtx_t *, const struct timespec *))dlsym(RTLD_NEXT, "cnd_timedwait");
    struct timespec shifted = kernels(until);
    return real(cond, mutex, &shifted);
}
