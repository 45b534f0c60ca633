/* The version of this build, from the Makefile. Threads: any. */
#pragma once

const char *mt_version(void); /* "0.1.0" */
