/* Owns: how datagrams get into and out of a socket in few system calls, and the memory that they arrive in. Must not know
 * what is in them.
 *
 * In: recvmmsg fills the receiver's buffers, a message each; where it is from and how it is joined, address and control
 * messages say. A buffer is the caller's, to read and to change, until the next receive.
 *
 * Out: the caller's memory goes to the kernel as it lies, as one message with UDP_SEGMENT or one for each datagram.
 */
#define _GNU_SOURCE /* recvmmsg, in6_pktinfo */
#include "udp.h"

#include <errno.h>
#include <netinet/udp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/utsname.h>

/* wireguard-go's figure: with the default of 212 KB it measured 2742 retransmissions where this had none. */
#define SOCKET_BUFFER (7 << 20)

/* What arrives alone fills the beginnings of the buffers only. At a distance that is a power of two, those would all compete
 * for the same few lines of each cache. */
#define BUFFER_DISTANCE (LARGEST_DATAGRAM + 1 + 1536)
#define BUFFERS_SIZE ((size_t)MOST_MESSAGES * BUFFER_DISTANCE)

#define RECEIVED_CONTROL (CMSG_SPACE(sizeof(struct in6_pktinfo)) + CMSG_SPACE(sizeof(int)))
#define SENT_CONTROL (CMSG_SPACE(sizeof(struct in6_pktinfo)) + CMSG_SPACE(sizeof(uint16_t)))

union address {
    struct sockaddr any;
    struct sockaddr_in ipv4;
    struct sockaddr_in6 ipv6;
};

struct received_control {
    _Alignas(struct cmsghdr) uint8_t octets[RECEIVED_CONTROL];
};

struct udp_receiver {
    uint8_t *buffers;
    struct mmsghdr headers[MOST_MESSAGES];
    struct iovec pieces[MOST_MESSAGES];
    union address addresses[MOST_MESSAGES];
    struct received_control controls[MOST_MESSAGES];
    struct udp_message messages[MOST_MESSAGES]; /* what the last receive gave */
};

/* Where a run goes: a message but for its data. */
struct envelope {
    struct msghdr header;
    union address address;
    _Alignas(struct cmsghdr) uint8_t control[SENT_CONTROL];
};

/* Addresses: a path has IPv4 mapped into IPv6 (RFC 4291 2.5.5.2). */

static const uint8_t mapped_prefix[12] = {[10] = 0xFF, [11] = 0xFF};

static void map_ipv4(uint8_t mapped[16], struct in_addr address)
{
    memcpy(mapped, mapped_prefix, sizeof mapped_prefix);
    memcpy(&mapped[12], &address, sizeof address);
}

static bool unmap_ipv4(const uint8_t mapped[16], struct in_addr *address)
{
    memcpy(address, &mapped[12], sizeof *address);
    return memcmp(mapped, mapped_prefix, sizeof mapped_prefix) == 0;
}

static bool is_named(const uint8_t address[16])
{
    static const uint8_t nothing[16];
    return memcmp(address, nothing, sizeof nothing) != 0;
}

/* Preparing a socket. */

static int set_option(int fd, int level, int name, int value)
{
    return setsockopt(fd, level, name, &value, sizeof value) < 0 ? -errno : 0;
}

/* 7 MB, or as much as an unprivileged process may have. */
static void enlarge_buffers(int fd)
{
    if (set_option(fd, SOL_SOCKET, SO_RCVBUFFORCE, SOCKET_BUFFER) < 0)
        set_option(fd, SOL_SOCKET, SO_RCVBUF, SOCKET_BUFFER);
    if (set_option(fd, SOL_SOCKET, SO_SNDBUFFORCE, SOCKET_BUFFER) < 0)
        set_option(fd, SOL_SOCKET, SO_SNDBUF, SOCKET_BUFFER);
}

/* Kernels before 5.12 corrupt some of what they join. */
static bool joins_soundly(void)
{
    struct utsname kernel;
    int major, minor;
    if (uname(&kernel) < 0 || sscanf(kernel.release, "%d.%d", &major, &minor) != 2)
        return false;
    return major > 5 || (major == 5 && minor >= 12);
}

static bool knows_segments(int fd)
{
    int value;
    socklen_t size = sizeof value;
    return getsockopt(fd, SOL_UDP, UDP_SEGMENT, &value, &size) == 0;
}

static int ask_for_local(struct udp_socket *socket)
{
    union address bound = {0};
    socklen_t size = sizeof bound;
    if (getsockname(socket->fd, &bound.any, &size) < 0)
        return -errno;
    socket->family = bound.any.sa_family;
    if (socket->family == AF_INET) {
        socket->wants_local = bound.ipv4.sin_addr.s_addr == htonl(INADDR_ANY);
        return socket->wants_local ? set_option(socket->fd, IPPROTO_IP, IP_PKTINFO, 1) : 0;
    }
    if (socket->family == AF_INET6) {
        socket->wants_local = IN6_IS_ADDR_UNSPECIFIED(&bound.ipv6.sin6_addr);
        return socket->wants_local ? set_option(socket->fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1) : 0;
    }
    return -EAFNOSUPPORT;
}

