/* Owns what has been received and not yet been handed out. */
#include "inbox.h"

#include <errno.h>
#include <linux/sock_diag.h>

#include "opcodes.h"

int inbox_open(struct inbox *inbox, int fd)
{
    inbox->receiver = udp_receiver_new();
    /* Control packets come one by one, so nothing is asked to be joined. */
    return inbox->receiver ? udp_prepare(&inbox->udp, fd, false) : -ENOMEM;
}

void inbox_close(struct inbox *inbox)
{
    udp_receiver_free(inbox->receiver);
    inbox->receiver = NULL;
}

bool inbox_pop(struct inbox *inbox, struct drop_counters *drops, struct event *event)
{
    if (!inbox->receiver)
        return false;
    if (inbox->next == inbox->count) {
        inbox->count = (unsigned)udp_receive(inbox->receiver, &inbox->udp, MOST_MESSAGES);
        inbox->next = 0;
    }
    while (inbox->next < inbox->count) {
        const struct udp_message *message = udp_message(inbox->receiver, inbox->next++);
        if (is_control(message->data)) {
            *event = (struct event){.kind = EVENT_CONTROL, .path = message->from, .packet = message->data};
            return true;
        }
        count_drops(drops, is_data(message->data) ? DROP_UNKNOWN_PEER : DROP_NOT_OPENVPN, 1);
    }
    return false;
}

uint64_t inbox_lost(const struct inbox *inbox)
{
    uint32_t memory[SK_MEMINFO_VARS] = {0};
    socklen_t size = sizeof memory;
    if (!inbox->receiver || getsockopt(inbox->udp.fd, SOL_SOCKET, SO_MEMINFO, memory, &size) < 0)
        return 0;
    return memory[SK_MEMINFO_DROPS];
}
