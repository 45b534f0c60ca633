/* A raw HTTP exchange over a socket, for tests of servers: says exactly what it is told to. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Connects to 127.0.0.1:port; aborts the test when it cannot. */
int mt_raw_connect(uint16_t port);
/* Sends n bytes (strlen when n is 0); false when the peer has closed. */
int mt_raw_send(int fd, const char *p, size_t n);
/* Reads until the peer closes, or until the headers and the stated body are whole. Heap text. */
char *mt_raw_read(int fd);
/* One GET on a connection of its own: the status, and the body in *ret_body (heap; NULL allowed). */
int mt_raw_get(uint16_t port, const char *path, char **ret_body);
/* The status of an answer, 0 when it is none. */
int mt_raw_status(const char *answer);
