/* The processor time of a process and all its descendants, as /proc and its clocks give it. */
#ifndef CPU_H
#define CPU_H

#include "common.h"

#include <dirent.h>
#include <stdbool.h>
#include <time.h>

/* Seconds. `user` and `system` come in ticks of 10 ms; `total` is in nanoseconds as far as processes are still there. */
struct cpu_time {
    double total, user, system;
};

struct process {
    int pid, parent;
    bool ours;
    unsigned long user, system;
    long ended_user, ended_system; /* of its children that have ended */
};

/* Read /proc/PID/stat (proc_pid_stat(5)); utime and stime are of all threads. */
static inline bool read_process(const char *pid, struct process *process) {
    char path[64], line[1024];
    snprintf(path, sizeof path, "/proc/%.20s/stat", pid);
    FILE *file = fopen(path, "r");
    if (!file) return false;
    size_t size = fread(line, 1, sizeof line - 1, file);
    fclose(file);
    line[size] = 0;
    char *after = strrchr(line, ')'); /* a program's name may hold blanks and parentheses */
    process->pid = atoi(pid);
    process->ours = false;
    return after && sscanf(after + 1, " %*c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu %ld %ld", &process->parent,
                           &process->user, &process->system, &process->ended_user, &process->ended_system) == 5;
}

/* List all processes; give how many. */
static inline size_t read_processes(struct process **list) {
    size_t count = 0, room = 0;
    DIR *directory = opendir("/proc");
    if (!directory) fail("/proc");
    *list = NULL;
    for (struct dirent *entry; (entry = readdir(directory));) {
        if (entry->d_name[0] < '1' || entry->d_name[0] > '9') continue;
        if (count == room && !(*list = realloc(*list, (room = 2 * room + 64) * sizeof **list))) fail("memory");
        count += read_process(entry->d_name, &(*list)[count]);
    }
    closedir(directory);
    return count;
}

/* Give what a process and its descendants have used. `total` is negative if the process is not there. */
static inline struct cpu_time cpu_time_of(int root) {
    struct process *list;
    size_t count = read_processes(&list);
    struct cpu_time sum = {0};
    double tick = 1.0 / (double)sysconf(_SC_CLK_TCK);
    bool there = false, grown = true;
    for (size_t i = 0; i < count; i++) there |= list[i].ours = list[i].pid == root;
    while (grown) {
        grown = false;
        for (size_t i = 0; i < count; i++)
            for (size_t k = 0; k < count && !list[i].ours; k++)
                if (list[k].ours && list[k].pid == list[i].parent) grown = list[i].ours = true;
    }
    for (size_t i = 0; i < count; i++) {
        if (!list[i].ours) continue;
        double ended = (double)(list[i].ended_user + list[i].ended_system) * tick;
        double own = (double)(list[i].user + list[i].system) * tick;
        clockid_t clock;
        struct timespec used;
        if (!clock_getcpuclockid(list[i].pid, &clock) && !clock_gettime(clock, &used))
            own = (double)used.tv_sec + (double)used.tv_nsec / 1e9; /* the same quantity, to the nanosecond */
        sum.total += own + ended;
        sum.user += (double)(list[i].user + (unsigned long)list[i].ended_user) * tick;
        sum.system += (double)(list[i].system + (unsigned long)list[i].ended_system) * tick;
    }
    free(list);
    if (!there) sum.total = -1;
    return sum;
}

#endif
