"""Which system calls a container may make: a table by purpose, with the same verdicts as docker's default profile.

What is not named here is refused with EPERM. The names are those of all architectures together; libseccomp passes over
a name that the container's architecture doesn't have. Calls that come with a later kernel than runc knows the profile
to cover get ENOSYS from runc itself, so that programs try an older way.

A rule may depend on a capability in the bounding set, on the architecture (Go's and libseccomp's name, "amd64"), or on
arguments. The facts are docker's (moby/profiles, seccomp/default.json); `tests/runtime` compares the verdicts.
"""

from __future__ import annotations

EPERM = 1
ENOSYS = 38

# purpose → calls that everybody may make
ALLOWED: dict[str, str] = {
    "files: open, read, write": """
        open openat openat2 creat close close_range read write readv writev pread64 pwrite64 preadv preadv2 pwritev
        pwritev2 lseek _llseek sendfile sendfile64 copy_file_range splice tee vmsplice readahead fadvise64 fadvise64_64
        fallocate truncate truncate64 ftruncate ftruncate64 dup dup2 dup3 fcntl fcntl64 flock ioctl umask cachestat""",
    "files: to the disk": "fsync fdatasync sync syncfs sync_file_range msync",
    "files: what they are": """
        stat stat64 lstat lstat64 fstat fstat64 fstatat64 newfstatat statx access faccessat faccessat2 readlink
        readlinkat statfs statfs64 fstatfs fstatfs64 getdents getdents64 name_to_handle_at statmount listmount""",
    "files: names": """
        link linkat symlink symlinkat unlink unlinkat rename renameat renameat2 mkdir mkdirat rmdir mknod mknodat
        chdir fchdir getcwd""",
    "files: attributes": """
        chmod fchmod fchmodat fchmodat2 chown chown32 fchown fchown32 lchown lchown32 fchownat utime utimes futimesat
        utimensat utimensat_time64 getxattr lgetxattr fgetxattr getxattrat setxattr lsetxattr fsetxattr setxattrat
        listxattr llistxattr flistxattr listxattrat removexattr lremovexattr fremovexattr removexattrat""",
    "files: watching": "inotify_init inotify_init1 inotify_add_watch inotify_rm_watch fanotify_mark",
    "asynchronous input and output": """
        io_setup io_destroy io_submit io_cancel io_getevents io_pgetevents io_pgetevents_time64
        ioprio_get ioprio_set""",
    "waiting for descriptors": """
        select _newselect pselect6 pselect6_time64 poll ppoll ppoll_time64 epoll_create epoll_create1 epoll_ctl
        epoll_ctl_old epoll_wait epoll_wait_old epoll_pwait epoll_pwait2 eventfd eventfd2 signalfd signalfd4""",
    "pipes and sockets": """
        pipe pipe2 socketpair socketcall bind listen accept accept4 connect shutdown getsockname getpeername getsockopt
        setsockopt send sendto sendmsg sendmmsg recv recvfrom recvmsg recvmmsg recvmmsg_time64""",
    "memory": """
        brk mmap mmap2 munmap mremap mprotect madvise mincore mlock mlock2 mlockall munlock munlockall memfd_create
        memfd_secret membarrier remap_file_pages pkey_alloc pkey_free pkey_mprotect mseal map_shadow_stack""",
    "processes": """
        execve execveat fork vfork exit exit_group wait4 waitid waitpid getpid getppid gettid getpgid getpgrp setpgid
        getsid setsid prctl pidfd_open pidfd_send_signal process_mrelease restart_syscall uretprobe""",
    "users and groups": """
        getuid getuid32 geteuid geteuid32 getgid getgid32 getegid getegid32 getresuid getresuid32 getresgid getresgid32
        setuid setuid32 setgid setgid32 setreuid setreuid32 setregid setregid32 setresuid setresuid32 setresgid
        setresgid32 setfsuid setfsuid32 setfsgid setfsgid32 getgroups getgroups32 setgroups setgroups32
        capget capset""",
    "threads and locks": """
        futex futex_time64 futex_wait futex_waitv futex_wake futex_requeue get_robust_list set_robust_list
        get_thread_area set_thread_area set_tid_address rseq""",
    "scheduling and limits": """
        sched_yield sched_getaffinity sched_setaffinity sched_getattr sched_setattr sched_getparam sched_setparam
        sched_getscheduler sched_setscheduler sched_get_priority_max sched_get_priority_min sched_rr_get_interval
        sched_rr_get_interval_time64 getpriority setpriority getrlimit ugetrlimit setrlimit prlimit64 getrusage times
        getcpu""",
    "signals": """
        kill tkill tgkill rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_tgsigqueueinfo rt_sigreturn
        rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64 sigaltstack sigprocmask sigreturn pause alarm""",
    "clocks and timers": """
        time gettimeofday clock_gettime clock_gettime64 clock_getres clock_getres_time64 clock_nanosleep
        clock_nanosleep_time64 nanosleep adjtimex clock_adjtime clock_adjtime64 getitimer setitimer timer_create
        timer_delete timer_getoverrun timer_gettime timer_gettime64 timer_settime timer_settime64 timerfd_create
        timerfd_gettime timerfd_gettime64 timerfd_settime timerfd_settime64""",
    "messages, semaphores, shared memory": """
        ipc msgctl msgget msgrcv msgsnd semctl semget semop semtimedop semtimedop_time64 shmat shmctl shmdt shmget
        mq_open mq_unlink mq_notify mq_getsetattr mq_timedreceive mq_timedreceive_time64 mq_timedsend
        mq_timedsend_time64""",
    "locking oneself in": "seccomp landlock_create_ruleset landlock_add_rule landlock_restrict_self",
    "the machine": "uname sysinfo getrandom riscv_hwprobe",
}

