/* The program in nixdock's demo image.

   It uses no C library, so that its closure is a few kilobytes and it needs nothing but the
   kernel. It has no writable data either: one segment holds it all. */

#ifndef GREETING
#error "GREETING must be the store path of the greeting"
#endif

#if defined(__x86_64__)

enum { SYS_READ = 0, SYS_WRITE = 1, SYS_CLOSE = 3, SYS_GETPID = 39, SYS_EXIT = 60, SYS_UNAME = 63,
       SYS_OPENAT = 257 };

__asm__(".globl _start\n"
        "_start:\n"
        "  mov %rsp, %rdi\n"
        "  and $-16, %rsp\n"
        "  call start\n");

static long call(long number, long a, long b, long c)
{
    register long mode __asm__("r10") = 0;
    long result;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(mode)
                     : "rcx", "r11", "memory");
    return result;
}

#elif defined(__aarch64__)

enum { SYS_OPENAT = 56, SYS_CLOSE = 57, SYS_READ = 63, SYS_WRITE = 64, SYS_EXIT = 93,
       SYS_UNAME = 160, SYS_GETPID = 172 };

__asm__(".globl _start\n"
        "_start:\n"
        "  mov x0, sp\n"
        "  bl start\n");

static long call(long number, long a, long b, long c)
{
    register long x8 __asm__("x8") = number;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = 0;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3) : "memory");
    return x0;
}

#else
#error "no system calls known for this machine"
#endif

enum { STDOUT = 1, STDERR = 2, AT_FDCWD = -100, EINTR = 4 };

/* The kernel's struct new_utsname. */
struct names { char system[65], node[65], release[65], version[65], machine[65], domain[65]; };

static _Noreturn void leave(int status)
{
    for (;;)
        call(SYS_EXIT, status, 0, 0);
}

static void put(int fd, const char *bytes, long count)
{
    while (count > 0) {
        long written = call(SYS_WRITE, fd, (long)bytes, count);
        if (written == -EINTR)
            continue;
        if (written <= 0)
            leave(1);
        bytes += written;
        count -= written;
    }
}

static void put_text(int fd, const char *text)
{
    long length = 0;
    while (text[length])
        length++;
    put(fd, text, length);
}

static void put_number(int fd, long number)
{
    char digits[20], *first = digits + sizeof digits;
    do {
        *--first = '0' + number % 10;
        number /= 10;
    } while (number);
    put(fd, first, digits + sizeof digits - first);
}

static _Noreturn void fail(const char *what)
{
    put_text(STDERR, "nixdock-demo: can't ");
    put_text(STDERR, what);
    put_text(STDERR, " " GREETING "\n");
    leave(1);
}

static void put_greeting(void)
{
    char buffer[512];
    long count;
    long fd = call(SYS_OPENAT, AT_FDCWD, (long)GREETING, 0);
    if (fd < 0)
        fail("open");
    while ((count = call(SYS_READ, fd, (long)buffer, sizeof buffer)) != 0) {
        if (count == -EINTR)
            continue;
        if (count < 0)
            fail("read");
        put(STDOUT, buffer, count);
    }
    call(SYS_CLOSE, fd, 0, 0);
}

__attribute__((used)) _Noreturn void start(const long *stack)
{
    long argc = stack[0];
    const char *const *argv = (const char *const *)(stack + 1);
    struct names names;

    put_greeting();
    put_text(STDOUT, "\nprogram    ");
    put_text(STDOUT, argc > 0 ? argv[0] : "unknown");
    put_text(STDOUT, "\narguments ");
    if (argc < 2)
        put_text(STDOUT, " none");
    for (long i = 1; i < argc; i++) {
        put_text(STDOUT, " ");
        put_text(STDOUT, argv[i]);
    }
    if (call(SYS_UNAME, (long)&names, 0, 0) == 0) {
        put_text(STDOUT, "\nhost       ");
        put_text(STDOUT, names.node);
        put_text(STDOUT, " (");
        put_text(STDOUT, names.machine);
        put_text(STDOUT, ")");
    }
    long pid = call(SYS_GETPID, 0, 0, 0);
    put_text(STDOUT, "\nprocess    ");
    put_number(STDOUT, pid);
    put_text(STDOUT, pid == 1 ? ", the container's first and only one\n" : "\n");
    leave(0);
}