int udp_prepare(struct udp_socket *socket, int fd, bool offload)
{
    socket->fd = fd;
    atomic_init(&socket->gso, offload && knows_segments(fd));
    atomic_init(&socket->gso_refusals, 0);
    int error = ask_for_local(socket);
    if (error)
        return error;
    enlarge_buffers(fd);
    if (offload && joins_soundly())
        set_option(fd, SOL_UDP, UDP_GRO, 1); /* where that is refused, datagrams arrive one by one */
    return 0;
}

/* Receiving. */

/* Make a message ready to be received into: what the kernel changes in it. */
static void rearm(struct udp_receiver *receiver, unsigned i)
{
    struct msghdr *header = &receiver->headers[i].msg_hdr;
    header->msg_namelen = sizeof receiver->addresses[i];
    header->msg_controllen = sizeof receiver->controls[i];
}

struct udp_receiver *udp_receiver_new(void)
{
    struct udp_receiver *receiver = calloc(1, sizeof *receiver);
    if (!receiver)
        return NULL;
    receiver->buffers = mmap(NULL, BUFFERS_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (receiver->buffers == MAP_FAILED) {
        free(receiver);
        return NULL;
    }
    struct span buffers = span_of(receiver->buffers, BUFFERS_SIZE);
    for (unsigned i = 0; i < MOST_MESSAGES; i++) {
        struct span buffer = part(buffers, i * (size_t)BUFFER_DISTANCE, LARGEST_DATAGRAM);
        receiver->pieces[i] = (struct iovec){buffer.at, buffer.size};
        receiver->headers[i].msg_hdr = (struct msghdr){.msg_name = &receiver->addresses[i],
                                                       .msg_iov = &receiver->pieces[i],
                                                       .msg_iovlen = 1,
                                                       .msg_control = receiver->controls[i].octets};
        rearm(receiver, i);
    }
    return receiver;
}

void udp_receiver_free(struct udp_receiver *receiver)
{
    if (!receiver)
        return;
    munmap(receiver->buffers, BUFFERS_SIZE);
    free(receiver);
}

static void read_address(struct path *from, const union address *address)
{
    if (address->any.sa_family == AF_INET) {
        map_ipv4(from->remote, address->ipv4.sin_addr);
        from->port = ntohs(address->ipv4.sin_port);
    } else {
        memcpy(from->remote, &address->ipv6.sin6_addr, sizeof from->remote);
        from->scope = address->ipv6.sin6_scope_id;
        from->port = ntohs(address->ipv6.sin6_port);
    }
}

/* The data of a control message of that kind; false when it is another one. */
static bool is_control(struct cmsghdr *control, int level, int type, void *data, size_t size)
{
    if (control->cmsg_level != level || control->cmsg_type != type || control->cmsg_len < CMSG_LEN(size))
        return false;
    memcpy(data, CMSG_DATA(control), size);
    return true;
}

static void read_control(struct udp_message *message, struct msghdr *header)
{
    struct in_pktinfo local4;
    struct in6_pktinfo local6;
    int segment;
    for (struct cmsghdr *control = CMSG_FIRSTHDR(header); control; control = CMSG_NXTHDR(header, control)) {
        if (is_control(control, SOL_UDP, UDP_GRO, &segment, sizeof segment)) {
            if (segment > 0)
                message->segment = (size_t)segment;
        } else if (is_control(control, IPPROTO_IP, IP_PKTINFO, &local4, sizeof local4)) {
            map_ipv4(message->from.local, local4.ipi_spec_dst);
        } else if (is_control(control, IPPROTO_IPV6, IPV6_PKTINFO, &local6, sizeof local6)) {
            memcpy(message->from.local, &local6.ipi6_addr, sizeof message->from.local);
        }
    }
}

/* What the i-th message says; false when a part of it is missing. */
static bool read_message(struct udp_receiver *receiver, unsigned i, struct udp_message *message)
{
    struct mmsghdr *received = &receiver->headers[i];
    size_t size = received->msg_len;
    *message = (struct udp_message){.data = span_of(receiver->pieces[i].iov_base, size), .segment = size};
    read_address(&message->from, &receiver->addresses[i]);
    read_control(message, &received->msg_hdr);
    bool is_whole = !(received->msg_hdr.msg_flags & (MSG_TRUNC | MSG_CTRUNC));
    rearm(receiver, i);
    return is_whole;
}

int udp_receive(struct udp_receiver *receiver, struct udp_socket *socket, unsigned most)
{
    if (most > MOST_MESSAGES)
        most = MOST_MESSAGES;
    int received = -1;
    /* An error is an earlier send's, and concerns no arrival: each is told once. */
    for (unsigned tries = 0; received < 0 && tries < MOST_MESSAGES; tries++) {
        received = recvmmsg(socket->fd, receiver->headers, most, MSG_DONTWAIT, NULL);
        if (received < 0 && errno == EAGAIN)
            return 0;
    }
    int whole = 0;
    for (int i = 0; i < received; i++)
        whole += read_message(receiver, (unsigned)i, &receiver->messages[whole]);
    return whole;
}

const struct udp_message *udp_message(const struct udp_receiver *receiver, unsigned i)
{
    return &receiver->messages[i];
}

/* Sending. */

static void add_control(struct envelope *envelope, int level, int type, const void *data, size_t size)
{
    struct span room = rest(span_of(envelope->control, sizeof envelope->control), envelope->header.msg_controllen);
    struct span message = part(room, 0, CMSG_SPACE(size));
    if (!message.size)
        return;
    memset(message.at, 0, message.size); /* its padding too: the kernel reads it */
    struct cmsghdr *control = (void *)message.at;
    *control = (struct cmsghdr){.cmsg_level = level, .cmsg_type = type, .cmsg_len = CMSG_LEN(size)};
    memcpy(CMSG_DATA(control), data, size);
    envelope->header.msg_control = envelope->control;
    envelope->header.msg_controllen += message.size;
}

static bool address_ipv4(struct envelope *envelope, const struct path *to)
{
    struct sockaddr_in *address = &envelope->address.ipv4;
    *address = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(to->port)};
    envelope->header.msg_namelen = sizeof *address;
    if (!unmap_ipv4(to->remote, &address->sin_addr))
        return false;
    struct in_pktinfo local = {0};
    if (is_named(to->local) && unmap_ipv4(to->local, &local.ipi_spec_dst))
        add_control(envelope, IPPROTO_IP, IP_PKTINFO, &local, sizeof local);
    return true;
}