# Since Linux 4.8 seccomp is asked again for what a tracer changes (seccomp(2)), so tracing gives no way around it.
TRACING = "ptrace process_vm_readv process_vm_writev"

# capability → calls that only a container with it may make
WITH_CAPABILITY: dict[str, str] = {
    "CAP_DAC_READ_SEARCH": "open_by_handle_at",
    "CAP_SYS_ADMIN": """
        mount umount umount2 mount_setattr move_mount open_tree fsopen fsconfig fsmount fspick unshare setns clone
        clone3 sethostname setdomainname bpf perf_event_open fanotify_init quotactl quotactl_fd syslog lookup_dcookie
        lsm_get_self_attr lsm_set_self_attr lsm_list_modules""",
    "CAP_SYS_BOOT": "reboot",
    "CAP_SYS_CHROOT": "chroot",
    "CAP_SYS_MODULE": "init_module finit_module delete_module",
    "CAP_SYS_PACCT": "acct",
    "CAP_SYS_PTRACE": "ptrace process_vm_readv process_vm_writev process_madvise kcmp pidfd_getfd",
    "CAP_SYS_RAWIO": "iopl ioperm",
    "CAP_SYS_TIME": "settimeofday stime clock_settime clock_settime64",
    "CAP_SYS_TTY_CONFIG": "vhangup",
    "CAP_SYS_NICE": "get_mempolicy set_mempolicy set_mempolicy_home_node mbind",
    "CAP_SYSLOG": "syslog",
    "CAP_BPF": "bpf",
    "CAP_PERFMON": "perf_event_open",
}

# architectures → calls that they alone have
OF_ARCHITECTURE: dict[tuple[str, ...], str] = {
    ("amd64", "x32"): "arch_prctl",
    ("amd64", "x32", "x86"): "modify_ldt",
    ("arm", "arm64"): "arm_fadvise64_64 arm_sync_file_range sync_file_range2 breakpoint cacheflush set_tls",
    ("ppc64le",): "sync_file_range2 swapcontext",
    ("s390", "s390x"): "s390_pci_mmio_read s390_pci_mmio_write s390_runtime_instr",
    ("riscv64",): "riscv_flush_icache",
}

# socket(2): every family but AF_ALG (38), whose kernel side has been an exploit's way in, and AF_VSOCK (40), which
# leaves the container past its network namespace.
SOCKET_FAMILIES = (("SCMP_CMP_LT", 38), ("SCMP_CMP_EQ", 39), ("SCMP_CMP_GT", 40))

# personality(2): PER_LINUX, PER_LINUX32, each with UNAME26, and the question which one it is.
PERSONALITIES = (0x0, 0x8, 0x20000, 0x20008, 0xFFFFFFFF)

# clone(2) with none of CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET: no namespaces of its own.
# Flags of clone3(2) are behind a pointer, where seccomp can't look: ENOSYS, and libc takes clone.
CLONE_NAMESPACES = 0x7E020000
CLONE_FLAGS_SECOND = ("s390", "s390x")  # there the flags are clone's second argument

# architecture → its name for libseccomp, and those whose programs run on it too
ARCHITECTURES: dict[str, tuple[str, ...]] = {
    "amd64": ("SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"),
    "386": ("SCMP_ARCH_X86",),
    "arm64": ("SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"),
    "arm": ("SCMP_ARCH_ARM",),
    "mips64": ("SCMP_ARCH_MIPS64", "SCMP_ARCH_MIPS", "SCMP_ARCH_MIPS64N32"),
    "mips64le": ("SCMP_ARCH_MIPSEL64", "SCMP_ARCH_MIPSEL", "SCMP_ARCH_MIPSEL64N32"),
    "mipsle": ("SCMP_ARCH_MIPSEL",),
    "ppc64": ("SCMP_ARCH_PPC64",),
    "ppc64le": ("SCMP_ARCH_PPC64LE",),
    "s390x": ("SCMP_ARCH_S390X", "SCMP_ARCH_S390"),
    "riscv64": ("SCMP_ARCH_RISCV64",),
    "loong64": ("SCMP_ARCH_LOONGARCH64",),
}
