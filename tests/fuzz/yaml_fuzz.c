/* Any text as configuration: no crash, and what decodes survives the way to YAML and back. */
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/schema/decode.h"
#include "galley/validate/validate.h"

static void round_trip(const struct mt_object *o)
{
	struct mt_objects again = { 0 };
	struct mt_diags diags = { 0 };
	json_t *j = mt_object_to_json(o);
	char *yaml = mt_json_to_yaml(j);

	if (mt_decode_text("again.yaml", yaml, strlen(yaml), NULL, &again, &diags) < 0 ||
		again.n != 1 || again.v[0]->hash != o->hash)
		abort();
	mt_objects_clear(&again);
	mt_diags_clear(&diags);
	mt_free(yaml);
	json_decref(j);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct mt_objects objects = { 0 };
	struct mt_diags diags = { 0 };

	mt_decode_text("fuzz.yaml", (const char *)data, size, NULL, &objects, &diags);
	for (size_t i = 0; i < objects.n; i++) {
		galley_validate(objects.v[i], &diags);
		mt_object_place(objects.v[i], "spec.http[0].route[1].destination.host");
		round_trip(objects.v[i]);
	}
	mt_objects_clear(&objects);
	mt_diags_clear(&diags);
	return 0;
}
