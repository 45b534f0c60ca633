/* The sample's configuration goes the way that a user's does: read, validated, put. */
#include "ctl/dev/dev.h"
#include "ctl/objects.h"

int dev_apply_sample(struct dev *d, struct mt_err *err)
{
	MT_AUTO(mt_strfreep) char *dir = dev_path(d, "sample/mesh");
	MT_AUTO(mt_strfreep) char *galley = mt_asprintf("http://%s:15114", d->opts.control_addr);
	const struct mt_strlist files = { (const char *[]){ dir }, 1 };
	struct mt_objects objs = { 0 };
	int r = ctl_objects_read("dev", &files, &objs);

	if (r != 0)
		r = mt_fail(err, MT_INVALID, dir, "is not valid");
	for (size_t i = 0; r == 0 && i < objs.n; i++)
		r = ctl_object_put(galley, objs.v[i], err);
	mt_objects_clear(&objs);
	return r;
}