static void address_ipv6(struct envelope *envelope, const struct path *to)
{
    struct sockaddr_in6 *address = &envelope->address.ipv6;
    *address = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = htons(to->port), .sin6_scope_id = to->scope};
    memcpy(&address->sin6_addr, to->remote, sizeof to->remote);
    envelope->header.msg_namelen = sizeof *address;
    struct in6_pktinfo local = {0};
    memcpy(&local.ipi6_addr, to->local, sizeof to->local);
    if (is_named(to->local))
        add_control(envelope, IPPROTO_IPV6, IPV6_PKTINFO, &local, sizeof local);
}

/* False when a socket of that family cannot reach it. */
static bool address_to(struct envelope *envelope, int family, const struct path *to)
{
    envelope->header = (struct msghdr){.msg_name = &envelope->address};
    if (family == AF_INET)
        return address_ipv4(envelope, to);
    address_ipv6(envelope, to);
    return true;
}

/* What the socket does not take is unreachable, refused by a firewall rule, or does not fit: to the client, a lost packet. */
static unsigned send_singly(int fd, const struct msghdr *header, struct span datagrams, size_t segment, unsigned count)
{
    struct mmsghdr headers[MOST_GSO_SEGMENTS];
    struct iovec pieces[MOST_GSO_SEGMENTS];
    for (unsigned i = 0; i < count; i++) {
        struct span datagram = run_packet(datagrams, segment, i);
        pieces[i] = (struct iovec){datagram.at, datagram.size};
        headers[i].msg_hdr = *header;
        headers[i].msg_hdr.msg_iov = &pieces[i];
        headers[i].msg_hdr.msg_iovlen = 1;
    }
    unsigned at = 0, refused = 0;
    while (at < count) {
        int sent = sendmmsg(fd, &headers[at], count - at, MSG_DONTWAIT);
        if (sent < 0 && errno == EAGAIN)
            return refused + count - at;
        if (sent <= 0)
            refused++;
        at += sent > 0 ? (unsigned)sent : 1;
    }
    return refused;
}

enum joined { SENT, TRY_SINGLY, REFUSED };

/* The envelope is a copy: what goes singly has no segment size in it. */
static enum joined send_joined(struct udp_socket *socket, struct envelope envelope, struct span datagrams, size_t segment)
{
    struct iovec piece = {datagrams.at, datagrams.size};
    uint16_t size = (uint16_t)segment;
    envelope.header.msg_iov = &piece;
    envelope.header.msg_iovlen = 1;
    add_control(&envelope, SOL_UDP, UDP_SEGMENT, &size, sizeof size);
    if (sendmsg(socket->fd, &envelope.header, MSG_DONTWAIT) >= 0)
        return SENT;
    if (errno == EIO) {
        atomic_store_explicit(&socket->gso, false, memory_order_relaxed);
        atomic_fetch_add_explicit(&socket->gso_refusals, 1, memory_order_relaxed);
        return TRY_SINGLY;
    }
    return errno == EINVAL || errno == EMSGSIZE ? TRY_SINGLY : REFUSED;
}

unsigned udp_send(struct udp_socket *socket, const struct path *to, struct span datagrams, size_t segment, unsigned count)
{
    struct envelope envelope;
    if (!is_run(datagrams, segment, count) || !address_to(&envelope, socket->family, to))
        return count;
    if (count > 1 && atomic_load_explicit(&socket->gso, memory_order_relaxed)) {
        enum joined joined = send_joined(socket, envelope, datagrams, segment);
        if (joined != TRY_SINGLY)
            return joined == SENT ? 0 : count;
    }
    return send_singly(socket->fd, &envelope.header, datagrams, segment, count);
}
