from gateway.admission import REFUSAL_SOURCES, REFUSALS_PER_INTERVAL, RefusalLimiter
from gateway.connection_log import RefusalReason

WRONG, MANY = RefusalReason.WRONG_CONTROL_KEY, RefusalReason.TOO_MANY_HANDSHAKES


def test_a_network_gets_one_record_a_minute_for_each_reason() -> None:
    limiter = RefusalLimiter()
    assert limiter.allows("198.51.100.1", WRONG, 0)
    assert not limiter.allows("198.51.100.2", WRONG, 59)
    assert limiter.allows("198.51.100.2", MANY, 59)
    assert limiter.allows("203.0.113.1", WRONG, 59)
    assert limiter.allows("198.51.100.1", WRONG, 60)


def test_a_limiter_may_allow_more_of_each_source() -> None:
    limiter = RefusalLimiter(per_source=2)
    assert [limiter.allows("198.51.100.1", WRONG, now) for now in (0, 50, 59, 60, 61, 62)] == [
        True,
        True,
        False,
        True,
        True,
        False,
    ]


def test_made_up_sources_fill_neither_log_nor_memory() -> None:
    limiter = RefusalLimiter()
    allowed = sum(limiter.allows(f"10.{i // 256 % 256}.{i % 256}.1", WRONG, i / 1000) for i in range(20_000))
    assert allowed == REFUSALS_PER_INTERVAL
    for second in range(600):
        for i in range(20):
            limiter.allows(f"10.{second % 256}.{i}.1", WRONG, 100.0 * second)
    assert len(limiter._sources) <= REFUSAL_SOURCES
