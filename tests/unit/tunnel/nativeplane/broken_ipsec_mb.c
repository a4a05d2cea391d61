/* A library of the right name in which something is not as it has to be: VERSION, PROCESSOR or ERROR. */
#include <intel-ipsec-mb.h>
#include <stdlib.h>

unsigned imb_get_version(void)
{
    return VERSION;
}

int imb_get_errno(IMB_MGR *manager)
{
    (void)manager;
    return ERROR;
}

IMB_MGR *alloc_mb_mgr(uint64_t flags)
{
    (void)flags;
    return calloc(1, sizeof(IMB_MGR));
}

void init_mb_mgr_auto(IMB_MGR *manager, IMB_ARCH *processor)
{
    (void)manager;
    *processor = PROCESSOR;
}

void free_mb_mgr(IMB_MGR *manager)
{
    free(manager);
}
