/* The systemd readiness protocol (sd_notify(3)): one datagram to $NOTIFY_SOCKET. Threads: any. */
#pragma once

/* state: "READY=1\nSTATUS=serving". Nothing happens outside systemd; a lost datagram is no error. */
void mt_notify(const char *state);
