/* Expressions from configuration: compile, and evaluate what compiled against a small bag. */
#include <string.h>

#include "common/expr/expr.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static struct mt_vocab *vocab;
	static const struct mt_pair labels[] = { { { "app", 3 }, { "x", 1 } } };
	MT_AUTO(mt_arena_freep) struct mt_arena *a = mt_arena_new(0);
	MT_AUTO(mt_expr_freep) struct mt_expr *e = NULL;
	struct mt_value v;
	struct mt_bag bag;

	if (!vocab)
		vocab = mt_vocab_new();
	if (mt_expr_compile(
		    mt_arena_strndup(a, (const char *)data, n), vocab, MT_V_NONE, &e, NULL) < 0)
		return 0;
	mt_bag_init(&bag, a, mt_vocab_size(vocab));
	mt_bag_str(&bag, MT_ATTR_REQUEST_PATH, "/a/b");
	mt_bag_map(&bag, MT_ATTR_SOURCE_LABELS, labels, 1);
	if (mt_expr_eval(e, &bag, a, NULL, &v, NULL) == 0)
		mt_value_text(&v, a);
	return 0;
}
