/* Owns the program by which the kernel chooses a socket. It sees one datagram at a time, and keeps nothing. */
#include "steering.h"

#include <errno.h>
#include <linux/filter.h>
#include <sys/socket.h>

#include "opcodes.h"

int steer_datagrams(int fd, unsigned workers)
{
    /* On the payload. Reading beyond its end gives 0, so what is shorter than 4 octets goes to the first socket. */
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
        BPF_STMT(BPF_ALU | BPF_RSH | BPF_K, 27),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, OPCODE_DATA_V2, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
        BPF_STMT(BPF_ALU | BPF_AND | BPF_K, NO_PEER_ID),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, NO_PEER_ID, 5, 6),
        /* Other opcodes. */
        BPF_STMT(BPF_MISC | BPF_TAX, 0),
        BPF_STMT(BPF_LD | BPF_IMM, 1),
        BPF_STMT(BPF_ALU | BPF_LSH | BPF_X, 0),
        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, CONTROL_OPCODES, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, workers),
        /* By the flow, or the peer id. */
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)(SKF_AD_OFF + SKF_AD_RXHASH)),
        BPF_STMT(BPF_ALU | BPF_MOD | BPF_K, workers),
        BPF_STMT(BPF_RET | BPF_A, 0),
    };
    struct sock_fprog program;
    memset(&program, 0, sizeof program); /* its padding too: the kernel reads it */
    program.len = sizeof code / sizeof code[0];
    program.filter = code;
    return setsockopt(fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &program, sizeof program) < 0 ? -errno : 0;
}
