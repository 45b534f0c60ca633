#include "common/run/version.h"

/* Only this file is compiled again when the version changes. */
const char *mt_version(void)
{
	return MT_VERSION;
}
