/* Owns: how frames get into and out of a queue of a TUN device, and what of its offload is switched on. Must not know what is
 * in a frame, nor whose it is. Buffers are the caller's.
 *
 * https://docs.kernel.org/networking/tuntap.html
 */
#include "tun.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Newer than the headers of some distributions. */
#ifndef TUN_F_USO4
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif

/* IPv6 is not carried, so its segments need not come joined. But the kernel takes USO for both or for neither. */
#define WITH_TSO (TUN_F_CSUM | TUN_F_TSO4)
#define WITH_USO (WITH_TSO | TUN_F_USO4 | TUN_F_USO6)

#define DESTINATION_AT 16 /* in an IPv4 packet, which is where a program finds it: a TUN device has no other headers */

static bool has_header(int fd)
{
    struct ifreq request = {0};
    return ioctl(fd, TUNGETIFF, &request) == 0 && request.ifr_flags & IFF_VNET_HDR;
}

static bool takes(int fd, unsigned offload)
{
    return ioctl(fd, TUNSETOFFLOAD, (unsigned long)offload) == 0;
}

int tun_prepare(struct tun_queue *queue, int fd, bool offload)
{
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
        return -errno;
    *queue = (struct tun_queue){.fd = fd, .has_header = has_header(fd)};
    if (!queue->has_header)
        return 0;
    queue->uso = offload && takes(fd, WITH_USO);
    queue->tso = queue->uso || (offload && takes(fd, WITH_TSO));
    /* A device outlives the process that set it up: what it was set to by another counts for nothing. */
    if (!queue->tso && !takes(fd, 0))
        return -errno;
    return 0;
}

/* A program that gives the destination; the kernel takes the remainder by the number of queues. What is too short for one, or IPv6,
 * goes anywhere. */
static int load_steering(void)
{
    static const struct bpf_insn code[] = {
        {.code = BPF_ALU64 | BPF_MOV | BPF_X, .dst_reg = BPF_REG_6, .src_reg = BPF_REG_1}, /* where loads want the packet */
        {.code = BPF_LD | BPF_ABS | BPF_W, .imm = DESTINATION_AT},
        {.code = BPF_JMP | BPF_EXIT},
    };
    union bpf_attr program;
    memset(&program, 0, sizeof program); /* its padding too: the kernel reads it */
    program.prog_type = BPF_PROG_TYPE_SOCKET_FILTER;
    program.insns = (uintptr_t)code;
    program.insn_cnt = sizeof code / sizeof code[0];
    program.license = (uintptr_t) "";
    return (int)syscall(SYS_bpf, BPF_PROG_LOAD, &program, sizeof program); /* closes with exec, always */
}

int tun_steer_by_destination(int fd)
{
    int program = load_steering();
    if (program < 0)
        return -errno;
    int failed = ioctl(fd, TUNSETSTEERINGEBPF, &program) < 0 ? -errno : 0;
    close(program); /* the device holds it */
    return failed;
}

ssize_t tun_read(const struct tun_queue *queue, struct span buffer)
{
    ssize_t size = read(queue->fd, buffer.at, buffer.size);
    if (size > 0)
        return size;
    if (size == 0)
        return -ENODEV; /* there is no empty frame: the other side is gone */
    return errno == EAGAIN || errno == EINTR ? 0 : -errno;
}

int tun_write(const struct tun_queue *queue, const struct iovec *pieces, int count)
{
    return writev(queue->fd, pieces, count) < 0 ? -errno : 0;
}
