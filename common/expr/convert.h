/* Private to common/expr: conversions from text that functions and literals share. */
#pragma once

#include "common/base/err.h"
#include "common/expr/value.h"

/* ip(), timestamp(), dnsName(), email(), uri() and duration literals. MT_INVALID names the text. */
int mt_expr_convert(
	enum mt_vtype to, struct mt_text text, struct mt_value *ret, struct mt_err *err);
