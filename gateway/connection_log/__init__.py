"""The connection log: one JSON object for every attempt, refresh and end of a connection.

Records carry AWS Client VPN's keys; `ConnectionLog` brings them to files, standard output and the journal without ever
holding up traffic.
"""

from gateway.connection_log.log import ConnectionLog
from gateway.connection_log.reasons import EXPLANATIONS, ReasonCode, RefusalReason
from gateway.connection_log.record import AttemptStatus, ConnectionRecord, Counters, RecordType, build_loss_line
from gateway.connection_log.sinks import FileSink, JournalSink, Sink, StreamSink
from gateway.connection_log.writer import SinkStatus

__all__ = [
    "EXPLANATIONS",
    "AttemptStatus",
    "ConnectionLog",
    "ConnectionRecord",
    "Counters",
    "FileSink",
    "JournalSink",
    "ReasonCode",
    "RecordType",
    "RefusalReason",
    "Sink",
    "SinkStatus",
    "StreamSink",
    "build_loss_line",
]
